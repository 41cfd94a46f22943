// Every token before compression as a point: what is alike lies together. PCA at once, UMAP when
// the server has fitted it; both are the same for every method and ratio on a clip.

import { UNITS, digits, ramp } from './color.js';
import { el } from './dom.js';
import { isAlive } from './fates.js';
import { download } from './fetching.js';
import { Drag } from './lasso.js';
import { DARK, LIGHT, drawFocus, stroke } from './marks.js';
import { clamp, rangeOf } from './model.js';
import { PointGrid } from './points.js';
import { many, percent, seconds } from './story.js';
import { TOKEN_HEAD, tokenRow } from './view-player.js';
import { Layers, View } from './view.js';

const REACH = 9; // pixels around the pointer in which a point is found
const MORE = 16; // neighbors that one press adds
const STEPS = 24; // colors of a scale here: few paths draw all points
const NOTHING = '#8C959F'; // tokens without a value or a carrier
// Neighbors in this list are easy to tell apart; a carrier is always found by pointing, too.
const GROUPS = ['#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#7A5CC7', '#8A6D3B'];
const SHADES = [['fate', 'Fate'], ['frame', 'Frame'], ['cluster', 'Final carrier'], ['contribution', 'Contribution']];

/** A drag that draws a free line, kept as ``path``; ``ended()`` is told when the line is gone. */
class Loop extends Drag {
  constructor(layers, wanted, done, ended) {
    super(layers, wanted, done);
    this.ended = ended;
  }

  press(event) {
    super.press(event);
    this.path = new Path2D();
    if (this.from) this.path.moveTo(...this.from);
  }

  move(event) {
    if (!this.from) return;
    super.move(event);
    this.path.lineTo(...this.layers.at(event));
    this.rubber.hidden = true; // the line says it
    if (!this.dragged) return;
    this.layers.clear('top');
    stroke(this.layers.top, this.path, DARK, 3);
    stroke(this.layers.top, this.path, LIGHT, 1.5);
  }

  drop() {
    super.drop();
    this.ended();
  }
}

