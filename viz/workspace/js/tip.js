// A line at the pointer, or at the token that the keyboard has reached: the token's story, beside it.

import { el } from './dom.js';
import { clamp } from './model.js';
import { briefOf } from './story.js';

const GAP = 8; // pixels between a token and the line

export class Tip {
  constructor(workspace) {
    Object.assign(this, { workspace, pointer: null, keys: false });
    const { root, state } = workspace;
    this.line = el('div', { class: 'ws-tip', role: 'tooltip', id: workspace.id('tip'), hidden: true });
    root.append(this.line);
    const watch = (name, act) => root.addEventListener(name, act, true); // before a view hears of it
    watch('pointermove', (event) => this.follow(event));
    watch('pointerdown', () => { this.keys = false; });
    watch('keydown', (event) => this.press(event));
    watch('focusout', () => {
      if (this.keys) this.hide();
      this.keys = false;
    });
    window.addEventListener('scroll', () => this.hide(), { passive: true, capture: true });
    state.on((_, changed) => this.tell(changed));
  }

  follow(event) {
    this.pointer = event.pointerType === 'touch' ? null : { x: event.clientX, y: event.clientY, target: event.target };
    if (this.pointer) this.keys = false;
    if (!this.pointer) this.hide();
    else if (!this.line.hidden) this.place(this.token);
  }

  press(event) {
    this.keys = event.key !== 'Escape' && event.target.classList.contains('ws-top-layer');
    if (event.key === 'Escape') this.hide();
  }

  /** Which token the line is about: the one under the pointer, else the one that keys have reached. */
  get wanted() {
    const { hover, focus } = this.workspace.state;
    if (hover >= 0) return this.pointer ? hover : -1;
    return this.keys ? focus : -1;
  }

  tell(changed) {
    if (!['all', 'hover', 'locked', 'stop'].some((name) => changed.has(name))) return;
    const token = this.workspace.trace ? this.wanted : -1;
    if (token < 0 || token >= this.workspace.trace.n) {
      this.hide();
      return;
    }
    this.line.textContent = briefOf(this.workspace.trace, token);
    this.line.hidden = false;
    this.place(token);
  }

  hide() {
    this.line.hidden = true;
    this.token = -1;
  }

  /** Under the token, or above it where there is no room; never over it. */
  place(token) {
    this.token = token;
    const { root } = this.workspace;
    const spot = this.spot(token);
    if (!spot) {
      this.hide();
      return;
    }
    const home = root.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: tall } = this.line;
    const left = clamp(spot.x - wide / 2, Math.max(4, home.left), Math.max(4, Math.min(innerWidth - 4, home.right) - wide));
    const under = spot.bottom + GAP;
    const top = under + tall <= innerHeight - 2 ? under : spot.top - GAP - tall;
    this.line.style.left = `${left - home.left}px`;
    this.line.style.top = `${top - home.top}px`;
  }

  /** {x, top, bottom} in the window of what must not be covered; null where it is out of sight. */
  spot(token) {
    const canvas = this.keys ? document.activeElement : this.pointer.target;
    const cell = this.cellIn(canvas, token);
    if (cell) {
      const box = canvas.getBoundingClientRect();
      const [top, bottom] = [box.top + cell.y, box.top + cell.y + cell.h];
      return { x: this.keys ? box.left + cell.x + cell.w / 2 : this.pointer.x, top, bottom };
    }
    if (this.keys) return null;
    return { x: this.pointer.x, top: this.pointer.y - GAP, bottom: this.pointer.y + 2 * GAP };
  }

  /** Where a token is in the view of a canvas. */
  cellIn(canvas, token) {
    const view = Object.values(this.workspace.views).find(({ layers }) => layers?.top?.canvas === canvas);
    if (view?.placeOf) return view.placeOf(token);
    if (!view?.seat) return null;
    const seat = view.seat(token);
    return seat === undefined ? null : view.corner(seat);
  }
}
