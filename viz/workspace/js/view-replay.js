// The greedy selection step by step: which token is considered, what it is compared with, and what
// follows. The lesson of the method in one picture.

import { el } from './dom.js';
import { FATE } from './fates.js';
import { DARK, drawCrop, drawRing, ink, stroke } from './marks.js';
import { clamp } from './model.js';
import { Layers, View } from './view.js';

const PACES = [2, 8, 30, 120]; // tokens a second

export class ReplayView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    const button = (words, label, act) => el('button', { type: 'button', 'aria-label': label, title: label, onclick: act }, words);
    this.play = button('▶', 'Play the selection', () => this.toggle());
    this.slider = el('input', {
      type: 'range', min: '0', step: '1', 'aria-label': 'Tokens considered',
      oninput: () => this.goTo(Number(this.slider.value)),
    });
    this.pace = el('select', { 'aria-label': 'Tokens per second' },
      ...PACES.map((pace) => el('option', { value: pace }, `${pace} / s`)));
    this.pace.value = '8';
    this.buttons = el('div', { class: 'ws-transport' },
      button('|◀', 'To the start', () => this.goTo(0)),
      button('◀', 'One token back', () => this.goTo(Math.max(0, this.state.step) - 1)), this.play,
      button('▶|', 'One token on', () => this.goTo(Math.max(0, this.state.step) + 1)),
      this.slider, this.pace, button('✕', 'Leave the replay', () => this.goTo(-1)));
    this.says = el('p', { class: 'ws-replay-says', 'aria-live': 'polite' });
    this.crops = el('canvas', { class: 'ws-pair', width: 272, height: 128, 'aria-hidden': 'true' });
    host.append(this.buttons, el('div', { class: 'ws-replay-now' }, this.crops, this.says));
    this.layers = new Layers(host, 'Cosine to the pool of every token in the order of its turn. Click to '
      + 'go to a turn.', () => this.draw(new Set(['size'])));
    this.layers.height = 130;
    this.layers.top.canvas.addEventListener('click', (event) => {
      if (this.trace && this.trace.walk.length) this.goTo(this.turnAt(this.layers.at(event)[0]) + 1);
    });
    this.layers.top.canvas.addEventListener('pointermove', (event) => {
      if (this.trace && this.trace.walk.length) {
        workspace.hover(this.trace.walk[this.turnAt(this.layers.at(event)[0])]);
      }
    });
    this.layers.top.canvas.addEventListener('pointerleave', () => workspace.hover(-1));
    this.layers.top.canvas.addEventListener('keydown', (event) => this.key(event));
  }

  load(trace) {
    this.slider.max = String(trace.walk.length);
    this.buttons.hidden = !trace.walk.length;
    this.layers.box.hidden = !trace.walk.length;
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.goTo(Math.max(0, this.state.step) + step);
  }

  /** After this many tokens of the walk; -1 leaves the replay. */
  goTo(step) {
    const to = clamp(step, -1, this.trace.walk.length);
    this.state.set({ step: to, overlay: 'fate', ...(to < 0 ? { replaying: false } : {}) });
    if (to > 0) this.workspace.goTo(this.trace.frameOf(this.trace.walk[to - 1]));
  }

  toggle() {
    const { state, trace } = this;
    if (!trace.walk.length) return;
    if (state.replaying) {
      state.set({ replaying: false });
      return;
    }
    if (state.step < 0 || state.step >= trace.walk.length) this.goTo(0);
    state.set({ replaying: true });
    this.last = performance.now();
    requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    const { state, trace } = this;
    if (!state.replaying) return;
    const due = Math.floor(((now - this.last) / 1000) * Number(this.pace.value));
    if (due > 0) {
      this.last = now;
      this.goTo(state.step + due);
    }
    if (state.step >= trace.walk.length) state.set({ replaying: false });
    else requestAnimationFrame((later) => this.tick(later));
  }

  // --- drawing ----------------------------------------------------------------------------------

  get area() { return { left: 40, top: 8, right: this.layers.wide - 8, bottom: this.layers.tall - 20 }; }

  x(turn) {
    const { left, right } = this.area;
    return left + ((turn + 0.5) / this.trace.walk.length) * (right - left);
  }

  /** Cosines from the lowest that occurs to 1; the first token has none and stands at the bottom. */
  y(cosine) {
    const { top, bottom } = this.area;
    const low = this.lowest;
    return bottom - ((Number.isFinite(cosine) ? cosine - low : 0) / (1 - low || 1)) * (bottom - top);
  }

  turnAt(x) {
    const { left, right } = this.area;
    return clamp(Math.floor(((x - left) / (right - left)) * this.trace.walk.length), 0, this.trace.walk.length - 1);
  }

  draw(changed) {
    const { layers, state, trace } = this;
    if (!trace) return;
    const any = (...names) => ['all', 'size', ...names].some((name) => changed.has(name));
    if (any('step', 'replaying')) this.tellStep();
    if (!layers.wide || !trace.walk.length) return;
    if (any()) this.base();
    if (!any('step', 'hover')) return;
    layers.clear('top');
    if (state.step > 0) this.cursor(state.step - 1, ink(this.workspace).accent);
    if (state.hover >= 0 && trace.order[state.hover] >= 0) {
      this.cursor(trace.order[state.hover], ink(this.workspace).quiet);
    }
  }

  cursor(turn, color) {
    const { layers, area } = this;
    const path = new Path2D();
    path.moveTo(this.x(turn), area.top - 4);
    path.lineTo(this.x(turn), area.bottom + 4);
    stroke(layers.top, path, color, 1.5);
    const y = this.y(this.trace.similarity[this.trace.walk[turn]]);
    drawRing(layers.top, { x: this.x(turn) - 3, y: y - 3, w: 6, h: 6 });
  }

  base() {
    const { layers, trace, workspace } = this;
    const { under } = layers;
    layers.clear('under', 'over');
    const cosines = Array.from(trace.walk, (token) => trace.similarity[token]).filter(Number.isFinite);
    this.lowest = cosines.reduce((low, cosine) => Math.min(low, cosine), 0);
    this.axes(under, ink(workspace));
    const [taken, left] = [new Path2D(), new Path2D()];
    trace.walk.forEach((token, turn) => {
      const [x, y] = [this.x(turn), this.y(trace.similarity[token])];
      if (trace.accepted(token)) taken.rect(x - 3, y - 3, 6, 6);
      else {
        left.moveTo(x + 2, y);
        left.arc(x, y, 2, 0, 7);
      }
    });
    under.fillStyle = trace.codes[FATE.MERGED].color;
    under.fill(left);
    under.fillStyle = trace.codes[FATE.KEPT].color;
    under.fill(taken);
    stroke(under, taken, DARK, 1);
  }

  axes(context, colors) {
    const { area, trace } = this;
    context.font = '11px ui-sans-serif, system-ui, sans-serif';
    context.fillStyle = colors.quiet;
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    for (const value of [0, 0.5, 1]) {
      context.fillText(value.toFixed(1), area.left - 6, this.y(value));
      const path = new Path2D();
      path.moveTo(area.left, this.y(value));
      path.lineTo(area.right, this.y(value));
      stroke(context, path, colors.rule, 1);
    }
    const { accepted, recycled } = trace.threshold;
    if (Number.isFinite(accepted) && recycled <= 1 && recycled >= accepted) { // a band, not a guess
      context.fillStyle = colors.accent;
      context.globalAlpha = 0.3;
      const [y0, y1] = [this.y(recycled), this.y(accepted)];
      context.fillRect(area.left, y0 - 0.5, area.right - area.left, Math.max(1, y1 - y0));
      context.globalAlpha = 1;
    }
    context.fillStyle = colors.quiet;
    context.textAlign = 'left';
    context.textBaseline = 'top';
    context.fillText('turn 1', area.left, area.bottom + 6);
    context.textAlign = 'right';
    context.fillText(`turn ${trace.walk.length}`, area.right, area.bottom + 6);
  }

  tellStep() {
    const { state, trace, workspace } = this;
    this.crops.hidden = !trace.walk.length || state.step <= 0;
    if (!trace.walk.length) {
      this.says.textContent = 'This method keeps no order of its choices, so there is nothing to replay.';
      return;
    }
    this.slider.value = String(Math.max(0, state.step));
    this.play.textContent = state.replaying ? '❚❚' : '▶';
    this.play.setAttribute('aria-label', state.replaying ? 'Pause the selection' : 'Play the selection');
    this.says.setAttribute('aria-live', state.replaying ? 'off' : 'polite'); // eight turns a second are no speech
    const pen = this.crops.getContext('2d');
    pen.clearRect(0, 0, 272, 128);
    if (state.step <= 0) {
      this.says.textContent = 'Tokens are considered from the highest contribution down. One that is unlike '
        + 'every token of the pool enters it; one that is too alike is recycled. Squares entered, dots did not; '
        + 'the band is where the threshold must lie. Press play, or step with the arrow keys.';
      return;
    }
    const token = trace.walk[state.step - 1];
    const taken = trace.walk.subarray(0, state.step).reduce((sum, t) => sum + trace.accepted(t), 0);
    drawCrop(pen, workspace, token, { x: 0, y: 0, w: 128, h: 128 });
    if (trace.nearest[token] >= 0) drawCrop(pen, workspace, trace.nearest[token], { x: 144, y: 0, w: 128, h: 128 });
    const against = trace.nearest[token] < 0 ? 'The pool is empty'
      : `Cosine ${trace.similarity[token].toFixed(2)} to the nearest of the pool, ${trace.place(trace.nearest[token])}`;
    this.says.textContent = `Turn ${state.step} of ${trace.walk.length}: ${trace.place(token)}. ${against}: `
      + `${trace.accepted(token) ? 'accepted' : 'recycled'}. In the pool now: ${taken}.`;
  }

  table() {
    const { trace } = this;
    if (!trace.walk.length) return null;
    const rows = Array.from(trace.walk, (token, turn) => [
      turn + 1, trace.place(token), trace.nearest[token] < 0 ? '–' : trace.place(trace.nearest[token]),
      Number.isFinite(trace.similarity[token]) ? trace.similarity[token].toFixed(3) : '–',
      trace.accepted(token) ? 'accepted' : 'recycled',
    ]);
    return { head: ['Turn', 'Token', 'Nearest of the pool', 'Cosine', 'So'], rows };
  }
}