export class EmbeddingView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.shade = 'fate';
    this.explains = el('p', { class: 'ws-quiet-text' });
    this.says = el('span', { role: 'status' });
    this.waited = el('span'); // changes every second: not to be read out
    this.places = this.choice('Places', [['pca', 'PCA'], ['umap', 'UMAP']], (chosen) => {
      this.chosen = chosen;
      this.place();
    });
    this.shades = this.choice('Color', SHADES, (chosen) => {
      this.shade = chosen;
      this.paint();
    });
    const touch = matchMedia('(pointer: coarse)').matches; // there a drag scrolls the page, if not told otherwise
    this.loop = el('input', { type: 'checkbox', name: 'loop', onchange: () => this.hold() });
    this.loop.checked = !touch;
    const button = (words, act) => el('button', { type: 'button', class: 'ws-act', onclick: act }, words);
    this.grow = button(`Add the ${MORE} nearest`, () => this.more());
    this.controls = el('div', { class: 'ws-tools' }, this.places.label, this.shades.label,
      el('label', { class: 'ws-check' }, this.loop, 'Drag a loop to select'), this.grow,
      button('Clear the selection', () => this.state.set({ locked: [], hover: -1 })));
    host.append(this.explains, this.controls);
    this.layers = new Layers(host, 'Tokens by likeness. Arrows go to the next point in that direction, with '
      + 'Shift they add it; plus adds the nearest ones.', () => this.fit());
    this.layers.pick(workspace, (x, y) => this.find(x, y));
    this.lasso = new Loop(this.layers, () => this.loop.checked && this.grid,
      (_, event) => this.enclose(event), () => this.draw(new Set(['hover'])));
    this.layers.top.canvas.addEventListener('keydown', (event) => this.key(event));
    this.legend = el('div', { class: 'ws-legend' });
    this.retry = button('Try again', () => {
      this.asked = false;
      this.ask();
    });
    host.append(this.legend, el('p', { class: 'ws-quiet-text' }, this.says, ' ', this.waited, ' ', this.retry));
    document.addEventListener('tokens-embedding', ({ detail }) => this.hear(detail));
    this.hold();
  }

  choice(title, options, act) {
    const select = el('select', { onchange: () => act(select.value) },
      ...options.map(([value, words]) => el('option', { value }, words)));
    return { select, label: el('label', { class: 'ws-field' }, el('span', {}, title), select) };
  }

  /** On a touch screen a drag either scrolls or draws. */
  hold() { this.layers.top.canvas.style.touchAction = this.loop.checked ? 'none' : 'manipulation'; }

  load(trace) {
    Object.assign(this, { umap: null, settings: null, asked: false, chosen: null, grid: null });
    const missing = !trace.pca;
    for (const part of [this.controls, this.layers.box, this.legend]) part.hidden = missing;
    this.tell(missing || this.workspace.served ? ''
      : 'The UMAP is made by the page; this file holds the PCA.');
    if (missing) {
      this.explains.textContent = 'This trace was saved without the features of its tokens, so it cannot be '
        + 'said which are alike. A run on this page keeps them, and so does answer(..., record=True).';
    } else {
      this.place();
    }
  }

  // --- where the points are -----------------------------------------------------------------------

  get projection() { return this.chosen || (this.umap ? 'umap' : 'pca'); }

  /** Ask for the UMAP once the view is looked at: fitting it costs the server half a minute or more. */
  ask() {
    if (this.asked || !this.workspace.served) return;
    this.asked = true;
    this.tell('The UMAP of this clip is asked for; the PCA is shown meanwhile.');
    this.workspace.send('embedding', { key: this.workspace.urls.key });
  }

  /** The line under the points; where the UMAP has failed with an offer to ask once more. */
  tell(words, failed = false) {
    if (this.says.textContent !== words) this.says.textContent = words;
    this.waited.textContent = '';
    this.retry.hidden = !failed;
  }

  async hear(news) {
    if (!this.asked || !news || news.key !== this.workspace.urls.key || this.umap) return;
    const { trace } = this;
    if (news.error) this.tell(news.error, true);
    else if (!news.url) {
      this.tell('The UMAP of this clip is being fitted; the PCA is shown meanwhile.');
      this.waited.textContent = `${Math.round(news.seconds)} s so far.`;
    } else {
      try {
        const umap = new Uint16Array(await download(news.url));
        if (this.trace !== trace) return; // another trace was opened in the meantime
        if (umap.length !== 2 * trace.n) throw new Error('Its file does not fit this trace; open it again.');
        Object.assign(this, { umap, settings: news.settings });
        this.tell('');
        this.place();
      } catch (error) {
        this.tell(`The UMAP could not be shown. ${error.message}`, true);
      }
    }
  }

  /** Take the positions of the projection that is shown, and say what they mean. */
  place() {
    this.places.select.value = this.projection;
    this.places.select.options[1].disabled = !this.umap;
    this.explains.textContent = this.meaning();
    this.fit();
  }

  meaning() {
    const { trace } = this;
    if (this.projection === 'pca') {
      const [first, second] = trace.header.pca_held;
      return `All ${trace.n} tokens before compression, on the two directions in which they differ most. Of the `
        + `variance in the components that the trace holds, these have ${percent(first, 1)} (across) and `
        + `${percent(second, 1)} (up).`;
    }
    const { neighbors, distance, metric, fitted } = this.settings;
    const sample = fitted < trace.n
      ? ` Fitted on ${fitted} tokens drawn with a fixed seed; the other ${trace.n - fitted} are placed among them.` : '';
    return `All ${trace.n} tokens before compression by UMAP (${neighbors} neighbors, least distance ${distance}, `
      + `${metric}). Neighbors stay neighbors, but distances between groups and the sizes of groups mean `
      + `nothing.${sample}`;
  }

  /** Positions in pixels, to scale, and the grid that finds them. */
  fit() {
    const { layers, trace } = this;
    if (!trace || !trace.pca) return;
    const wide = layers.box.clientWidth;
    const rest = this.workspace.room.rest(layers.box);
    layers.height = rest ? Math.max(220, rest) : clamp(wide * 0.55, 260, 460);
    if (!wide || !layers.wide) return;
    const coded = this.projection === 'umap' ? this.umap : trace.pca;
    const most = [1, 1];
    for (let k = 0; k < coded.length; k += 1) most[k % 2] = Math.max(most[k % 2], coded[k]);
    const edge = 14;
    const scale = Math.min((layers.wide - 2 * edge) / most[0], (layers.tall - 2 * edge) / most[1]);
    const left = (layers.wide - scale * most[0]) / 2;
    const bottom = (layers.tall + scale * most[1]) / 2;
    this.spots = Float32Array.from(coded, (value, k) => (k % 2 ? bottom - scale * value : left + scale * value));
    this.grid = new PointGrid(this.spots, 12, layers.wide, layers.tall);
    this.draw(new Set(['all']));
  }

  find(x, y) { return this.grid && this.trace ? this.grid.nearest(x, y, REACH) : -1; }

  placeOf(token) { return { x: this.spots[2 * token] - 5, y: this.spots[2 * token + 1] - 5, w: 10, h: 10 }; }

  // --- selecting ----------------------------------------------------------------------------------

  /** Select what the line goes round; Shift adds. */
  enclose(event) {
    const pen = el('canvas').getContext('2d'); // one without a scale: paths are in CSS pixels
    const found = event.shiftKey ? [...this.state.locked] : [];
    for (let i = 0; i < this.trace.n; i += 1) {
      if (pen.isPointInPath(this.lasso.path, this.spots[2 * i], this.spots[2 * i + 1])) found.push(i);
    }
    this.choose(found);
  }

  choose(tokens) {
    const locked = [...new Set(tokens)];
    this.state.set({ locked, hover: -1 });
    this.tell(`${many(locked.length, 'token')} selected, here and in every other view.`);
  }

  /** The points nearest to the last selected one that are not selected yet join it. */
  more() {
    const { locked } = this.state;
    if (!locked.length) return;
    const last = locked[locked.length - 1];
    const far = (i) => this.grid.squared(i, this.spots[2 * last], this.spots[2 * last + 1]);
    const taken = new Set(locked);
    const near = Array.from({ length: this.trace.n }, (_, i) => i).filter((i) => !taken.has(i))
      .sort((a, b) => far(a) - far(b)).slice(0, MORE);
    this.choose([...near, ...locked]); // what is in focus stays the last
  }

  /** Here an arrow goes to the next point in its direction: cells have no neighbors in this plane. */
  key(event) {
    if (!this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way && event.key !== '+') return;
    event.preventDefault();
    event.stopPropagation();
    if (!way) this.more();
    else {
      const next = this.towards(...way);
      this.state.set({ hover: -1 });
      if (next >= 0) this.workspace.lock(next, event.shiftKey);
    }
  }

  /** The nearest point within 45 degrees of a direction from the one in focus; the first without one. */
  towards(dx, dy) {
    const { locked } = this.state;
    if (!locked.length) return 0;
    const from = locked[locked.length - 1];
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < this.trace.n; i += 1) {
      const x = this.spots[2 * i] - this.spots[2 * from];
      const y = this.spots[2 * i + 1] - this.spots[2 * from + 1];
      const along = x * dx + y * dy;
      const across = Math.abs(x * dy) + Math.abs(y * dx);
      if (along > 0.5 && across <= along && x * x + y * y < least) [best, least] = [i, x * x + y * y];
    }
    return best;
  }

  // --- drawing ------------------------------------------------------------------------------------

  draw(changed) {
    const { layers, trace, workspace, state } = this;
    if (!trace || !trace.pca || !workspace.look || workspace.hidden('embedding')) return;
    this.ask();
    if (!layers.wide || !this.grid) {
      this.fit();
      return;
    }
    const any = (...names) => ['all', 'size', ...names].some((name) => changed.has(name));
    if (any('look')) this.paint();
    else if (any('locked')) this.stand();
    if (any('locked')) this.grow.disabled = !state.locked.length;
    if (!any('look', 'hover', 'locked', 'stage', 'step') || this.lasso.from) return;
    layers.clear('top');
    const group = state.hover < 0 && state.locked.length > 1; // is meant as a whole: no lines from its last token
    if (!group) drawFocus(layers.top, workspace, (token) => this.placeOf(token));
  }

  /** All points. Those of one look and color are one path, or 25,000 of them would take a second. */
  paint() {
    const { layers, trace, workspace } = this;
    if (!this.grid || !layers.wide) return;
    this.colors = this.shading();
    layers.clear('under');
    this.points(layers.under, Array.from({ length: trace.n }, (_, i) => i));
    workspace.drawn.embedding = trace.n;
    this.stand();
    this.explainColors();
  }

  /** What is selected at full strength over all others, faded. */
  stand() {
    const { layers, state, workspace } = this;
    layers.clear('held');
    layers.under.canvas.style.opacity = state.locked.length ? 0.25 : 1;
    this.points(layers.held, state.locked);
    workspace.drawn.selected = state.locked.length;
  }

  points(pen, tokens) {
    const { fate } = this.workspace.look;
    const { of, palette } = this.colors;
    const groups = new Map();
    for (const token of tokens) {
      const group = fate[token] * palette.length + of[token];
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(token);
    }
    const order = [...groups.keys()].sort((a, b) => groups.get(b).length - groups.get(a).length); // few ones on top
    for (const group of order) {
      const { mark } = this.trace.codes[Math.floor(group / palette.length)];
      const spots = groups.get(group).map((token) => [this.spots[2 * token], this.spots[2 * token + 1]]);
      drawSpots(pen, mark, spots, palette[group % palette.length]);
    }
  }

  /** {of: Uint8Array (n), palette: [color]}: the color of every point. */
  shading() {
    const { trace, workspace, shade } = this;
    if (shade === 'fate') {
      return { of: workspace.look.fate, palette: trace.codes.map(({ color, mark }) => (mark === 'dim' ? NOTHING : color)) };
    }
    if (shade === 'cluster') {
      const rank = new Map(Array.from(trace.where(trace.fate, isAlive), (token, place) => [token, place]));
      const of = Uint8Array.from(trace.target, (goal) => (goal < 0 ? GROUPS.length : rank.get(goal) % GROUPS.length));
      return { of, palette: [...GROUPS, NOTHING] };
    }
    const last = trace.frames - 1;
    const [values, range] = shade === 'frame'
      ? [Float32Array.from({ length: trace.n }, (_, i) => trace.frameOf(i)), { low: 0, high: last, top: last }]
      : [trace.contribution, rangeOf(trace.contribution)];
    const scale = ramp(trace.header.scales[this.state.scale]);
    const palette = Array.from({ length: STEPS }, (_, step) => {
      const at = 3 * Math.round((255 * step) / (STEPS - 1));
      return `rgb(${scale[at]}, ${scale[at + 1]}, ${scale[at + 2]})`;
    });
    const of = Uint8Array.from(values, (value) => {
      if (!Number.isFinite(value)) return STEPS;
      return range.high > range.low
        ? Math.round(clamp((value - range.low) / (range.high - range.low), 0, 1) * (STEPS - 1)) : STEPS - 1;
    });
    return { of, palette: [...palette, NOTHING], range };
  }

  /** The legend: shapes are fates always, colors what was chosen. */
  explainColors() {
    const { trace, workspace } = this;
    const counts = new Uint32Array(trace.codes.length);
    for (const fate of workspace.look.fate) counts[fate] += 1;
    const shapes = trace.codes.map((code, number) => (counts[number]
      ? el('span', { class: 'ws-key' }, this.sample(code), `${code.label.split(' (')[0]} `, el('b', {}, String(counts[number])))
      : null)).filter(Boolean);
    this.legend.replaceChildren(...shapes, ...this.scaleKey());
  }

  scaleKey() {
    const { trace, shade } = this;
    if (shade === 'fate') return [];
    if (shade === 'cluster') {
      const carriers = trace.where(trace.fate, isAlive).length;
      return [el('span', { class: 'ws-quiet-text' }, `Color: what carries a token in the end. ${GROUPS.length} colors for `
        + `${many(carriers, 'carrier')}; point at a token for its own. Gray: nothing carries it.`)];
    }
    const { range } = this.colors;
    if (!range) return [el('span', { class: 'ws-quiet-text' }, 'Contribution: not measured')];
    const bar = el('span', { class: 'ws-ramp', 'aria-hidden': 'true' });
    bar.style.background = `linear-gradient(to right, ${trace.header.scales[this.state.scale].join(', ')})`;
    const words = shade === 'frame' ? (frame) => seconds(trace.seconds[frame]) : digits;
    return [el('span', {}, words(range.low)), bar,
      el('span', {}, `${range.top > range.high ? '≥ ' : ''}${words(range.high)}`),
      el('span', { class: 'ws-quiet-text' }, shade === 'frame' ? 'time of the frame' : UNITS.contribution)];
  }

  /** The shape of a fate, in its color where color means fate. */
  sample(code) {
    const made = el('canvas', { width: 32, height: 32, class: 'ws-sample', 'aria-hidden': 'true' });
    const pen = made.getContext('2d');
    pen.scale(2, 2);
    const plain = this.shade === 'fate' && code.mark !== 'dim' ? code.color : NOTHING;
    drawSpots(pen, code.mark, [[8, 8]], plain);
    return made;
  }

  table() {
    const { trace, state } = this;
    if (!trace || !trace.pca) return null;
    const coded = this.projection === 'umap' ? this.umap : trace.pca;
    const place = (value) => (value / 65535).toFixed(3);
    if (state.locked.length) {
      const rows = state.locked.map((token) => [
        ...tokenRow(trace, token).slice(0, 4), trace.target[token] < 0 ? '–' : trace.place(trace.target[token]),
        place(coded[2 * token]), place(coded[2 * token + 1]),
      ]);
      return { head: [...TOKEN_HEAD.slice(0, 4), 'Carried by', 'Across', 'Up'], rows };
    }
    const rows = Array.from(trace.where(trace.fate, isAlive), (carrier) => {
      const members = trace.members(carrier);
      const middle = [0, 1].map((axis) => members.reduce((sum, i) => sum + coded[2 * i + axis], 0) / members.length);
      const spread = Math.sqrt(members.reduce((sum, i) => (
        sum + (coded[2 * i] - middle[0]) ** 2 + (coded[2 * i + 1] - middle[1]) ** 2), 0) / members.length);
      return [trace.place(carrier), members.length, ...middle.map(place), place(spread)];
    });
    return { head: ['Carrier at the end', 'Tokens it carries', 'Middle across', 'Middle up', 'Spread'], rows };
  }
}

