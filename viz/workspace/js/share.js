// What leaves the page: its state as an address, the run as Python, the strip as a figure.

import { codeOf } from './code.js';
import { UNITS, digits } from './color.js';
import { el } from './dom.js';
import { download } from './fetching.js';
import { Marks } from './marks.js';
import { BLANK } from './seen.js';
import { START } from './state.js';
import { percent } from './story.js';
import { FILLS, OVERLAYS } from './view-controls.js';

const MOST_TOKENS = 64; // in an address
const PAUSE = 400; // milliseconds: without a change before the address is written; between two tries
const TRIES = 50; // for a file that is being written
const FIGURE = {
  margin: 24, line: 17, sharp: 2, words: '12px', title: '600 17px', ink: '#1B1F24', quiet: '#59636E',
};

/** Buttons under the views and the page's address. ``served``: whether there is a page to link to. */
export class Share {
  constructor(workspace, served) {
    this.workspace = workspace;
    this.served = served;
    this.opened = false;
    this.says = el('span', { class: 'ws-quiet-text', role: 'status' });
    const button = (words, act) => el('button', { type: 'button', onclick: act }, words);
    this.bar = el('div', { class: 'ws-share-bar', role: 'group', 'aria-label': 'Share' },
      served ? button('Copy link', () => this.copyLink()) : null,
      button('Copy as code', () => this.copyCode()),
      button('Frame as PNG', () => this.frame()),
      button('Figure as PNG', () => this.figure('png')),
      button('Figure as SVG', () => this.figure('svg')),
      served ? button('Trace (.npz)', () => this.file()) : null,
      this.says);
    workspace.body.append(this.bar);
    if (!served) return;
    workspace.state.on((_, changed) => this.follow(changed));
    workspace.tabs.addEventListener('click', () => this.soon());
  }

  // --- the address ------------------------------------------------------------------------------

  follow(changed) {
    if (changed.has('all') && !this.opened) { // the first trace: the one the address asks for
      this.opened = true;
      const asked = Object.fromEntries(new URLSearchParams(location.search));
      if (!this.workspace.urls.other) restore(this.workspace, asked);
    }
    this.soon();
  }

  soon() {
    clearTimeout(this.timer);
    if (!this.workspace.state.playing) this.timer = setTimeout(() => writeAddress(this.parts()), PAUSE);
  }

  /** {name: text} of the address; what is as at the start is left out. */
  parts() {
    const { workspace } = this;
    const { trace, state, urls, chosen, views, deck } = workspace;
    const unless = (start, value) => (value === start ? '' : String(value));
    return {
      trace: urls.key || '',
      f: unless(trace.opening, state.frame),
      tok: state.locked.slice(-MOST_TOKENS).join('.'),
      stage: unless(START.stage, state.stage),
      overlay: unless(workspace.plain, state.overlay),
      fill: unless(START.fill, state.fill),
      wipe: unless(START.wipe, state.wipe),
      word: unless(START.word, state.word),
      step: unless(START.step, state.step),
      panel: unless(deck.names[0], chosen),
      show: workspace.stage?.name || '',
      cmp: views.compare?.shared || '',
      scrub: views.scrub?.shared || '',
    };
  }

  // --- copies and files -------------------------------------------------------------------------

  copyLink() {
    clearTimeout(this.timer);
    writeAddress(this.parts()); // the address may be a moment behind
    this.copy(location.href, 'Link copied.');
  }

  async copy(text, done) {
    writeAddress(this.served ? this.parts() : {});
    this.says.textContent = (await toClipboard(text)) ? done : 'The browser did not allow to copy.';
  }

  copyCode() {
    const code = codeOf(this.workspace);
    if (code) this.copy(code, 'Python copied; the video file must lie beside it.');
    else this.says.textContent = 'The method of this trace is none of stc_core, so there is no code for it.';
  }

  async figure(form) {
    const sheet = figureOf(this.workspace);
    if (!sheet) {
      this.says.textContent = 'The strip of frames is not on the screen; show it first.';
      return;
    }
    const file = form === 'svg' ? svgOf(sheet) : await pngOf(sheet);
    saveAs(file, `tokens-${sheet.name}.${form}`);
    this.says.textContent = `Saved the strip at the stage “${sheet.name}” as ${form.toUpperCase()}.`;
  }

