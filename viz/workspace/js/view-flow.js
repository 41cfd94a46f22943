// Where all tokens go, as bands from stage to stage, and how many each layer of the LLM has to carry.

import { el } from './dom.js';
import { flowLayout, flowOf, runsOf } from './flow.js';
import { LIGHT } from './marks.js';
import { clamp } from './model.js';
import { percent } from './story.js';
import { View } from './view.js';

const THINNEST = 12; // pixels of a band, however few its tokens
const FINGER = 28; // the same where bands are chosen by finger
const ROOMY = 40; // pixels of a band that holds words
const HALO = 3; // pixels around a label
const TALL = 300; // pixels of the picture

export class FlowView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.picture = el('div', { class: 'ws-flow-picture' });
    this.layers = el('div', { class: 'ws-flow-layers' });
    this.says = el('p', { class: 'ws-quiet-text', role: 'status', 'aria-live': 'polite' });
    this.least = matchMedia('(pointer: coarse)').matches ? FINGER : THINNEST;
    this.note = el('p', { class: 'ws-quiet-text' });
    host.append(
      this.note,
      el('div', { class: 'ws-flow' }, this.picture, this.layers), this.says);
    new ResizeObserver(() => this.draw(new Set(['size']))).observe(this.picture);
  }

  load(trace) {
    this.flow = flowOf(trace);
    this.wide = 0;
    this.says.textContent = '';
  }

  /** As tall as usual where there is room; on a stage letters and all are enlarged as they are. */
  get tall() {
    const { room, stage } = this.workspace;
    const rest = stage?.name ? 0 : room.rest(this.picture);
    return rest ? clamp(rest, 200, TALL) : TALL;
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
    const { tall } = this;
    const top = 22; // titles of the columns
    const bar = 12;
    const { thick, scale, boxes: plain } = flowLayout(flow, tall - top - 20, 14, this.least); // a label may stand under the last
    const x = (column) => (column * (wide - bar)) / (flow.columns.length - 1);
    const boxes = plain.map((column, place) => column.map(({ y, h }) => (
      { x: x(place), y: top + y, w: bar, h, out: top + y, in: top + y })));
    const root = svg('svg', { width: wide, height: tall, viewBox: `0 0 ${wide} ${tall}`, role: 'group',
      'aria-label': 'Bands of tokens from stage to stage' });
    root.append(this.patterns());
    const labels = [];
    this.paths = flow.bands.map((band) => {
      const [from, to] = [boxes[band.column][band.from], boxes[band.column + 1][band.to]];
      const [y, wide0] = [from.out, thick(band)];
      from.out += wide0;
      const [end, wide1] = band.into ? [to.y, to.h] : [to.in, wide0];
      if (!band.into) to.in += wide0;
      else if (wide0 >= ROOMY) {
        labels.push(label((from.x + bar + to.x) / 2, (y + end + (wide0 + wide1) / 2) / 2 + 4, 'middle', `${band.tokens.length} merged`));
        to.told = (to.told || 0) + band.tokens.length;
      }
      return this.band(band, from.x + bar, [y, wide0], to.x, [end, wide1]);
    });
    this.tell(thick, scale);
    const under = this.paths.filter((_, k) => flow.bands[k].into); // what stays itself lies over what runs into it
    root.append(...under, ...this.paths.filter((path) => !under.includes(path)));
    root.append(...flow.columns.flatMap((column, place) => this.column(column, place, boxes[place])), ...labels);
    this.picture.replaceChildren(root);
    spread([...root.querySelectorAll('text')], tall);
    this.layers.replaceChildren(...this.steps());
    this.workspace.drawn.flow = flow.bands.length;
  }

  /** How far the picture keeps to scale. */
  tell(thick, scale) {
    const { bands } = this.flow;
    const wide = bands.filter((band) => thick(band) > scale * band.tokens.length * 1.001).length;
    this.note.textContent = 'Bands begin as thick as they have tokens; those of merged tokens narrow into the tokens '
      + `that carry them. ${wide ? `None is thinner than ${this.least} pixels, so ${wide} of ${bands.length} are drawn `
        + 'thicker than true.' : 'All are true to scale.'} Choose one to select its tokens in every view.`;
  }

  /** From x0 to x1, at each end {y, thickness}. */
  band(band, x0, [y0, thick0], x1, [y1, thick1]) {
    const middle = (x0 + x1) / 2;
    const { trace } = this;
    const words = `${band.tokens.length} of ${trace.n} tokens (${percent(band.tokens.length, trace.n)}): ${band.words}`;
    const tell = () => { this.says.textContent = `${words}.`; };
    const choose = () => this.state.set({ locked: band.tokens, hover: -1 });
    return svg('path', {
      d: `M${x1},${y1} C${middle},${y1} ${middle},${y0} ${x0},${y0} v${thick0} `
        + `C${middle},${y0 + thick0} ${middle},${y1 + thick1} ${x1},${y1 + thick1} Z`,
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

  column({ title, nodes, merged }, place, boxes) {
    const { flow } = this;
    const last = place === flow.columns.length - 1;
    const below = last || !place; // nothing is beside the first and the last column
    const rest = merged - boxes.reduce((sum, { told = 0 }) => sum + told, 0);
    const { x: left, y: low, w: bar, h: high } = boxes[boxes.length - 1];
    const anchor = last ? 'end' : 'start';
    const head = svg('text', { x: boxes[0].x + (last ? boxes[0].w : 0), y: 12, 'text-anchor': anchor, class: 'ws-flow-title' }, title);
    return [head, rest ? label(left + bar + 6, low + high + 14, 'start', `${rest} merged in`) : null, ...nodes.flatMap(({ code, words, count }, number) => {
      const { x, y, w, h } = boxes[number];
      return [
        svg('rect', { x, y, width: w, height: h, fill: this.fill(code), class: 'ws-flow-node' }),
        label(below ? x + (last ? w : 0) : x + w + 6, below ? y + h + 14 : y + h / 2 + 4, anchor, `${count} ${words}`),
      ];
    })].filter(Boolean);
  }

  /** Color and second channel of a fate. */
  fill(code) {
    const { mark, color } = this.trace.codes[code];
    return mark.startsWith('hatch') || mark === 'cross' ? `url(#${this.workspace.id('flow')}-${code})` : color;
  }

  patterns() {
    const lines = { hatch: 'M-2,2 L2,-2 M0,8 L8,0 M6,10 L10,6', cross: 'M0,0 L8,8 M8,0 L0,8' };
    return svg('defs', {}, ...this.trace.codes.flatMap(({ mark, color }, code) => {
      const path = lines[mark.split(' ')[0]];
      return path ? [svg('pattern', {
        id: `${this.workspace.id('flow')}-${code}`, width: 8, height: 8, patternUnits: 'userSpaceOnUse',
      }, svg('rect', { width: 8, height: 8, fill: color }), svg('path', { d: path, stroke: LIGHT, 'stroke-width': 1.2 }))] : [];
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
    const [wide, tall] = [230, this.tall];
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
    const goal = ({ column, to, into }) => (into
      ? `${flow.columns[column + 1].title}: merged into ${into} ${flow.columns[column + 1].nodes[to].words}` : name(column + 1, to));
    const rows = flow.bands.map((band) => [
      name(band.column, band.from), goal(band), band.tokens.length, percent(band.tokens.length, trace.n),
    ]);
    const layers = runsOf(trace.header.layers).map((run) => [
      `LLM, ${run.layers}`, 'in each', run.count, percent(run.count, trace.n),
    ]);
    return { head: ['From', 'To', 'Tokens', 'Share of all'], rows: [...rows, ...layers] };
  }
}

function label(x, y, anchor, words) { return svg('text', { x, y, 'text-anchor': anchor, class: 'ws-flow-label' }, words); }

/** Move labels down, or up where there is no room, until none lies over another. */
function spread(texts, tall) {
  const placed = [];
  for (const text of texts) {
    const { x, y, width, height } = text.getBBox();
    const free = (shift) => y + shift >= 0 && y + shift + height <= tall && placed.every((other) => (
      x >= other.x + other.width + HALO || other.x >= x + width + HALO
      || y + shift >= other.y + other.height || other.y >= y + shift + height));
    const shifts = Array.from({ length: tall }, (_, k) => (k % 2 ? -1 : 1) * Math.ceil(k / 2));
    const shift = shifts.find(free) ?? 0;
    if (shift) text.setAttribute('y', Number(text.getAttribute('y')) + shift);
    placed.push({ x, y: y + shift, width, height });
  }
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
