// The token card: everything that is known of the token in focus, as sentences.

import { digits } from './color.js';
import { el, swatch } from './dom.js';
import { drawCrop, family } from './marks.js';
import { seconds } from './story.js';
import { OVERLAYS } from './view-controls.js';
import { TOKEN_HEAD, tokenRow } from './view-player.js';
import { View } from './view.js';

const MOST = 24; // members shown as pictures
const SIDE = 32; // pixels of each

export class CardView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    const side = 64;
    this.crop = el('canvas', { class: 'ws-crop', width: 2 * side, height: 2 * side, 'aria-hidden': 'true' });
    this.title = el('p', { class: 'ws-card-title' });
    this.fate = el('p', { class: 'ws-card-fate' });
    this.text = el('p', { class: 'ws-card-text' });
    this.links = el('div', { class: 'ws-members' });
    this.said = el('p', { class: 'ws-unseen', role: 'status', 'aria-live': 'polite' });
    this.card = el('div', { class: 'ws-card' }, this.crop, el('div', {}, this.title, this.fate),
      el('div', { class: 'ws-card-more' }, this.text, this.links));
    this.host.append(this.card, this.said);
  }

  draw(changed) {
    if (!['all', 'hover', 'locked', 'stage', 'step', 'look'].some((name) => changed.has(name))) return;
    const { state, trace, workspace } = this;
    const token = state.focus;
    this.card.classList.toggle('ws-empty', token < 0);
    if (token < 0) {
      this.title.textContent = 'Point at a token in any view, click to hold it.';
      this.fate.replaceChildren();
      this.text.textContent = 'Shift-click adds, Escape clears, arrow keys move by cell, Page Up and Page Down by frame.';
      this.links.replaceChildren();
      this.said.textContent = '';
      return;
    }
    const frame = trace.frameOf(token);
    this.title.textContent = `Frame ${frame}, ${seconds(trace.seconds[frame])}, `
      + `cell (${trace.rowOf(token)}, ${trace.colOf(token)})`;
    const code = trace.codes[trace.fate[token]];
    this.fate.replaceChildren(swatch(code), code.label.split(' (')[0], this.reading(token));
    this.text.textContent = trace.story(token).join(' ');
    this.relatives(token);
    const pen = this.crop.getContext('2d');
    const { width, height } = this.crop;
    drawCrop(pen, workspace, token, { x: 0, y: 0, w: width, h: height });
    if (state.hover < 0 && !['all', 'look'].some((name) => changed.has(name))) {
      this.said.textContent = `${this.title.textContent}: ${code.label.split(' (')[0]}. ${this.text.textContent}`;
    }
  }

  /** The number behind the overlay, if there is one. */
  reading(token) {
    const { look } = this.workspace;
    if (!look || !look.scalar) return '';
    const value = look.values[token];
    const name = OVERLAYS.find(([key]) => key === look.overlay)[1];
    return ` · ${name}: ${Number.isFinite(value) ? digits(value) : 'none'}`;
  }

  /** What carries the token and what it is carried with: crops, each a button that selects it. */
  relatives(token) {
    const { state, trace } = this;
    if (state.hover >= 0) { // nobody can reach a button without leaving the token
      this.links.replaceChildren();
      return;
    }
    const { carrier, members, hidden } = family(trace, state, token);
    const others = members.filter((other) => other !== token && other !== carrier);
    const near = others.sort((a, b) => Math.abs(a - token) - Math.abs(b - token)).slice(0, MOST);
    const rest = others.length - near.length + hidden;
    const quiet = (words) => el('span', { class: 'ws-quiet-text' }, words);
    const pieces = [];
    if (carrier >= 0 && carrier !== token) pieces.push(quiet('carried by'), this.thumbnail(carrier));
    if (near.length) {
      pieces.push(quiet(carrier === token ? 'carries' : 'together with'));
      pieces.push(...near.sort((a, b) => a - b).map((other) => this.thumbnail(other)));
    }
    if (rest) {
      const all = [...trace.members(carrier, state.stage === 'layer' ? 'end' : state.stage)];
      pieces.push(el('button', {
        type: 'button', class: 'ws-token', 'aria-label': `${rest} more; select all ${all.length}`,
        title: `Select all ${all.length}`,
        onclick: () => state.set({ locked: [...all.filter((other) => other !== token), token], hover: -1 }),
      }, `+${rest} more`));
    }
    this.links.replaceChildren(...pieces);
  }

  /** A token's crop, in the color of its fate, that says its time and place. */
  thumbnail(token) {
    const { trace, workspace } = this;
    const words = `frame ${trace.frameOf(token)}, ${seconds(trace.seconds[trace.frameOf(token)])}, `
      + `cell (${trace.rowOf(token)}, ${trace.colOf(token)})`;
    if (!workspace.sprite) {
      return el('button', { type: 'button', class: 'ws-token', onclick: () => workspace.lock(token) }, words);
    }
    const crop = el('canvas', { width: 2 * SIDE, height: 2 * SIDE, role: 'img', 'aria-label': words });
    drawCrop(crop.getContext('2d'), workspace, token, { x: 0, y: 0, w: 2 * SIDE, h: 2 * SIDE }, 0);
    const made = el('button', { type: 'button', class: 'ws-thumb', title: words, onclick: () => workspace.lock(token) }, crop);
    made.style.setProperty('--fate', trace.codes[trace.fate[token]].color);
    return made;
  }

  table() {
    const { trace, state } = this;
    const chosen = state.locked;
    return chosen.length ? { head: TOKEN_HEAD, rows: chosen.map((token) => tokenRow(trace, token)) } : null;
  }
}
