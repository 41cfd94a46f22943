// The clip: the file where it is known, else the frames of the trace at their times, and over it the
// cells of the frame that is shown.

import { digits } from './color.js';
import { el } from './dom.js';
import { FATE } from './fates.js';
import {
  DARK, EVIDENCE, LIGHT, Marks, drawCorners, drawFocus, drawFrame, drawHeld, drawLook, drawRims,
  drawSinks, font,
} from './marks.js';
import { seconds } from './story.js';
import { Layers, View } from './view.js';
import { Wipe } from './wipe.js';

const TALLEST = 400; // pixels

export class PlayerView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.layers = new Layers(host, 'Clip with its tokens. Arrows move by cell, Page Up and Page Down '
      + 'by frame, Space plays, h hides the marks, Escape clears.', () => this.draw(new Set(['size'])));
    this.video = el('video', { muted: true, playsinline: true, preload: 'auto', tabindex: '-1',
      'aria-hidden': 'true', onerror: () => this.lose(), onloadeddata: () => this.ready(),
      onseeked: () => this.arrive(),
      onended: () => this.state.set({ playing: false }) });
    this.video.muted = true;
    this.layers.box.prepend(this.video);
    this.layers.pick(workspace, (x, y) => (this.trace
      ? this.trace.at(this.state.frame, x / this.layers.wide, y / this.layers.tall) : -1));
    this.wipe = new Wipe(workspace, this.layers);
    this.button = el('button', { type: 'button', class: 'ws-play', onclick: () => this.toggle() });
    this.slider = el('input', {
      type: 'range', min: '0', step: '1', 'aria-label': 'Frame',
      oninput: () => workspace.goTo(Number(this.slider.value)),
    });
    this.clock = el('span', { class: 'ws-clock' });
    this.bar = el('div', { class: 'ws-transport' }, this.button, this.slider, this.clock);
    host.append(this.bar);
    this.live = false; // whether the file can be played
    this.seeking = false; // whether the file still shows the moment before
    this.still = false; // whether all of it is to be on the canvases, for a file of the frame
  }

  load(trace) {
    this.slider.max = String(trace.frames - 1);
    const { clip } = this.workspace.urls;
    if (this.live && this.clip === clip) { // the file that is there already
      if (!this.state.playing) {
        this.pause();
        this.seek(this.state.time);
      }
      this.fit();
      return;
    }
    this.pause();
    this.clip = clip;
    this.live = false;
    this.seeking = false;
    this.video.hidden = true;
    if (clip) this.video.src = new URL(clip, document.baseURI).href;
    else this.video.removeAttribute('src');
    this.fit();
  }

  ready() {
    this.live = true;
    this.video.hidden = false;
    this.seek(this.state.time);
    this.draw(new Set(['size']));
  }

  lose() {
    this.live = false;
    this.video.hidden = true;
    if (this.trace) this.draw(new Set(['size']));
  }

  /** How tall the clip may be: on one screen all but the handles around it. */
  get tallest() {
    const { host, layers, workspace } = this;
    if (!workspace.room.height) return TALLEST;
    const section = host.parentElement;
    const around = layers.box.offsetTop + this.bar.offsetHeight + 10;
    return Math.max(80, section.clientHeight - around);
  }

  fit() {
    const { width, height } = this.trace;
    const wide = Math.min(this.host.clientWidth, (this.tallest * width) / height);
    if (!wide) return;
    this.layers.box.style.width = `${Math.round(wide)}px`;
    this.layers.height = (wide * height) / width;
  }

  // --- time -------------------------------------------------------------------------------------

  toggle() {
    if (this.state.playing) this.pause();
    else this.play();
  }

  play() {
    const { trace, state } = this;
    const again = state.time >= trace.seconds[trace.frames - 1] - 1e-3;
    if (again) this.workspace.seek(trace.seconds[0]);
    state.set({ playing: true });
    if (this.live) this.video.play().catch(() => this.pause());
    this.since = { clock: performance.now(), time: state.time };
    requestAnimationFrame(() => this.tick());
  }

  pause() {
    this.video.pause();
    this.state.set({ playing: false });
  }

  /** While it plays, the clip's time is everybody's. */
  tick() {
    const { trace, state } = this;
    if (!state.playing || !trace) return;
    const time = this.live
      ? this.video.currentTime
      : this.since.time + (performance.now() - this.since.clock) / 1000;
    state.set({ time, frame: trace.frameAt(time) });
    if (time >= trace.end) this.pause();
    else requestAnimationFrame(() => this.tick());
  }

  /** Show this moment; called by the workspace whenever somebody else chose it. */
  seek(seconds) {
    if (this.live) {
      this.seeking = true; // until then the frame of the trace covers the old picture
      this.video.currentTime = seconds + 1e-3; // not the end of the frame before
    }
    this.since = { clock: performance.now(), time: seconds };
  }

  /** The picture of the moment that was sought is there. */
  arrive() {
    if (!this.seeking || this.video.seeking) return;
    this.seeking = false;
    this.layers.clear('under');
  }

  // --- drawing ----------------------------------------------------------------------------------

  placeOf(token) {
    if (this.trace.frameOf(token) !== this.state.frame) return null;
    const { x, y, w, h } = this.trace.box(token);
    const { wide, tall } = this.layers;
    return { x: x * wide, y: y * tall, w: w * wide, h: h * tall };
  }

  draw(changed) {
    const { layers, state, trace, workspace } = this;
    if (!trace) return;
    const any = (...names) => ['all', 'size', ...names].some((name) => changed.has(name));
    if (any('frame', 'playing', 'time')) this.transport();
    if (any()) this.fit();
    if (!layers.wide || !workspace.look) return;
    if (any('opacity', 'image', 'look')) layers.veil(state);
    if (any('image', 'look', 'wipe')) this.wipe.draw(workspace.look.seen && !state.image);
    if (any('frame', 'look', 'sinks', 'evidence', 'word')) this.base();
    if (any('frame', 'locked', 'image')) {
      layers.clear('held');
      if (!state.image) drawHeld(layers.held, state.locked, (token) => this.placeOf(token));
    }
    if (any('frame', 'look', 'hover', 'locked', 'step', 'image')) {
      layers.clear('top');
      if (!state.image) drawFocus(layers.top, workspace, (token) => this.placeOf(token));
    }
  }

  base() {
    const { layers, state, trace, workspace } = this;
    const whole = { x: 0, y: 0, w: layers.wide, h: layers.tall };
    layers.clear('under', 'over', 'marks');
    if (!this.live || this.seeking || this.still) drawFrame(layers.under, workspace, state.frame, whole);
    const { look } = workspace;
    if (look.seen) workspace.seen.draw(layers.over, state.frame, whole);
    else drawLook(layers.over, workspace, state.frame, whole);
    const first = state.frame * trace.perFrame;
    if (!look.scalar) {
      const marks = new Marks(trace.codes, look.seen);
      for (let i = first; i < first + trace.perFrame; i += 1) marks.add(look.fate[i], this.placeOf(i));
      if (look.seen) marks.thin(layers.marks);
      else marks.paint(layers.marks);
      this.sizes(first);
    } else {
      drawRims(layers.marks, look, first, first + trace.perFrame, (token) => this.placeOf(token));
    }
    if (state.sinks) drawSinks(layers.marks, trace, (token) => this.placeOf(token), [state.frame]);
    drawFlags(layers.marks, workspace, (token) => this.placeOf(token));
  }

  /** How many tokens each center carries, where there is room to write it. */
  sizes(first) {
    const { layers, state, trace, workspace } = this;
    const pen = layers.marks;
    pen.font = font(workspace, 11, 600);
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    for (let i = first; i < first + trace.perFrame; i += 1) {
      const cell = this.placeOf(i);
      if (workspace.look.fate[i] !== FATE.CENTER || cell.w < 22) continue;
      const words = String(trace.members(i, state.stage === 'layer' ? 'end' : state.stage).length);
      const [x, y] = [cell.x + cell.w / 2, cell.y + cell.h / 2];
      pen.lineWidth = 3;
      pen.strokeStyle = DARK;
      pen.strokeText(words, x, y);
      pen.fillStyle = LIGHT;
      pen.fillText(words, x, y);
    }
  }

  transport() {
    const { playing, frame, time } = this.state;
    this.button.textContent = playing ? '❚❚' : '▶';
    this.button.setAttribute('aria-label', playing ? 'Pause' : 'Play');
    this.slider.value = String(frame);
    const words = `frame ${frame}, ${seconds(this.trace.seconds[frame])}`;
    this.slider.setAttribute('aria-valuetext', words);
    this.clock.textContent = `${seconds(Math.max(0, time))} · frame ${frame}`;
  }

  table() {
    const { trace, state } = this;
    const first = state.frame * trace.perFrame;
    const rows = Array.from({ length: trace.perFrame }, (_, cell) => tokenRow(trace, first + cell));
    return { head: TOKEN_HEAD, rows };
  }
}

