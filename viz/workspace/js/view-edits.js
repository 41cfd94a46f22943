// What if: take tokens from the LLM or give it others, within the budget or beyond it, ask again, and see whether the answer hung on
// them. Edits are drafts until the question is asked again; every answered one stays in the history.

import { Asking } from './asking.js';
import { el } from './dom.js';
import { Draft, among, lastAdmitted } from './edits.js';
import { FATE } from './fates.js';
import { select, toolButton } from './lasso.js';
import { many } from './story.js';
import { fixedOf } from './view-compare.js';
import { View } from './view.js';

export class EditsView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.runs = []; // answered: {urls, base, draft, answer, ...}; a base is a run without an edit
    this.base = null; // the unedited run that drafts are about
    this.shown = null; // the run that the workspace shows
    this.draft = new Draft();
    this.past = []; // drafts before this one
    this.asking = new Asking('edit', (...sent) => this.workspace.send(...sent), {
      stops: 'stop_edit', look: 'ws-edit-status', changed: () => this.fill(), ended: (news, asked) => this.hear(news, asked),
    });
    this.build();
  }

  build() {
    const button = (words, act, kind = 'ws-act') => el('button', { type: 'button', class: kind, onclick: act }, words);
    const pick = (words, tokens) => button(words, () => select(this.workspace, [...this.state.locked, ...tokens()]), 'ws-token');
    const { state } = this;
    this.picks = {
      frame: pick('This frame', () => cellsOfFrame(this.trace, state.frame)),
      column: pick('This cell in every frame', () => cellInAll(this.trace, state.locked[state.locked.length - 1])),
      evidence: pick('The evidence', () => this.trace.evidence),
    };
    this.acts = {
      without: button('', () => this.act('without')),
      just: button('', () => this.act('just')),
      swap: button('', () => this.act('swap')),
      with: button('', () => this.act('with')),
    };
    this.why = el('p', { class: 'ws-quiet-text', 'aria-live': 'polite' });
    this.chips = el('div', { class: 'ws-chips' });
    this.undo = button('Undo', () => this.back());
    this.discard = button('Discard', () => this.take(this.shown.draft));
    this.ask = button('Answer again', () => this.askAgain(), 'ws-act ws-main');
    this.rail = el('ol', { class: 'ws-rail' });
    this.host.append(
      el('div', { class: 'ws-tools' }, toolButton(this.workspace, 'lasso', 'Drag to select'),
        el('span', { class: 'ws-quiet-text' }, 'Add to the selection:'), ...Object.values(this.picks)),
      el('p', { class: 'ws-quiet-text' }, 'Click or Shift-click tokens, drag over the pictures with Alt held, or '
        + 'extend with Shift and the arrow keys. Then:'),
      el('div', { class: 'ws-tools' }, ...Object.values(this.acts)), this.why,
      el('div', { class: 'ws-tools' }, this.chips, this.undo, this.discard, this.ask, this.asking.stop),
      this.asking.status, this.asking.meter,
      el('h4', {}, 'Runs of this clip and question'), this.rail);
  }

  load(trace) {
    const { urls } = this.workspace;
    const { question, model, seconds } = trace.header;
    const about = JSON.stringify([urls.clip, question, model, seconds]);
    const known = this.runs.find((run) => run.urls.bundle === urls.bundle);
    if (!known && about !== this.about) {
      this.about = about;
      this.asking.forget();
      this.runs = [];
    }
    this.shown = known || this.first(trace, urls);
    this.base = this.shown.base;
    this.draft = this.shown.draft;
    this.past = [];
  }

  /** Another run that nobody has edited yet. */
  first(trace, urls) {
    const run = {
      urls, draft: new Draft(), answer: trace.header.answer, method: trace.header.method,
      entered: new Set(trace.entered), leaving: lastAdmitted(trace, (token) => trace.outside.fate[token] === FATE.KEPT),
    };
    run.base = run;
    this.runs.push(run);
    return run;
  }

  // --- the draft --------------------------------------------------------------------------------

  act(how) { this.take(this.draft[how](this.base.entered, this.state.locked, this.base.leaving)); }

  take(draft) {
    this.past.push(this.draft);
    this.draft = draft;
    this.fill();
  }

  back() {
    this.draft = this.past.pop();
    this.fill();
  }

  /** Why an act on the selection makes no sense; '' where it does. */
  reason(how) {
    const chosen = this.state.locked;
    const now = this.draft.entered(this.base.entered);
    const inside = among(chosen, now).length;
    if (!chosen.length) return 'Select tokens first.';
    if (how === 'with' || how === 'swap') {
      if (inside === chosen.length) return 'All selected tokens enter the LLM already.';
      const room = this.draft.places(this.base.entered, chosen, this.base.leaving).length;
      return how === 'with' || room >= chosen.length - inside ? ''
        : `Only ${many(room, 'token')} can make room; add them instead.`;
    }
    if (!inside) return 'None of the selected tokens enters the LLM as itself.';
    if (inside < now.size) return '';
    return how === 'just' ? 'The selection is all that enters.' : 'Nothing would be left; at least one token must stay.';
  }

  /** Why the question cannot be asked again; '' where it can. */
  obstacle() {
    if (!this.workspace.served) return 'Only a running page can answer again; this is a saved one.';
    if (this.asking.busy) return 'The model is at work.';
    if (this.draft.empty) return 'Nothing is edited yet.';
    if (this.draft.same(this.shown.draft)) return 'This is the edit that is shown.';
    return this.draft.entered(this.base.entered).size ? '' : 'Nothing would be left; at least one token must stay.';
  }

  // --- the server -------------------------------------------------------------------------------

  askAgain() {
    const { base, draft } = this;
    const same = this.runs.find((run) => run.base === base && run.draft.same(draft));
    if (same) {
      this.open(same);
      return;
    }
    this.asking.ask({ key: base.urls.key, ...draft.plain() }, { base, draft });
  }

  hear({ done }, { base, draft }) {
    if (!done) return;
    const { before, score, ...rest } = done;
    base.logprob = before.logprob;
    const run = { ...rest, score, base, draft, number: this.runs.filter((other) => other !== other.base).length + 1 };
    this.runs.push(run);
    this.asking.tell(this.outcome(run));
  }

  /** Show a run in every view, with the selection and the moment as they are. */
  async open(run) {
    const { locked, frame, time, stage, tool } = this.state;
    await this.workspace.show(run.urls);
    if (this.shown !== run) return; // its file is gone, or another was asked for meanwhile
    this.workspace.keep(run.urls);
    const known = this.trace.stages.some(({ key }) => key === stage);
    this.state.set({ locked, tool, ...(known ? { stage } : {}) });
    this.workspace.seek(time, frame);
  }

  // --- words ------------------------------------------------------------------------------------

  /** What an edit did to the answer, as sentences. */
  outcome(run) {
    const { base } = run;
    const now = run.answer === base.answer ? `The answer stays “${base.answer}”.`
      : `The answer was “${base.answer}” and is now “${run.answer}”.`;
    const gap = difference(run);
    if (gap === null) return now;
    return `${now} The log-probability of “${base.answer}” goes from ${fixedOf(base.logprob)} to `
      + `${fixedOf(run.score)} (${signed(gap)}): from ${chance(base.logprob)} to ${chance(run.score)}.`;
  }

  label(run) {
    if (run === run.base) return run.method.replace(/,.*/s, ', …)') || 'Original';
    return run.draft.parts().map(([, words]) => words).join(', ');
  }

  // --- drawing ----------------------------------------------------------------------------------

  draw(changed) {
    if (!this.trace) return;
    if (changed.has('all')) this.fill();
    else if (changed.has('locked') || changed.has('evidence')) this.offer();
  }

  fill() {
    this.offer();
    this.drafted();
    this.history();
  }

  /** What can be done with the selection. */
  offer() {
    const { acts, state, picks } = this;
    picks.column.disabled = !state.locked.length;
    picks.evidence.hidden = !this.trace.evidence.length;
    const inside = among(state.locked, this.draft.entered(this.base.entered)).length;
    acts.without.textContent = `Remove (${inside})`;
    acts.just.textContent = `Keep only these (${inside})`;
    const more = state.locked.length - inside;
    const now = this.draft.entered(this.base.entered).size;
    acts.swap.textContent = `Swap in (${more}): still ${now}`;
    acts.with.textContent = `Add (${more}): ${now} → ${now + more}`;
    const told = new Set();
    for (const [how, button] of Object.entries(acts)) {
      const why = this.reason(how);
      button.disabled = Boolean(why);
      button.title = why || BUDGETS[how] || '';
      if (why) told.add(why);
    }
    this.why.textContent = [...told].join(' ');
  }

  /** What is edited so far. */
  drafted() {
    const { draft, base } = this;
    const obstacle = this.obstacle();
    const count = `${many(draft.entered(base.entered).size, 'token')} would enter the LLM, ${base.entered.size} did. `;
    this.chips.replaceChildren(
      ...draft.parts().map((part) => this.chip(part)),
      el('span', { class: 'ws-quiet-text' }, draft.empty ? obstacle : count + obstacle));
    this.ask.disabled = Boolean(obstacle);
    this.ask.title = obstacle;
    this.undo.disabled = !this.past.length;
    this.discard.disabled = draft.same(this.shown.draft);
  }

  /** A part of the draft: click selects its tokens, the cross takes it back. */
  chip([part, words, tokens]) {
    return el('span', { class: 'ws-chip' },
      el('button', { type: 'button', title: 'Select these tokens', onclick: () => select(this.workspace, tokens) }, words),
      el('button', { type: 'button', 'aria-label': `Take back: ${words}`, onclick: () => this.take(this.draft.drop(part)) }, '✕'));
  }

  history() {
    const inUse = this.rail.contains(document.activeElement);
    this.rail.replaceChildren(...this.runs.map((run) => {
      const gap = difference(run);
      const edited = run !== run.base;
      const changed = edited && run.answer !== run.base.answer;
      return el('li', {}, el('button', {
        type: 'button', class: `ws-run${changed ? ' ws-changed' : ''}`, 'aria-current': run === this.shown ? 'true' : null,
        title: edited ? null : run.method, onclick: () => this.open(run),
      },
      el('span', { class: 'ws-run-name' }, edited ? `Edit ${run.number}: ${this.label(run)}` : `Original: ${this.label(run)}`),
      el('b', {}, `“${run.answer}”`),
      edited ? el('span', {}, changed ? '≠ changed' : '= same') : null,
      gap === null ? null : el('span', { class: 'ws-quiet-text' }, `Δ log p ${signed(gap)}`)));
    }));
    if (this.shown !== this.base) {
      this.rail.append(el('li', {}, el('button', {
        type: 'button', class: 'ws-act', onclick: () => this.open(this.base),
      }, 'Back to the original')));
    }
    if (inUse) this.rail.querySelector('[aria-current]').focus({ preventScroll: true });
  }

  table() {
    const number = (value) => (Number.isFinite(value) ? value.toFixed(3) : '–');
    const rows = this.runs.map((run) => {
      const edited = run !== run.base;
      return [
        edited ? `Edit ${run.number}` : 'Original', edited ? this.label(run) : run.method, run.draft.entered(run.base.entered).size,
        run.answer, number(run.logprob), number(edited ? run.score : run.logprob), number(difference(run)),
      ];
    });
    return {
      head: ['Run', 'Method or edit', 'Tokens entering', 'Answer', 'Log p of it', 'Log p of the original answer', 'Difference'],
      rows,
    };
  }
}

const BUDGETS = {
  swap: 'Within the budget: as many others make room, the means of clusters first, then what the pool took last.',
  with: 'Beyond the budget: more tokens enter the LLM.',
};

/** How much less likely an edit makes the answer of the original, in nats; null where unknown. */
function difference(run) {
  const { base, score } = run;
  return run !== base && Number.isFinite(score) && Number.isFinite(base.logprob) ? score - base.logprob : null;
}

function signed(value) { return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}`; }

function chance(logprob) {
  const value = 100 * Math.exp(logprob);
  return value > 0 && value < 0.1 ? 'below 0.1 %' : `${value.toFixed(1)} %`;
}

function cellsOfFrame(trace, frame) {
  return Array.from({ length: trace.perFrame }, (_, cell) => frame * trace.perFrame + cell);
}

function cellInAll(trace, token) {
  return Array.from({ length: trace.frames }, (_, frame) => frame * trace.perFrame + (token % trace.perFrame));
}
