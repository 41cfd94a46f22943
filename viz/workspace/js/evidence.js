// Evidence as boxes in space and time, the cells they mean, and what a run kept of these.
// A box is [start_s, end_s, left, top, right, bottom], sides as shares of the frame: a line of the
// benchmark's questions file takes it as it is. No drawing: node can test all of it.

import { isAlive } from './fates.js';

export const COVERED = 0.25; // of a cell: from here on a box means it, in the benchmark as here

/** Times of a box that holds these frames, and no other at the rate at which they were sampled. */
export function timesOf(trace, first, last) {
  const next = last + 1 < trace.frames ? trace.seconds[last + 1] : trace.end;
  const start = Math.floor((trace.seconds[first] - 1e-4) * 1000) / 1000; // times are rounded to 1e-4
  const end = Math.floor((next - 1e-4) * 1000 - 1) / 1000;
  return [Math.max(0, start), Math.max(0, start, end)];
}

/** Frames whose time lies in a box. */
export function framesOf(trace, [start, end]) {
  return [...Array(trace.frames).keys()].filter((frame) => (
    trace.seconds[frame] >= start && trace.seconds[frame] <= end));
}

/**
 * Cells of one frame, as numbers below perFrame, that a box means: those it covers enough of, and
 * the one that it covers most, however little.
 */
export function covered(trace, [, , left, top, right, bottom]) {
  const shares = Array.from({ length: trace.perFrame }, (_, cell) => {
    const { x, y, w, h } = trace.box(cell);
    const wide = Math.min(right, x + w) - Math.max(left, x);
    const tall = Math.min(bottom, y + h) - Math.max(top, y);
    return wide > 0 && tall > 0 ? (wide * tall) / (w * h) : 0;
  });
  const enough = Math.min(COVERED, Math.max(...shares)) * (1 - 1e-9); // equal shares differ in their last bits
  return [...shares.keys()].filter((cell) => shares[cell] > 0 && shares[cell] >= enough);
}

/** Int32Array, ascending: every token that one of the boxes means. */
export function cellsOf(trace, boxes) {
  const found = new Set();
  for (const box of boxes) {
    const cells = covered(trace, box);
    for (const frame of framesOf(trace, box)) {
      for (const cell of cells) found.add(frame * trace.perFrame + cell);
    }
  }
  return Int32Array.from(found).sort();
}

/** Boxes that mean just these tokens: one for each run of cells in a row. */
export function boxesAround(trace, tokens) {
  const boxes = [];
  let last = -2;
  for (const token of Int32Array.from(new Set(tokens)).sort()) {
    const { x, y, w, h } = trace.box(token);
    if (!w || !h) continue; // the frame does not reach this cell
    if (token === last + 1 && trace.colOf(token) > 0) boxes[boxes.length - 1][4] = round4(x + w);
    else {
      const frame = trace.frameOf(token);
      boxes.push([...timesOf(trace, frame, frame), ...[x, y, x + w, y + h].map(round4)]);
    }
    last = token;
  }
  return boxes;
}

/**
 * What a run kept of some cells, before the LLM ("door") and after its last layer ("end"):
 * {cells, frames, steps: [{name, kept, carried, budget}]}; ``carried`` counts those in a mean too,
 * ``budget`` is all that the LLM held there.
 */
export function recallOf(trace, cells) {
  const step = (name, fate, target, budget) => ({
    name,
    kept: cells.filter((i) => isAlive(fate[i])).length,
    carried: cells.filter((i) => target[i] >= 0).length,
    budget,
  });
  const { outside } = trace;
  return {
    cells: cells.length,
    frames: new Set(Array.from(cells, (i) => trace.frameOf(i))).size,
    steps: [
      step('Enter the LLM', outside.fate, outside.target, trace.entered.length),
      step('Reach its end', trace.fate, trace.target, trace.where(trace.fate, isAlive).length),
    ],
  };
}

export function round4(value) { return Math.round(value * 1e4) / 1e4; }
