// Drawing that several views share: frames, cells with their second channel, focus and links.

import { el } from './dom.js';
import { FATE } from './fates.js';
import { clamp } from './model.js';

export const DARK = '#10151B'; // rim that keeps yellow readable on bright video
export const LIGHT = '#FFFFFF'; // and blue on dark video
export const EVIDENCE = '#CC79A7';
const MOST_LINKS = 50;

/** The font of words on a canvas: larger on a stage. */
export function font(workspace, pixels = 11, weight = 400) {
  return `${weight} ${Math.round(pixels * workspace.type)}px ui-sans-serif, system-ui, sans-serif`;
}

/** The picture of a frame at {x, y, w, h}; gray where the trace holds none. */
export function drawFrame(context, workspace, frame, { x, y, w, h }) {
  const { sprite, trace } = workspace;
  const tile = trace.header.sprite;
  if (!sprite || !tile) {
    context.fillStyle = '#969696';
    context.fillRect(x, y, w, h);
    return;
  }
  const column = frame % tile.columns;
  const row = Math.floor(frame / tile.columns);
  context.drawImage(sprite, column * tile.width, row * tile.height, tile.width, tile.height, x, y, w, h);
}

/** A cell with some of what is around it: the crop of the contact sheet and of the cards. */
export function drawCrop(context, workspace, token, { x, y, w, h }, margin = 0.25) {
  const { sprite, trace } = workspace;
  const tile = trace.header.sprite;
  const cell = trace.box(token);
  context.fillStyle = '#969696';
  context.fillRect(x, y, w, h);
  if (!sprite || !tile || !cell.w || !cell.h) return;
  const frame = trace.frameOf(token);
  const left = clamp(cell.x - margin * cell.w, 0, 1);
  const top = clamp(cell.y - margin * cell.h, 0, 1);
  const right = clamp(cell.x + (1 + margin) * cell.w, 0, 1);
  const bottom = clamp(cell.y + (1 + margin) * cell.h, 0, 1);
  context.drawImage(
    sprite,
    ((frame % tile.columns) + left) * tile.width,
    (Math.floor(frame / tile.columns) + top) * tile.height,
    (right - left) * tile.width, (bottom - top) * tile.height, x, y, w, h,
  );
}

/** The look of a frame's cells over its picture, exactly where the encoder saw them. */
export function drawLook(context, workspace, frame, { x, y, w, h }) {
  const { trace, look } = workspace;
  const [top, left, bottom, right] = trace.seen;
  context.save();
  context.beginPath();
  context.rect(x, y, w, h);
  context.clip();
  context.imageSmoothingEnabled = false; // cells have hard edges: nothing between them is known
  context.drawImage(
    look.sheet, 0, frame * trace.rows, trace.cols, trace.rows,
    x + (left / trace.width) * w, y + (top / trace.height) * h,
    ((right - left) / trace.width) * w, ((bottom - top) / trace.height) * h,
  );
  context.restore();
}

/** Second channels of many cells, by look, so that the canvas is given a few large paths. */
export class Marks {
  /** ``plain``: frames alone, over what the LLM has; those of nearly all cells from ``net`` pixels. */
  constructor(codes, plain = false, net = 24) {
    Object.assign(this, { codes, plain, net });
    this.cells = codes.map(() => []);
    this.count = 0;
  }

  /** Whether cells of this size get a mark at all; hatching would turn small ones to mud. */
  wants(code, { w, h }) {
    const { mark } = this.codes[code];
    if (this.plain && mark.startsWith('hatch')) return mark !== 'hatch' || Math.min(w, h) >= this.net;
    return mark !== 'none' && mark !== 'dim' && (mark !== 'hatch' || Math.min(w, h) >= 14);
  }

  add(code, cell) {
    if (cell.w <= 0 || cell.h <= 0 || !this.wants(code, cell)) return;
    this.cells[code].push(cell);
    this.count += 1;
  }

  paint(context) {
    this.cells.forEach((cells, code) => {
      if (cells.length) this[this.codes[code].mark.split(' ')[0]](context, cells, this.codes[code]);
    });
  }

  /** Borders alone, for crops that must stay visible: dashed for what is merged inside the LLM. */
  frame(context) {
    this.cells.forEach((cells, code) => {
      const { mark } = this.codes[code];
      if (!cells.length) return;
      if (!mark.startsWith('hatch')) {
        this[mark](context, cells, this.codes[code]);
        return;
      }
      stroke(context, rings(cells, 1), LIGHT, 3.5);
      context.save();
      context.setLineDash([5, 3]);
      stroke(context, rings(cells, 1), this.codes[code].color, 3);
      context.restore();
    });
  }

