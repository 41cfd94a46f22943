// A trace in the browser: typed arrays over one downloaded file, and what follows from them.
// The writer of the file is bundle.py. No drawing and no DOM here: node can test all of it.

import { ABSENT, BETWEEN, FATE, OPEN, RECYCLED, isAlive } from './fates.js';
import { storyOf } from './story.js';

const MAGIC = 'TOKENS\x00\x01';
const NOBODY = 0xffff;

const TYPES = {
  uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array,
};

/** {header, arrays} of a file made by bundle.pack; an Error with one sentence for anything else. */
export function unpack(buffer) {
  const magic = new TextDecoder().decode(new Uint8Array(buffer, 0, Math.min(8, buffer.byteLength)));
  if (magic !== MAGIC) throw new Error('This is no bundle of this version; open the trace again.');
  const length = new DataView(buffer).getUint32(8, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 12, length)));
  const start = Math.ceil((12 + length) / 8) * 8;
  const arrays = {};
  for (const [name, { type, shape, offset }] of Object.entries(header.arrays)) {
    const count = shape.reduce((a, b) => a * b, 1);
    arrays[name] = new TYPES[type](buffer, start + offset, count);
  }
  return { header, arrays };
}

/** Int32Array of indices, -1 for nobody, whatever type the file chose. */
export function indices(stored) {
  const wide = Int32Array.from(stored);
  if (stored instanceof Uint16Array) {
    for (let i = 0; i < wide.length; i += 1) if (wide[i] === NOBODY) wide[i] = -1;
  }
  return wide;
}

/**
 * One trace.
 *
 * n, frames, rows, cols, perFrame; fate, target, order, nearest (per token, -1 for nobody); weight,
 * contribution, similarity, relevance (NaN where not measured); seconds (per frame); codes (looks
 * of every fate and in-between state); stages (stops of the slider).
 */
export class TokenTrace {
  constructor(buffer) {
    const { header, arrays } = unpack(buffer);
    this.header = header;
    this.cache = new Map(); // of what is worked out when it is first asked for
    const { frames, rows, cols, height, width, seen } = header.grid;
    Object.assign(this, { frames, rows, cols, height, width, seen });
    this.perFrame = rows * cols;
    this.n = frames * this.perFrame;
    this.seconds = header.seconds;
    this.codes = [...header.codes, ...BETWEEN];
    for (const name of ['fate', 'weight', 'contribution', 'similarity', 'relevance']) {
      this[name] = arrays[name];
    }
    for (const name of ['target', 'nearest', 'order']) this[name] = indices(arrays[name]);
    this.pca = arrays.pca || null; // (n, 2), to scale, the longer side 0 to 65535
    this.evidence = arrays.evidence ? indices(arrays.evidence) : new Int32Array(0);
    this.steps = header.stages.map((stage, number) => ({
      name: stage.name,
      layer: stage.layer,
      fate: arrays[`stage${number}_fate`],
      target: indices(arrays[`stage${number}_target`]),
    }));
    this.outside = this.steps.find((step) => step.name === 'outside') || this.everything();
    this.inside = this.steps.find((step) => step.name === 'inside') || null;
    this.entered = this.where(this.outside.fate, isAlive);
    this.walk = this.walked();
    this.stages = this.stops();
    this.words = header.words;
    this.fullWords = header.full_words;
    this.attention = coded(arrays, 'attention', this.words.length);
    this.fullAttention = coded(arrays, 'full_attention', this.fullWords.length);
  }

  // --- places -----------------------------------------------------------------------------------

  frameOf(i) { return Math.floor(i / this.perFrame); }
  rowOf(i) { return Math.floor((i % this.perFrame) / this.cols); }
  colOf(i) { return i % this.cols; }
  index(frame, row, col) { return (frame * this.rows + row) * this.cols + col; }

  /** "frame 12 (5, 9)": as scripts count, from 0. */
  place(i) { return `frame ${this.frameOf(i)} (${this.rowOf(i)}, ${this.colOf(i)})`; }

