// Up to three runs of the same clip and question, with the workspace's one cursor: the trace that is
// shown is A, the others are asked for here. What is compared is ``state.compare``, a list of specs
// such as "uniform@0.02"; whoever sets it (a link, an example) gets these runs.

import { Asking } from './asking.js';
import { el, swatch } from './dom.js';
import { recallOf } from './evidence.js';
import { download } from './fetching.js';
import { stroke } from './marks.js';
import { METHODS, big, layersOf, reckoner, specWords } from './methods.js';
import { TokenTrace } from './model.js';
import {
  BOTH, FIRST, NEITHER, SECOND, aliveAt, differing, overlapOf, perFrameOf, ratioOf, sameAnswer,
  sameTokens, scoreOf, uncompressedOf,
} from './pair.js';
import { many, percent, seconds } from './story.js';
import { CurvesView, PairStrip, RUNS } from './view-pair.js';
import { View } from './view.js';

const HONEST = ['uniform', 'random', 'frames', 'downsample']; // what a method must beat to have chosen anything
const MOST_OTHERS = RUNS.length - 1;

export class CompareView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.others = []; // {spec, trace}: all that have arrived for the shown trace
    this.runs = []; // A and those of them that are compared: {letter, color, dash, trace, ...}
    this.pair = null; // of two runs: {runs, codes, counts, jaccard, chance}
    this.asking = new Asking('compare', (...sent) => this.workspace.send(...sent), {
      stops: 'stop_compare', look: 'ws-compare-status', changed: () => this.list(), take: (news) => this.take(news.others || []),
      ended: (news, specs) => this.conclude(news, specs), dropped: (specs) => this.settle(specs),
    });
    this.build();
    this.state.on((_, changed) => { if (this.trace && changed.has('compare')) this.follow(); });
  }

  build() {
    const button = (words, act, title) => (
      el('button', { type: 'button', class: 'ws-act', title, onclick: act }, words));
    const option = ([name, [words]]) => el('option', { value: name }, words);
    this.kind = el('select', { onchange: () => this.describe() }, ...Object.entries(METHODS).map(option));
    this.ratio = el('input', { type: 'number', min: '0', max: '1', step: 'any', oninput: () => this.describe() });
    this.idea = el('p', { class: 'ws-quiet-text ws-idea' });
    this.adders = [
      el('button', { type: 'submit', class: 'ws-act ws-main' }, 'Add'),
      ...HONEST.map((name) => button(METHODS[name][0], () => this.add(name), METHODS[name][1])),
    ];
    this.why = el('p', { class: 'ws-quiet-text' }, 'Three runs at most; remove one to add another.');
    this.chips = el('ul', { class: 'ws-compare-runs', 'aria-label': 'Compared runs' });
    this.answers = el('div', { class: 'ws-scroll', tabindex: '0', role: 'region', 'aria-label': 'Answers' });
    this.pairs = el('div', { class: 'ws-tools', role: 'group', 'aria-label': 'Which two to mark' });
    this.legend = el('p', { class: 'ws-legend ws-pair-legend' });
    this.share = el('p', { class: 'ws-quiet-text' });
    const [strip, curves] = [el('div'), el('div')];
    this.keys = el('p', { class: 'ws-legend' });
    this.stories = el('div', { class: 'ws-stories' });
    this.result = el('div', { class: 'ws-compared', hidden: true }, this.answers,
      el('h4', {}, 'Whose tokens these are'), this.pairs, this.legend, this.share, strip,
      el('h4', {}, 'Tokens per frame, over time'), this.keys, curves,
      el('h4', {}, 'The token in focus'), this.stories);
    const [add, ...honest] = this.adders;
    const submit = (event) => {
      event.preventDefault();
      this.add(this.kind.value);
    };
    this.host.append(
      el('form', { class: 'ws-tools', novalidate: true, onsubmit: submit },
        el('label', { class: 'ws-field' }, 'Method', this.kind),
        el('label', { class: 'ws-field' }, 'Retention', this.ratio), add,
        el('span', { class: 'ws-tools', role: 'group', 'aria-label': 'Baselines' },
          quietText('or at once:'), ...honest),
        this.asking.stop),
      this.idea, this.asking.status, this.asking.meter, this.chips, this.why, this.result);
    this.strip = new PairStrip(strip, this.workspace, this);
    this.curves = new CurvesView(curves, this.workspace, this);
  }

  load(trace) {
    this.asking.forget();
    this.others = [];
    for (const view of [this.strip, this.curves]) {
      view.trace = trace;
      view.load(trace);
    }
    const door = trace.entered.length; // a method that only prunes inside lets all of them in
    this.ratio.value = ratioOf(door < trace.n ? door : countOf(aliveAt(trace, 'end')), trace.n);
    const { header } = trace;
    this.flopsOf = reckoner([
      { layers: header.layers, flops: header.flops },
      { layers: header.full_layers, flops: header.full_flops }]);
    this.describe();
    this.asking.tell(this.servable() ? '' : 'The clip of this trace is not known here, so no other method '
      + 'can be run on it. Run the question on this page, then compare.');
    this.lineUp();
    this.welcome(this.workspace.urls.others || []);
  }

  /** Other runs that came with the shown trace. */
  async welcome(given) {
    const { trace } = this;
    try {
      await this.take(given);
    } catch (error) {
      if (trace === this.trace) this.asking.tell(error.message, null, null, 'error');
    }
    if (given.length && trace === this.trace) {
      this.state.set({ compare: this.others.map(({ spec }) => spec).slice(0, MOST_OTHERS) });
    }
  }

  /** What the chosen method does, and what each would cost at the ratio that is typed. */
  describe() {
    const { trace, flopsOf } = this;
    const ratio = Number(this.ratio.value);
    const depth = trace.header.layers.length;
    const known = Boolean(flopsOf && ratio > 0 && ratio <= 1);
    const flops = (name) => flopsOf(layersOf(name, ratio, trace, depth));
    for (const option of this.kind.options) {
      const cost = known ? ` · ${big(flops(option.value))}FLOPs` : '';
      option.textContent = `${METHODS[option.value][0]}${cost}`;
    }
    const name = this.kind.value;
    const all = known ? flopsOf(Array.from({ length: depth }, () => trace.n)) : 0;
    const share = known ? ` About ${big(flops(name))}FLOPs in the LLM by the paper’s convention, ${percent(flops(name), all)} of those with all tokens.` : '';
    this.idea.textContent = `${METHODS[name][1]}${share}`;
  }

  // --- what is compared -------------------------------------------------------------------------

  /** For addresses: what ``restore`` takes. */
  get shared() { return this.state.compare.join(';'); }

  restore(text) {
    const known = (spec) => specWords(spec) !== null;
    this.state.set({ compare: [...new Set(text.split(';'))].filter(known).slice(0, MOST_OTHERS) });
  }

  add(name) {
    const ratio = Number(this.ratio.value);
    if (!(ratio > 0 && ratio <= 1)) {
      this.asking.tell('The retention ratio must be above 0 to 1.', null, null, 'error');
      this.ratio.focus();
      return;
    }
    const spec = `${name}@${ratio}`;
    if (this.state.compare.includes(spec)) this.asking.tell('This run is compared already.');
    else this.state.set({ compare: [...this.state.compare, spec] });
  }

  remove(spec) {
    this.state.set({ compare: this.state.compare.filter((other) => other !== spec) });
    this.kind.focus(); // the button that was pressed is gone
  }

  has(spec) { return this.others.some((other) => other.spec === spec); }

  /** Ask for what is to be compared and is not here yet. */
  follow() {
    const missing = this.state.compare.filter((spec) => !this.has(spec));
    if (missing.length && !this.servable()) {
      this.state.set({ compare: this.state.compare.filter((spec) => this.has(spec)) });
    } else if (missing.length && !this.asking.busy) {
      this.asking.ask({ key: this.workspace.urls.key, specs: missing }, missing);
    }
    this.lineUp();
  }

  /** Whether the page can run another method on the clip of the shown trace. */
  servable() {
    const { key, again } = this.workspace.urls;
    return Boolean(key && again);
  }

  async take(given) {
    const { trace } = this;
    for (const { spec, bundle } of given) {
      const other = this.has(spec) ? null : new TokenTrace(await download(bundle));
      if (trace !== this.trace) return; // another one is shown by now
      if (other && !sameTokens(other, trace)) {
        throw new Error('The other run has other tokens than the one shown, so they cannot be compared.');
      }
      if (other && !this.has(spec)) this.others.push({ spec, trace: other });
    }
  }

  conclude({ error, elapsed }, specs) {
    if (!error) this.asking.tell(`Answered in ${elapsed.toFixed(1)} s.`, null, null, 'done');
    this.settle(specs);
  }

  /** The server is done: what it was asked for is here, or will not come. */
  settle(specs) {
    const stays = (spec) => this.has(spec) || !specs.includes(spec);
    this.state.set({ compare: this.state.compare.filter(stays) });
  }

  lineUp() {
    const { trace, state } = this;
    const arrived = (spec) => this.others.find((other) => other.spec === spec);
    const others = state.compare.map(arrived).filter(Boolean);
    this.runs = [{ spec: null, trace }, ...others].map((run, place) => ({ ...RUNS[place], ...run }));
    this.measure();
    this.list();
    this.result.hidden = this.runs.length < 2;
    if (!this.result.hidden) {
      this.report();
      this.choices();
      this.explain();
    }
    if (!this.workspace.hidden('compare')) this.draw(new Set(['all']));
    this.workspace.tell('compare');
  }

  /** Who keeps which token at the current stage. */
  measure() {
    const { state } = this;
    for (const run of this.runs) {
      run.alive = aliveAt(run.trace, state.stage);
      run.perFrame = perFrameOf(run.trace, run.alive);
    }
    const chosen = this.runs.filter((run) => state.pair.includes(run.letter));
    const runs = chosen.length > 1 ? chosen : this.runs.slice(0, 2);
    this.pair = runs.length < 2 ? null : { runs, ...overlapOf(runs[0].alive, runs[1].alive) };
  }

  // --- words ------------------------------------------------------------------------------------

  /** Chips of what is compared and what is on its way; which buttons make sense now. */
  list() {
    const chip = (run, ...pieces) => el('li', {}, badgeOf(run), ...pieces);
    const gone = ({ letter, spec, trace }) => el('button', {
      type: 'button', class: 'ws-remove', 'aria-label': `Remove ${letter}, ${methodOf(trace)}`,
      onclick: () => this.remove(spec),
    }, '×');
    const coming = this.state.compare.filter((spec) => !this.has(spec));
    this.chips.replaceChildren(
      ...this.runs.map((run) => chip(run, methodOf(run.trace), quietText(budgetOf(run.trace)),
        run.spec ? gone(run) : quietText('shown'))),
      ...coming.map((spec, place) => {
        const run = RUNS[this.runs.length + place];
        return chip(run, specWords(spec), quietText('is running …'));
      }));
    const full = this.state.compare.length >= MOST_OTHERS;
    for (const button of this.adders) {
      button.disabled = !this.servable() || full || Boolean(this.asking.busy);
    }
    this.why.hidden = !full;
  }

  /** The answers: the uncompressed run first, the others as differences to it. */
  report() {
    const { trace, runs } = this;
    const first = uncompressedOf(runs.map((run) => run.trace));
    const head = ['Run', 'Answer', 'log p', first ? 'log p of the uncompressed answer' : null,
      'Tokens, enter and end', 'Evidence, enter and end'];
    const row = (name, answer, ...cells) => el('tr', {}, el('th', { scope: 'row' }, ...name), answer,
      ...cells.filter((cell) => cell !== null).map((cell) => el('td', {}, cell)));
    const rows = runs.map((run) => {
      const { header } = run.trace;
      const again = first ? scoreOf(run.trace, first.answer) : null;
      return row([badgeOf(run), ' ', methodOf(run.trace)],
        this.said(header.answer, first?.answer ?? trace.header.answer), fixedOf(header.logprob),
        first ? `${fixedOf(again)}${gapOf(again, first.logprob)}` : null,
        `${run.trace.entered.length}, ${countOf(aliveAt(run.trace, 'end'))}`, this.evidence(run.trace));
    });
    if (first) {
      const { length } = trace.evidence;
      rows.unshift(row(['Uncompressed'], this.said(first.answer, first.answer), fixedOf(first.logprob),
        fixedOf(first.logprob), `${trace.n}, ${trace.n}`, length ? `all ${many(length, 'cell')}` : '–'));
    }
    const unknown = first && runs.some((run) => scoreOf(run.trace, first.answer) === null);
    const note = first
      ? 'Underlined words are not in the uncompressed answer. log p is the natural logarithm of the '
        + 'probability of a whole answer.'
        + (unknown ? ' A dash: that run did not measure it; Why? and Scrub do.' : '')
      : 'The uncompressed run is not known; underlined words are not in the answer of A.';
    this.answers.replaceChildren(el('table', {}, el('caption', {}, el('span', {}, note)),
      el('thead', {}, el('tr', {}, ...head.filter(Boolean).map((words) => el('th', { scope: 'col' }, words)))),
      el('tbody', {}, ...rows)));
  }

  /** A cell with an answer, its words that differ marked; right or wrong where that is known. */
  said(answer, reference) {
    const { expected } = this.trace.header;
    const words = differing(answer, reference).flatMap(([word, differs]) => [
      differs ? el('mark', { class: 'ws-differs' }, word) : word, ' ']);
    const verdict = expected === null ? null : quietText(sameAnswer(answer, expected) ? 'right' : 'wrong');
    return el('td', { class: 'ws-said' }, ...(words.length ? words : [quietText('(empty answer)')]), verdict);
  }

  evidence(trace) {
    const { evidence } = this.trace;
    if (!evidence.length) return '–';
    const { cells, steps: [door, end] } = recallOf(trace, evidence);
    return `${door.kept}, ${end.kept} of ${many(cells, 'cell')}`;
  }

  /** Which two of three runs the pictures mark. */
  choices() {
    const options = this.runs.length > 2 ? ['AB', 'AC', 'BC'] : [];
    if (this.pairs.childElementCount !== options.length) { // else the pressed one keeps its focus
      this.pairs.replaceChildren(...options.map((pair) => el('button', {
        type: 'button', class: 'ws-act', onclick: () => this.state.set({ pair }),
      }, `${pair[0]} and ${pair[1]}`)));
    }
    const shown = options.indexOf(this.pair.runs.map((run) => run.letter).join(''));
    for (const [place, button] of [...this.pairs.children].entries()) {
      button.setAttribute('aria-pressed', String(place === shown));
    }
    this.pairs.hidden = !options.length;
  }

  /** The legends: what the marks mean and how much two runs have in common. */
  explain() {
    const { counts, jaccard, chance, runs: [first, second] } = this.pair;
    const key = (kind, color, words) => el('span', { class: 'ws-key' }, sideOf(kind, color), words);
    this.legend.replaceChildren(
      key('ws-side-left', first.color, `only ${first.letter}: ${counts[FIRST]}`),
      key('ws-side-right', second.color, `only ${second.letter}: ${counts[SECOND]}`),
      key('ws-side-both', '', `both: ${counts[BOTH]}`),
      key('ws-side-none', '', `neither: ${counts[NEITHER]}`));
    const late = ['end', 'layer'].includes(this.state.stage);
    this.share.textContent = `Tokens that ${late ? 'are left at the end of the LLM' : 'enter the LLM'}; `
      + `the stages above choose. Both keep ${(100 * jaccard).toFixed(1)} % of what either keeps `
      + `(Jaccard ${jaccard.toFixed(3)}); blind choices of these sizes would come to ${chance.toFixed(3)}.`;
    this.keys.replaceChildren(...this.runs.map((run) => el('span', { class: 'ws-key' },
      lineOf(run), `${run.letter} ${methodOf(run.trace)}: ${countOf(run.alive)}`)));
  }

  /** What every run did to the token under the cursor. */
  tellStories() {
    const { focus } = this.state;
    if (focus < 0) {
      this.stories.replaceChildren(quietText('Point at a token in any view to read what each run did with it.'));
      return;
    }
    this.stories.replaceChildren(...this.runs.map((run) => {
      const code = run.trace.codes[run.trace.fate[focus]];
      return el('article', { class: 'ws-story' },
        el('p', { class: 'ws-card-title' }, badgeOf(run), ' ', methodOf(run.trace)),
        el('p', { class: 'ws-card-fate' }, swatch(code), code.label.split(' (')[0]),
        el('p', { class: 'ws-card-text' }, run.trace.story(focus).join(' ')));
    }));
  }

  // --- drawing ----------------------------------------------------------------------------------

  draw(changed) {
    if (!this.trace || this.result.hidden) return;
    const any = (...names) => ['all', ...names].some((name) => changed.has(name));
    const told = new Set(changed);
    if (any('stage', 'pair')) {
      this.measure();
      this.choices();
      this.explain();
      told.add('look');
    }
    if (changed.has('evidence')) this.report();
    this.strip.draw(told);
    this.curves.draw(told);
    if (any('hover', 'locked')) this.tellStories();
    this.workspace.drawn.compared = this.runs.length;
  }

  table() {
    if (this.result.hidden) return null;
    const { trace, runs, pair } = this;
    const [first, second] = pair.runs.map((run) => run.letter);
    const rows = Array.from({ length: trace.frames }, (_, frame) => {
      const counts = [0, 0, 0, 0];
      const codes = pair.codes.subarray(frame * trace.perFrame, (frame + 1) * trace.perFrame);
      for (const code of codes) counts[code] += 1;
      return [frame, seconds(trace.seconds[frame]), ...runs.map((run) => run.perFrame[frame]),
        counts[FIRST], counts[SECOND], counts[BOTH], counts[NEITHER]];
    });
    return {
      head: ['Frame', 'Time', ...runs.map((run) => `${run.letter} ${methodOf(run.trace)}`),
        `Only ${first}`, `Only ${second}`, 'Both', 'Neither'],
      rows,
    };
  }
}

