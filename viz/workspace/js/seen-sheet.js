// The re-rendered frames as canvases. A view that draws frames small, as the strip does all of them, has
// a sheet of that size, made anew for every stage; one that draws a frame large has that frame alone.

import { el } from './dom.js';
import { Sheet, carriersOf } from './seen.js';

const MOST_PIXELS = 4_000_000; // of all frames together; more would not be read in one breath
const LARGE = 0.6; // of the width of a frame as it was read: from there on it is made alone

/** What the trace that is shown looks like to the LLM; ``timing`` has the milliseconds that it took. */
export class SeenSheets {
  constructor(workspace) {
    this.workspace = workspace;
    this.timing = { read: 0, compose: 0 };
  }

  /** A frame as the LLM has it at {x, y, w, h}; nothing without pictures. */
  draw(context, frame, { x, y, w, h }) {
    const { trace, sprite, state } = this.workspace;
    if (!sprite || !trace.header.sprite) return;
    if (this.sprite !== sprite || !this.whole?.fits(trace)) {
      this.small = null;
      this.sprite = sprite;
      this.whole = this.read(Infinity);
    }
    const key = `${state.step >= 0 ? state.step : state.stage} ${state.fill}`;
    if (this.key !== key || this.trace !== trace) {
      Object.assign(this, { key, trace, carriers: carriersOf(trace, state), mean: state.fill === 'mean' });
      this.whole.forget();
      this.small?.forget();
    }
    const pixels = w * context.getTransform().a;
    const tiles = pixels > LARGE * this.whole.sheet.wide ? this.whole : this.smaller(pixels);
    const began = performance.now();
    const { canvas, left, top } = tiles === this.whole ? tiles.frame(frame, this) : tiles.all(frame, this);
    this.timing.compose = performance.now() - began;
    context.drawImage(canvas, left, top, tiles.sheet.wide, tiles.sheet.tall, x, y, w, h);
  }

  /** Tiles about as wide as they are drawn; a window that changes a little keeps those that there are. */
  smaller(pixels) {
    const { wide } = this.small?.sheet || { wide: 0 };
    if (wide < pixels * 0.8 || wide > pixels * 2) this.small = this.read(pixels);
    return this.small;
  }

  read(pixels) {
    const began = performance.now();
    const { trace, sprite } = this.workspace;
    const tiles = new Tiles(trace, sprite, pixels);
    this.timing.read = performance.now() - began;
    return tiles;
  }
}

/** All frames of a trace as pixels of one size, and canvases of what the LLM has of them. */
class Tiles {
  /** ``pixels`` of a frame's width, at most; cells are whole pixels where that is possible. */
  constructor(trace, sprite, pixels) {
    const tile = trace.header.sprite;
    const rows = Math.ceil(trace.frames / tile.columns);
    const most = Math.sqrt(MOST_PIXELS / (rows * tile.columns * tile.width * tile.height));
    const scale = Math.min(1, most, pixels / tile.width);
    const whole = (side, cells) => (side * scale < cells
      ? Math.max(1, Math.round(side * scale)) : Math.round((side * scale) / cells) * cells);
    const [top, left, bottom, right] = trace.seen;
    const all = top === 0 && left === 0 && bottom === trace.height && right === trace.width;
    const wide = whole(tile.width, all ? trace.cols : 1);
    const tall = whole(tile.height, all ? trace.rows : 1);
    const canvas = el('canvas', { width: tile.columns * wide, height: rows * tall });
    const pen = canvas.getContext('2d', { willReadFrequently: true });
    pen.drawImage(sprite, 0, 0, tile.columns * tile.width, rows * tile.height, 0, 0, canvas.width, canvas.height);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    this.sheet = new Sheet(trace, new Uint32Array(data.buffer), { columns: tile.columns, wide, tall });
    this.frames = new Map();
    this.size = [canvas.width, canvas.height];
  }

  /** Whether these are the pixels of a trace, which may be another stop of the same run. */
  fits(trace) {
    const own = this.sheet.trace;
    return own === trace || (own.header.sprite === trace.header.sprite && own.frames === trace.frames);
  }

  forget() {
    this.frames.clear();
    this.sheet.forget();
    this.stale = true;
  }

  /** {canvas, left, top} of a frame on a canvas of all. */
  all(frame, { carriers, mean }) {
    const { columns, wide, tall } = this.sheet;
    if (!this.made) {
      this.made = el('canvas', { width: this.size[0], height: this.size[1] });
      this.image = new ImageData(...this.size);
      this.stale = true;
    }
    if (this.stale) {
      this.sheet.compose(carriers, mean, new Uint32Array(this.image.data.buffer));
      this.made.getContext('2d').putImageData(this.image, 0, 0);
      this.stale = false;
    }
    return { canvas: this.made, left: (frame % columns) * wide, top: Math.floor(frame / columns) * tall };
  }

  /** {canvas, left, top} of a frame on a canvas of its own. */
  frame(frame, { carriers, mean }) {
    if (!this.frames.has(frame)) {
      const { wide, tall } = this.sheet;
      const image = new ImageData(wide, tall);
      this.sheet.frame(frame, carriers, mean, new Uint32Array(image.data.buffer));
      const canvas = el('canvas', { width: wide, height: tall });
      canvas.getContext('2d').putImageData(image, 0, 0);
      this.frames.set(frame, canvas);
    }
    return { canvas: this.frames.get(frame), left: 0, top: 0 };
  }
}