  /** {x, y, w, h} of a cell in shares of the source frame, cut to it; w or h is 0 in a letterbox. */
  box(i) {
    const [top, left, bottom, right] = this.seen;
    const tall = (bottom - top) / this.rows;
    const wide = (right - left) / this.cols;
    const y0 = clamp((top + this.rowOf(i) * tall) / this.height, 0, 1);
    const x0 = clamp((left + this.colOf(i) * wide) / this.width, 0, 1);
    const y1 = clamp((top + (this.rowOf(i) + 1) * tall) / this.height, 0, 1);
    const x1 = clamp((left + (this.colOf(i) + 1) * wide) / this.width, 0, 1);
    return { x: x0, y: y0, w: x1 - x0, h: y1 - y0 };
  }

  /** Token of a frame at (x, y) in shares of the source frame; -1 where the encoder saw nothing. */
  at(frame, x, y) {
    const [top, left, bottom, right] = this.seen;
    const row = Math.floor(((y * this.height - top) / (bottom - top)) * this.rows);
    const col = Math.floor(((x * this.width - left) / (right - left)) * this.cols);
    const inside = x >= 0 && y >= 0 && x < 1 && y < 1;
    if (!inside || row < 0 || col < 0 || row >= this.rows || col >= this.cols) return -1;
    return this.index(frame, row, col);
  }

