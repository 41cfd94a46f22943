// Stage mode: one view over the whole screen, in large type, led by keys alone.

import { el, hasOwnKeys } from './dom.js';
import { clamp } from './model.js';
import { briefOf } from './story.js';

const VIEWS = [['player', 'Clip'], ['strip', 'Every frame'], ['bars', 'Tokens over time'], ['sheet', 'What the LLM got'],
  ['plane', 'Space and time'], ['words', 'Words'], ['budget', 'Budget'], ['flow', 'Flow'], ['embedding', 'Likeness'],
  ['scrub', 'Scrub']]; // the digits 1 to 9 and 0
const LEGEND = ['player', 'strip', 'bars', 'sheet', 'plane', 'embedding'];
const TYPE = 1.7; // times as large as usual
const KEYS = [['1 … 9, 0', 'choose a view'], ['← →', 'a frame back, a frame on'], ['↑ ↓', 'a stage of the compression back, on'],
  ['Space', 'play, pause'], ['Home, End', 'first, last frame'], ['h', 'image only'], ['?', 'these keys'], ['f, Escape', 'leave; Escape closes this list first']];

export class Stage {
  constructor(workspace) {
    Object.assign(this, { workspace, name: '', full: false });
    this.title = el('p', { class: 'ws-stage-title' });
    this.said = el('p', { class: 'ws-stage-said' });
    this.foot = el('p', { class: 'ws-stage-foot', role: 'status' });
    this.help = el('dl', { class: 'ws-stage-help', hidden: true, 'aria-label': 'Keys' },
      ...KEYS.flatMap(([key, words]) => [el('dt', {}, key), el('dd', {}, words)]),
      ...VIEWS.flatMap(([, words], at) => [el('dt', {}, String((at + 1) % 10)), el('dd', {}, words)]));
    this.head = el('header', { class: 'ws-stage-head', hidden: true }, this.title, this.said);
    this.tail = el('footer', { class: 'ws-stage-tail', hidden: true }, this.foot, this.help);
    this.button = el('button', { type: 'button', class: 'ws-stage-go', title: 'Full screen, large type, keys only',
      onclick: () => this.enter(this.first) }, 'Stage (f)');
    const { root, body, state } = workspace;
    body.prepend(this.head);
    body.append(this.tail);
    workspace.sections.why.querySelector('.ws-tools').append(this.button);
    root.addEventListener('keydown', (event) => this.key(event), true); // before the views
    document.addEventListener('fullscreenchange', () => this.changed());
    state.on((_, changed) => this.tell(changed));
  }

  /** The view to begin with: the one behind the chosen tab, else the clip. */
  get first() { return VIEWS.some(([name]) => name === this.workspace.chosen) ? this.workspace.chosen : 'player'; }

  /** Whether a view is on the stage: the chosen one, and the legend where it has fates or colors. */
  shows(name) { return name === this.name || (name === 'legend' && LEGEND.includes(this.name)); }

  offers(name) { return VIEWS.some(([known]) => known === name); }

  /** Take the whole screen. A browser allows that to clicks and keys only; else the window has to do. */
  enter(name) {
    const { root } = this.workspace;
    if (!this.workspace.trace) return;
    if (!this.name) {
      this.before = { chosen: this.workspace.chosen, focus: document.activeElement };
      root.setAttribute('popover', 'manual');
      root.showPopover(); // over everything, whatever it stands in
      root.tabIndex = -1;
      root.classList.add('ws-staged');
      this.head.hidden = false;
      this.tail.hidden = false;
      if (navigator.userActivation?.isActive) {
        document.documentElement.requestFullscreen?.().then(() => { this.full = true; }).catch(() => {});
      }
    }
    this.choose(name);
    root.focus({ preventScroll: true });
  }

  leave() {
    const { root, room, state } = this.workspace;
    if (!this.name) return;
    this.name = '';
    this.workspace.type = 1;
    root.classList.remove('ws-staged');
    root.hidePopover();
    root.removeAttribute('popover');
    root.removeAttribute('tabindex');
    for (const part of [this.head, this.tail, this.help]) part.hidden = true;
    for (const section of Object.values(this.workspace.sections)) section.classList.remove('ws-on-stage');
    if (this.full) document.exitFullscreen?.().catch(() => {});
    this.full = false;
    this.workspace.choose(this.before.chosen);
    room.measure();
    state.changed.add('all');
    state.flush();
    (this.before.focus?.isConnected ? this.before.focus : this.button).focus({ preventScroll: true });
  }

  /** Escape closes the list of keys where it is open, else the stage. */
  escape() {
    if (this.help.hidden) this.leave();
    else this.help.hidden = true;
  }

  /** Escape of the browser, which takes the whole screen away. */
  changed() {
    if (!this.full || document.fullscreenElement) return;
    this.full = false;
    this.escape();
  }

  choose(name) {
    const { workspace } = this;
    this.name = name;
    workspace.type = TYPE;
    for (const [other, section] of Object.entries(workspace.sections)) section.classList.toggle('ws-on-stage', this.shows(other));
    const panel = workspace.sections[name].closest('[data-panel]')?.dataset.panel;
    if (panel) workspace.choose(['bars', 'strip'].includes(name) ? 'overview' : panel); // where they have most room
    workspace.room.measure();
    workspace.state.changed.add('all');
    workspace.state.flush();
  }

  key(event) {
    if (!this.name || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key !== 'Escape' && hasOwnKeys(event.target) && event.target.matches('input, select, textarea')) return;
    const { workspace } = this;
    const { state, trace } = workspace;
    const stage = (by) => {
      const at = trace.stages.findIndex(({ key }) => key === state.stage);
      state.set({ step: -1, stage: trace.stages[clamp(at + by, 0, trace.stages.length - 1)].key });
    };
    const digit = /^[0-9]$/.test(event.key) ? (Number(event.key) + 9) % 10 : -1;
    const act = digit >= 0 ? () => this.choose(VIEWS[digit][0]) : {
      ArrowLeft: () => workspace.step(-1),
      ArrowRight: () => workspace.step(1),
      ArrowUp: () => stage(-1),
      ArrowDown: () => stage(1),
      Home: () => workspace.goTo(0),
      End: () => workspace.goTo(trace.frames - 1),
      ' ': () => workspace.views.player.toggle(),
      h: () => state.set({ image: !state.image }),
      '?': () => { this.help.hidden = !this.help.hidden; },
      f: () => this.leave(),
      Escape: () => this.escape(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  tell(changed) {
    const { state, trace } = this.workspace;
    if (!this.name || !trace) return;
    if (['all', 'stop'].some((name) => changed.has(name))) this.speak();
    const [, title] = VIEWS.find(([name]) => name === this.name);
    const stage = trace.stages.find(({ key }) => key === state.stage).label;
    const token = state.focus;
    const words = token >= 0 ? briefOf(trace, token) : `frame ${state.frame}, ${trace.seconds[state.frame].toFixed(2)} s`;
    this.foot.textContent = `${title} · stage “${stage}” · ${words} · ? lists the keys`;
  }

  speak() {
    const { header } = this.workspace.trace;
    this.title.textContent = header.question || '–';
    const { answer, baseline_answer: baseline } = header;
    this.said.replaceChildren(...(baseline === null ? [] : ['Uncompressed: ', el('b', {}, baseline || '–'), ' · ']),
      'Compressed: ', el('b', {}, answer || '–'));
  }
}
