// Scrub: one question at many settings. A slider under the clip, the probability of each answer over
// it as a curve, the tipping points; dragging shows the tokens of each stop in every view.

import { Asking } from './asking.js';
import { el } from './dom.js';
import { download } from './fetching.js';
import {
  AXES, curvesOf, flopsWords, neighbor, nearestStop, placeOf, readStop, spread, stopTrace,
  unpackScrub, valueWords,
} from './scrub.js';
import { many } from './story.js';
import { View } from './view.js';

const SPACE = 'http://www.w3.org/2000/svg';
const TALL = 150; // pixels of the chart's area
const EDGE = { left: 34, top: 34, bottom: 34 };
const SIGN = 6; // pixels on each side of a turn that are kept for its sign
const STEPS = 1000; // of the native slider
const FILES = [['png', 'PNG'], ['svg', 'SVG'], ['gif', 'GIF'], ['mp4', 'Film (mp4)']];
const ROLES = { right: 'right', uncompressed: 'uncompressed', run: 'the run' };

export class ScrubView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.over = 'retention';
    this.scrubs = new Map(); // axis to {summary, stops: Map of value to packed, traces: Map}
    this.known = new Map(); // bundle of a run to its scrubs, so that they are there when it comes back
    this.value = null; // of the stop on show; null: the run
    const send = (...sent) => this.workspace.send(...sent);
    const changed = () => this.fill();
    this.asking = new Asking('scrub', send, {
      stops: 'stop_scrub', look: 'ws-quiet-text', cancelled: 'Cancelled; what is computed stays, and the button goes on with the rest.',
      changed, take: (news, asked) => this.receive(news, asked), ended: (news) => this.conclude(news),
    });
    this.filing = new Asking('scrub_file', send, { changed, ended: (news) => this.keepFile(news) });
    this.build();
  }

  build() {
    const button = (words, act, kind = 'ws-act') => el('button', { type: 'button', class: kind, onclick: act }, words);
    this.start = button('', () => this.ask(), 'ws-act ws-main');
    this.axis = el('select', { 'aria-label': 'What to scrub', onchange: () => this.turnTo(this.axis.value) },
      ...AXES.map(([key, words]) => el('option', { value: key }, words)));
    this.chart = el('div', { class: 'ws-scrub-chart' });
    this.slider = el('input', {
      type: 'range', min: '0', max: String(STEPS), step: '1', class: 'ws-scrub-slider', 'aria-label': 'Stop of the scrub',
      oninput: () => this.drag(Number(this.slider.value) / STEPS), onkeydown: (event) => this.key(event),
    });
    this.facts = el('p', { class: 'ws-scrub-facts' });
    this.files = el('div', { class: 'ws-tools' }, el('span', { class: 'ws-quiet-text' }, 'Save this scrub:'),
      ...FILES.map(([form, words]) => button(words, () => this.save(form))));
    this.board = el('div', { hidden: true }, this.facts, this.chart, this.slider, this.files);
    this.banner = el('div', { class: 'ws-scrub-banner', role: 'status', hidden: true }, el('span'),
      button('Back to the run (r)', () => this.back()));
    this.workspace.body.prepend(this.banner);
    this.chart.addEventListener('pointerdown', (event) => this.grab(event));
    this.chart.addEventListener('pointermove', (event) => { if (event.buttons & 1 && this.held) this.point(event); });
    this.host.append(el('div', { class: 'ws-tools' }, this.start, this.axis,
      this.asking.stop, this.asking.status, this.asking.meter, this.filing.status, this.filing.meter), this.board);
    this.watch = new ResizeObserver(() => this.drawChart());
    this.watch.observe(this.chart);
  }

  // --- a trace, and its scrubs ------------------------------------------------------------------

  load() {
    const { bundle } = this.workspace.urls;
    this.value = null;
    this.banner.classList.remove('ws-scrub-away');
    if (bundle !== this.bundle) {
      this.bundle = bundle;
      this.asking.forget();
      if (!this.known.has(bundle)) this.known.set(bundle, new Map());
      this.scrubs = this.known.get(bundle);
    }
    for (const { traces } of this.scrubs.values()) traces.clear(); // those are made of the run before
    this.fill();
  }

  get scrub() { return this.scrubs.get(this.over)?.summary || null; }

  /** Why nothing can be scrubbed; '' where it can. */
  obstacle() {
    const { served, urls } = this.workspace;
    if (!served) return 'Only a running page can scrub; this is a saved one.';
    return urls.again ? '' : 'The clip of this trace is not at hand, so it cannot be run at other settings: run the question on this page, then scrub.';
  }

  turnTo(over) {
    this.back();
    this.over = over;
    this.fill();
    this.workspace.tell('scrub');
  }

  // --- the server -------------------------------------------------------------------------------

  ask() {
    this.asking.ask({ key: this.workspace.urls.key, over: this.over }, { over: this.over, bundle: this.bundle });
  }

  /** News come faster than files: the last file holds every stop again. */
  async receive(news, asked) {
    if (!news.file || news.file === asked.file) return;
    asked.file = news.file;
    try {
      const buffer = await download(news.file);
      if (asked.bundle === this.bundle) this.take(asked.over, news.sweep, buffer);
    } catch (error) {
      console.warn(error.message);
    }
  }

  conclude(news) {
    if (!news.error) this.asking.tell(this.outcome(), null, news.elapsed);
  }

  /** Take over a summary, and the stops of a file. */
  take(over, summary, buffer) {
    const held = this.scrubs.get(over) || { stops: new Map(), traces: new Map() };
    for (const [value, packed] of unpackScrub(buffer).stops) held.stops.set(value, packed);
    held.traces.clear(); // probabilities may have come
    this.scrubs.set(over, { ...held, summary });
    this.fill();
    this.workspace.tell('scrub');
  }

  /** The scrub that a link names, beside the trace; with its stop on show. */
  async restore(text) {
    const asked = readStop(text);
    const { urls } = this.workspace;
    if (!asked || !urls.trace) return;
    const { bundle } = this;
    try {
      const buffer = await download(urls.trace.replace(/[^/]*$/, `scrub-${asked.over}.bin`));
      if (bundle !== this.bundle) return;
      this.over = asked.over;
      this.take(asked.over, unpackScrub(buffer).summary, buffer);
      const stop = this.scrub.stops.find(({ value }) => value === asked.value);
      if (stop) this.show(stop);
    } catch {
      this.asking.tell('The scrub of this link is no longer here; press the button to make it again.');
    }
  }

  /** What a link carries. */
  get shared() { return this.scrub ? `${this.over}@${this.value ?? this.scrub.present}` : ''; }

  save(form) {
    this.filing.ask({ key: this.workspace.urls.key, over: this.over, form });
    this.filing.tell('Making the file …');
  }

  keepFile(news) {
    if (!news.done) return;
    el('a', { href: new URL(news.file, document.baseURI).href, download: news.name }).click();
    this.filing.tell(`Saved ${news.name}.`);
  }

  // --- the stop on show -------------------------------------------------------------------------

  drag(place) {
    const stop = this.scrub && nearestStop(this.scrub, place);
    if (stop) this.show(stop);
  }

  grab(event) {
    if (!this.scrub) return;
    this.held = true;
    this.chart.setPointerCapture(event.pointerId);
    this.point(event);
  }

  point(event) {
    const box = this.chart.getBoundingClientRect();
    this.drag((event.clientX - box.left - EDGE.left) / this.wide);
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 4, PageDown: -4, Home: -999, End: 999 }[event.key];
    if (event.key === 'r') this.back();
    if (!step || !this.scrub) return;
    event.preventDefault();
    this.show(neighbor(this.scrub, this.value ?? this.scrub.present, step));
  }

  /** Show a stop in every view; the present value is the run itself. */
  show(stop) {
    const began = performance.now();
    const value = stop.value === this.scrub.present ? null : stop.value;
    const held = this.scrubs.get(this.over);
    if (value !== null && !held.stops.has(value)) return;
    if (value === this.value) {
      this.drawStop();
      return;
    }
    this.value = value;
    if (value !== null && !held.traces.has(value)) {
      held.traces.set(value, stopTrace(this.workspace.run, held.summary, stop, held.stops.get(value)));
    }
    this.workspace.showStop(value === null ? null : held.traces.get(value));
    this.drawStop();
    this.workspace.timing.scrub = performance.now() - began;
  }

  back() {
    if (this.value === null) return;
    this.value = null;
    this.workspace.showStop(null);
    this.drawStop();
  }

  // --- words ------------------------------------------------------------------------------------

  outcome() {
    const { scrub } = this;
    const { turns, stops, refused } = scrub;
    const lost = refused.length ? ` ${refused.length} could not be run: ${refused[0][1]}.` : '';
    const words = turns.length
      ? `${many(stops.length, 'stop')}; the answer turns ${turns.length === 1 ? 'once' : `${turns.length} times`}.`
      : `${many(stops.length, 'stop')}; the answer is the same at all of them.`;
    return words + lost;
  }

  /** The stop on show; the present one where that is the run. */
  get current() {
    const { scrub } = this;
    return scrub && scrub.stops.find(({ value }) => value === (this.value ?? scrub.present));
  }

  // --- drawing ----------------------------------------------------------------------------------

  draw(changed) {
    if (changed.has('all')) this.fill();
    else if (changed.has('look')) this.drawStop();
  }

  fill() {
    const { scrub } = this;
    const obstacle = this.obstacle();
    const [, words] = AXES.find(([key]) => key === this.over);
    const left = scrub ? scrub.waiting.length : 0;
    this.start.textContent = left ? `Go on: ${left} stops left` : `Scrub ${words === 'Retention' ? 'retention' : words}`;
    this.start.hidden = Boolean(scrub && !left) || Boolean(this.asking.busy);
    this.start.disabled = Boolean(obstacle);
    this.axis.value = this.over;
    this.axis.disabled = Boolean(this.asking.busy) || Boolean(obstacle);
    if (obstacle && !this.asking.status.textContent) this.asking.tell(obstacle);
    this.board.hidden = !scrub;
    this.banner.hidden = !scrub; // there from the first stop on, so that dragging moves nothing
    this.files.hidden = !scrub || !this.workspace.served || Boolean(this.asking.busy);
    this.drawChart();
  }

  /** What changes from stop to stop: the line, the thumb, the facts, the banner. */
  drawStop() {
    const { scrub, current, value } = this;
    if (!scrub) return;
    const run = valueWords(scrub.over, scrub.present);
    this.banner.classList.toggle('ws-scrub-away', value !== null);
    this.banner.firstChild.textContent = value === null
      ? `Showing the run, ${run}. Every view follows the slider under the curve.`
      : `Showing ${valueWords(scrub.over, value)} of a scrub; the run was ${run}.`;
    if (!current) return;
    const said = valueWords(scrub.over, current.value);
    this.slider.value = String(Math.round(STEPS * placeOf(scrub, current.value)));
    this.slider.setAttribute('aria-valuetext', `${said}, ${many(current.entered, 'token')}, answer ${current.answer}`);
    const number = scrub.answers.findIndex(({ text }) => text === current.answer);
    const chance = number < 0 || current.p[number] === null ? '' : ` (p ${current.p[number].toFixed(2)})`;
    const time = current.seconds === null ? '' : ` · ${current.llm_seconds.toFixed(2)} s for compression and LLM, ${current.seconds.toFixed(2)} s in all`;
    this.facts.replaceChildren(
      el('b', {}, said), ` · ${current.entered} of ${scrub.n} tokens enter the LLM, ${current.left} reach its end · `,
      el('b', {}, `“${current.answer}”`), `${chance} · ${flopsWords(current.flops)} of all parts${time}`);
    this.cursor?.setAttribute('transform', `translate(${EDGE.left + this.wide * placeOf(scrub, current.value)} 0)`);
  }

  drawChart() {
    const { scrub } = this;
    const room = this.chart.clientWidth;
    if (!scrub || !room) return;
    if (this.drawn && this.drawn.scrub === scrub && this.drawn.room === room) {
      this.drawStop();
      return;
    }
    this.drawn = { scrub, room };
    const names = room < 520 ? 84 : room < 760 ? 150 : 200;
    this.wide = room - EDGE.left - names;
    const tall = EDGE.top + TALL + EDGE.bottom;
    const svg = draw('svg', { width: room, height: tall, role: 'img', 'aria-label': this.alt() });
    this.axes(svg);
    this.turns(svg);
    this.curves(svg, names);
    const x = EDGE.left + this.wide * placeOf(scrub, scrub.present);
    const sign = draw('path', { class: 'ws-scrub-present', d: `M ${x - 5} ${EDGE.top + TALL + 14} h 10 l -5 -8 z` });
    sign.append(draw('title', {}, 'The run'));
    svg.append(sign);
    this.cursor = draw('g', { class: 'ws-scrub-cursor' });
    this.cursor.append(draw('line', { x1: 0, x2: 0, y1: EDGE.top - 4, y2: EDGE.top + TALL + 4 }));
    svg.append(this.cursor);
    this.chart.replaceChildren(svg);
    this.slider.style.marginLeft = `${EDGE.left - 8}px`;
    this.slider.style.width = `${this.wide + 16}px`;
    this.drawStop();
  }

  y(chance) { return EDGE.top + TALL * (1 - chance); }

  axes(svg) {
    const { scrub } = this;
    for (const level of [0, 0.5, 1]) {
      const y = this.y(level);
      svg.append(draw('line', { class: 'ws-scrub-rule', x1: EDGE.left, x2: EDGE.left + this.wide, y1: y, y2: y }),
        draw('text', { class: 'ws-scrub-quiet', x: EDGE.left - 6, y: y + 4, 'text-anchor': 'end' }, String(level)));
    }
    svg.append(draw('text', { class: 'ws-scrub-quiet', x: 0, y: 10 }, 'probability of the answer'));
    const bottom = EDGE.top + TALL;
    const known = new Set(scrub.stops.map(({ value }) => value));
    const taken = [];
    const first = [scrub.planned[0], scrub.planned[scrub.planned.length - 1], scrub.present]; // named before all others
    for (const value of new Set([...first, ...scrub.planned])) {
      const x = EDGE.left + this.wide * placeOf(scrub, value);
      svg.append(draw('line', { class: known.has(value) ? 'ws-scrub-tick' : 'ws-scrub-tick ws-scrub-open', x1: x, x2: x, y1: bottom, y2: bottom + 5 }));
      const words = valueWords(scrub.over, value).replace(/^(tau|layer) /, '');
      const half = 3.4 * words.length + 4;
      if (taken.some(([low, high]) => x + half > low && x - half < high)) continue;
      taken.push([x - half, x + half]);
      svg.append(draw('text', { class: known.has(value) ? '' : 'ws-scrub-quiet', x, y: bottom + 26, 'text-anchor': 'middle' }, words));
    }
  }

  turns(svg) {
    const { scrub } = this;
    const placed = scrub.turns.map(([low, high, before, after]) => ({
      x: EDGE.left + (this.wide * (placeOf(scrub, low) + placeOf(scrub, high))) / 2, low, high, before, after,
    })).sort((a, b) => a.x - b.x);
    let taken = 0; // up to here there are words
    placed.forEach(({ x, low, high, before, after }, number) => {
      const [from, to] = scrub.over === 'retention' ? [after, before] : [before, after]; // from left to right
      const line = draw('line', { class: 'ws-scrub-turn', x1: x, x2: x, y1: EDGE.top - 2, y2: EDGE.top + TALL });
      line.append(draw('title', {}, `Between ${valueWords(scrub.over, low)} (“${before}”) and `
        + `${valueWords(scrub.over, high)} (“${after}”) the answer turns.`));
      svg.append(line);
      const next = number + 1 < placed.length ? placed[number + 1].x - SIGN : EDGE.left + this.wide + 30;
      const half = Math.min(x - taken, next - x);
      const words = [`${from} → ${to}`, 'turns', '↔'].find((text) => 3.2 * text.length < half) || '↔';
      taken = x + Math.max(SIGN, 3.2 * words.length);
      svg.append(draw('text', { class: 'ws-scrub-turn-words', x, y: EDGE.top - 6, 'text-anchor': 'middle' }, words));
    });
  }

  curves(svg, names) {
    const { scrub } = this;
    const curves = curvesOf(scrub);
    const heights = spread(curves.map(({ end }) => this.y(end) - EDGE.top), TALL + EDGE.bottom - 6);
    curves.forEach(({ text, roles, points, end }, place) => {
      const at = ([x, chance]) => `${(EDGE.left + this.wide * x).toFixed(1)} ${this.y(chance).toFixed(1)}`;
      const group = draw('g', { class: `ws-curve ws-curve-${place}` });
      const told = roles.map((role) => ROLES[role]).join(', ');
      group.append(draw('title', {}, `“${text}”${told ? ` (${told})` : ''}`),
        draw('path', { d: `M ${points.map(at).join(' L ')}` }));
      for (const point of points) {
        const [x, y] = at(point).split(' ');
        group.append(draw('circle', { cx: x, cy: y, r: 2.5 }));
      }
      const [from] = points[points.length - 1];
      const y = EDGE.top + heights[place];
      const left = EDGE.left + this.wide;
      group.append(draw('path', { class: 'ws-curve-lead', d: `M ${EDGE.left + this.wide * from} ${this.y(end)} L ${left + 10} ${y}` }));
      const most = Math.floor((names - 16) / 6.4);
      const short = (words) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);
      const label = draw('text', { x: left + 13, y: y + 4 }, short(text));
      if (told && text.length + told.length + 3 <= most) label.append(draw('tspan', { class: 'ws-scrub-quiet' }, ` · ${told}`));
      group.append(label);
      svg.append(group);
    });
  }

  alt() {
    const { scrub } = this;
    const turns = scrub.turns.map(([low, high, before, after]) => `between ${valueWords(scrub.over, low)} and `
      + `${valueWords(scrub.over, high)} from “${before}” to “${after}”`);
    return `Probability of each answer over the ${AXES.find(([key]) => key === scrub.over)[2]}; `
      + (turns.length ? `the answer turns ${turns.join('; ')}.` : 'the answer does not turn.');
  }

  table() {
    const { scrub } = this;
    if (!scrub) return null;
    const stops = [...scrub.stops].sort((a, b) => placeOf(scrub, a.value) - placeOf(scrub, b.value));
    const rows = stops.map(({ value, entered, left, answer, flops, llm_seconds: time, p }) => [
      valueWords(scrub.over, value), entered, left, answer, flopsWords(flops), time === null ? '–' : `${time.toFixed(2)} s`,
      ...p.map((chance) => (chance === null ? '–' : chance.toFixed(3))),
    ]);
    return {
      head: ['Stop', 'Enter the LLM', 'At its end', 'Answer', 'FLOPs, real: all parts', 'Compression and LLM', ...scrub.answers.map(({ text }) => `p “${text}”`)],
      rows,
    };
  }
}

/** An element of a picture. */
function draw(tag, attributes = {}, text = '') {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}
