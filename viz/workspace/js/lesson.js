// The lesson: a text, a workspace that is moved to what the text talks about, and a quiz. The steps
// come from the server; here they are only shown.

import { Asking } from './asking.js';
import { el } from './dom.js';
import { FATE } from './fates.js';
import { Workspace } from './main.js';
import {
  DARK, EVIDENCE, LIGHT, Marks, drawCorners, drawFrame, drawRing, rings, stroke,
} from './marks.js';
import { clamp } from './model.js';
import { restore, writeAddress } from './share.js';
import { START } from './state.js';
import { many, seconds } from './story.js';
import { Terms } from './terms.js';
import { Layers } from './view.js';

export class Lesson {
  /** trigger: sends an event to the server; nobody is asked without one. */
  constructor(root, trigger = null) {
    this.root = root;
    this.trigger = trigger;
    this.terms = new Terms();
    this.steps = [];
    this.traces = {};
    this.number = 0; // of the step that is shown, from 0
    this.asked = false; // whether the steps were asked for
    const button = (words, act, look = '') => el('button', { type: 'button', class: look, onclick: act }, words);
    this.dots = el('ol', { class: 'ls-dots', 'aria-label': 'Steps of the lesson' });
    this.title = el('h2', { class: 'ls-title', tabindex: '-1' });
    this.text = el('p', { class: 'ls-text' });
    this.attempt = el('p', { class: 'ls-try' });
    this.back = button('Back (p)', () => this.go(this.number - 1));
    this.next = button('Next (n)', () => this.go(this.number + 1), 'ls-main');
    this.test = button('Quiz: which cells would you keep?', () => this.ask(), 'ls-main');
    this.again = button('Start again', () => this.go(0));
    this.give = button('', () => this.giveBack(false), 'ls-main');
    this.random = button('', () => this.giveBack(true));
    this.asking = new Asking('give_back', (...sent) => this.trigger(...sent), {
      stops: 'stop_give_back', look: 'ls-given', changed: () => {}, ended: (news, random) => this.hear(news, random),
    });
    this.show = button('Present', () => this.present(!this.presenting), 'ls-present-button');
    this.show.title = 'Large type for a class; arrow keys turn the steps, Escape ends it';
    this.message = el('p', { class: 'ws-message', role: 'status' }, 'The lesson is being opened …');
    this.card = el('section', { class: 'ls-card', 'aria-label': 'Lesson', hidden: true },
      el('div', { class: 'ls-head' }, this.dots, this.show),
      el('div', { 'aria-live': 'polite' }, this.title, this.text, this.attempt),
      el('div', { class: 'ls-buttons' }, this.give, this.random), this.asking.status,
      el('div', { class: 'ls-buttons' }, this.back, this.next, this.test, this.again), this.terms.tip);
    this.place = el('div', { class: 'workspace ls-place' });
    this.quiz = new Quiz(() => this.go(this.number));
    root.replaceChildren(this.message, el('div', { class: 'ls-side' }, this.card), this.quiz.host, this.place);
    this.workspace = new Workspace(this.place);
    this.place.hidden = true;
    document.addEventListener('keydown', (event) => this.key(event)); // wherever the focus is
    document.addEventListener('fullscreenchange', () => {
      if (!document.fullscreenElement && this.presenting) this.present(false);
    });
    Object.defineProperty(window, '__lesson', { configurable: true, get: () => this.snapshot() });
  }

  /** Another value from the server: {steps, traces, note}. */
  take(value) {
    if (!value?.steps) return;
    this.asked = true;
    Object.assign(this, { steps: value.steps, traces: value.traces || {}, shown: null });
    this.terms.known = value.terms || {};
    this.message.hidden = Boolean(this.steps.length);
    if (value.note) this.message.textContent = value.note;
    if (!this.steps.length) return;
    this.card.hidden = false;
    this.dots.replaceChildren(...this.steps.map(({ title }, number) => el('li', {},
      el('button', { type: 'button', title, 'aria-label': `Step ${number + 1}: ${title}`, onclick: () => this.go(number) },
        String(number + 1)))));
    const wanted = Number(new URLSearchParams(location.search).get('learn'));
    this.go(Number.isInteger(wanted) && wanted > 0 ? wanted - 1 : 0);
  }

