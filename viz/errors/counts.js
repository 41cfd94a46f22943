// Accuracy and counts of one compared method; a count is a button that filters.

import { chip, make, number, spoken } from './elements.js';
import {
  ANY, FLIPS, FLIP_GLYPHS, RIGHT_RIGHT, RIGHT_WRONG, WRONG_RIGHT, WRONG_WRONG, mcnemar, percent,
  showP,
} from './results.js';

export class Counts {
  /**
   * own: the filter { flip, evidence } of the method at `side`, which a pressed count changes;
   * changed() is called then.
   */
  constructor(results, comparison, side, own, changed) {
    Object.assign(this, { results, comparison, side, own, changed });
  }

  /**
   * Accuracy and test over `all` questions that the other filters leave: what is chosen by its
   * answers proves nothing. Below it the tables of `cases`, which the other method's cell leaves.
   */
  panel(all, cases) {
    const { results, comparison, side } = this;
    const name = results.nameOf(comparison.methods[side]);
    const flips = total(comparison.table(side, all));
    const [both, lost, gained] = flips, count = flips.reduce((sum, one) => sum + one, 0);
    const share = (right) => (count ? `${percent(right, count)} %` : '–');
    const counts = comparison.table(side, cases);
    return make('section', { class: 'panel', 'aria-label': name },
      make('h2', {}, name),
      make('p', {}, `Right: ${share(both + lost)} → ${share(both + gained)} of ${number(count)} `
        + `questions. Lost ${number(lost)}, gained ${number(gained)}; McNemar’s exact p `
        + `${showP(mcnemar(lost, gained)).replace(/^(?!<)/, '= ')}.`),
      make('div', { class: 'quiet rates' }),
      make('div', { class: 'numbers' },
        make('div', { class: 'tables' }, this.flipTable(total(counts)),
          this.evidenceTable(counts, total(counts)), make('div', { class: 'whys' })),
        make('div', { class: 'assoc' })),
      make('div', { class: 'sentence' }),
      ...(cases.length < all.length ? [make('p', { class: 'quiet' },
        `Counts of the ${number(cases.length)} questions chosen by the other method.`)] : []));
  }

  flipTable(flips) {
    const row = (label, first, second) => make('tr', {}, make('th', { scope: 'row' }, label),
      this.cell(first, ANY, flips[first], flips),
      this.cell(second, ANY, flips[second], flips));
    return make('table', {},
      make('caption', {}, 'Answers'),
      make('thead', {}, make('tr', {}, make('td'), make('th', { scope: 'col' }, 'right now'),
        make('th', { scope: 'col' }, 'wrong now'))),
      make('tbody', {}, row('right before', RIGHT_RIGHT, RIGHT_WRONG),
        row('wrong before', WRONG_RIGHT, WRONG_WRONG)));
  }

  evidenceTable(counts, flips) {
    const { evidence } = this.results;
    const every = counts.flat();
    return make('table', {},
      make('caption', {}, 'Evidence and answers'),
      make('thead', {}, make('tr', {}, make('td'),
        ...FLIPS.map((label, flip) => make('th', { scope: 'col', title: label },
          ...spoken(FLIP_GLYPHS[flip], label))),
        make('th', { scope: 'col' }, 'all'))),
      make('tbody', {}, ...evidence.map((about, kind) => make('tr', {},
        make('th', { scope: 'row' }, chip(about), ` ${about.label}`),
        ...counts[kind].map((count, flip) => this.cell(flip, kind, count, every)),
        this.cell(ANY, kind, counts[kind].reduce((a, b) => a + b, 0), null)))),
      make('tfoot', {}, make('tr', {}, make('th', { scope: 'row' }, 'all'),
        ...flips.map((count, flip) => this.cell(flip, ANY, count, null)),
        this.cell(ANY, ANY, flips.reduce((a, b) => a + b, 0), null))));
  }

  /** A count that filters; `among`: the counts it is shaded against. */
  cell(flip, evidence, count, among) {
    const { own, side } = this;
    const on = own.flip === flip && own.evidence === evidence;
    const label = [evidence === ANY ? '' : this.results.evidence[evidence].label,
      flip === ANY ? '' : FLIPS[flip]].filter(Boolean).join(', ') || 'all';
    const button = make('button', {
      type: 'button', 'aria-pressed': String(on), 'aria-label': `${label}: ${number(count)}`,
      'data-cell': `${side} ${flip} ${evidence} ${among ? 'in' : 'edge'} ${among?.length ?? 0}`,
    }, number(count));
    if (among) {
      const most = Math.max(1, ...among);
      button.style.setProperty('--share', `${Math.round(45 * count / most)}%`);
    }
    button.addEventListener('click', () => {
      Object.assign(own, on ? { flip: ANY, evidence: ANY } : { flip, evidence });
      this.changed();
    });
    return make('td', {}, button);
  }
}

/** Counts of the four flips, whatever became of the evidence. */
function total(counts) {
  return FLIPS.map((_, flip) => counts.reduce((sum, row) => sum + row[flip], 0));
}
