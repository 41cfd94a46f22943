// Space and time: a row for every frame, a column for every cell. What persists is a vertical streak.

import { el } from './dom.js';
import { FATE } from './fates.js';
import { Marks, drawFocus, drawHeld, drawSinks, font, ink, niceStep } from './marks.js';
import { clamp } from './model.js';
import { drawFlags } from './view-player.js';
import { Layers, View } from './view.js';

export class PlaneView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    host.append(el('p', { class: 'ws-quiet-text' },
      'Rows are frames, columns the cells of a frame, row by row. What stays at its place is a streak.'));
    this.layers = new Layers(host, 'Frames by cells. Arrows move by cell, Page Up and Page Down by frame.',
      () => this.draw(new Set(['size'])));
    this.layers.pick(workspace, (x, y) => this.find(x, y));
  }

  get area() {
    const { layers: { wide, tall }, workspace: { type } } = this;
    return { left: 34 * type, top: 4, right: wide - 4, bottom: tall - 18 * type };
  }

  fit() {
    const { layers, trace, workspace: { room } } = this;
    layers.height = room.rest(layers.box) ? Math.max(202, room.rest(layers.box)) : clamp(trace.frames * 9, 180, 460) + 22;
  }

  placeOf(token) {
    const { left, top, right, bottom } = this.area;
    const w = (right - left) / this.trace.perFrame;
    const h = (bottom - top) / this.trace.frames;
    return { x: left + (token % this.trace.perFrame) * w, y: top + this.trace.frameOf(token) * h, w, h };
  }

  find(x, y) {
    const { left, top, right, bottom } = this.area;
    if (!this.trace || x < left || y < top || x >= right || y >= bottom) return -1;
    const cell = Math.floor(((x - left) / (right - left)) * this.trace.perFrame);
    return Math.floor(((y - top) / (bottom - top)) * this.trace.frames) * this.trace.perFrame + cell;
  }

  draw(changed) {
    const { layers, trace, state, workspace } = this;
    if (!trace || !workspace.look) return;
    const any = (...names) => ['all', 'size', ...names].some((name) => changed.has(name));
    if (changed.has('all') || changed.has('size')) this.fit();
    if (!layers.wide) return;
    if (any('look', 'evidence', 'sinks', 'word')) this.base();
    if (any('locked')) {
      layers.clear('held');
      drawHeld(layers.held, state.locked, (token) => this.placeOf(token));
    }
    if (!any('look', 'hover', 'locked', 'frame', 'step')) return;
    layers.clear('top');
    const row = this.placeOf(state.frame * trace.perFrame);
    layers.top.strokeStyle = ink(workspace).accent;
    layers.top.lineWidth = 1.5;
    layers.top.strokeRect(this.area.left - 1, row.y, this.area.right - this.area.left + 2, row.h);
    Object.assign(workspace.drawn, drawFocus(layers.top, workspace, (token) => this.placeOf(token)));
  }

  base() {
    const { layers, trace, workspace, state } = this;
    const { under } = layers;
    const { left, top, right, bottom } = this.area;
    layers.clear('under', 'over');
    under.imageSmoothingEnabled = false;
    const marks = new Marks(trace.codes);
    const { fate } = workspace.look;
    const few = [FATE.KEPT, FATE.CENTER, FATE.MERGED_INSIDE, FATE.DROPPED_INSIDE];
    if (!workspace.look.scalar) {
      for (let i = 0; i < trace.n; i += 1) if (few.includes(fate[i])) marks.add(fate[i], this.placeOf(i));
    }
    const marked = marks.count && marks.count < trace.n / 4; // few enough to stand out from the rest
    under.globalAlpha = marked ? 0.4 : 1;
    under.drawImage(workspace.look.plane, left, top, right - left, bottom - top);
    under.globalAlpha = 1;
    if (marked) marks.paint(under);
    workspace.drawn.plane = trace.n;
    if (state.sinks) drawSinks(under, trace, (token) => this.placeOf(token), [...Array(trace.frames).keys()]);
    drawFlags(under, workspace, (token) => this.placeOf(token));
    this.axes(under);
  }

  axes(context) {
    const { trace, workspace, area } = this;
    context.font = font(workspace);
    context.fillStyle = ink(workspace).quiet;
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    const step = Math.max(1, niceStep(trace.frames, (area.bottom - area.top) / 28));
    for (let frame = 0; frame < trace.frames; frame += step) {
      const { y, h } = this.placeOf(frame * trace.perFrame);
      context.fillText(String(frame), area.left - 6, y + h / 2);
    }
    context.textAlign = 'center';
    context.textBaseline = 'top';
    const every = Math.max(1, Math.ceil(trace.rows / ((area.right - area.left) / 46)));
    for (let row = 0; row < trace.rows; row += every) {
      const { x } = this.placeOf(row * trace.cols);
      const { w } = this.placeOf(0);
      context.fillText(`row ${row}`, x + (w * trace.cols) / 2, area.bottom + 5);
    }
  }

  table() {
    const { trace } = this;
    const rows = Array.from({ length: trace.perFrame }, (_, cell) => {
      const counts = new Uint32Array(6);
      for (let frame = 0; frame < trace.frames; frame += 1) counts[trace.fate[frame * trace.perFrame + cell]] += 1;
      return [`(${trace.rowOf(cell)}, ${trace.colOf(cell)})`, ...counts, trace.sinks[cell] ? 'yes' : 'no'];
    });
    const fates = trace.header.codes.map((code) => code.label.split(' (')[0]);
    return { head: ['Cell', ...fates, 'Sink'], rows };
  }
}