  /** The frame shown at a time: the last that is not later, the first before all. */
  frameAt(seconds) {
    let low = 0;
    let high = this.frames;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.seconds[middle] <= seconds + 1e-3) low = middle;
      else high = middle;
    }
    return low;
  }

  /** The frame to begin with: the evidence where it is known, else where most tokens go in. */
  get opening() {
    if (this.evidence.length) return this.frameOf(this.evidence[0]);
    const counts = new Uint32Array(this.frames);
    for (const token of this.entered) counts[this.frameOf(token)] += 1;
    return counts.indexOf(Math.max(...counts));
  }

  /** When the last frame ends: as long after it as it came after the one before. */
  get end() {
    const last = this.seconds[this.frames - 1];
    return last + (this.frames > 1 ? last - this.seconds[this.frames - 2] : 1);
  }

  // --- fates ------------------------------------------------------------------------------------

  everything() {
    const target = Int32Array.from({ length: this.n }, (_, i) => i);
    return { name: 'outside', layer: null, fate: new Uint8Array(this.n), target };
  }

  where(values, test) {
    const found = [];
    for (let i = 0; i < values.length; i += 1) if (test(values[i])) found.push(i);
    return Int32Array.from(found);
  }

  /** Tokens in the order in which the selection considered them; empty where it keeps no order. */
  walked() {
    const found = this.where(this.order, (turn) => turn >= 0);
    return found.sort((a, b) => this.order[a] - this.order[b]);
  }

  stops() {
    const kept = this.where(this.outside.fate, (f) => f === FATE.KEPT).length;
    const stops = [{ key: 'raw', label: 'raw', words: `All ${this.n} video tokens, undecided.` }];
    if (this.walk.length) {
      const never = this.n - this.walk.length;
      stops.push(
        { key: 'pool', label: 'pool',
          words: `The pool: ${kept} tokens that contribute and are unlike each other.` },
        { key: 'recycled', label: 'recycled',
          words: `${this.walk.length - kept} were considered and not taken, ${never} were never `
            + 'reached: all of these are recycled.' },
      );
    }
    stops.push({
      key: 'refilled', label: this.walk.length ? 'refilled' : 'before the LLM',
      words: `${this.entered.length} tokens enter the LLM: `
        + `${kept} as themselves, ${this.entered.length - kept} as centers of clusters.`,
    });
    if (this.inside) {
      const left = this.where(this.inside.fate, isAlive).length;
      stops.push({
        key: 'layer', label: `layer ${this.inside.layer}`,
        words: `After layer ${this.inside.layer}, ${left} of the ${this.entered.length} go on.`,
      });
    }
    stops.push({ key: 'end', label: 'end', words: 'What became of every token in the end.' });
    return stops;
  }

  /** Uint8Array (n): the look of every token at a stop of the slider. Do not write into it. */
  fateAt(key) {
    return this.once(`fate ${key}`, () => {
      if (key === 'end') return this.fate;
      if (key === 'refilled') return this.outside.fate;
      if (key === 'raw') return new Uint8Array(this.n).fill(OPEN);
      if (key === 'layer') {
        return this.fate.map((fate, i) => (isAlive(this.outside.fate[i]) ? fate : ABSENT));
      }
      const rest = key === 'pool' ? OPEN : RECYCLED;
      return this.outside.fate.map((fate) => (fate === FATE.KEPT ? fate : rest));
    });
  }

  /** The same in the middle of the selection, after ``count`` tokens of the walk. */
  fateDuring(count) {
    const fate = new Uint8Array(this.n).fill(OPEN);
    for (const token of this.walk.subarray(0, count)) {
      fate[token] = this.accepted(token) ? FATE.KEPT : RECYCLED;
    }
    return fate;
  }

  accepted(token) { return this.outside.fate[token] === FATE.KEPT; }

  /** Int32Array (n): what carries each token at a stop, -1 where nothing does. */
  targetAt(key) {
    if (key === 'end' || key === 'layer') return this.target;
    if (key === 'refilled') return this.outside.target;
    return this.once('itself', () => Int32Array.from({ length: this.n }, (_, i) => i));
  }

  /** Int32Array: what a survivor carries at a stop, itself included; empty for other tokens. */
  members(token, key = 'end') {
    const { start, list } = this.once(`members ${key}`, () => grouped(this.targetAt(key)));
    return list.subarray(start[token], start[token + 1]);
  }

  /** The closest threshold that the selection itself shows: {accepted, recycled} cosines. */
  get threshold() {
    return this.once('threshold', () => {
      let accepted = -Infinity;
      let recycled = Infinity;
      for (const token of this.walk) {
        const cosine = this.similarity[token];
        if (this.accepted(token)) accepted = Math.max(accepted, cosine);
        else recycled = Math.min(recycled, cosine);
      }
      return { accepted, recycled };
    });
  }

  /** Uint8Array (perFrame): 1 for cells whose contribution is in the top tenth of most frames. */
  get sinks() {
    return this.once('sinks', () => {
      const often = new Uint16Array(this.perFrame);
      for (let t = 0; t < this.frames; t += 1) {
        const frame = this.contribution.subarray(t * this.perFrame, (t + 1) * this.perFrame);
        const limit = quantile(frame, 0.9);
        if (limit === null) continue;
        for (let cell = 0; cell < this.perFrame; cell += 1) if (frame[cell] > limit) often[cell] += 1;
      }
      return Uint8Array.from(often, (count) => (this.frames > 2 && count > this.frames / 2 ? 1 : 0));
    });
  }

  // --- numbers ----------------------------------------------------------------------------------

  /** Rank by contribution, 1 for the highest; 0 where it was not measured. */
  contributionRank(i) {
    return this.once('contribution rank', () => ranks(this.contribution))[i];
  }

  /** Rank by relevance among the tokens that the LLM received; 0 where it was not measured. */
  relevanceRank(i) { return this.once('relevance rank', () => ranks(this.relevance))[i]; }

  /**
   * Float32Array (n) behind an overlay, NaN where a token has no value: "contribution",
   * "similarity", "relevance", "members", and with a word "attention" and "full".
   */
  values(overlay, stage = 'end', word = -1) {
    if (overlay === 'members') {
      return this.once(`sizes ${stage}`, () => {
        const sizes = new Float32Array(this.n).fill(NaN);
        const target = this.targetAt(stage);
        for (let i = 0; i < this.n; i += 1) {
          if (target[i] >= 0) sizes[target[i]] = (sizes[target[i]] || 0) + 1;
        }
        return sizes;
      });
    }
    if (overlay === 'attention' || overlay === 'full') return this.attentionOf(overlay, word);
    return this[overlay];
  }

  /** {low, high, top} of those values, null where there are none; colors span low to high. */
  range(overlay, stage = 'end', word = -1) {
    const about = { members: stage, attention: word, full: word }[overlay] ?? '';
    return this.once(`range ${overlay} ${about}`, () => rangeOf(this.values(overlay, stage, word)));
  }

  /** What a word attends to: of this run ("attention") or of the uncompressed one ("full"). */
  attentionOf(overlay, word) {
    const map = overlay === 'full' ? this.fullAttention : this.attention;
    const row = overlay === 'full' ? this.fullWord(word) : word;
    return this.once(`${overlay} ${row}`, () => {
      const values = new Float32Array(this.n).fill(NaN);
      const paid = map && row >= 0 ? map.row(row) : null;
      if (paid && overlay === 'full') values.set(paid);
      else if (paid) this.entered.forEach((token, place) => { values[token] = paid[place]; });
      return values;
    });
  }

  /**
   * The same word in the uncompressed run, -1 where it has none: a question's words are the same
   * there, an answer's as long as both answers begin alike.
   */
  fullWord(word) {
    const mine = this.words[word];
    if (!mine) return -1;
    for (let k = 0; k <= word; k += 1) if (this.fullWords[k]?.text !== this.words[k].text) return -1;
    return this.fullWords[word].kind === mine.kind ? word : -1;
  }

  /**
   * The 2 % of cells to which a word attends most in the uncompressed run, and what became of them:
   * {top, lost, merged} of token indices; null where that run is not known.
   */
  missed(word) {
    return this.once(`missed ${word}`, () => {
      const rank = ranks(this.attentionOf('full', word));
      const most = Math.ceil(0.02 * this.n);
      const top = this.where(rank, (place) => place > 0 && place <= most);
      if (!top.length) return null;
      const of = (test) => top.filter((i) => test(this.fate[i]));
      return {
        top,
        lost: of((fate) => fate === FATE.DROPPED || fate === FATE.DROPPED_INSIDE),
        merged: of((fate) => fate === FATE.MERGED || fate === FATE.MERGED_INSIDE),
      };
    });
  }

  /** What is known of a token, as sentences. */
  story(i) { return storyOf(this, i); }

  once(key, make) {
    if (!this.cache.has(key)) this.cache.set(key, make());
    return this.cache.get(key);
  }
}

