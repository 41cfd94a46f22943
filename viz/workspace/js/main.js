// The workspace: one state, one trace, and the views that show them.

import { Look } from './color.js';
import { el, hasOwnKeys } from './dom.js';
import { download, picture } from './fetching.js';
import { Layout } from './layout.js';
import { TokenTrace, clamp } from './model.js';
import { SeenSheets } from './seen-sheet.js';
import { Share } from './share.js';
import { Stage } from './stage.js';
import { START, State } from './state.js';
import { Tip } from './tip.js';

// Views of what a stop of a scrub does not hold, and what stands in their place meanwhile.
const RUN_ONLY = {
  replay: 'A stop of a scrub does not hold the order of the selection; go back to the run to replay it.',
  compare: 'Runs are compared with the run, not with a stop of its scrub; go back to the run.',
  embedding: 'The likeness of the tokens is shown with the fates of the run; go back to the run.',
  edits: 'Edits are of the run, not of a stop of its scrub; go back to the run.',
  evidence: 'What became of the evidence is told of the run; go back to the run.',
};

/**
 * state        State, what is selected and how it is shown
 * trace        TokenTrace or null
 * sprite       picture of all frames, or null
 * urls         where bundle, sprite, clip and trace file are
 * look         Look of the current stage and overlay
 * seen         SeenSheets, the frames as the LLM has them
 * plain        the overlay to fall back on: without pictures there is nothing to re-render
 * views        {name: View}
 * deck         Tabs, what shares the place beside the clip
 * register(name, title, ViewClass)   one more panel behind the tabs, before or after ``show``
 * choose(name), only(names)   a panel in sight; these views alone, without tabs
 * show(urls)   another trace: {bundle, sprite, clip, trace, key}; resolves when it is drawn
 * hover(token), lock(token, add), clear(), move(rows, cols, frames), goTo(frame), seek(seconds)
 * send(name, detail)   an event to the page's server; nothing happens in a report without one
 * run          TokenTrace of what ``urls`` name, where ``trace`` is a stop of its scrub
 * showStop(trace)   a stop of the run's scrub in every view that can show one; null: the run
 * keep(urls)   tell the page which trace is shown, where the page has not asked for it
 */
export class Workspace extends Layout {
  constructor(root, { trigger, keep } = {}) {
    super();
    this.root = root;
    this.send = trigger || (() => {});
    this.keep = keep || (() => {});
    this.served = Boolean(trigger); // whether somebody answers what is sent
    this.state = new State();
    this.views = {};
    this.sections = {}; // {name of a view: its element}
    this.drawn = {}; // counts for tests: what each view has on its canvas
    this.type = 1; // times the usual size of letters
    this.timing = { work: 0, latency: 0, shown: 0 }; // milliseconds: last hover, first trace
    this.trace = null;
    this.sprite = null;
    this.seen = new SeenSheets(this);
    this.urls = {};
    this.build();
    this.state.on((_, changed) => this.draw(changed));
    this.tip = new Tip(this);
    root.addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('keydown', (event) => this.keyElsewhere(event));
  }

  // --- a trace ----------------------------------------------------------------------------------

  async show(urls) {
    if (!urls || !urls.bundle) return;
    this.asked = urls;
    try {
      const same = this.sprite && this.urls.sprite === urls.sprite; // the pictures of the same clip
      const [buffer, sprite] = await Promise.all([
        download(urls.bundle), same ? this.sprite : picture(urls.sprite)]);
      if (urls !== this.asked) return; // another one was asked for in the meantime
      Object.assign(this, { before: this.trace, trace: new TokenTrace(buffer), sprite, urls });
    } catch (error) {
      if (urls === this.asked) this.close(`The trace could not be shown. ${error.message}`);
      return;
    }
    try {
      if (urls.live && alike(this.before, this.trace)) this.stay();
      else this.open();
      this.look = new Look(this.trace, this.state); // no view may meet that of the trace before
    } catch (error) {
      console.error('The trace could not be shown.', error);
      Object.assign(this, { trace: null, look: null });
      this.close('The trace could not be shown. Something broke here; open another one, or tell who runs this page.');
      return;
    }
    this.message.hidden = true;
    this.body.hidden = false;
    this.room.measure();
    Object.assign(this, { run: this.trace, left: null });
    this.leave(false);
    for (const view of Object.values(this.views)) this.give(view);
    this.state.changed.add('all');
    this.state.flush();
    this.root.dataset.key = urls.key || '';
    this.timing.shown = this.timing.shown || performance.now();
  }

