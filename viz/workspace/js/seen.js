// What the LLM has of every frame: each cell with the pixels of the token that carries it, grey where
// nothing does. Pixels only, no document; viz/pictures/seen.py makes the same in Python.

import { FATE } from './fates.js';
import { clamp } from './model.js';

export const BLANK = 150; // gray level where there is no picture
const LEFT = 0.35; // of the luminance of a dropped cell; the rest is BLANK
const OPAQUE = 0xff000000;
const PLAIN = OPAQUE | (BLANK << 16) | (BLANK << 8) | BLANK;

/** Int32Array (n): the token whose pixels a cell shows; -1 for what the LLM would not have. */
export function carriersOf(trace, { stage, step }) {
  const fate = step >= 0 ? trace.fateDuring(step) : trace.fateAt(stage);
  const partial = step >= 0 || stage === 'pool' || stage === 'recycled';
  if (!partial) return trace.targetAt(stage);
  return Int32Array.from(fate, (one, i) => (one === FATE.KEPT ? i : -1)); // were it to end here
}

/** {rows, cols} of {start, size} (Int32Arrays): whole pixels of the cells in a picture of this size. */
export function edgesOf(trace, wide, tall) {
  const along = (count, low, high, whole, pixels) => {
    const at = (k) => Math.floor(clamp((low + (k * (high - low)) / count) / whole, 0, 1) * pixels + 0.5);
    const start = Int32Array.from({ length: count }, (_, k) => at(k));
    return { start, size: start.map((begin, k) => at(k + 1) - begin) };
  };
  const [top, left, bottom, right] = trace.seen;
  return {
    rows: along(trace.rows, top, bottom, trace.height, tall),
    cols: along(trace.cols, left, right, trace.width, wide),
  };
}

const GRAYS = Uint32Array.from({ length: 256 }, (_, light) => {
  const gray = Math.floor(LEFT * light + (1 - LEFT) * BLANK + 0.5);
  return OPAQUE | (gray << 16) | (gray << 8) | gray;
});

/** Uint32Array like ``own``: luminance faded into the gray of no picture. */
export function fadedOf(own) {
  const faded = new Uint32Array(own.length);
  for (let k = 0; k < own.length; k += 1) { // millions: no calls in here
    const pixel = own[k];
    faded[k] = GRAYS[(77 * (pixel & 255) + 150 * ((pixel >> 8) & 255) + 29 * ((pixel >> 16) & 255)) >> 8];
  }
  return faded;
}

/**
 * All frames as pixels, one sheet: {own (Uint32Array), columns, wide, tall} with ``columns`` tiles of
 * ``wide`` x ``tall`` a row. ``compose`` and ``frame`` put carriers into the places of what they carry.
 */
export class Sheet {
  constructor(trace, own, { columns, wide, tall }) {
    Object.assign(this, { trace, own, columns, wide, tall });
    this.edges = edgesOf(trace, wide, tall);
    this.stretches = new Map();
  }

  /** Another choice of carriers is coming: their means are no longer known. */
  forget() { this.known = null; }

  /** All frames, like ``own``; with ``mean`` a cell shows the mean of all that share its carrier. */
  compose(carriers, mean = false, out = new Uint32Array(this.own.length)) {
    this.faded ||= fadedOf(this.own);
    out.set(this.faded);
    const means = mean ? this.means(carriers) : new Map();
    for (let i = 0; i < carriers.length; i += 1) this.put(i, carriers[i], means, out, this.corner(i), this.columns * this.wide);
    return out;
  }

  /** One frame, ``wide`` x ``tall``. */
  frame(number, carriers, mean = false, out = new Uint32Array(this.wide * this.tall)) {
    const { trace, own, columns, wide, tall, edges: { rows, cols } } = this;
    const stride = columns * wide;
    const first = Math.floor(number / columns) * tall * stride + (number % columns) * wide;
    for (let y = 0; y < tall; y += 1) {
      out.set(fadedOf(own.subarray(first + y * stride, first + y * stride + wide)), y * wide);
    }
    if (mean && this.known?.carriers !== carriers) this.known = { carriers, means: this.means(carriers) };
    const means = mean ? this.known.means : new Map();
    for (let i = number * trace.perFrame; i < (number + 1) * trace.perFrame; i += 1) {
      this.put(i, carriers[i], means, out, rows.start[trace.rowOf(i)] * wide + cols.start[trace.colOf(i)], wide);
    }
    return out;
  }

