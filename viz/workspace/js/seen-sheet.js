// The re-rendered frames as canvases: made once for a trace, composed anew for every stage.

import { el } from './dom.js';
import { Sheet, carriersOf } from './seen.js';

const MOST_PIXELS = 4_000_000; // of all frames together; more would not be drawn in one breath

/** The sheet of the trace that is shown; ``timing`` has the milliseconds that it took. */
export class SeenSheets {
  constructor(workspace) {
    this.workspace = workspace;
    this.timing = { read: 0, compose: 0 };
  }

  /** A canvas of all frames as the LLM has them at the current stage; null without pictures. */
  canvas() {
    const { trace, sprite, state } = this.workspace;
    if (!sprite || !trace.header.sprite) return null;
    if (this.sprite !== sprite || this.trace !== trace) this.read();
    const key = `${state.step >= 0 ? state.step : state.stage} ${state.fill}`;
    if (this.key === key) return this.made;
    const began = performance.now();
    this.sheet.compose(carriersOf(trace, state), state.fill === 'mean', new Uint32Array(this.image.data.buffer));
    this.made.getContext('2d').putImageData(this.image, 0, 0);
    this.key = key;
    this.timing.compose = performance.now() - began;
    return this.made;
  }

  /** Take over the pixels of another trace, cells as whole pixels where that is possible. */
  read() {
    const began = performance.now();
    const { trace, sprite } = this.workspace;
    const tile = trace.header.sprite;
    const rows = Math.ceil(trace.frames / tile.columns);
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (rows * tile.columns * tile.width * tile.height)));
    const whole = (pixels, cells) => (pixels * scale < cells
      ? Math.max(1, Math.round(pixels * scale)) : Math.round((pixels * scale) / cells) * cells);
    const [top, left, bottom, right] = trace.seen;
    const all = top === 0 && left === 0 && bottom === trace.height && right === trace.width;
    const wide = all ? whole(tile.width, trace.cols) : whole(tile.width, 1);
    const tall = all ? whole(tile.height, trace.rows) : whole(tile.height, 1);
    const canvas = el('canvas', { width: tile.columns * wide, height: rows * tall });
    const pen = canvas.getContext('2d', { willReadFrequently: true });
    pen.drawImage(sprite, 0, 0, tile.columns * tile.width, rows * tile.height, 0, 0, canvas.width, canvas.height);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    this.sheet = new Sheet(trace, new Uint32Array(data.buffer), { columns: tile.columns, wide, tall });
    this.image = new ImageData(canvas.width, canvas.height);
    this.made = el('canvas', { width: canvas.width, height: canvas.height });
    Object.assign(this, { trace, sprite, key: null });
    this.timing.read = performance.now() - began;
  }

  /** A frame as the LLM has it at {x, y, w, h}. */
  draw(context, frame, { x, y, w, h }) {
    const canvas = this.canvas();
    if (!canvas) return;
    const { columns, wide, tall } = this.sheet;
    context.drawImage(canvas, (frame % columns) * wide, Math.floor(frame / columns) * tall, wide, tall, x, y, w, h);
  }
}