export const TOKEN_HEAD = ['Token', 'Frame', 'Cell', 'Fate', 'Contribution', 'Cosine to the pool', 'Relevance', 'Members'];

/** A token as a row of a table. */
export function tokenRow(trace, i) {
  const known = (value) => (Number.isFinite(value) ? digits(value) : '–');
  return [
    i, trace.frameOf(i), `(${trace.rowOf(i)}, ${trace.colOf(i)})`,
    `${trace.codes[trace.fate[i]].glyph} ${trace.codes[trace.fate[i]].label.split(' (')[0]}`,
    known(trace.contribution[i]), known(trace.similarity[i]), known(trace.relevance[i]),
    trace.members(i).length || '–',
  ];
}

/** Cells with the evidence, and cells that the chosen word wanted and did not get. */
export function drawFlags(context, workspace, placeOf) {
  const { trace, state } = workspace;
  if (state.evidence) {
    for (const token of trace.evidence) {
      const cell = placeOf(token);
      if (cell) drawCorners(context, cell, EVIDENCE, true);
    }
  }
  const missed = state.word >= 0 ? trace.missed(state.word) : null;
  if (!missed) return;
  for (const [tokens, solid] of [[missed.merged, false], [missed.lost, true]]) {
    for (const token of tokens) {
      const cell = placeOf(token);
      if (cell) drawCorners(context, cell, '#E69F00', solid);
    }
  }
}