  /** Frames of a pixel or two in the fate's color: solid for what goes on, dashed for what was merged. */
  thin(context) {
    this.cells.forEach((cells, code) => {
      const { color, mark } = this.codes[code];
      if (!cells.length) return;
      const faint = mark === 'hatch'; // nearly every cell
      const path = rings(cells, 0.75);
      context.save();
      context.globalAlpha = faint ? 0.5 : 1;
      if (mark.startsWith('hatch')) context.setLineDash(faint ? [2, 3] : [4, 2]);
      const line = faint || Math.min(cells[0].w, cells[0].h) < 9 ? 1 : 1.5; // small cells stay to be seen
      if (!faint) stroke(context, path, mark === 'double' ? LIGHT : DARK, 2 * line);
      stroke(context, path, color, line);
      context.restore();
    });
  }

  outline(context, cells, { color }) {
    stroke(context, rings(cells, 1), DARK, 3.5);
    stroke(context, rings(cells, 1), color, 1.8);
  }

  double(context, cells, { color }) {
    stroke(context, rings(cells, 1), LIGHT, 3.5);
    stroke(context, rings(cells, 1), color, 2);
    const large = cells.filter((cell) => Math.min(cell.w, cell.h) >= 12);
    stroke(context, rings(large, 4), LIGHT, 2.5);
    stroke(context, rings(large, 4), color, 1.4);
  }

  hatch(context, cells, { color, mark }) {
    const path = new Path2D();
    for (const { x, y, w, h } of cells) path.rect(x, y, w, h);
    context.fillStyle = hatching(context, color);
    context.fill(path);
    if (mark === 'hatch outline') {
      stroke(context, rings(cells, 1), LIGHT, 3.5);
      stroke(context, rings(cells, 1), color, 2);
    }
  }

  cross(context, cells, { color }) {
    const path = new Path2D();
    for (const { x, y, w, h } of cells) {
      path.moveTo(x + 2, y + 2);
      path.lineTo(x + w - 2, y + h - 2);
      path.moveTo(x + w - 2, y + 2);
      path.lineTo(x + 2, y + h - 2);
    }
    stroke(context, path, LIGHT, 3.5);
    stroke(context, path, color, 2);
  }
}

/** Thin rims of the few cells that have a value, so that none is missed on a dark frame. */
export function drawRims(context, look, first, last, placeOf) {
  if (!look.few) return;
  const cells = [];
  for (let i = first; i < last; i += 1) if (Number.isFinite(look.values[i])) cells.push(placeOf(i));
  stroke(context, rings(cells, 0.5), LIGHT, 1);
}

/** Outlines just inside the cells. */
export function rings(cells, inset) {
  const path = new Path2D();
  for (const { x, y, w, h } of cells) {
    path.rect(x + inset, y + inset, Math.max(1, w - 2 * inset), Math.max(1, h - 2 * inset));
  }
  return path;
}

export function stroke(context, path, color, width) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke(path);
}

const hatchings = new Map();

function hatching(context, color) {
  if (!hatchings.has(color)) {
    const tile = el('canvas', { width: 6, height: 6 });
    const pen = tile.getContext('2d');
    pen.strokeStyle = color;
    pen.globalAlpha = 0.55;
    pen.beginPath();
    for (const shift of [-6, 0, 6]) {
      pen.moveTo(shift - 1, 7);
      pen.lineTo(shift + 7, -1);
    }
    pen.stroke();
    hatchings.set(color, tile);
  }
  return context.createPattern(hatchings.get(color), 'repeat');
}

/** A cell that is meant: dark, light, dark, so that it stands out of any picture. */
export function drawRing(context, { x, y, w, h }, color = LIGHT) {
  const path = new Path2D();
  path.rect(x - 1, y - 1, w + 2, h + 2);
  stroke(context, path, DARK, 5);
  stroke(context, path, color, 2.5);
}

/** What is selected, however many cells that are. */
export function drawHeld(context, tokens, placeOf) {
  const path = new Path2D();
  for (const token of tokens) {
    const cell = placeOf(token);
    if (cell) path.rect(cell.x - 1, cell.y - 1, cell.w + 2, cell.h + 2);
  }
  stroke(context, path, DARK, 5);
  stroke(context, path, LIGHT, 2.5);
}

/** Corners of a cell: ``solid`` for what is gone, else dotted. */
export function drawCorners(context, { x, y, w, h }, color, solid) {
  const reach = Math.max(2, Math.min(w, h) * 0.32);
  const path = new Path2D();
  for (const [cx, cy, dx, dy] of [[x, y, 1, 1], [x + w, y, -1, 1], [x, y + h, 1, -1], [x + w, y + h, -1, -1]]) {
    path.moveTo(cx + dx * reach, cy);
    path.lineTo(cx, cy);
    path.lineTo(cx, cy + dy * reach);
  }
  context.save();
  if (!solid) context.setLineDash([2, 2]);
  stroke(context, path, DARK, 4);
  stroke(context, path, color, 2);
  context.restore();
}