/** {row(w) -> Float32Array or null} over quantised attention; the file may hold the last rows only. */
function coded(arrays, name, words) {
  const peaks = arrays[`${name}_peak`];
  if (!peaks) return null;
  const width = arrays[name].length / peaks.length;
  const first = words - peaks.length;
  return {
    row(word) {
      if (word < first) return null;
      const stored = arrays[name].subarray((word - first) * width, (word - first + 1) * width);
      return Float32Array.from(stored, (q) => peaks[word - first] * (q / 255) ** 2);
    },
  };
}

export function clamp(value, low, high) { return Math.min(Math.max(value, low), high); }

/** {start, list}: members of every target, those of t are list[start[t] .. start[t + 1]). */
export function grouped(target, size = target.length) {
  const start = new Int32Array(size + 1);
  for (const goal of target) if (goal >= 0) start[goal + 1] += 1;
  for (let t = 0; t < size; t += 1) start[t + 1] += start[t];
  const list = new Int32Array(start[size]);
  const next = start.slice();
  target.forEach((goal, i) => { if (goal >= 0) { list[next[goal]] = i; next[goal] += 1; } });
  return { start, list };
}

/** Uint32Array: 1 for the largest value, ties to the earlier; 0 for NaN. */
export function ranks(values) {
  const known = [];
  for (let i = 0; i < values.length; i += 1) if (!Number.isNaN(values[i])) known.push(i);
  known.sort((a, b) => values[b] - values[a] || a - b);
  const rank = new Uint32Array(values.length);
  known.forEach((token, place) => { rank[token] = place + 1; });
  return rank;
}

export const CLIP = 0.99; // colors end at this quantile, so that one sink does not darken the rest

export function rangeOf(values) {
  const high = quantile(values, CLIP);
  if (high === null) return null;
  let low = Infinity;
  let top = -Infinity;
  for (const value of values) {
    if (Number.isFinite(value)) {
      low = Math.min(low, value);
      top = Math.max(top, value);
    }
  }
  return { low, high: high > low ? high : top, top };
}

/** The value below which a share of the finite ones lies; null where there are none. */
export function quantile(values, share) {
  const finite = Float32Array.from(values).filter(Number.isFinite).sort();
  return finite.length ? finite[Math.min(finite.length - 1, Math.floor(share * finite.length))] : null;
}