  /** As it is best to begin with a trace. */
  open() {
    this.state.reset();
    const first = this.trace.opening;
    this.state.set({ frame: first, time: this.trace.seconds[first], overlay: this.plain });
  }

  /** Another trace of the same clip: selection, moment, stage and overlay stay as far as they can. */
  stay() {
    const { before, trace, state } = this;
    const { stage, overlay, word } = state;
    state.set({ hover: -1, step: -1, replaying: false, compare: [] });
    if (!trace.stages.some(({ key }) => key === stage)) state.set({ stage: 'end' });
    if (before.words[word]?.text !== trace.words[word]?.text) state.set({ word: -1, ...this.noWord() });
    if (!this.offers(overlay)) state.set({ overlay: this.plain });
  }

  give(view) {
    view.late = false;
    view.trace = this.trace;
    view.load(this.trace);
    view.draw(new Set(['all']));
  }

  // --- a stop of a scrub ------------------------------------------------------------------------

  showStop(stop) {
    const { state, run } = this;
    if (!this.left) {
      const { stage, overlay, word } = state;
      this.left = { stage, overlay, word }; // how the run was looked at
    }
    this.trace = stop || run;
    const { stage, overlay, word } = stop ? state : this.left;
    const reached = this.trace.stages.some(({ key }) => key === stage);
    const measured = overlay === 'fate' || this.trace.range(overlay, stage, stop ? -1 : word) !== null;
    state.set({
      step: -1, replaying: false, hover: -1, word: stop ? -1 : word,
      stage: reached ? stage : 'end', overlay: measured ? overlay : 'fate',
    });
    this.look = null;
    this.leave(Boolean(stop));
    for (const [name, view] of Object.entries(this.views)) {
      if (name in RUN_ONLY || name === 'scrub') continue; // these keep what they have of the run
      view.late = true;
      if (!this.hidden(name)) this.hand(view);
    }
    if (!stop) this.left = null;
    state.changed.add('all').add('stop');
    state.flush();
  }

  /** Put sentences in place of the views that a stop has nothing for, or take them away again. */
  leave(stop) {
    for (const [name, words] of Object.entries(RUN_ONLY)) {
      const view = this.views[name];
      if (Boolean(view.absent) === stop) continue;
      view.absent = stop;
      view.host.hidden = stop || Boolean(view.broken);
      view.instead?.remove();
      view.instead = stop ? el('p', { class: 'ws-broken' }, words) : null;
      if (stop) view.host.before(view.instead);
    }
  }

  /** Let a view take over the trace that is shown, without drawing it. */
  hand(view) {
    view.late = false;
    view.trace = this.trace;
    const { player, strip } = this.views; // what these load is the clip, which is the same and may be playing
    if (view !== player && view !== strip) view.load(this.trace);
  }

  /** Show nothing but a sentence: the trace before has no place beside what the page says now. */
  close(words) {
    this.message.textContent = words;
    this.message.hidden = false;
    this.body.hidden = true;
    this.urls = {};
    this.root.dataset.key = '';
  }

  // --- drawing ----------------------------------------------------------------------------------

  draw(changed) {
    if (!this.trace) return;
    if (!this.look || ['all', 'stage', 'overlay', 'fill', 'scale', 'step', 'word'].some((k) => changed.has(k))) {
      this.look = new Look(this.trace, this.state);
      changed.add('look');
    }
    if (changed.has('look')) this.colors = null; // the page may have turned dark
    const began = performance.now();
    for (const [name, view] of Object.entries(this.views)) {
      if (!this.hidden(name)) view.draw(changed);
    }
    if (changed.has('hover') && this.pointed) {
      const now = performance.now();
      this.timing.work = now - began + this.pointed.work;
      this.timing.latency = now - this.pointed.at;
      this.pointed = null;
    }
    this.retell(changed);
  }

  // --- selection --------------------------------------------------------------------------------

  hover(token) {
    if (token === this.state.hover) return;
    const at = performance.now();
    this.state.set({ hover: token });
    this.pointed = { at, work: performance.now() - at };
  }

  /** Select a token and seek the clip to its frame; with ``add`` keep what is selected already. */
  lock(token, add = false) {
    if (token < 0) return;
    const rest = this.state.locked.filter((other) => other !== token);
    const again = rest.length < this.state.locked.length;
    if (add && again) this.state.set({ locked: rest });
    else this.state.set({ locked: add ? [...rest, token] : [token] });
    this.goTo(this.trace.frameOf(token));
  }

