// Why?: the button beside the verdict and what the answer hangs on, in one sentence. The line keeps its
// height, so that the clip under it keeps its place; the runs that prove it are behind a tab, view-proof.js.

import { Asking } from './asking.js';
import { el } from './dom.js';
import { select } from './lasso.js';
import { View } from './view.js';

export class WhyView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.why = null; // what the server found
    this.home = null; // urls of the trace that it is about
    this.opened = new Map(); // key of a trace -> the row that it is of
    this.asking = new Asking('why', (...sent) => this.workspace.send(...sent), {
      stops: 'stop_why', look: 'ws-why-status', changed: () => this.fill(), ended: (news, row) => this.hear(news, row),
    });
    this.build();
  }

  build() {
    const { stop, status, meter } = this.asking;
    this.go = el('button', { type: 'button', class: 'ws-act ws-main ws-why-go', onclick: () => this.ask(false) }, 'Why?');
    this.hint = el('p', { class: 'ws-quiet-text' });
    this.sentence = el('p', { class: 'ws-why-sentence', 'aria-live': 'polite' });
    this.proof = el('button', { type: 'button', class: 'ws-act ws-why-proof', onclick: () => this.workspace.choose('proof') },
      'The runs that prove it');
    this.host.append(el('div', { class: 'ws-tools ws-why-line' }, this.go,
      el('div', { class: 'ws-why-said', tabindex: '0', role: 'group', 'aria-label': 'What the answer hangs on' },
        this.hint, status, this.sentence), meter, stop, this.proof));
  }

  load() {
    const { urls } = this.workspace;
    const ours = this.home && (urls.key === this.home.key || this.opened.has(urls.key));
    if (ours) return;
    this.home = urls;
    this.why = null;
    this.opened.clear();
    this.asking.forget();
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
    if (!this.asking.busy && !this.obstacle()) this.asking.ask({ key: this.home.key, ...what }, row);
  }

  hear(news, row) {
    if (news.done) {
      this.why = news.done;
      this.opened.clear();
    }
    if (news.opened) {
      this.opened.set(news.opened.key, { row, urls: news.opened });
      this.open(news.opened);
    }
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

  fill() {
    const { why, asking } = this;
    const obstacle = this.obstacle();
    this.go.disabled = Boolean(obstacle || asking.busy);
    this.go.textContent = why ? 'Why? again' : 'Why?';
    const quiet = why || asking.busy || asking.status.textContent;
    this.hint.textContent = obstacle || (quiet ? '' : 'What does this answer hang on? Compares some 15 runs.');
    this.hint.hidden = !this.hint.textContent;
    this.sentence.textContent = why ? why.sentence : '';
    this.sentence.hidden = !why;
    this.proof.hidden = !why;
    this.workspace.views.proof?.fill();
  }

  table() { return null; }
}