/** Add a line between the middles of two cells, bent so that many do not coincide. */
export function link(path, from, to) {
  const [x0, y0] = [from.x + from.w / 2, from.y + from.h / 2];
  const [x1, y1] = [to.x + to.w / 2, to.y + to.h / 2];
  path.moveTo(x0, y0);
  path.quadraticCurveTo((x0 + x1) / 2 - (y1 - y0) * 0.15, (y0 + y1) / 2 + (x1 - x0) * 0.15, x1, y1);
}

/** A dashed outline of the cells that most frames attend to, whatever they show. */
export function drawSinks(context, trace, placeOf, frames) {
  const path = new Path2D();
  for (const frame of frames) {
    trace.sinks.forEach((sink, cell) => {
      if (!sink) return;
      const { x, y, w, h } = placeOf(frame * trace.perFrame + cell);
      path.rect(x + 0.5, y + 0.5, w - 1, h - 1);
    });
  }
  context.save();
  stroke(context, path, DARK, 2.5);
  context.setLineDash([3, 3]);
  stroke(context, path, LIGHT, 1.5);
  context.restore();
}

/**
 * Everything that belongs to the focused token: what carries it, the members, the pool token that
 * was nearest in the replay. ``placeOf(token)`` gives its cell, null where this view does not show it.
 * Returns {members, links, hidden}: how many were drawn and how many were left out.
 */
export function drawFocus(context, workspace, placeOf) {
  const { state, trace } = workspace;
  const { focus } = state;
  if (focus < 0) return { members: 0, links: 0, hidden: 0 };
  const { carrier, members, hidden } = family(trace, state, focus);
  const home = carrier >= 0 ? placeOf(carrier) : null;
  const cells = members.filter((token) => token !== carrier).map(placeOf).filter(Boolean);
  const path = rings(cells, 0);
  if (home) for (const cell of cells) link(path, home, cell);
  stroke(context, path, DARK, 3);
  stroke(context, path, trace.codes[FATE.MERGED].color, 1.3);
  if (home) drawRing(context, home, trace.codes[FATE.CENTER].color);
  const cell = placeOf(focus);
  if (cell) drawRing(context, cell);
  return { members: cells.length, links: home ? cells.length : 0, hidden };
}

/** {carrier, members, hidden}: what carries a token at the current stage, and at most 50 of its own. */
export function family(trace, state, token) {
  const stage = state.step >= 0 ? 'raw' : state.stage;
  const carrier = trace.targetAt(stage)[token];
  if (carrier < 0) return { carrier, members: [], hidden: 0 };
  const all = trace.members(carrier, stage === 'layer' ? 'end' : stage);
  if (all.length <= MOST_LINKS) return { carrier, members: [...all], hidden: 0 };
  const near = [...all].sort((a, b) => Math.abs(a - token) - Math.abs(b - token));
  return { carrier, members: near.slice(0, MOST_LINKS), hidden: all.length - MOST_LINKS };
}

/** A piece of a bar: a fate's color and its second channel. */
export function drawBar(context, code, x, y, w, h) {
  if (w <= 0 || h <= 0) return;
  context.fillStyle = code.color;
  context.fillRect(x, y, w, h);
  if (code.mark.startsWith('hatch')) {
    context.fillStyle = hatching(context, LIGHT);
    context.fillRect(x, y, w, h);
  } else if (code.mark === 'double' && Math.min(w, h) >= 6) {
    stroke(context, rings([{ x, y, w, h }], 2), LIGHT, 1);
  } else if (code.mark === 'outline') {
    stroke(context, rings([{ x, y, w, h }], 0.5), DARK, 1);
  } else if (code.mark === 'cross') {
    const path = new Path2D();
    path.moveTo(x, y);
    path.lineTo(x + w, y + h);
    path.moveTo(x + w, y);
    path.lineTo(x, y + h);
    stroke(context, path, LIGHT, 1.2);
  }
}

/** Colors of the page around the canvases, as CSS has them; asked once per redraw of a view. */
export function ink(workspace) {
  if (!workspace.colors) {
    const style = getComputedStyle(workspace.root);
    const of = (name) => style.getPropertyValue(name).trim();
    workspace.colors = {
      text: of('--ws-ink'), quiet: of('--ws-quiet'), rule: of('--ws-rule'), accent: of('--ws-accent'),
    };
  }
  return workspace.colors;
}

/** A round step for an axis: 1, 2 or 5 times a power of ten, for at most ``most`` ticks. */
export function niceStep(span, most) {
  const rough = span / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => step >= rough * 0.999);
}
