// Where all tokens go, as bands from stage to stage, and how many each layer of the LLM has to carry.

import { el } from './dom.js';
import { OPEN, isAlive } from './fates.js';
import { LIGHT } from './marks.js';
import { percent } from './story.js';
import { View } from './view.js';

const THINNEST = 12; // pixels of a band, however few its tokens
const FINGER = 28; // the same where bands are chosen by finger
const TALL = 300; // pixels of the picture
const SHORT = ['kept', 'as centers', 'merged', 'dropped', 'merged', 'dropped']; // a column says where

/**
 * {columns: [{title, nodes: [{code, words, count}]}], bands: [{column, from, to, code, words, tokens}]}:
 * a band leads from node ``from`` of its column to node ``to`` of the next; ``tokens`` are source
 * tokens. What was merged ends where it was merged: as a token it is no more.
 */
function flowOf(trace) {
  const all = Array.from({ length: trace.n }, (_, i) => i);
  const columns = [{ title: 'raw', nodes: [node(OPEN, 'tokens', trace.n)] }];
  const bands = [];
  const split = (title, fate, from) => { // every group of ``from`` by what becomes of its tokens
    const found = new Set(from.flatMap(({ tokens }) => [...new Set(tokens.map((i) => fate[i]))]));
    const groups = SHORT.map((_, code) => code).filter((code) => found.has(code))
      .map((code, place) => ({ code, node: place, tokens: [] }));
    for (const { node: start, tokens: theirs } of from) {
      for (const group of groups) {
        const tokens = theirs.filter((i) => fate[i] === group.code);
        if (!tokens.length) continue;
        const words = trace.codes[group.code].label.split(' (')[0];
        bands.push({ column: columns.length - 1, from: start, to: group.node, code: group.code, words, tokens });
        group.tokens = group.tokens.concat(tokens);
      }
    }
    columns.push({ title, nodes: groups.map(({ code, tokens }) => node(code, SHORT[code], tokens.length)) });
    return groups.filter(({ code }) => isAlive(code));
  };
  let alive = split('before the LLM', trace.outside.fate, [{ node: 0, tokens: all }]);
  if (trace.inside) alive = split(`layer ${trace.inside.layer}`, trace.fate, alive);
  const left = alive.reduce((sum, { tokens }) => sum + tokens.length, 0);
  for (const { node: from, code, tokens } of alive) {
    bands.push({ column: columns.length - 1, from, to: 0, code, words: 'reach the last layer of the LLM', tokens });
  }
  columns.push({ title: 'end', nodes: [node(OPEN, 'left', left)] });
  return { columns, bands };
}

function node(code, words, count) { return { code, words, count }; }

/**
 * Bands as pixels: {thick(band), boxes}: for every column its nodes as {y, h}, from 0 to ``room``,
 * with ``gap`` between them; no band is thinner than ``least``.
 */
function flowLayout({ columns, bands }, room, gap, least) {
  const arrange = (scale) => {
    const thick = ({ tokens }) => Math.max(least, scale * tokens.length);
    const total = (some) => some.reduce((sum, band) => sum + thick(band), 0);
    const boxes = columns.map(({ nodes }, column) => {
      let y = 0;
      return nodes.map((_, place) => {
        const into = total(bands.filter((band) => band.column === column - 1 && band.to === place));
        const out = total(bands.filter((band) => band.column === column && band.from === place));
        const box = { y, h: Math.max(into, out) };
        y += box.h + gap;
        return box;
      });
    });
    const ends = boxes.map((column) => column[column.length - 1]);
    return { thick, boxes, tall: Math.max(...ends.map(({ y, h }) => y + h)) };
  };
  let [low, high] = [0, room]; // pixels a token
  for (let turn = 0; turn < 40; turn += 1) {
    const middle = (low + high) / 2;
    if (arrange(middle).tall > room) high = middle;
    else low = middle;
  }
  return arrange(low);
}