/** "STC" of a trace by STC(retention=0.02, ...). */
function methodOf({ header }) { return header.method.split('(')[0].trim().slice(0, 40) || 'unnamed'; }

function budgetOf({ entered: { length }, n }) { return `${length} of ${n} tokens, ${percent(length, n)}`; }

function countOf(alive) { return alive.reduce((sum, one) => sum + one, 0); }

export function fixedOf(value) { return value === null ? '–' : value.toFixed(2).replace('-', '−'); }

/** " (−0.31)": how far a logarithm is from the uncompressed run's. */
function gapOf(value, other) {
  if (value === null || other === null) return '';
  const far = fixedOf(value - other);
  return ` (${value < other ? '' : '+'}${far})`;
}

function quietText(words) { return el('span', { class: 'ws-quiet-text' }, ` ${words}`); }

function badgeOf({ letter, color }) {
  const made = el('b', { class: 'ws-letter' }, letter);
  made.style.setProperty('--run', color);
  return made;
}

/** How cells of a run look in the strip, and its line among the curves. */
function sideOf(kind, color) {
  const made = el('span', { class: `ws-side ${kind}`, 'aria-hidden': 'true' });
  if (color) made.style.setProperty('--run', color);
  return made;
}

function lineOf({ color, dash }) {
  const made = el('canvas', { class: 'ws-line-sample', width: 56, height: 12, 'aria-hidden': 'true' });
  const pen = made.getContext('2d');
  pen.scale(2, 2);
  pen.setLineDash(dash);
  const path = new Path2D();
  path.moveTo(0, 3);
  path.lineTo(28, 3);
  stroke(pen, path, color, 2.2);
  return made;
}