  /** The frame of the clip as it is now, whole, whatever the wipe shows of it. */
  async frame() {
    const { state, views: { player } } = this.workspace;
    if (!player.layers.wide) {
      this.says.textContent = 'The clip is not on the screen; show it first.';
      return;
    }
    player.still = true;
    const made = flat(player);
    player.still = false;
    player.draw(new Set(['all']));
    const file = await new Promise((done) => { made.toBlob(done, 'image/png'); });
    saveAs(file, `frame-${state.frame}-${state.overlay}.png`);
    this.says.textContent = `Saved frame ${state.frame} as PNG.`;
  }

  /** The file of the trace shown. That of a run that follows the settings is written after its views. */
  async file() {
    const { urls } = this.workspace;
    this.says.textContent = 'Waiting for the file …';
    try {
      saveAs(new Blob([await written(urls.trace, urls.live ? TRIES : 1)]), 'trace.npz');
      this.says.textContent = 'Saved the trace; the page opens it again, on any machine.';
    } catch (error) {
      this.says.textContent = error.message;
    }
  }
}

async function written(url, tries) {
  try {
    return await download(url);
  } catch (error) {
    if (tries < 2) throw error;
  }
  await new Promise((done) => { setTimeout(done, PAUSE); });
  return written(url, tries - 1);
}