export class FlowView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.picture = el('div', { class: 'ws-flow-picture' });
    this.layers = el('div', { class: 'ws-flow-layers' });
    this.says = el('p', { class: 'ws-quiet-text', role: 'status', 'aria-live': 'polite' });
    this.least = matchMedia('(pointer: coarse)').matches ? FINGER : THINNEST;
    host.append(
      el('p', { class: 'ws-quiet-text' }, 'Bands are as thick as they have tokens, though never thinner than '
        + `${this.least} pixels. Choose one to select its tokens in every view.`),
      el('div', { class: 'ws-flow' }, this.picture, this.layers), this.says);
    new ResizeObserver(() => this.draw(new Set(['size']))).observe(this.picture);
  }

  load(trace) {
    this.flow = flowOf(trace);
    this.wide = 0;
    this.says.textContent = '';
  }

  draw(changed) {
    if (!this.trace || this.workspace.hidden('flow')) return;
    const wide = this.picture.clientWidth;
    if (wide && (changed.has('all') || wide !== this.wide)) {
      this.wide = wide;
      this.build();
    }
    if (['all', 'size', 'locked'].some((name) => changed.has(name))) this.press();
  }

  // --- bands --------------------------------------------------------------------------------------

  build() {
    const { flow, wide } = this;
    const tall = TALL;
    const top = 22; // titles of the columns
    const bar = 12;
    const { thick, boxes: plain } = flowLayout(flow, tall - top - 20, 14, this.least); // a label may stand under the last
    const x = (column) => (column * (wide - bar)) / (flow.columns.length - 1);
    const boxes = plain.map((column, place) => column.map(({ y, h }) => (
      { x: x(place), y: top + y, w: bar, h, out: top + y, in: top + y })));
    const root = svg('svg', { width: wide, height: tall, viewBox: `0 0 ${wide} ${tall}`, role: 'group',
      'aria-label': 'Bands of tokens from stage to stage' });
    root.append(this.patterns());
    this.paths = flow.bands.map((band) => {
      const [from, to] = [boxes[band.column][band.from], boxes[band.column + 1][band.to]];
      const path = this.band(band, from.x + bar, from.out, to.x, to.in, thick(band));
      from.out += thick(band);
      to.in += thick(band);
      return path;
    });
    root.append(...this.paths, ...flow.columns.flatMap((column, place) => this.column(column, place, boxes[place])));
    this.picture.replaceChildren(root);
    this.layers.replaceChildren(...this.steps());
    this.workspace.drawn.flow = flow.bands.length;
  }

  band(band, x0, y0, x1, y1, thick) {
    const middle = (x0 + x1) / 2;
    const { trace } = this;
    const words = `${band.tokens.length} of ${trace.n} tokens (${percent(band.tokens.length, trace.n)}): ${band.words}`;
    const tell = () => { this.says.textContent = `${words}.`; };
    const choose = () => this.state.set({ locked: band.tokens, hover: -1 });
    return svg('path', {
      d: `M${x0},${y0} C${middle},${y0} ${middle},${y1} ${x1},${y1} v${thick} `
        + `C${middle},${y1 + thick} ${middle},${y0 + thick} ${x0},${y0 + thick} Z`,
      fill: this.fill(band.code), class: `ws-flow-band ws-flow-${trace.codes[band.code].mark.replace(' ', '-')}`,
      tabindex: 0, role: 'button', 'aria-label': words, 'aria-pressed': 'false',
      onpointerenter: tell, onfocus: tell, onclick: choose,
      onkeydown: (event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        event.stopPropagation(); // Space plays the clip elsewhere
        choose();
      },
    });
  }

  column({ title, nodes }, place, boxes) {
    const { flow } = this;
    const last = place === flow.columns.length - 1;
    const anchor = last ? 'end' : 'start';
    const head = svg('text', { x: boxes[0].x + (last ? boxes[0].w : 0), y: 12, 'text-anchor': anchor, class: 'ws-flow-title' }, title);
    return [head, ...nodes.flatMap(({ code, words, count }, number) => {
      const { x, y, w, h } = boxes[number];
      return [
        svg('rect', { x, y, width: w, height: h, fill: this.fill(code), class: 'ws-flow-node' }),
        svg('text', { x: last ? x + w : x + w + 6, y: last ? y + h + 14 : y + h / 2 + 4, 'text-anchor': anchor, class: 'ws-flow-label' },
          `${count} ${words}`),
      ];
    })];
  }

  /** Colour and second channel of a fate. */
  fill(code) {
    const { mark, colour } = this.trace.codes[code];
    return mark.startsWith('hatch') || mark === 'cross' ? `url(#${this.workspace.id('flow')}-${code})` : colour;
  }

  patterns() {
    const lines = { hatch: 'M-2,2 L2,-2 M0,8 L8,0 M6,10 L10,6', cross: 'M0,0 L8,8 M8,0 L0,8' };
    return svg('defs', {}, ...this.trace.codes.flatMap(({ mark, colour }, code) => {
      const path = lines[mark.split(' ')[0]];
      return path ? [svg('pattern', {
        id: `${this.workspace.id('flow')}-${code}`, width: 8, height: 8, patternUnits: 'userSpaceOnUse',
      }, svg('rect', { width: 8, height: 8, fill: colour }), svg('path', { d: path, stroke: LIGHT, 'stroke-width': 1.2 }))] : [];
    }));
  }

  /** Which band is what is selected. */
  press() {
    (this.paths || []).forEach((path, place) => {
      path.setAttribute('aria-pressed', String(this.state.locked === this.flow.bands[place].tokens));
    });
  }

  // --- layers -------------------------------------------------------------------------------------

  /** The step line: video tokens in every layer of the LLM. */
  steps() {
    const { trace } = this;
    const counts = trace.header.layers;
    if (!counts.length) return [];
    const [wide, tall] = [230, TALL];
    const area = { left: 8, right: wide - 8, top: 40, bottom: tall - 34 };
    const x = (layer) => area.left + (layer / counts.length) * (area.right - area.left);
    const y = (count) => area.bottom - (count / Math.max(...counts, 1)) * (area.bottom - area.top);
    const line = counts.map((count, layer) => `${layer ? 'L' : 'M'}${x(layer)},${y(count)} H${x(layer + 1)}`).join(' ');
    const text = (place, at, words, anchor = 'start', kind = 'label') => svg('text', {
      x: place, y: at, 'text-anchor': anchor, class: `ws-flow-${kind}` }, words);
    const end = counts[counts.length - 1];
    const words = `Video tokens in each of ${counts.length} layers: ${
      runsOf(counts).map(({ layers, count }) => `${count} in ${layers}`).join(', ')}.`;
    return [svg('svg', { width: wide, height: tall, viewBox: `0 0 ${wide} ${tall}`, role: 'img', 'aria-label': words },
      text(area.left, 12, 'tokens in each layer of the LLM', 'start', 'title'),
      svg('path', { d: `M${area.left},${area.bottom} H${area.right}`, class: 'ws-flow-axis' }),
      svg('path', { d: `${line} V${area.bottom} H${area.left} Z`, class: 'ws-flow-area' }),
      svg('path', { d: line, class: 'ws-flow-line' }),
      text(area.left, y(counts[0]) - 6, String(counts[0])),
      end === counts[0] ? null : text(area.right, y(end) - 6, String(end), 'end'),
      text(area.left, area.bottom + 15, 'layer 0', 'start', 'title'),
      text(area.right, area.bottom + 15, `layer ${counts.length - 1}`, 'end', 'title'),
      text(area.left, area.bottom + 30, `uncompressed: ${trace.n} in every layer`, 'start', 'title'))];
  }

  table() {
    const { trace, flow } = this;
    if (!flow) return null;
    const name = (column, place) => {
      const { title, nodes } = flow.columns[column];
      return nodes.length > 1 ? `${title}: ${nodes[place].words}` : title;
    };
    const rows = flow.bands.map(({ column, from, to, tokens }) => [
      name(column, from), name(column + 1, to), tokens.length, percent(tokens.length, trace.n),
    ]);
    const layers = runsOf(trace.header.layers).map((run) => [
      `LLM, ${run.layers}`, 'in each', run.count, percent(run.count, trace.n),
    ]);
    return { head: ['From', 'To', 'Tokens', 'Share of all'], rows: [...rows, ...layers] };
  }
}

/** [{layers: "layers 0 to 18", count}]: stretches of equal numbers. */
function runsOf(counts) {
  const runs = [];
  counts.forEach((count, layer) => {
    const run = runs[runs.length - 1];
    if (run && run.count === count) run.layers = `layers ${run.first} to ${layer}`;
    else runs.push({ first: layer, layers: `layer ${layer}`, count });
  });
  return runs;
}

/** An SVG element, as ``el`` makes those of HTML. */
function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
