// A line across the clip: to its left the original, to its right what the LLM has.

import { el } from './dom.js';
import { clamp } from './model.js';

const STEP = 0.02; // of the width, with an arrow key
const KEYS = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -0.1, PageUp: 0.1,
  Home: -1, End: 1 };

export class Wipe {
  constructor(workspace, layers) {
    Object.assign(this, { state: workspace.state, layers });
    this.knob = el('div', {
      class: 'ws-wipe-knob', role: 'slider', tabindex: '0', 'aria-label': 'Wipe to the original frame',
      'aria-valuemin': '0', 'aria-valuemax': '100', title: 'Drag to compare with the original',
      onkeydown: (event) => this.key(event),
    }, el('span', { 'aria-hidden': 'true' }, '◂▸'));
    this.line = el('div', { class: 'ws-wipe-line' });
    this.sides = el('div', { class: 'ws-wipe-sides', 'aria-hidden': 'true' }, el('span', {}, 'original'), el('span', {}, 'LLM'));
    this.box = el('div', { class: 'ws-wipe', hidden: true }, this.line, this.sides, this.knob);
    for (const part of [this.knob, this.line]) {
      part.addEventListener('pointerdown', (event) => this.grab(event, part));
      part.addEventListener('pointermove', (event) => this.drag(event, part));
    }
    layers.box.append(this.box);
  }

  key(event) {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere arrows move by cell
    this.set(this.state.wipe + KEYS[event.key]);
  }

  grab(event, part) {
    event.preventDefault();
    this.knob.focus({ preventScroll: true });
    part.setPointerCapture(event.pointerId);
  }

  drag(event, part) {
    if (!part.hasPointerCapture(event.pointerId)) return;
    const { left, width } = this.layers.box.getBoundingClientRect();
    this.set((event.clientX - left) / width);
  }

  set(share) { this.state.set({ wipe: Math.round(1000 * clamp(share, 0, 1)) / 1000 }); }

  /** Show the line, or take it and its effect away. */
  draw(shown) {
    const { knob, line, sides, state, layers } = this;
    const share = shown ? state.wipe : 0;
    this.box.hidden = !shown;
    for (const { canvas } of [layers.over, layers.marks]) {
      canvas.style.clipPath = share ? `inset(0 0 0 ${100 * share}%)` : '';
    }
    const percent = Math.round(100 * share);
    knob.setAttribute('aria-valuenow', String(percent));
    knob.setAttribute('aria-valuetext', percent ? `original in the left ${percent} %` : 'all as the LLM has it');
    knob.style.left = `clamp(var(--ws-knob), ${100 * share}%, 100% - var(--ws-knob))`;
    for (const part of [line, sides]) part.style.left = `${100 * share}%`;
    line.hidden = !share;
    sides.hidden = share < 0.15 || share > 0.85;
  }
}