function saveAs(blob, name) {
  const link = el('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Change some parts of the page's address; empty ones leave it, all others stay. */
export function writeAddress(parts) {
  const query = new URLSearchParams(location.search);
  for (const [name, text] of Object.entries(parts)) {
    if (text) query.set(name, text);
    else query.delete(name);
  }
  const tail = query.toString() ? `?${query}` : '';
  history.replaceState(history.state, '', `${location.pathname}${tail}${location.hash}`);
}

/**
 * Bring a workspace into the state that the parts of an address (or of a lesson) name. Whatever is
 * unknown, malformed or out of range is left out: an address may come from anyone.
 */
export function restore(workspace, asked) {
  const { trace, state, views } = workspace;
  const whole = (text, limit) => {
    const good = /^[0-9]{1,8}$/.test(String(text ?? ''));
    return good && Number(text) < limit ? Number(text) : -1;
  };
  const tokens = String(asked.tok ?? '').split('.').slice(0, MOST_TOKENS).map((t) => whole(t, trace.n));
  const locked = [...new Set(tokens.filter((token) => token >= 0))];
  state.set({ locked, word: whole(asked.word, trace.words.length) });
  if (trace.stages.some(({ key }) => key === asked.stage)) state.set({ stage: asked.stage });
  if (OVERLAYS.some(([key]) => key === asked.overlay) && workspace.offers(asked.overlay)) {
    state.set({ overlay: asked.overlay });
  }
  if (FILLS.some(([key]) => key === asked.fill)) state.set({ fill: asked.fill });
  if (/^(0\.[0-9]{1,3}|1)$/.test(String(asked.wipe ?? ''))) state.set({ wipe: Number(asked.wipe) });
  if (trace.walk.length) state.set({ step: whole(asked.step, trace.walk.length + 1) });
  if (workspace.deck.names.includes(asked.panel)) workspace.choose(asked.panel);
  const frame = whole(asked.f, trace.frames);
  if (frame >= 0) workspace.goTo(frame);
  else if (locked.length) workspace.goTo(trace.frameOf(locked[locked.length - 1]));
  if (workspace.stage?.offers(asked.show)) workspace.stage.enter(asked.show);
  if (asked.cmp) views.compare?.restore?.(String(asked.cmp));
  if (asked.scrub) views.scrub?.restore?.(String(asked.scrub));
}

/** Whether the text is on the clipboard now. Pages without TLS have only the old way. */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el('textarea', { class: 'ws-unseen', 'aria-hidden': 'true' });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

// --- figures --------------------------------------------------------------------------------------

/**
 * The strip as it is now with title, legend and configuration:
 * {name, width, height, pictures: [{canvas, x, y, w, h}], texts: [{x, y, font, color, text}]} in
 * pixels; null where the strip has no size.
 */
function figureOf(workspace) {
  const { trace, state, look } = workspace;
  const { strip } = workspace.views;
  const { layers } = strip;
  if (!layers.wide || !look) return null;
  const { margin, line, words, title, ink: dark, quiet } = FIGURE;
  const width = layers.wide + 2 * margin;
  const pen = el('canvas').getContext('2d');
  const [texts, pictures] = [[], []];
  let y = margin;
  const write = (text, font, color, x = margin) => texts.push({ x, y, font: `${font} sans-serif`, color, text });
  const paragraph = (text, font, color) => {
    pen.font = `${font} sans-serif`;
    for (const row of wrapped(pen, text, layers.wide)) {
      write(row, font, color);
      y += line * (font === title ? 1.4 : 1);
    }
  };
  paragraph(`Question: ${trace.header.question || '–'}`, title, dark);
  y += 4;
  pictures.push({ canvas: flat(strip), x: margin, y, w: layers.wide, h: layers.tall });
  y += layers.tall + 10;
  let x = margin;
  pen.font = `${words} sans-serif`;
  for (const { canvas, text } of keysOf(trace, state, look)) {
    const wide = pen.measureText(text).width + 34;
    if (x > margin && x + wide > width - margin) [x, y] = [margin, y + line + 2];
    if (canvas) pictures.push({ canvas, x, y: y - 1, w: 14, h: 14 });
    write(text, words, dark, x + (canvas ? 20 : 0));
    x += wide;
  }
  y += line + 8;
  for (const text of captionOf(trace, stageName(trace, state))) paragraph(text, words, quiet);
  return { name: state.step >= 0 ? 'replay' : state.stage, width, height: y + margin - 6, pictures, texts };
}

/** The layers of a view as one canvas, drawn anew: as fine as print wants it, for white paper. */
function flat(view) {
  const { workspace, layers } = view;
  const canvases = [...layers.box.querySelectorAll('canvas')];
  const redraw = () => view.draw(new Set(['all']));
  workspace.root.style.setProperty('--ws-quiet', FIGURE.quiet); // not that of a dark page
  for (const canvas of canvases) {
    canvas.width = Math.round(layers.wide * FIGURE.sharp);
    canvas.height = Math.round(layers.tall * FIGURE.sharp);
    canvas.getContext('2d').setTransform(FIGURE.sharp, 0, 0, FIGURE.sharp, 0, 0);
  }
  redraw();
  const made = el('canvas', { width: canvases[0].width, height: canvases[0].height });
  const pen = made.getContext('2d');
  for (const canvas of canvases) {
    pen.globalAlpha = canvas.style.opacity === '' ? 1 : Number(canvas.style.opacity);
    pen.drawImage(canvas, 0, 0);
  }
  workspace.root.style.removeProperty('--ws-quiet');
  layers.sharp = 0; // so that ``fit`` takes the size of the screen again
  layers.fit(redraw);
  return made;
}

/** A legend's square, as the cells of that look are on the frames. */
function square(code, codes, plain) {
  const side = 14;
  const made = el('canvas', { width: side * FIGURE.sharp, height: side * FIGURE.sharp });
  const pen = made.getContext('2d');
  pen.scale(FIGURE.sharp, FIGURE.sharp);
  const gone = codes[code].mark === 'dim' || codes[code].mark === 'cross';
  const level = plain ? (gone ? BLANK : 220) : Math.round(190 * codes[code].light);
  pen.fillStyle = `rgb(${level} ${level} ${level})`;
  pen.fillRect(0, 0, side, side);
  const marks = new Marks(codes, plain, 0);
  marks.add(code, { x: 0, y: 0, w: side, h: side });
  if (plain) marks.thin(pen);
  else marks.paint(pen);
  return made;
}

function plain(color) {
  const made = el('canvas', { width: 14, height: 14 });
  const pen = made.getContext('2d');
  pen.fillStyle = color;
  pen.fillRect(0, 0, 14, 14);
  return made;
}

function keysOf(trace, state, look) {
  if (look.scalar) {
    if (!look.range) return [{ text: `${UNITS[look.overlay]}: not measured` }];
    const colors = trace.header.scales[state.scale];
    const { low, high, top } = look.range;
    return [
      { canvas: plain(colors[0]), text: digits(low) },
      { canvas: plain(colors[colors.length - 1]), text: `${top > high ? '≥ ' : ''}${digits(high)}` },
      { text: `${UNITS[look.overlay]}, ${state.scale}, up to ${digits(top)}` },
    ];
  }
  const counts = new Uint32Array(trace.codes.length);
  for (const fate of look.fate) counts[fate] += 1;
  return [...counts.keys()].filter((code) => counts[code]).map((code) => ({
    canvas: square(code, trace.codes, look.seen),
    text: `${trace.codes[code].label.split(' (')[0]}: ${counts[code]} (${percent(counts[code], trace.n)})`,
  }));
}

function stageName(trace, state) {
  return state.step >= 0
    ? `selection after ${state.step} of ${trace.walk.length} turns`
    : `stage “${trace.stages.find(({ key }) => key === state.stage).label}”`;
}

function captionOf(trace, stage) {
  const { answer, baseline_answer: baseline, method, model, alive } = trace.header;
  return [
    `Answer: ${answer || '–'}${baseline === null ? '' : ` · Uncompressed: ${baseline || '–'}`}`,
    `${method} on ${model}`,
    `${trace.frames} frames of ${trace.rows} × ${trace.cols} tokens; tokens at each stage: ${alive.join(' → ')}; ${stage}`,
  ];
}

/** Lines of a text no wider than ``width``; a word that is wider is cut. */
export function wrapped(pen, text, width) {
  const rows = [''];
  for (const word of text.split(/\s+/)) {
    const longer = rows[rows.length - 1] ? `${rows[rows.length - 1]} ${word}` : word;
    if (pen.measureText(longer).width <= width) {
      rows[rows.length - 1] = longer;
      continue;
    }
    if (rows[rows.length - 1]) rows.push('');
    for (const letter of word) {
      if (pen.measureText(rows[rows.length - 1] + letter).width > width) rows.push('');
      rows[rows.length - 1] += letter;
    }
  }
  return rows;
}

function pngOf({ width, height, pictures, texts }) {
  const { sharp } = FIGURE;
  const sheet = el('canvas', { width: Math.round(width * sharp), height: Math.round(height * sharp) });
  const pen = sheet.getContext('2d');
  pen.scale(sharp, sharp);
  pen.fillStyle = '#FFFFFF';
  pen.fillRect(0, 0, width, height);
  for (const { canvas, x, y, w, h } of pictures) pen.drawImage(canvas, x, y, w, h);
  pen.textBaseline = 'top';
  for (const { x, y, font, color, text } of texts) {
    pen.font = font;
    pen.fillStyle = color;
    pen.fillText(text, x, y);
  }
  return new Promise((done) => { sheet.toBlob(done, 'image/png'); });
}

/** The strip as one picture in it, all words as text that can be searched and edited. */
function svgOf({ width, height, pictures, texts }) {
  const space = 'http://www.w3.org/2000/svg';
  const add = (parent, tag, attributes, text = '') => {
    const made = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = printable(text);
    parent.append(made);
    return made;
  };
  const root = add(document.createDocumentFragment(), 'svg', { width, height, viewBox: `0 0 ${width} ${height}` });
  add(root, 'rect', { width, height, fill: '#FFFFFF' });
  for (const { canvas, x, y, w, h } of pictures) {
    add(root, 'image', { x, y, width: w, height: h, href: canvas.toDataURL('image/png') });
  }
  for (const { x: left, y: top, font, color, text } of texts) {
    const [, weight, size] = font.match(/^(?:(\d+) )?(\d+)px/);
    add(root, 'text', {
      x: left, y: top + 0.8 * Number(size), 'font-size': size, 'font-weight': weight || 400,
      'font-family': 'sans-serif', fill: color,
    }, text);
  }
  return new Blob([new XMLSerializer().serializeToString(root)], { type: 'image/svg+xml' });
}

/** Without what no XML may hold: controls and halves of characters. */
export function printable(text) {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu, '');
}