  /** The tab is shown or left: only then is the step in the page's address. */
  appear(visible) {
    this.asked = this.asked || visible;
    this.visible = visible;
    if (this.steps.length || !visible) this.address();
  }

  address() { writeAddress({ learn: this.visible ? String(this.number + 1) : '' }); }

  /** Show a step; resolves when the workspace is where the step wants it. */
  async go(number) {
    this.number = clamp(number, 0, this.steps.length - 1);
    const step = this.steps[this.number];
    this.settled = false;
    this.quiz.close();
    this.title.textContent = `${this.number + 1}. ${step.title}`;
    this.terms.hide();
    this.text.replaceChildren(...step.text.map((sentence) => el('span', { class: 'ls-sentence' },
      ...this.terms.marked(`${sentence} `, this.terms.fresh(sentence === step.text[0])))));
    this.asking.forget();
    const backed = step.back > 0 && this.trigger;
    this.give.hidden = !backed;
    this.random.hidden = !backed;
    this.give.textContent = `Give the ${many(step.back || 0, 'token')} back and ask again`;
    this.random.textContent = step.back === 1 ? 'Give a random one back instead' : 'Give as many random ones back instead';
    this.attempt.textContent = `Try it: ${step.attempt}`;
    this.back.disabled = this.number === 0;
    this.next.hidden = this.number === this.steps.length - 1;
    this.again.hidden = !this.next.hidden;
    this.test.hidden = !step.quiz;
    [...this.dots.querySelectorAll('button')].forEach((dot, place) => {
      dot.classList.toggle('ls-done', place < this.number);
      if (place === this.number) dot.setAttribute('aria-current', 'step');
      else dot.removeAttribute('aria-current');
    });
    this.place.hidden = false;
    if (this.visible) this.address();
    if (this.shown !== step.trace) {
      this.shown = step.trace;
      await this.workspace.show(this.traces[step.trace]);
    }
    if (this.steps[this.number] !== step) return; // somebody went on in the meantime
    this.arrange(step);
    this.settled = true;
  }

  /** Put away what this step is not about, and move the workspace. */
  arrange({ views, state }) {
    const { workspace } = this;
    workspace.only(views);
    workspace.panels.classList.toggle('ls-first', views.includes('replay')); // it is what the step is about
    workspace.clear();
    workspace.state.set({ stage: START.stage, overlay: workspace.plain, image: false });
    restore(workspace, state);
  }

  // Giving back --------------------------------------------------------------------------------------

  giveBack(random) {
    if (!this.asking.busy) this.asking.ask({ random }, random);
  }

  hear({ done }, random) {
    if (!done) return;
    const { answer, right, tokens, entered, urls } = done;
    const which = `${random ? 'random ' : ''}token${tokens === 1 ? '' : 's'}`;
    this.asking.tell(`With ${tokens} ${which} given back, ${entered} in all, the model says “${answer}”: `
      + `${right ? 'right' : 'wrong'}. ${this.meaning(random, right)}`);
    this.shown = null; // another trace is shown now
    this.workspace.show(urls);
  }

  meaning(random, right) {
    if (random) {
      return right ? 'So it is the number of tokens that matters here, not which.'
        : 'So it is not the number of tokens: these did not help.';
    }
    return right ? 'So these tokens were what the answer needed. Do as many random ones help as well?'
      : 'So their loss was not the only reason.';
  }

  // Presenting ---------------------------------------------------------------------------------------