  clear() { this.state.set({ locked: [], hover: -1, word: -1, step: -1, replaying: false, ...this.noWord() }); }

  /** Attention overlays are about a word; without one they say nothing. */
  noWord() {
    return ['attention', 'full'].includes(this.state.overlay) ? { overlay: this.plain } : {};
  }

  /** Whether the trace has what an overlay shows, and a word is chosen where it takes one. */
  offers(overlay) {
    const { state, trace } = this;
    if (overlay === 'seen') return Boolean(this.sprite);
    return ['fate', 'members'].includes(overlay) || trace.range(overlay, state.stage, state.word) !== null;
  }

  get plain() { return this.sprite ? START.overlay : 'fate'; }

  /** Move the selection by cells and frames, stopping at the edges. */
  move(rows, cols, frames = 0, add = false) {
    const { trace, state } = this;
    const from = state.locked.length ? state.locked[state.locked.length - 1] : -1;
    if (from < 0) {
      const middle = trace.index(state.frame, trace.rows >> 1, trace.cols >> 1);
      this.lock(middle);
      return;
    }
    const to = trace.index(
      clamp(trace.frameOf(from) + frames, 0, trace.frames - 1),
      clamp(trace.rowOf(from) + rows, 0, trace.rows - 1),
      clamp(trace.colOf(from) + cols, 0, trace.cols - 1),
    );
    state.set({ hover: -1 });
    if (to !== from) this.lock(to, add);
  }

  goTo(frame) { this.seek(this.trace.seconds[frame], frame); }

  seek(seconds, frame = this.trace.frameAt(seconds)) {
    this.state.set({ time: seconds, frame });
    this.views.player.seek(seconds);
  }

  key(event) {
    if (!this.trace || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') {
      this.clear();
      return;
    }
    if (!hasOwnKeys(event.target)) this.act(event);
  }

  act(event) {
    const act = {
      ArrowLeft: () => this.move(0, -1, 0, event.shiftKey),
      ArrowRight: () => this.move(0, 1, 0, event.shiftKey),
      ArrowUp: () => this.move(-1, 0, 0, event.shiftKey),
      ArrowDown: () => this.move(1, 0, 0, event.shiftKey),
      PageUp: () => this.step(-1),
      PageDown: () => this.step(1),
      Home: () => this.goTo(0),
      End: () => this.goTo(this.trace.frames - 1),
      ' ': () => this.views.player.toggle(),
      h: () => this.state.set({ image: !this.state.image }),
      r: () => this.views.scrub.back(),
      f: () => this.stage?.enter(this.stage.first),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** The letters work wherever the focus is, but where somebody writes; of several workspaces the first has them. */
  keyElsewhere(event) {
    if (!this.trace || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!['f', 'h', 'r'].includes(event.key) || event.defaultPrevented) return;
    if (event.target.closest?.('input, select, textarea, [contenteditable]')) return;
    const first = [...document.querySelectorAll('.workspace')].find((one) => one.checkVisibility());
    if (first === this.root) this.act(event);
  }

  /** One frame on or back, the selected cell with it. */
  step(frames) {
    if (this.state.locked.length) this.move(0, 0, frames);
    else this.goTo(clamp(this.state.frame + frames, 0, this.trace.frames - 1));
  }

  /** What tests may look at. */
  snapshot() {
    const { hover, focus, locked, frame, time, stage, overlay, fill, wipe, word, step, playing } = this.state;
    return {
      ready: Boolean(this.trace), settled: !this.state.pending, n: this.trace ? this.trace.n : 0, hover, focus, locked: [...locked],
      frame, time, stage, overlay, fill, wipe, word, step, playing, scrub: this.views.scrub.value, drawn: { ...this.drawn },
      timing: { ...this.timing },
    };
  }
}

/** Build a workspace in ``root``; without ``trigger`` it has no server to talk to. */
export function mount(root, { trigger, keep } = {}) {
  const workspace = new Workspace(root, { trigger, keep });
  workspace.stage = new Stage(workspace);
  new Share(workspace, Boolean(trigger));
  Object.defineProperty(window, '__tokenview', { configurable: true, get: () => workspace.snapshot() });
  return workspace;
}

/** Whether two traces have the same tokens at the same times. */
function alike(one, other) {
  return one && ['n', 'frames', 'rows', 'height', 'width'].every((name) => one[name] === other[name])
    && one.seconds.every((time, frame) => time === other.seconds[frame]);
}
