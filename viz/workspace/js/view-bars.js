// Tokens per frame over the seconds of the clip: a bar is a frame, a block of it a token.

import { digits } from './color.js';
import { FATE, OPEN, RECYCLED } from './fates.js';
import { EVIDENCE, drawBar, drawHeld, drawRing, font, ink, niceStep, stroke } from './marks.js';
import { clamp } from './model.js';
import { seconds } from './story.js';
import { Layers, View } from './view.js';

const TALL = 128; // pixels
const LOW = 100; // where the row is low
const STACK = [FATE.KEPT, FATE.CENTER, FATE.MERGED_INSIDE, FATE.DROPPED_INSIDE, RECYCLED, OPEN];

export class BarsView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.layers = new Layers(host, 'Tokens per frame over time. Arrows move by cell, Page Up and Page '
      + 'Down by frame.', () => this.draw(new Set(['size'])));
    this.layers.height = TALL;
    this.layers.top.canvas.addEventListener('click', (event) => {
      const [x, y] = this.layers.at(event);
      if (this.trace && this.find(x, y) < 0) workspace.goTo(this.frameAt(x));
    });
    this.layers.pick(workspace, (x, y) => this.find(x, y));
  }

  fit() {
    const { room: { height }, stage } = this.workspace;
    const whole = stage?.name === 'bars';
    this.layers.height = whole ? height : height && height < 420 ? LOW : TALL;
  }

  /** Tokens of every frame that have a block, from the bottom up, and the height of the axis. */
  stack() {
    const { trace, workspace, state } = this;
    const { fate } = workspace.look;
    const shown = STACK.filter((code) => code !== OPEN || (state.stage === 'raw' && state.step < 0));
    const pile = trace.codes.map((_, code) => shown.indexOf(code));
    this.stacks = Array.from({ length: trace.frames }, (_, frame) => {
      const first = frame * trace.perFrame;
      const piles = shown.map(() => []);
      for (let i = first; i < first + trace.perFrame; i += 1) {
        if (pile[fate[i]] >= 0) piles[pile[fate[i]]].push(i);
      }
      return piles.flat();
    });
    this.most = Math.max(1, ...this.stacks.map((stack) => stack.length));
    this.places = new Int32Array(trace.n).fill(-1);
    for (const stack of this.stacks) stack.forEach((token, place) => { this.places[token] = place; });
  }

  // --- geometry ---------------------------------------------------------------------------------

  get area() {
    const { layers: { wide, tall }, workspace: { type } } = this;
    return { left: 34 * type, top: 8, right: wide - 6, bottom: tall - 22 * type };
  }

  x(time) {
    const { left, right } = this.area;
    const [from, to] = [this.trace.seconds[0], this.trace.end];
    return left + ((time - from) / (to - from)) * (right - left);
  }

  span(frame) {
    const { trace } = this;
    const from = this.x(trace.seconds[frame]);
    const to = this.x(frame + 1 < trace.frames ? trace.seconds[frame + 1] : trace.end);
    const gap = Math.min(3, (to - from) * 0.15);
    return [from + gap / 2, Math.max(1, to - from - gap)];
  }

  unit() { return (this.area.bottom - this.area.top) / this.most; }

  block(frame, place) {
    const [x, w] = this.span(frame);
    const unit = this.unit();
    return { x, y: this.area.bottom - (place + 1) * unit, w, h: unit };
  }

  frameAt(x) {
    const { left, right } = this.area;
    const [from, to] = [this.trace.seconds[0], this.trace.end];
    return this.trace.frameAt(from + ((x - left) / (right - left)) * (to - from));
  }

  find(x, y) {
    const { left, right, bottom } = this.area;
    if (!this.trace || !this.stacks || x < left || x > right || y > bottom) return -1;
    const place = Math.floor((bottom - y) / this.unit());
    return this.stacks[this.frameAt(x)][place] ?? -1;
  }

  placeOf(token) {
    const place = this.places[token];
    return place < 0 ? null : this.block(this.trace.frameOf(token), place);
  }

  // --- drawing ----------------------------------------------------------------------------------

  draw(changed) {
    const { layers, trace, workspace } = this;
    if (!trace || !workspace.look) return;
    const any = (...names) => ['all', 'size', ...names].some((name) => changed.has(name));
    if (any('look') || !this.stacks) this.stack();
    if (any()) this.fit();
    if (!layers.wide) return;
    if (any('look', 'evidence')) this.base();
    if (any('look', 'locked')) {
      layers.clear('held');
      drawHeld(layers.held, this.state.locked, (token) => this.placeOf(token));
    }
    if (any('look', 'hover', 'locked', 'time', 'frame')) this.overlay();
  }

  base() {
    const { layers, trace, workspace, area } = this;
    const { under } = layers;
    const colors = ink(workspace);
    layers.clear('under', 'over');
    this.axes(under, colors);
    let blocks = 0;
    const unit = this.unit();
    this.stacks.forEach((stack, frame) => {
      const runs = [];
      stack.forEach((token, place) => {
        const code = workspace.look.fate[token];
        const last = runs[runs.length - 1];
        if (last && last.code === code && unit < 5) last.count += 1;
        else runs.push({ code, place, count: 1 });
      });
      const [x, w] = this.span(frame);
      for (const { code, place, count } of runs) {
        const gap = unit >= 5 ? 1 : 0;
        drawBar(under, trace.codes[code], x, area.bottom - (place + count) * unit + gap, w, count * unit - gap);
      }
      blocks += stack.length;
    });
    workspace.drawn.bars = blocks;
    if (this.state.evidence) this.evidence(under, colors);
  }

  axes(context, colors) {
    const { area, trace, workspace } = this;
    context.font = font(workspace);
    context.fillStyle = colors.quiet;
    context.strokeStyle = colors.rule;
    context.lineWidth = 1;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    const step = Math.max(1, niceStep(this.most, 3));
    for (let value = 0; value <= this.most; value += step) {
      const y = Math.round(area.bottom - value * this.unit()) + 0.5;
      context.beginPath();
      context.moveTo(area.left, y);
      context.lineTo(area.right, y);
      context.stroke();
      context.fillText(String(value), area.left - 6, y);
    }
    context.textAlign = 'center';
    context.textBaseline = 'top';
    const span = trace.end - trace.seconds[0];
    const tick = niceStep(span, (area.right - area.left) / (70 * workspace.type));
    for (let time = Math.ceil(trace.seconds[0] / tick) * tick; time <= trace.end + 1e-6; time += tick) {
      const x = this.x(time);
      context.textAlign = x > area.right - 16 ? 'right' : 'center';
      context.fillText(`${digits(Number(time.toFixed(6)))} s`, x, area.bottom + 7);
    }
  }

  /** Brackets under the frames that hold the evidence. */
  evidence(context) {
    const { trace, area } = this;
    const frames = [...new Set(Array.from(trace.evidence, (token) => trace.frameOf(token)))];
    const path = new Path2D();
    for (const frame of frames) {
      const [x, w] = this.span(frame);
      path.moveTo(x, area.bottom + 2);
      path.lineTo(x, area.bottom + 5);
      path.lineTo(x + w, area.bottom + 5);
      path.lineTo(x + w, area.bottom + 2);
    }
    stroke(context, path, EVIDENCE, 2.5);
  }

  overlay() {
    const { layers, state, workspace, area } = this;
    const { top } = layers;
    layers.clear('top');
    const colors = ink(workspace);
    const [from, wide] = this.span(state.frame);
    top.fillStyle = colors.accent;
    top.globalAlpha = 0.12;
    top.fillRect(from, area.top - 4, wide, area.bottom - area.top + 4);
    top.globalAlpha = 1;
    const x = clamp(this.x(state.time), area.left, area.right);
    const cursor = new Path2D();
    cursor.moveTo(x, area.top - 6);
    cursor.lineTo(x, area.bottom + 4);
    stroke(top, cursor, colors.accent, 1.5);
    const cell = state.focus >= 0 ? this.placeOf(state.focus) : null;
    if (cell) drawRing(top, cell);
  }

  table() {
    const { trace } = this;
    const { look } = this.workspace;
    if (!look || !this.stacks) return null;
    const shown = STACK.filter((code) => look.fate.includes(code));
    const rows = this.stacks.map((stack, frame) => [
      frame, seconds(trace.seconds[frame]),
      ...shown.map((code) => stack.reduce((sum, token) => sum + (look.fate[token] === code), 0)), stack.length,
    ]);
    return { head: ['Frame', 'Time', ...shown.map((code) => trace.codes[code].label.split(' (')[0]), 'Sum'], rows };
  }
}