  /** Large type on the whole screen, where the browser allows it; arrows turn the steps. */
  present(on) {
    this.presenting = on;
    this.root.classList.toggle('ls-presenting', on);
    this.show.textContent = on ? 'End presenting (Esc)' : 'Present';
    if (on) this.root.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement) document.exitFullscreen();
    // the views fit themselves to the room that they have then
    setTimeout(() => this.workspace.draw(new Set(['all'])), 300);
  }

  ask() {
    this.place.hidden = true;
    this.quiz.open(this.workspace);
  }

  key(event) {
    if (!this.visible || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.('input, select, textarea, [contenteditable]')) return;
    if (event.key === 'Escape' && this.presenting) {
      this.present(false);
      return;
    }
    const keys = this.presenting ? { n: 1, p: -1, ArrowRight: 1, ArrowLeft: -1, PageDown: 1, PageUp: -1 } : { n: 1, p: -1 };
    const step = keys[event.key];
    const elsewhere = event.key.startsWith('Arrow') && event.target.closest?.('canvas, button[role=tab]');
    if (!step || elsewhere || !this.steps.length) return;
    event.preventDefault();
    this.go(this.number + step);
  }

  /** What tests may look at. */
  snapshot() {
    return {
      steps: this.steps.length, number: this.number, settled: Boolean(this.settled), quiz: this.quiz.snapshot(),
      workspace: this.workspace.snapshot(),
    };
  }
}

/**
 * "Which cells would you keep?" As many cells of one frame as the pool has there, scored against it.
 * ``leave`` is called when the visitor is done.
 */
class Quiz {
  constructor(leave) {
    this.chosen = new Set(); // tokens
    this.told = false;
    const button = (words, act, look = '') => el('button', { type: 'button', class: look, onclick: act }, words);
    this.lead = el('p');
    this.says = el('p', { class: 'ls-score', role: 'status' });
    this.check = button('Check', () => this.score(), 'ls-main');
    this.retry = button('Try again', () => this.start());
    this.picture = el('div', { class: 'ls-quiz-picture' });
    this.host = el('section', { class: 'ls-quiz', 'aria-label': 'Quiz', hidden: true },
      el('h2', { class: 'ls-title' }, 'Which cells would you keep?'), this.lead, this.picture,
      el('div', { class: 'ls-buttons' }, this.check, this.retry, button('Back to the lesson', leave)), this.says);
    this.layers = new Layers(this.picture, 'The frame of the quiz. Arrows move the cell, Space chooses it.',
      () => this.draw());
    const { canvas } = this.layers.top;
    canvas.addEventListener('click', (event) => {
      const [x, y] = this.layers.at(event);
      this.toggle(this.trace.at(this.frame, x / this.layers.wide, y / this.layers.tall));
    });
    canvas.addEventListener('keydown', (event) => this.key(event));
  }

  open(workspace) {
    Object.assign(this, { workspace, trace: workspace.trace });
    this.kept = this.pick();
    this.cursor = this.trace.index(this.frame, 0, 0);
    this.host.hidden = false;
    const { width, height } = this.trace;
    const wide = Math.min(this.picture.clientWidth, (420 * width) / height);
    this.layers.box.style.width = `${Math.round(wide)}px`;
    this.layers.height = (wide * height) / width;
    this.start();
    this.layers.top.canvas.focus({ preventScroll: true });
  }

  close() { this.host.hidden = true; }

  /**
   * The frame of the quiz, and the pool's tokens there: one in which something of the answer shows,
   * where that is known; of these the one with most tokens of the pool, but at most eight.
   */
  pick() {
    const { trace } = this;
    const frames = new Map();
    const add = (token) => frames.set(trace.frameOf(token), frames.get(trace.frameOf(token)) ?? []);
    const pool = trace.where(trace.outside.fate, (fate) => fate === FATE.KEPT);
    if (trace.evidence.length) trace.evidence.forEach(add);
    else pool.forEach(add);
    for (const token of pool) frames.get(trace.frameOf(token))?.push(token);
    const worth = ([, { length }]) => (length <= 8 ? length : -length);
    const [frame, kept] = [...frames].reduce((best, one) => (worth(one) > worth(best) ? one : best));
    this.frame = frame;
    this.shows = trace.evidence.filter((token) => trace.frameOf(token) === frame);
    this.count = kept.length || Math.min(3, this.shows.length); // how many are chosen
    return kept;
  }

  start() {
    this.chosen.clear();
    this.told = false;
    const { trace, frame, kept, shows } = this;
    this.lead.textContent = `This is frame ${frame}, at ${seconds(trace.seconds[frame])}${shows.length ? '; something of the answer shows in it' : ''}. `
      + `The pool of the method holds ${kept.length ? many(kept.length, 'cell') : 'no cell'} of it. Which ${this.count === 1 ? 'one' : this.count} `
      + `would you keep, to answer “${trace.header.question}”? The method does not know the question here.`;
    this.tell();
  }

