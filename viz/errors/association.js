// Shares with their intervals, lost evidence against turned answers, and causes, as measure.py
// computed them; here they are only drawn.

import { make, number } from './elements.js';

const LEAST = 0.1, MOST = 100; // ends of the scale of odds ratios

/** "26.1 % (20.8–32.2)" of [count, of, share, low, high]; "–" where there is nothing. */
export function rate([, of, share, low, high]) {
  if (!of) return '–';
  const percent = (one) => (100 * one).toFixed(1);
  return `${percent(share)} % (${percent(low)}–${percent(high)})`;
}

/** The shares beside the sentence of a panel. */
export function rightOf({ before, now, flips }) {
  const turned = flips[1], mended = flips[2];
  return `95 % intervals: right ${rate(before)} → ${rate(now)}; turned wrong ${rate(turned)} of the `
    + `${number(turned[1])} right before, turned right ${rate(mended)} of the ${number(mended[1])} others.`;
}

/** Lost evidence against turned answers: a 2 x 2 table, and the odds of both steps. */
export function associationOf(side, methods, share) {
  const rows = [{ label: 'anywhere', ...side.all }, ...side.steps];
  const two = make('table', { class: 'two-by-two' },
    make('caption', {}, 'Lost evidence and turned answers'),
    make('thead', {}, make('tr', {}, make('td'), ...['turned wrong', 'still right', 'turned, of all']
      .map((words) => make('th', { scope: 'col' }, words)))),
    make('tbody', {}, line('evidence lost', side.all.gone), line('evidence kept', side.all.there)));
  return make('div', { class: 'assoc' }, two,
    forest('Odds that an answer turns, evidence lost against kept', 'where lost', rows),
    fold('By kind of question', side.kinds, 'kind'),
    fold(`By method${share}`, methods, 'method'));
}

function line(words, [count, of, ...rest]) {
  return make('tr', {}, make('th', { scope: 'row' }, words),
    ...[number(count), number(of - count), rate([count, of, ...rest])].map((text) => make('td', { class: 'plain' }, text)));
}

function fold(words, rows, head) {
  const details = make('details', {}, make('summary', {}, words));
  details.hidden = rows.length < 2;
  details.addEventListener('toggle', () => {
    if (details.open && details.childElementCount < 2) details.append(forest(words, head, rows));
  });
  return details;
}

/** A table of odds ratios with their intervals, drawn on a logarithmic scale around 1. */
function forest(caption, head, rows) {
  return make('div', { class: 'forest', tabindex: 0, role: 'region', 'aria-label': caption },
    make('table', {}, make('caption', {}, caption),
      make('thead', {}, make('tr', {},
        ...[head, 'lost', 'kept', 'odds ratio', ''].map((words) => (
          words ? make('th', { scope: 'col' }, words) : make('td', { class: 'scale' },
            ...[['0.1', 0], ['1', 1 / 3], ['10', 2 / 3], ['100', 1]].map(([text, at]) => tick(text, at))))))),
      make('tbody', {}, ...rows.map((row) => make('tr', {},
        make('th', { scope: 'row' }, row.label || 'no kind'),
        make('td', { class: 'plain', title: rate(row.gone) }, counts(row.gone)),
        make('td', { class: 'plain', title: rate(row.there) }, counts(row.there)),
        make('td', { class: 'plain' }, odds(row)), make('td', { class: 'bar-cell' }, bar(row)))))));
}

function counts([count, of]) {
  return of ? `${number(count)} of ${number(of)}` : '–';
}

/** "2.1 (1.1–3.8)"; a star where one half was added to each count. */
function odds({ odds: found, half }) {
  if (!found) return '–';
  const [ratio, low, high] = found.map((one) => (one >= 10 ? one.toFixed(0) : one >= 0.1 ? one.toFixed(1) : '<0.1'));
  return `${ratio} (${low}–${high})${half ? ' *' : ''}`;
}

function place(ratio) {
  const at = Math.log(Math.min(MOST, Math.max(LEAST, ratio)) / LEAST) / Math.log(MOST / LEAST);
  return `${(100 * at).toFixed(2)}%`;
}

function tick(text, at) {
  const mark = make('span', { class: 'tick', 'aria-hidden': 'true' }, text);
  mark.style.left = `${100 * at}%`;
  return mark;
}

function bar({ odds: found }) {
  const track = make('span', { class: 'track', 'aria-hidden': 'true' });
  const one = make('span', { class: 'one' });
  one.style.left = place(1);
  track.append(one);
  if (!found) return track;
  const [ratio, low, high] = found;
  const span = make('span', { class: low > 1 ? 'span sure' : high < 1 ? 'span less' : 'span' });
  span.style.left = place(low);
  span.style.right = `calc(100% - ${place(high)})`;
  const dot = make('span', { class: 'dot' });
  dot.style.left = place(ratio);
  track.append(span, dot);
  return track;
}

/** The causes of turned answers; choose(cause) filters, `chosen` is what is filtered now. */
export function causesOf(side, whys, chosen, choose) {
  const turned = side.flips[1][0], known = side.why.length ? side.why[0].share[1] : 0;
  const lead = known < turned ? `${number(known)} of ${number(turned)} turned answers explained`
    : `all ${number(turned)} turned answers explained`;
  return make('div', { class: 'whys' }, make('h3', {}, `Why they turned (${lead})`),
    make('ul', {}, ...side.why.map(({ cause, share }) => {
      const button = make('button', { type: 'button', 'aria-pressed': String(chosen === cause), 'data-cell': `why ${cause}` },
        make('span', { class: 'why-name' }, whys[cause]), make('span', { class: 'why-count' }, number(share[0])),
        make('span', { class: 'why-rate' }, rate(share)));
      button.style.setProperty('--share', `${Math.round(100 * share[2])}%`);
      button.addEventListener('click', () => choose(chosen === cause ? null : cause));
      return make('li', {}, button);
    })));
}
