// The contact sheet: one crop of every token that the LLM received, in the order of the sequence.

import { digits } from './color.js';
import { el } from './dom.js';
import { FATE } from './fates.js';
import { LIGHT, Marks, drawCrop, drawHeld, drawRing, font, rings, stroke } from './marks.js';
import { clamp } from './model.js';
import { TOKEN_HEAD, tokenRow } from './view-player.js';
import { Layers, View } from './view.js';

export class SheetView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.roll = el('div', { class: 'ws-roll' });
    this.roll.addEventListener('scroll', () => this.draw(new Set(['scroll'])));
    this.spacer = el('div');
    host.append(this.roll);
    this.layers = new Layers(this.roll, 'Crops of the tokens that the LLM received. Left and Right move '
      + 'through the sequence.', () => this.draw(new Set(['size'])));
    this.layers.box.classList.add('ws-sticky');
    this.roll.append(this.spacer);
    this.layers.pick(workspace, (x, y) => this.find(x, y));
    this.layers.top.canvas.addEventListener('keydown', (event) => this.key(event));
  }

  load(trace) {
    this.place = new Map();
    trace.entered.forEach((token, place) => { this.place.set(token, place); });
    this.fit();
  }

  /** Left and Right follow the sequence here, where cells have no neighbors. */
  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const { entered } = this.trace;
    const here = this.place.get(this.state.focus);
    const next = here === undefined ? 0 : clamp(here + step, 0, entered.length - 1);
    this.workspace.lock(entered[next], event.shiftKey);
    this.reveal(next);
  }

  fit() {
    const wide = this.roll.clientWidth;
    if (!wide || !this.trace) return;
    const count = this.trace.entered.length;
    const { type, room } = this.workspace;
    const pitch = Math.round(58 * type);
    this.columns = Math.max(1, Math.floor(wide / pitch));
    this.pitch = pitch;
    const tall = Math.ceil(count / this.columns) * pitch;
    const seen = Math.min(tall, Math.max(pitch, room.rest(this.roll) - 2 || 6 * pitch));
    this.roll.style.height = `${seen + 2}px`;
    this.layers.height = seen;
    this.spacer.style.height = `${Math.max(0, tall - seen)}px`;
  }

  corner(place) {
    const { columns, pitch } = this;
    return {
      x: (place % columns) * pitch + 4, y: Math.floor(place / columns) * pitch + 4 - this.roll.scrollTop,
      w: pitch - 10, h: pitch - 10,
    };
  }

  find(x, y) {
    if (!this.trace || !this.columns) return -1;
    const column = Math.floor(x / this.pitch);
    const place = Math.floor((y + this.roll.scrollTop) / this.pitch) * this.columns + column;
    return column < this.columns ? this.trace.entered[place] ?? -1 : -1;
  }

  reveal(place) {
    const { y, h } = this.corner(place);
    if (y < 0) this.roll.scrollTop += y - 4;
    else if (y + h > this.roll.clientHeight) this.roll.scrollTop += y + h - this.roll.clientHeight + 4;
  }

  /** The crop of a token: its own, or of what carries it in the LLM. */
  seat(token) {
    const { outside } = this.trace;
    const own = this.place.get(token);
    return own ?? this.place.get(outside.target[token]);
  }

  draw(changed) {
    const { layers, trace, workspace } = this;
    if (!trace || !workspace.look) return;
    const any = (...names) => ['all', 'size', 'scroll', ...names].some((name) => changed.has(name));
    if (changed.has('all') || changed.has('size')) this.fit();
    if (!layers.wide || !this.columns) return;
    if (any('stage', 'step')) this.base();
    if (any('locked')) this.held(changed);
    if (any('hover', 'locked')) this.focus();
  }

  base() {
    const { layers, trace, workspace, state } = this;
    const { under } = layers;
    layers.clear('under', 'over');
    const inside = state.stage === 'layer' || state.stage === 'end';
    const fate = inside ? trace.fate : trace.outside.fate;
    const first = Math.floor(this.roll.scrollTop / this.pitch) * this.columns;
    const last = Math.min(trace.entered.length, first + (Math.ceil(layers.tall / this.pitch) + 1) * this.columns);
    const marks = new Marks(trace.codes);
    for (let place = first; place < last; place += 1) {
      const token = trace.entered[place];
      const cell = this.corner(place);
      drawCrop(under, workspace, token, cell);
      marks.add(fate[token], cell);
    }
    marks.frame(under);
    under.font = font(workspace, 10, 600);
    const line = 13 * workspace.type;
    under.textBaseline = 'bottom';
    under.textAlign = 'right';
    for (let place = first; place < last; place += 1) {
      const size = trace.members(trace.entered[place], 'refilled').length;
      if (size < 2) continue;
      const { x, y, w, h } = this.corner(place);
      const words = String(size);
      const wide = under.measureText(words).width + 6;
      under.fillStyle = trace.codes[FATE.CENTER].color;
      under.fillRect(x + w - wide, y + h - line, wide, line);
      under.fillStyle = LIGHT;
      under.fillText(words, x + w - 3, y + h - 1);
    }
    workspace.drawn.sheet = last - first;
  }

  held(changed) {
    const { layers, state } = this;
    const seats = [...new Set(state.locked.map((token) => this.seat(token)))].filter((seat) => seat >= 0);
    if (changed.has('locked') && seats.length) this.reveal(seats[seats.length - 1]);
    layers.clear('held');
    drawHeld(layers.held, seats, (seat) => this.corner(seat));
  }

  focus() {
    const { layers, state } = this;
    layers.clear('top');
    const seat = state.focus >= 0 ? this.seat(state.focus) : undefined;
    if (seat === undefined) return;
    const cell = this.corner(seat);
    drawRing(layers.top, cell);
    if (this.place.has(state.focus)) return;
    layers.top.setLineDash([4, 3]); // the token is only a part of this one
    stroke(layers.top, rings([cell], -4), this.trace.codes[FATE.MERGED].color, 2);
    layers.top.setLineDash([]);
  }

  table() {
    const { trace } = this;
    const rows = Array.from(trace.entered, (token, place) => [
      place, ...tokenRow(trace, token).slice(0, 4), trace.members(token, 'refilled').length,
      Number.isFinite(trace.relevance[token]) ? digits(trace.relevance[token]) : '–',
    ]);
    return { head: ['Place in the sequence', ...TOKEN_HEAD.slice(0, 4), 'Members on entering', 'Relevance'], rows };
  }
}
