// Why?: what the answer hangs on, in one sentence with its proof, and the runs that prove it as bars.
// The server compares the runs; a row opens as a trace of its own.

import { announce, el } from './dom.js';
import { select } from './lasso.js';
import { sameAnswer } from './pair.js';
import { many } from './story.js';
import { View } from './view.js';

export class WhyView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.why = null; // what the server found
    this.home = null; // urls of the trace that it is about
    this.opened = new Map(); // key of a trace -> the row that it is of
    this.asked = null; // {id, row} while the server works
    this.build();
    document.addEventListener('tokens-why', ({ detail }) => this.hear(detail));
  }

  build() {
    const button = (words, act, kind = 'ws-act') => el('button', { type: 'button', class: kind, onclick: act }, words);
    this.go = button('Why?', () => this.ask(false), 'ws-act ws-main ws-why-go');
    this.stop = button('Cancel', () => this.cancel());
    this.hint = el('p', { class: 'ws-quiet-text' });
    this.status = el('p', { class: 'ws-why-status', role: 'status' });
    this.meter = el('progress', { max: '1', 'aria-label': 'Progress', hidden: true });
    this.sentence = el('p', { class: 'ws-why-sentence', 'aria-live': 'polite' });
    this.show = button('Show these tokens', () => this.select());
    this.more = button('Search on', () => this.ask(true));
    this.back = button('Back to the run in question', () => this.open(this.home));
    this.acts = el('div', { class: 'ws-tools' }, this.show, this.more, this.back);
    this.rows = el('ol', { class: 'ws-why-rows' });
    this.head = el('p', { class: 'ws-quiet-text' });
    this.fold = el('details', { class: 'ws-why-proof' }, el('summary', {}, 'The runs that prove it'), this.head, this.rows);
    this.host.append(
      el('div', { class: 'ws-tools' }, this.go, this.stop, this.hint, this.status, this.meter),
      this.sentence, this.acts, this.fold);
  }

  load() {
    const { urls } = this.workspace;
    const ours = this.home && (urls.key === this.home.key || this.opened.has(urls.key));
    if (ours) return;
    this.cancel();
    this.why = null;
    this.home = urls;
    this.opened.clear();
    this.tell('');
  }

  draw(changed) {
    if (this.trace && changed.has('all')) this.fill();
  }

  /** Why nobody can be asked; '' where somebody can. */
  obstacle() {
    if (!this.workspace.served) return 'Only a running page can tell why; this is a saved one.';
    if (!this.home.again) return 'Nobody knows which clip this trace was made of, so its runs cannot be compared: press Run and ask about that run.';
    return '';
  }

  // --- the server -------------------------------------------------------------------------------

  ask(more) { this.request({ more }, null); }

  /** Run a row for its trace, or show it again. */
  openRow(row) {
    if (row.kind === 'compressed') {
      this.open(this.home);
      return;
    }
    const known = [...this.opened.values()].find((other) => other.row === row);
    if (known) this.open(known.urls);
    else this.request(row.edit ? { edit: row.edit } : { method: row.method }, row);
  }

  request(what, row) {
    if (this.asked || this.obstacle()) return;
    WhyView.count += 1;
    this.asked = { id: `${this.workspace.id('why')}-${WhyView.count}`, row };
    this.tell('Waiting for the model …', 0);
    this.workspace.send('why', { id: this.asked.id, key: this.home.key, ...what });
    this.fill();
  }

  cancel() {
    if (!this.asked) return;
    this.workspace.send('stop_why', { id: this.asked.id });
    this.asked = null;
    this.tell('Cancelled; nothing was changed.');
    this.fill();
  }

  /** News of a run; those of other workspaces and of cancelled runs are nobody's. */
  hear(news) {
    if (!news || !this.asked || news.id !== this.asked.id) return;
    if (news.stage) {
      this.tell(`${news.stage} …`, news.fraction, news.elapsed);
      return;
    }
    const { row } = this.asked;
    this.asked = null;
    this.tell(news.done || news.opened ? '' : news.error);
    if (news.done) {
      this.why = news.done;
      this.opened.clear();
      this.fold.open = true;
    }
    if (news.opened) {
      this.opened.set(news.opened.key, { row, urls: news.opened });
      this.open(news.opened);
    }
    this.fill();
  }

  /** Show a run in every view, with the selection and the moment as they are. */
  async open(urls) {
    if (urls.key === this.workspace.urls.key) return;
    const { locked, frame, time, stage } = this.state;
    await this.workspace.show(urls);
    if (this.workspace.urls.key !== urls.key) return; // its file is gone, or another was asked for
    this.workspace.keep(urls);
    const known = this.trace.stages.some(({ key }) => key === stage);
    this.state.set({ locked, ...(known ? { stage } : {}) });
    this.workspace.seek(time, frame);
  }

  select() {
    const { tokens } = this.why;
    select(this.workspace, tokens);
    this.workspace.goTo(this.trace.frameOf(tokens[0]));
    this.workspace.views.player.host.scrollIntoView({ block: 'nearest' });
  }

  // --- drawing ----------------------------------------------------------------------------------

  tell(words, fraction = null, elapsed = null) {
    announce(this.status, words, elapsed);
    this.meter.hidden = fraction === null;
    this.meter.value = fraction || 0;
  }

  fill() {
    const { why, asked } = this;
    const obstacle = this.obstacle();
    this.go.disabled = Boolean(obstacle || asked);
    this.go.textContent = why ? 'Why? again' : 'Why?';
    this.hint.textContent = obstacle || (why || asked ? '' : 'What does this answer hang on? Compares some 15 runs.');
    this.hint.hidden = !this.hint.textContent;
    this.stop.hidden = !asked;
    this.sentence.textContent = why ? why.sentence : '';
    this.sentence.hidden = !why;
    this.fold.hidden = !why;
    this.acts.hidden = !why;
    if (!why) return;
    const { tokens, found } = why;
    this.show.hidden = !tokens.length;
    this.show.textContent = tokens.length === 1 ? 'Show this token' : `Show these ${tokens.length} tokens`;
    this.more.hidden = found.done;
    this.back.hidden = this.workspace.urls.key === this.home.key;
    for (const button of [this.more, this.back]) button.disabled = Boolean(asked);
    this.head.textContent = `Run, P(${why.wanted}) and what it says`;
    this.rows.replaceChildren(...grouped(why.rows).map((rows) => this.line(rows)));
  }

  /** One row, or all draws of random tokens in one. */
  line(rows) {
    const { wanted } = this.why;
    const [first] = rows;
    const chances = rows.map((row) => row.probabilities[wanted] || 0);
    const mean = chances.reduce((sum, one) => sum + one, 0) / rows.length;
    const turned = rows.filter((row) => sameAnswer(row.answer, wanted)).length;
    const said = rows.length > 1 ? `${turned} of ${rows.length} draws say “${wanted}”` : `“${first.answer}”`;
    const bar = el('span', { class: 'ws-why-bar', 'aria-hidden': 'true' }, el('span', { style: `width:${100 * mean}%` }));
    if (rows.length > 1) for (const one of chances) bar.append(el('i', { style: `left:${100 * one}%` }));
    return el('li', { class: turned * 2 > rows.length ? 'ws-why-good' : null },
      el('span', { class: 'ws-why-label' }, labelOf(rows), el('span', { class: 'ws-quiet-text' }, ` ${budgetOf(first)}`)),
      bar, el('b', { class: 'ws-why-chance' }, chance(mean)), el('span', { class: 'ws-why-said' }, said),
      el('span', { class: 'ws-why-open' }, ...rows.map((row, draw) => this.opener(row, rows.length > 1 ? String(draw + 1) : 'Open'))));
  }

  opener(row, words) {
    if (row.kind !== 'compressed' && !row.edit && !row.method) return null;
    const { key } = this.workspace.urls;
    const here = key === this.home.key ? row.kind === 'compressed' : this.opened.get(key)?.row === row;
    return el('button', {
      type: 'button', class: 'ws-token', disabled: Boolean(this.asked), 'aria-current': here ? 'true' : null,
      'aria-label': `Open the run: ${row.label}`, onclick: () => this.openRow(row),
    }, here ? 'Shown' : words);
  }

  table() { return null; }
}

WhyView.count = 0; // of requests of this page: no two share an id

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
