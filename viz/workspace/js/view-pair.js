// Pictures of the comparison: whose tokens these are in every frame, and how many over time.

import { rgb } from './color.js';
import { pixelCanvas } from './dom.js';
import { DARK, LIGHT, drawLook, ink, rings, stroke } from './marks.js';
import { BOTH, FIRST, SECOND } from './pair.js';
import { BarsView } from './view-bars.js';
import { StripView } from './view-strip.js';

// Color, line and side say the same: A is solid and marked on the left, B dashed on the right.
export const RUNS = [
  { letter: 'A', color: '#0072B2', dash: [], side: 'outline left' },
  { letter: 'B', color: '#D55E00', dash: [7, 4], side: 'outline right' },
  { letter: 'C', color: '#009E73', dash: [2, 3], side: 'outline right' },
];

/** A frame's cells that only one of two runs keeps, or both, over all frames as a strip. */
export class PairStrip extends StripView {
  constructor(host, workspace, compare) {
    super(host, workspace);
    this.compare = compare;
    this.layers.top.canvas.setAttribute('aria-label', 'All frames: cells that one of two runs keeps, '
      + 'or both. Arrows move by cell, Page Up and Page Down by frame.');
  }

  base() {
    const { layers, trace } = this;
    layers.clear('over');
    const { pair } = this.compare;
    if (!pair) return;
    const [first, second] = pair.runs;
    const look = { sheet: this.sheet(pair) };
    for (let frame = 0; frame < trace.frames; frame += 1) {
      drawLook(layers.over, { trace, look }, frame, this.corner(frame));
    }
    const cells = [[], [], [], []];
    pair.codes.forEach((code, token) => { if (code) cells[code].push(this.placeOf(token)); });
    outline(layers.over, sides(cells[FIRST], 'left'), first.color);
    outline(layers.over, sides(cells[SECOND], 'right'), second.color);
    outline(layers.over, rings(cells[BOTH], 1), LIGHT);
    this.workspace.drawn.pair = cells.map((listed) => listed.length);
  }

  /** A pixel for every cell: dark where neither keeps it, tinted where one does, clear where both. */
  sheet({ codes, runs }) {
    const { trace } = this;
    const tints = [[0, 0, 0, 150], [...rgb(runs[0].color), 90], [...rgb(runs[1].color), 90], [0, 0, 0, 0]];
    const pixels = new Uint8ClampedArray(4 * trace.n);
    codes.forEach((code, token) => { pixels.set(tints[code], 4 * token); });
    return pixelCanvas(pixels, trace.cols, trace.rows * trace.frames);
  }

  focus() {
    const { layers, state, workspace } = this;
    layers.clear('top');
    const { x, y, w, h } = this.corner(state.frame);
    const frame = new Path2D();
    frame.rect(x - 1, y - 1, w + 2, h + 2);
    stroke(layers.top, frame, ink(workspace).accent, 3);
    if (state.image) return;
    const tokens = new Set([...state.locked, state.focus].filter((token) => token >= 0));
    const path = rings(Array.from(tokens, (token) => this.placeOf(token)), -1);
    stroke(layers.top, path, DARK, 5);
    stroke(layers.top, path, LIGHT, 2.5);
  }
}

/** Three sides of each cell: the outer one and half of those that lead to it. */
function sides(cells, side) {
  const path = new Path2D();
  for (const { x, y, w, h } of cells) {
    const [outer, inner] = side === 'left' ? [x + 1, x + 0.45 * w] : [x + w - 1, x + 0.55 * w];
    path.moveTo(inner, y + 1);
    path.lineTo(outer, y + 1);
    path.lineTo(outer, y + h - 1);
    path.lineTo(inner, y + h - 1);
  }
  return path;
}

function outline(context, path, color) {
  stroke(context, path, DARK, 3.5);
  stroke(context, path, color, 1.8);
}

/** Tokens per frame over the seconds of the clip, a line for every run. */
export class CurvesView extends BarsView {
  constructor(host, workspace, compare) {
    super(host, workspace);
    this.compare = compare;
    this.layers.top.canvas.setAttribute('aria-label', 'Tokens per frame over time, a line for every '
      + 'run. A click goes to the frame.');
  }

  /** The base class asks for piles of tokens; here are only counts. */
  stack() {
    this.stacks = [];
    this.most = Math.max(1, ...this.compare.runs.flatMap((run) => [...run.perFrame]));
  }

  find() { return -1; }

  placeOf() { return null; }

  base() {
    const { layers, workspace } = this;
    const colors = ink(workspace);
    layers.clear('under', 'over');
    this.axes(layers.under, colors);
    for (const run of this.compare.runs) this.line(layers.under, run);
    if (this.state.evidence) this.evidence(layers.under, colors);
    workspace.drawn.curves = this.compare.runs.length;
  }

  line(context, { perFrame, color, dash }) {
    const { area, trace } = this;
    const path = new Path2D();
    for (let frame = 0; frame < trace.frames; frame += 1) {
      const [x, w] = this.span(frame);
      path.lineTo(x + w / 2, area.bottom - perFrame[frame] * this.unit());
    }
    context.save();
    context.setLineDash(dash);
    context.lineJoin = 'round';
    stroke(context, path, color, 2.2);
    context.restore();
  }
}
