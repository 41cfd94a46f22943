// Dragging over a view: a rectangle that picks cells, or whatever the chosen tool makes of it.

import { el } from './dom.js';
import { clamp } from './model.js';

const LEAST = 5; // pixels; below this a drag was a click

/**
 * Let a rectangle be dragged over a canvas. Clicks and hover stay what they are.
 * ``wanted(event)`` tells on pressing whether a drag may begin; ``done({x0, y0, x1, y1}, event)``
 * gets the rectangle in CSS pixels of the box. Escape drops it.
 */
export class Drag {
  constructor(layers, wanted, done) {
    Object.assign(this, { layers, wanted, done, from: null, dragged: false });
    this.rubber = el('div', { class: 'ws-rubber', hidden: true });
    layers.box.append(this.rubber);
    const on = (name, act) => layers.box.addEventListener(name, act, true); // before the canvas hears
    on('pointerdown', (event) => this.press(event));
    on('pointermove', (event) => this.move(event));
    on('pointerup', (event) => this.release(event));
    on('pointercancel', () => this.drop());
    on('click', (event) => this.click(event));
    layers.box.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.drop();
    });
  }

  press(event) {
    this.dragged = false;
    if (event.button !== 0 || !this.wanted(event)) return;
    this.from = this.layers.at(event);
    this.layers.top.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.from) return;
    event.stopPropagation(); // no hover on the way
    const { x0, y0, x1, y1 } = this.area(event);
    this.dragged = this.dragged || x1 - x0 > LEAST || y1 - y0 > LEAST;
    this.rubber.hidden = !this.dragged;
    Object.assign(this.rubber.style, {
      left: `${x0}px`, top: `${y0}px`, width: `${x1 - x0}px`, height: `${y1 - y0}px`,
    });
  }

  release(event) {
    if (!this.from) return;
    const area = this.area(event);
    this.drop();
    if (this.dragged) this.done(area, event);
  }

  /** The click that follows a drag is none. */
  click(event) {
    if (this.dragged) event.stopPropagation();
    this.dragged = false;
  }

  drop() {
    this.from = null;
    this.rubber.hidden = true;
  }

  /** The rectangle so far, cut to the box. */
  area(event) {
    const { wide, tall } = this.layers;
    const [x, y] = this.layers.at(event);
    const [px, py] = this.from;
    const [left, right] = [Math.min(x, px), Math.max(x, px)];
    const [top, bottom] = [Math.min(y, py), Math.max(y, py)];
    return {
      x0: clamp(left, 0, wide), y0: clamp(top, 0, tall), x1: clamp(right, 0, wide), y1: clamp(bottom, 0, tall),
    };
  }
}

/** Tokens of a view whose cell has its middle in a rectangle. */
function cellsIn(view, { x0, y0, x1, y1 }) {
  const found = [];
  for (let token = 0; token < view.trace.n; token += 1) {
    const cell = view.placeOf(token);
    if (!cell || !cell.w || !cell.h) continue;
    const [x, y] = [cell.x + cell.w / 2, cell.y + cell.h / 2];
    if (x >= x0 && x <= x1 && y >= y0 && y <= y1) found.push(token);
  }
  return found;
}

/**
 * What a drag does: with the tool "pick" nothing, with "lasso", or Alt held, it selects the cells of
 * a rectangle over the pictures (Shift adds), with "evidence" it draws. Escape leaves a tool.
 */
export function allowDragging(workspace) {
  const { root, state, views } = workspace;
  for (const view of [views.player, views.strip, views.plane]) {
    const wanted = (event) => view.trace && (event.altKey || state.tool === 'lasso');
    new Drag(view.layers, wanted, (area, event) => {
      const cells = cellsIn(view, area);
      select(workspace, event.shiftKey ? [...state.locked, ...cells] : cells);
    });
  }
  state.on(() => { root.dataset.tool = state.tool; });
  root.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || state.tool === 'pick') return;
    event.stopPropagation(); // the next one clears the selection
    state.set({ tool: 'pick' });
  }, true);
}

/** A button that takes a tool in hand and puts it down. */
export function toolButton(workspace, tool, words) {
  const { state } = workspace;
  const button = el('button', {
    type: 'button', class: 'ws-tool', 'data-tool': tool, 'aria-pressed': 'false',
    onclick: () => state.set({ tool: state.tool === tool ? 'pick' : tool }),
  }, words);
  state.on(() => button.setAttribute('aria-pressed', String(state.tool === tool)));
  return button;
}

/** Select tokens in every view, each once. */
export function select(workspace, tokens) {
  workspace.state.set({ locked: [...new Set(tokens)], hover: -1 });
}
