// What every view is: a place, a canvas in layers, and a table that says the same.

import { el } from './dom.js';

/**
 * Base of all views. A view overrides
 *   load(trace)     take over another trace; ``this.trace`` is set already
 *   draw(changed)   redraw what depends on the changed names of State ("all" and "size" included)
 *   table()         {head: [text], rows: [[text]]}, the same as text; null where a view is text
 * and never keeps a selection of its own: it reads ``this.state`` and calls ``this.workspace``.
 */
export class View {
  constructor(host, workspace) {
    this.host = host;
    this.workspace = workspace;
    this.state = workspace.state;
    this.trace = null;
  }

  load() {}

  draw() {}

  table() { return null; }
}

const LAYERS = ['under', 'over', 'marks', 'held', 'top'];

/**
 * Canvases on top of each other over one box: ``under`` for pictures, ``over`` for colors (its
 * opacity is the visitor's), ``marks`` for outlines, ``held`` for what is selected, ``top`` for what
 * follows the pointer and is cleared all the time. Their contexts draw in CSS pixels. The top one
 * takes focus, pointer and keys.
 */
export class Layers {
  constructor(host, label, resized) {
    this.host = host;
    this.wide = 0;
    this.tall = 0;
    this.box = el('div', { class: 'ws-layers' });
    for (const name of LAYERS) {
      const canvas = el('canvas', { class: `ws-layer ws-${name}-layer` });
      this.box.append(canvas);
      this[name] = canvas.getContext('2d');
    }
    const top = this.top.canvas;
    top.tabIndex = 0;
    top.setAttribute('role', 'application');
    top.setAttribute('aria-label', label);
    host.append(this.box);
    this.watch = new ResizeObserver(() => this.fit(resized));
    this.watch.observe(this.box);
  }

  /** The box's height in pixels follows from its width. */
  set height(pixels) {
    const height = `${Math.max(1, Math.round(pixels))}px`;
    if (this.box.style.height !== height) this.box.style.height = height;
  }

  fit(resized) {
    const { clientWidth, clientHeight } = this.box;
    const sharp = Math.min(devicePixelRatio || 1, 2);
    if (!clientWidth || !clientHeight) return; // in a hidden tab
    if (clientWidth === this.wide && clientHeight === this.tall && sharp === this.sharp) return;
    Object.assign(this, { wide: clientWidth, tall: clientHeight, sharp });
    for (const context of LAYERS.map((name) => this[name])) {
      context.canvas.width = Math.round(clientWidth * sharp);
      context.canvas.height = Math.round(clientHeight * sharp);
      context.setTransform(sharp, 0, 0, sharp, 0, 0);
    }
    resized();
  }

  /** What the visitor set: how strong the colors are, and whether there is anything at all. */
  veil({ opacity, image, overlay }) {
    const strong = overlay === 'seen' ? 1 : opacity; // a picture, through which nothing is to shine
    this.over.canvas.style.opacity = image ? 0 : strong;
    this.marks.canvas.style.opacity = image ? 0 : 1;
  }

  clear(...names) {
    for (const name of names) this[name].clearRect(0, 0, this.wide, this.tall);
  }

  /** (x, y) of a pointer event in CSS pixels of the box. */
  at(event) {
    const box = this.top.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** Hover and click on tokens: ``find(x, y)`` gives the token there, or -1. */
  pick(workspace, find) {
    const { canvas } = this.top;
    canvas.addEventListener('pointermove', (event) => {
      if (event.pointerType !== 'touch') workspace.hover(find(...this.at(event)));
    });
    canvas.addEventListener('pointerleave', () => workspace.hover(-1));
    canvas.addEventListener('click', (event) => workspace.lock(find(...this.at(event)), event.shiftKey));
  }
}
