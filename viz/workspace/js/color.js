// From numbers to colors: scales, their range over the whole video, and the look of every token.

import { pixelCanvas } from './dom.js';
import { OPEN } from './fates.js';
import { clamp } from './model.js';

export const UNITS = {
  contribution: 'attention received in the vision tower',
  similarity: 'cosine to the nearest pool token, when considered',
  relevance: 'relevance to the question at layer K',
  members: 'tokens that it carries',
  attention: 'attention of the word, this run',
  full: 'attention of the word, uncompressed run',
};

/** Uint8Array (256 * 3): red, green, blue between the given colors. */
export function ramp(colors) {
  const stops = colors.map(rgb);
  return Uint8Array.from({ length: 768 }, (_, k) => {
    const at = (Math.floor(k / 3) / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return Math.round(stops[low][k % 3] + (at - low) * (stops[low + 1][k % 3] - stops[low][k % 3]));
  });
}

/** A pixel of ImageData as one number, on the little-endian machines that browsers run on. */
export function packed([red, green, blue], alpha) {
  return ((Math.round(255 * alpha) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

export function rgb(hex) { return [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16)); }

/** "0.0123", "41": three digits. */
export function digits(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
}

/**
 * The colors of all tokens for one choice of stage and overlay, made once and drawn by every view.
 *
 * fate (n) says which mark a cell gets; over is RGBA (n * 4) to lay over the picture; solid RGBA to
 * draw without one. range is null for fates.
 */
export class Look {
  constructor(trace, state) {
    this.trace = trace;
    this.overlay = state.overlay;
    this.fate = state.step >= 0 ? trace.fateDuring(state.step) : trace.fateAt(state.stage);
    this.seen = state.overlay === 'seen'; // the frames as the LLM has them
    this.scalar = !this.seen && state.overlay !== 'fate';
    this.over = new Uint8ClampedArray(trace.n * 4);
    this.solid = new Uint8ClampedArray(trace.n * 4);
    this.range = null;
    if (this.scalar) this.paintValues(state);
    else this.paintFates();
    this.made = {}; // canvases, when a view asks for them: a look by itself needs no document
  }

  /** Every frame below the one before it, to lay over pictures. */
  get sheet() {
    const { cols, rows, frames } = this.trace;
    this.made.sheet ??= pixelCanvas(this.over, cols, rows * frames);
    return this.made.sheet;
  }

  /** A line a frame. */
  get plane() {
    const { perFrame, frames } = this.trace;
    this.made.plane ??= pixelCanvas(this.solid, perFrame, frames);
    return this.made.plane;
  }

  paintFates() {
    const { codes } = this.trace;
    const dark = codes.map((code) => packed([0, 0, 0], 1 - code.light));
    const plain = codes.map((code, number) => packed(rgb(code.color), number === OPEN ? 0.35 : 1));
    const over = new Uint32Array(this.over.buffer);
    const solid = new Uint32Array(this.solid.buffer);
    for (let i = 0; i < this.fate.length; i += 1) {
      over[i] = dark[this.fate[i]];
      solid[i] = plain[this.fate[i]];
    }
  }

  paintValues(state) {
    const { trace } = this;
    this.values = trace.values(state.overlay, state.stage, state.word);
    this.range = trace.range(state.overlay, state.stage, state.word);
    const scale = ramp(trace.header.scales[state.scale]);
    const colors = Array.from({ length: 256 }, (_, k) => packed(scale.subarray(3 * k, 3 * k + 3), 1));
    const { low, high } = this.range || { low: 0, high: 1 };
    const over = new Uint32Array(this.over.buffer).fill(packed([0, 0, 0], 0.67)); // no value: dark
    const solid = new Uint32Array(this.solid.buffer);
    let known = 0;
    this.values.forEach((value, i) => {
      if (!Number.isFinite(value)) return;
      const share = high > low ? clamp((value - low) / (high - low), 0, 1) : 1;
      solid[i] = colors[Math.round(255 * share)];
      over[i] = solid[i];
      known += 1;
    });
    this.few = known < this.values.length / 2;
  }
}
