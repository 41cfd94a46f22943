// All frames as a wrapping strip, each with its tokens marked: the map of the whole video.

import { FATE } from './fates.js';
import {
  DARK, Marks, drawFocus, drawFrame, drawHeld, drawLook, drawRims, drawRing, drawSinks, font, ink,
  link, stroke,
} from './marks.js';
import { seconds } from './story.js';
import { TOKEN_HEAD, drawFlags, tokenRow } from './view-player.js';
import { Layers, View } from './view.js';

const LABEL = 15; // pixels under a frame, for its time
const GAP = 5;

export class StripView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.layers = new Layers(host, 'All frames with their tokens. Arrows move by cell, Page Up and '
      + 'Page Down by frame.', () => this.draw(new Set(['size'])));
    this.layers.pick(workspace, (x, y) => this.find(x, y));
  }

  load() { this.fit(); }

  get label() { return LABEL * this.workspace.type; }

  /** As large as the frames can be, in the room that there is or else about a third as tall as wide. */
  fit() {
    const { trace, layers } = this;
    const wide = this.host.clientWidth;
    if (!wide || !trace) return;
    const aspect = trace.width / trace.height;
    const overview = this.host.closest('[data-panel="overview"]'); // where it has what the bars leave
    const room = overview && this.workspace.room.height && this.host.clientHeight;
    const tallest = room || Math.max(wide * 0.34, 200);
    const least = room ? Math.max(26, trace.cols * 2) : Math.max(40, trace.cols * 2.5); // cells must stay cells
    const size = (columns) => {
      const w = (wide - (columns - 1) * GAP) / columns;
      return { columns, w, h: w / aspect, rows: Math.ceil(trace.frames / columns) };
    };
    let best = size(1);
    for (let columns = 1; columns <= trace.frames; columns += 1) {
      const next = size(columns);
      if (columns > 1 && next.w < least) break;
      best = next;
      if (best.w <= 200 * this.workspace.type && best.rows * (best.h + this.label + GAP) <= tallest) break;
    }
    this.tile = best;
    layers.height = best.rows * (best.h + this.label + GAP);
  }

  corner(frame) {
    const { columns, w, h } = this.tile;
    return {
      x: (frame % columns) * (w + GAP), y: Math.floor(frame / columns) * (h + this.label + GAP), w, h,
    };
  }

  placeOf(token) {
    const frame = this.corner(this.trace.frameOf(token));
    const cell = this.trace.box(token);
    return {
      x: frame.x + cell.x * frame.w, y: frame.y + cell.y * frame.h,
      w: cell.w * frame.w, h: cell.h * frame.h,
    };
  }

  find(x, y) {
    const { trace, tile } = this;
    if (!trace || !tile) return -1;
    const column = Math.floor(x / (tile.w + GAP));
    const frame = Math.floor(y / (tile.h + this.label + GAP)) * tile.columns + column;
    if (column >= tile.columns || frame >= trace.frames || frame < 0) return -1;
    const corner = this.corner(frame);
    return trace.at(frame, (x - corner.x) / tile.w, (y - corner.y) / tile.h);
  }

  draw(changed) {
    const { layers, state, trace, workspace } = this;
    if (!trace || !workspace.look) return;
    const any = (...names) => ['all', 'size', ...names].some((name) => changed.has(name));
    if (any()) this.fit();
    if (!layers.wide || !this.tile) return;
    if (any('opacity', 'image', 'look')) layers.veil(state);
    if (any()) this.pictures();
    if (any('look', 'sinks', 'evidence', 'word')) this.base();
    if (any('locked', 'image')) {
      layers.clear('held');
      if (!state.image) drawHeld(layers.held, state.locked, (token) => this.placeOf(token));
    }
    if (any('look', 'hover', 'locked', 'frame', 'step', 'image')) this.focus();
  }

  pictures() {
    const { layers, trace, workspace } = this;
    const { under } = layers;
    layers.clear('under');
    under.font = font(workspace);
    under.textBaseline = 'top';
    under.fillStyle = ink(workspace).quiet;
    const every = Math.ceil((44 * workspace.type) / (this.tile.w + GAP)); // a label needs 44 pixels
    for (let frame = 0; frame < trace.frames; frame += 1) {
      const corner = this.corner(frame);
      drawFrame(under, workspace, frame, corner);
      under.fillStyle = ink(workspace).quiet;
      const column = frame % this.tile.columns;
      if (column % every) continue;
      const side = column === 0 ? 0 : column === this.tile.columns - 1 ? 1 : 0.5; // at the edges nothing is cut
      under.textAlign = ['left', 'center', 'right'][2 * side];
      under.fillText(seconds(trace.seconds[frame]), corner.x + side * corner.w, corner.y + corner.h + 3);
    }
  }

  base() {
    const { layers, state, trace, workspace } = this;
    const { look } = workspace;
    layers.clear('over', 'marks');
    const frames = Array.from({ length: trace.frames }, (_, frame) => frame);
    for (const frame of frames) {
      if (look.seen) workspace.seen.draw(layers.over, frame, this.corner(frame));
      else drawLook(layers.over, workspace, frame, this.corner(frame));
    }
    const marks = new Marks(trace.codes, look.seen);
    const size = this.placeOf(trace.index(0, trace.rows >> 1, trace.cols >> 1));
    const wanted = trace.codes.map((_, code) => !look.scalar && marks.wants(code, size));
    for (let i = 0; i < trace.n; i += 1) {
      if (wanted[look.fate[i]]) marks.add(look.fate[i], this.placeOf(i));
    }
    if (look.seen) marks.thin(layers.marks);
    else marks.paint(layers.marks);
    if (look.scalar) drawRims(layers.marks, look, 0, trace.n, (token) => this.placeOf(token));
    if (state.sinks) drawSinks(layers.marks, trace, (token) => this.placeOf(token), frames);
    drawFlags(layers.marks, workspace, (token) => this.placeOf(token));
    workspace.drawn.strip = marks.count;
  }

  focus() {
    const { layers, state, trace, workspace } = this;
    const { top } = layers;
    layers.clear('top');
    const current = this.corner(state.frame);
    const { accent } = ink(workspace);
    top.strokeStyle = accent;
    top.lineWidth = 3;
    top.strokeRect(current.x - 1, current.y - 1, current.w + 2, current.h + 2);
    if (state.image) return;
    const { links, hidden } = drawFocus(top, workspace, (token) => this.placeOf(token));
    Object.assign(workspace.drawn, { links, hidden });
    if (state.step > 0) this.walk(top);
    workspace.drawn.frame = state.frame;
    workspace.drawn.frames = trace.frames;
  }

  /** The token that the replay considers now and the one that it is compared with. */
  walk(context) {
    const { trace, state } = this;
    const token = trace.walk[state.step - 1];
    const cell = this.placeOf(token);
    if (trace.nearest[token] >= 0) {
      const near = this.placeOf(trace.nearest[token]);
      const path = new Path2D();
      link(path, cell, near);
      stroke(context, path, DARK, 4);
      stroke(context, path, '#E69F00', 2);
      drawRing(context, near, trace.codes[FATE.KEPT].color);
    }
    drawRing(context, cell, '#E69F00');
  }

  table() {
    const { trace } = this;
    return { head: TOKEN_HEAD, rows: Array.from(trace.entered, (token) => tokenRow(trace, token)) };
  }
}