  toggle(token) {
    if (token < 0 || this.told) return;
    this.cursor = token;
    if (this.chosen.has(token)) this.chosen.delete(token);
    else if (this.chosen.size < this.count) this.chosen.add(token);
    this.tell();
  }

  tell() {
    const left = this.count - this.chosen.size;
    if (!this.told) this.says.textContent = left ? `Choose ${left} more.` : 'That is all; press Check.';
    this.check.disabled = left > 0 || this.told;
    this.retry.hidden = !this.told;
    this.draw();
  }

  score() {
    const { trace, kept, chosen } = this;
    this.told = true;
    const both = kept.filter((token) => chosen.has(token)).length;
    const chance = (size) => `chance: ${((this.count * size) / trace.perFrame).toFixed(2)} of ${this.count}`;
    const said = kept.length ? [`You and the method agree on ${both} of ${many(kept.length, 'cell')} (${chance(kept.length)}).`] : [];
    const evidence = new Set(this.shows);
    if (evidence.size) {
      const hit = (tokens) => [...tokens].filter((token) => evidence.has(token)).length;
      said.push(`${many(evidence.size, 'cell')} of this frame show${evidence.size === 1 ? 's' : ''} the answer (pink corners): `
        + `you kept ${hit(chosen)} (${chance(evidence.size)}), the method ${hit(kept)}.`);
    }
    const list = (tokens) => [...tokens].map((t) => `(${trace.rowOf(t)}, ${trace.colOf(t)})`).join(' ');
    said.push(`White: yours, ${list(chosen)}.${kept.length ? ` Yellow: the method's, ${list(kept)}.` : ''}`);
    this.tell();
    this.says.textContent = said.join(' ');
  }

  placeOf(token) {
    const { x, y, w, h } = this.trace.box(token);
    const { wide, tall } = this.layers;
    return { x: x * wide, y: y * tall, w: w * wide, h: h * tall };
  }

  draw() {
    const { layers, trace, frame } = this;
    if (!trace || !layers.wide) return;
    layers.clear('under', 'marks', 'top');
    drawFrame(layers.under, this.workspace, frame, { x: 0, y: 0, w: layers.wide, h: layers.tall });
    const cells = Array.from({ length: trace.perFrame }, (_, cell) => this.placeOf(frame * trace.perFrame + cell));
    layers.under.globalAlpha = 0.45;
    stroke(layers.under, rings(cells, 0), LIGHT, 0.7);
    layers.under.globalAlpha = 1;
    if (this.told) {
      const marks = new Marks(trace.codes);
      for (const token of this.kept) marks.add(FATE.KEPT, this.placeOf(token));
      marks.paint(layers.marks);
      for (const token of trace.evidence) {
        if (trace.frameOf(token) === frame) drawCorners(layers.marks, this.placeOf(token), EVIDENCE, true);
      }
    }
    for (const token of this.chosen) {
      const { x, y, w, h } = this.placeOf(token);
      drawRing(layers.top, { x: x + 6, y: y + 6, w: w - 12, h: h - 12 });
    }
    if (this.told) return;
    const here = rings([this.placeOf(this.cursor)], 2);
    stroke(layers.top, here, DARK, 5);
    stroke(layers.top, here, '#E69F00', 2.5);
  }

  key(event) {
    const { trace, frame } = this;
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step) {
      const row = clamp(trace.rowOf(this.cursor) + step[0], 0, trace.rows - 1);
      const col = clamp(trace.colOf(this.cursor) + step[1], 0, trace.cols - 1);
      this.cursor = trace.index(frame, row, col);
      this.draw();
    } else if (event.key === ' ' || event.key === 'Enter') this.toggle(this.cursor);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  snapshot() {
    return { open: !this.host.hidden, kept: [...(this.kept || [])], chosen: [...this.chosen], told: this.told, frame: this.frame };
  }
}