  /** The pixels of a carrier into ``out``, whose rows are ``line`` long, from ``to`` on. */
  put(i, carrier, means, out, to, line) {
    if (carrier < 0) return;
    const { trace, own, edges: { rows, cols } } = this;
    const [h, w] = [rows.size[trace.rowOf(i)], cols.size[trace.colOf(i)]];
    const patch = means.get(carrier);
    const [tall, wide] = patch ? this.largest : [rows.size[trace.rowOf(carrier)], cols.size[trace.colOf(carrier)]];
    const [from, source, step] = patch ? [0, patch, wide] : [this.corner(carrier), own, this.columns * this.wide];
    if (h === tall && w === wide) {
      copy(source, from, step, out, to, line, h, w);
      return;
    }
    const empty = !tall || !wide; // the carrier lies outside the picture
    const [ys, xs] = [this.stretch(h, tall), this.stretch(w, wide)];
    for (let y = 0; y < h; y += 1) {
      const begin = from + ys[y] * step;
      for (let x = 0; x < w; x += 1) out[to + y * line + x] = empty ? PLAIN : source[begin + xs[x]];
    }
  }

  /** [tall, wide] of the largest cell. */
  get largest() { return [Math.max(...this.edges.rows.size), Math.max(...this.edges.cols.size)]; }

  /** First pixel of a token's cell. */
  corner(i) {
    const { trace, columns, wide, tall, edges: { rows, cols } } = this;
    const frame = trace.frameOf(i);
    const y = Math.floor(frame / columns) * tall + rows.start[trace.rowOf(i)];
    return y * columns * wide + (frame % columns) * wide + cols.start[trace.colOf(i)];
  }

  /** Int32Array (count): which of ``size`` pixels each of ``count`` takes. */
  stretch(count, size) {
    const key = count * 65536 + size;
    if (!this.stretches.has(key)) {
      this.stretches.set(key, Int32Array.from({ length: count }, (_, k) => Math.floor(((2 * k + 1) * size) / (2 * count))));
    }
    return this.stretches.get(key);
  }

  /** Map of carrier to the mean of its members' cells, place by place: Uint32Array (p * q). */
  means(carriers) {
    const { trace, own, edges: { rows, cols } } = this;
    const stride = this.columns * this.wide;
    const [p, q] = this.largest;
    const counts = new Map();
    const visible = (i) => rows.size[trace.rowOf(i)] > 0 && cols.size[trace.colOf(i)] > 0;
    carriers.forEach((carrier, i) => {
      if (carrier >= 0 && visible(i)) counts.set(carrier, (counts.get(carrier) || 0) + 1);
    });
    const sums = new Map();
    carriers.forEach((carrier, i) => {
      const alone = counts.get(carrier) === 1 && visible(carrier) && carriers[carrier] === carrier;
      if (carrier < 0 || alone || !visible(i)) return;
      if (!sums.has(carrier)) sums.set(carrier, new Uint32Array(3 * p * q));
      const sum = sums.get(carrier);
      const from = this.corner(i);
      const ys = this.stretch(p, rows.size[trace.rowOf(i)]);
      const xs = this.stretch(q, cols.size[trace.colOf(i)]);
      let k = 0;
      for (let y = 0; y < p; y += 1) {
        for (let x = 0; x < q; x += 1) {
          const pixel = own[from + ys[y] * stride + xs[x]];
          sum[k] += pixel & 255;
          sum[k + 1] += (pixel >> 8) & 255;
          sum[k + 2] += (pixel >> 16) & 255;
          k += 3;
        }
      }
    });
    return new Map(Array.from(sums, ([carrier, sum]) => {
      const count = counts.get(carrier);
      const of = (value) => Math.floor((2 * value + count) / (2 * count));
      return [carrier, Uint32Array.from({ length: p * q }, (_, k) => (
        OPAQUE | (of(sum[3 * k + 2]) << 16) | (of(sum[3 * k + 1]) << 8) | of(sum[3 * k])))];
    }));
  }
}

/** A cell of h x w pixels from one picture into another; millions of pixels go through here. */
function copy(source, from, step, out, to, stride, h, w) {
  for (let y = 0; y < h; y += 1) {
    const [a, b] = [from + y * step, to + y * stride];
    for (let x = 0; x < w; x += 1) out[b + x] = source[a + x];
  }
}