/** Points of one fate and color: a square, a ring, a stroke, a dot, a diamond or a cross. */
function drawSpots(pen, mark, spots, color) {
  const path = new Path2D();
  const shape = {
    outline: (x, y) => path.rect(x - 3.5, y - 3.5, 7, 7),
    double: (x, y) => {
      path.moveTo(x + 4, y);
      path.arc(x, y, 4, 0, 7);
    },
    hatch: (x, y) => {
      path.moveTo(x - 2, y + 2);
      path.lineTo(x + 2, y - 2);
    },
    'hatch outline': (x, y) => {
      path.moveTo(x - 4.5, y);
      path.lineTo(x, y - 4.5);
      path.lineTo(x + 4.5, y);
      path.lineTo(x, y + 4.5);
      path.closePath();
    },
    cross: (x, y) => {
      path.moveTo(x - 3, y - 3);
      path.lineTo(x + 3, y + 3);
      path.moveTo(x + 3, y - 3);
      path.lineTo(x - 3, y + 3);
    },
  }[mark] || ((x, y) => path.rect(x - 1.25, y - 1.25, 2.5, 2.5));
  for (const [x, y] of spots) shape(x, y);
  if (mark === 'hatch' || mark === 'cross') {
    if (mark === 'cross') stroke(pen, path, DARK, 3.5);
    stroke(pen, path, color, 2);
    return;
  }
  if (mark === 'double') { // a rim of its color around a light one
    stroke(pen, path, DARK, 4);
    stroke(pen, path, LIGHT, 2.5);
  } else if (mark.includes('outline')) stroke(pen, path, DARK, 2.5);
  pen.fillStyle = color;
  pen.fill(path);
}
