// The runs behind the sentence of Why?, as bars of probability; a row opens as a trace of its own.

import { el } from './dom.js';
import { sameAnswer } from './pair.js';
import { many } from './story.js';
import { View } from './view.js';

export class ProofView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    const button = (words, act, kind = 'ws-act') => el('button', { type: 'button', class: kind, onclick: act }, words);
    this.nothing = el('p', { class: 'ws-quiet-text' });
    this.go = button('Why?', () => this.about.ask(false), 'ws-act ws-main');
    this.show = button('', () => this.about.select());
    this.more = button('Search on', () => this.about.ask(true));
    this.back = button('Back to the run in question', () => this.about.open(this.about.home));
    this.acts = el('div', { class: 'ws-tools' }, this.show, this.more, this.back);
    this.sentence = el('p', { class: 'ws-why-told' });
    this.head = el('p', { class: 'ws-quiet-text' });
    this.rows = el('ol', { class: 'ws-why-rows' });
    this.host.append(el('div', { class: 'ws-tools' }, this.go, this.nothing), this.sentence, this.acts, this.head, this.rows);
  }

  /** The view Why?, which asks and keeps what is known. */
  get about() { return this.workspace.views.why; }

  draw(changed) {
    if (this.trace && changed.has('all')) this.fill();
  }

  fill() {
    if (!this.about.home) return; // no trace yet
    const { why, home, asking } = this.about;
    const obstacle = this.about.obstacle();
    for (const part of [this.sentence, this.acts, this.head, this.rows]) part.hidden = !why;
    for (const part of [this.go, this.nothing]) part.hidden = Boolean(why);
    this.go.disabled = Boolean(obstacle || asking.busy);
    this.nothing.textContent = obstacle || 'compares the run with others of the same clip and question; they are listed here.';
    if (!why) return;
    const { tokens, found } = why;
    this.sentence.textContent = why.sentence;
    this.show.hidden = !tokens.length;
    this.show.textContent = tokens.length === 1 ? 'Show this token' : `Show these ${tokens.length} tokens`;
    this.more.hidden = found.done;
    this.back.hidden = this.workspace.urls.key === home.key;
    for (const button of [this.more, this.back]) button.disabled = Boolean(asking.busy);
    this.head.textContent = `Run, P(${why.wanted}) and what it says`;
    this.rows.replaceChildren(...grouped(why.rows).map((rows) => this.line(rows)));
  }

  /** One row, or all draws of random tokens in one. */
  line(rows) {
    const { wanted } = this.about.why;
    const [first] = rows;
    const chances = rows.map((row) => row.probabilities[wanted] || 0);
    const mean = chances.reduce((sum, one) => sum + one, 0) / rows.length;
    const turned = rows.filter((row) => sameAnswer(row.answer, wanted)).length;
    const said = rows.length > 1 ? `${turned} of ${rows.length} draws say “${wanted}”` : `“${first.answer}”`;
    const bar = el('span', { class: 'ws-why-bar', 'aria-hidden': 'true' }, el('span', { style: `width:${100 * mean}%` }));
    if (rows.length > 1) for (const one of chances) bar.append(el('i', { style: `left:${100 * one}%` }));
    return el('li', { class: turned * 2 > rows.length ? 'ws-why-good' : null },
      el('span', { class: 'ws-why-label' }, labelOf(rows), el('span', { class: 'ws-quiet-text' }, ` ${budgetOf(first)}`)),
      bar, el('b', { class: 'ws-why-chance' }, chance(mean)), el('span', { class: 'ws-why-says' }, said),
      el('span', { class: 'ws-why-open' }, ...rows.map((row, draw) => this.opener(row, rows.length > 1 ? String(draw + 1) : 'Open'))));
  }

  opener(row, words) {
    if (row.kind !== 'compressed' && !row.edit && !row.method) return null;
    const { about } = this;
    const { key } = this.workspace.urls;
    const here = key === about.home.key ? row.kind === 'compressed' : about.opened.get(key)?.row === row;
    return el('button', {
      type: 'button', class: 'ws-token', disabled: Boolean(about.asking.busy), 'aria-current': here ? 'true' : null,
      'aria-label': `Open the run: ${row.label}`, onclick: () => about.openRow(row),
    }, here ? 'Shown' : words);
  }

  table() { return null; }
}

/** Rows in lines: draws of random tokens share one. */
export function grouped(rows) {
  const lines = [];
  for (const row of rows) {
    const last = lines[lines.length - 1];
    if (row.kind === 'random' && last && last[0].kind === 'random') last.push(row);
    else lines.push([row]);
  }
  return lines;
}

export function labelOf(rows) {
  const [{ label }] = rows;
  const words = rows.length > 1 ? label.replace(/, draw \d+$/, '') : label;
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function budgetOf({ tokens, budget }) { return `${many(tokens, 'token')}${budget ? `, ${budget}` : ''}`; }

export function chance(share) {
  const percent = 100 * share;
  if (percent > 0 && percent < 0.1) return '< 0.1\u00a0%';
  return `${percent < 10 ? percent.toFixed(1) : percent.toFixed(0)}\u00a0%`;
}
