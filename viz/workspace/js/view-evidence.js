// Evidence: where the answer stands in the clip, known from the world that made it or drawn by hand,
// and how much of it the run kept. Brackets are dragged over the bars, boxes over the clip.

import { el, tableOf } from './dom.js';
import { boxesAround, cellsOf, framesOf, recallOf, round4, timesOf } from './evidence.js';
import { Drag, select, toolButton } from './lasso.js';
import { clamp } from './model.js';
import { many, percent, seconds } from './story.js';
import { TOKEN_HEAD, tokenRow } from './view-player.js';
import { View } from './view.js';

export class EvidenceView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.drawn = new Map(); // clip: boxes, for as long as the page is open
    this.boxes = [];
    this.bracket = null; // [first, last] frame that the next box is for
    const over = (name) => workspace.views[name].layers.box.appendChild(
      el('div', { class: 'ws-drawn', 'aria-hidden': 'true' }));
    [this.overClip, this.overBars] = [over('player'), over('bars')];
    const drawing = (name, done) => new Drag(workspace.views[name].layers, (event) => (
      this.trace && this.state.tool === 'evidence' && !event.altKey), done);
    drawing('bars', (area) => this.bracketFrom(area));
    drawing('player', (area) => this.boxFrom(area));
    this.build();
    this.state.on((_, changed) => {
      if (this.trace && ['frame', 'evidence', 'all'].some((name) => changed.has(name))) this.mark();
    });
  }

  build() {
    const frame = (words) => el('input', {
      type: 'number', min: '0', step: '1', 'aria-label': words, onchange: () => this.bracketTyped(),
    });
    [this.first, this.last] = [frame('First frame of the bracket'), frame('Last frame of the bracket')];
    this.anew = el('button', { type: 'button', onclick: () => this.setBracket(null) }, 'This frame only');
    this.around = el('button', { type: 'button', onclick: () => this.addAround() });
    this.says = el('p', { role: 'status' });
    this.numbers = el('div');
    this.list = el('ol', { class: 'ws-boxes' });
    this.right = el('input', { type: 'text', name: 'right', oninput: () => this.write() });
    this.text = el('textarea', { readonly: true, rows: '3', 'aria-label': 'Line for a questions file' });
    this.copy = el('button', { type: 'button', onclick: () => this.copyText() }, 'Copy');
    this.copied = el('span', { class: 'ws-quiet-text', role: 'status' });
    this.file = el('details', { class: 'ws-file' },
      el('summary', {}, 'For the benchmark'),
      el('p', { class: 'ws-quiet-text' }, 'A line of the questions file that python -m stc_core benchmark takes.'),
      el('label', { class: 'ws-field' }, el('span', {}, 'Right answer'), this.right),
      this.text, this.copy, this.copied);
    this.host.append(
      el('div', { class: 'ws-tools' }, toolButton(this.workspace, 'evidence', 'Draw evidence'),
        el('span', { class: 'ws-field' }, 'Frames', this.first, 'to', this.last), this.anew, this.around),
      el('p', { class: 'ws-quiet-text' }, 'While drawing, drag over the bars to bracket frames, then over the '
        + 'clip to draw a box for all of them. Without a bracket a box is for the frame that is shown.'),
      el('div', { class: 'ws-recall' }, this.says, this.numbers), this.list, this.file);
  }

  load(trace) {
    const { clip, key, bundle } = this.workspace.urls;
    this.clip = clip || key || bundle;
    this.known = trace.evidence;
    this.boxes = this.drawn.get(this.clip) || [];
    this.bracket = null;
    this.right.value = trace.header.expected || '';
    for (const input of [this.first, this.last]) input.max = String(trace.frames - 1);
    this.apply();
  }

  // --- boxes ------------------------------------------------------------------------------------

  setBoxes(boxes) {
    this.boxes = boxes;
    this.drawn.set(this.clip, boxes);
    this.apply();
    this.state.changed.add('evidence');
    this.state.flush();
    this.workspace.tell('evidence');
  }

  /** What all views show as evidence is what is known and what was drawn. */
  apply() {
    const { trace, workspace } = this;
    trace.evidence = Int32Array.from(new Set([...this.known, ...cellsOf(trace, this.boxes)])).sort();
    workspace.views.controls.boxes.evidence.label.hidden = !trace.evidence.length; // it can be shown now
  }

  bracketFrom({ x0, x1 }) {
    const { bars } = this.workspace.views;
    this.setBracket([bars.frameAt(x0), bars.frameAt(x1)]);
  }

  bracketTyped() {
    const { trace, state } = this;
    const frames = [this.first, this.last].map(({ value }) => (
      value === '' ? state.frame : clamp(Math.round(Number(value)), 0, trace.frames - 1)));
    this.setBracket(frames.sort((a, b) => a - b));
  }

  setBracket(bracket) {
    this.bracket = bracket;
    if (bracket) this.workspace.goTo(bracket[0]);
    this.mark();
    this.fill();
  }

  /** The frames that a box drawn now is for. */
  get span() {
    const { frame } = this.state;
    const inside = this.bracket && frame >= this.bracket[0] && frame <= this.bracket[1];
    return inside ? this.bracket : [frame, frame];
  }

  boxFrom({ x0, y0, x1, y1 }) {
    const { wide, tall } = this.workspace.views.player.layers;
    const sides = [x0 / wide, y0 / tall, x1 / wide, y1 / tall].map(round4);
    if (sides[0] === sides[2] || sides[1] === sides[3]) return; // a line covers nothing
    const box = [...timesOf(this.trace, ...this.span), ...sides];
    if (cellsOf(this.trace, [box]).length) this.setBoxes([...this.boxes, box]);
  }

  addAround() { this.setBoxes([...this.boxes, ...boxesAround(this.trace, this.state.locked)]); }

  // --- drawing ----------------------------------------------------------------------------------

  /** Boxes over the clip and the bracket over the bars; they lie on the page, not on a canvas. */
  mark() {
    const { trace, state, workspace } = this;
    const shown = state.evidence ? this.boxes : [];
    const piece = (kind, style) => {
      const made = el('div', { class: kind });
      Object.assign(made.style, style);
      return made;
    };
    const now = shown.filter((box) => framesOf(trace, box).includes(state.frame));
    this.overClip.replaceChildren(...now.map(([, , left, top, right, bottom]) => piece('ws-drawn-box', {
      left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%`,
    })));
    const { area, layers } = workspace.views.bars;
    const whole = trace.end - trace.seconds[0];
    const axis = `(100% - ${area.left + layers.wide - area.right}px)`;
    const [start, end] = this.bracket ? timesOf(trace, ...this.bracket) : [0, 0];
    this.overBars.replaceChildren(this.bracket ? piece('ws-drawn-bracket', {
      left: `calc(${area.left}px + ${axis} * ${Math.max(0, start - trace.seconds[0]) / whole})`,
      width: `calc(${axis} * ${(end - start) / whole})`,
    }) : '');
    workspace.drawn.boxes = now.length;
  }

  draw(changed) {
    if (!this.trace) return;
    const any = (...names) => changed.has('all') || names.some((name) => changed.has(name));
    if (any('evidence')) this.tell();
    if (any('evidence', 'frame', 'locked')) this.fill();
  }

  /** What the controls say now. */
  fill() {
    const { first, last, anew, around, bracket, state } = this;
    const [from, to] = this.span;
    first.value = String(from);
    last.value = String(to);
    anew.disabled = !bracket;
    around.disabled = !state.locked.length;
    around.textContent = `Add the selected cells (${state.locked.length})`;
    around.title = state.locked.length ? '' : 'Select cells in any view first';
  }

  tell() {
    const { trace } = this;
    this.says.textContent = this.words();
    this.numbers.replaceChildren(trace.evidence.length ? tableOf(this.recall(), 'Evidence kept') : '');
    this.list.replaceChildren(...this.boxes.map((box, number) => {
      const frames = framesOf(trace, box);
      const { steps: [door, end], cells } = recallOf(trace, cellsOf(trace, [box]));
      const show = () => {
        if (frames.length) this.workspace.goTo(frames[0]);
        select(this.workspace, cellsOf(trace, [box]));
      };
      return el('li', {},
        el('span', {}, `${box[0].toFixed(2)} to ${seconds(box[1])}, ${many(frames.length, 'frame')}, `
          + `${many(cells, 'cell')}: ${door.kept} enter, ${end.kept} reach the end `),
        el('button', { type: 'button', class: 'ws-token', onclick: show }, 'Select'),
        el('button', {
          type: 'button', class: 'ws-token', 'aria-label': `Remove box ${number + 1}`,
          onclick: () => this.setBoxes(this.boxes.filter((_, other) => other !== number)),
        }, 'Remove'));
    }));
    this.file.hidden = !this.boxes.length;
    this.write();
  }

  words() {
    const { trace, known, boxes } = this;
    if (!trace.evidence.length) return 'No evidence is known for this clip and question. Draw it, or add the selected cells.';
    const { cells, frames, steps: [door, end] } = recallOf(trace, trace.evidence);
    const source = known.length && boxes.length ? 'Known from the world that made the clip, and drawn'
      : known.length ? 'Known from the world that made the clip' : 'Drawn by hand';
    const fate = end.kept ? 'Some of it reaches the end of the LLM'
      : door.kept ? 'The last of it is lost inside the LLM'
        : door.carried ? 'None of it enters the LLM but as part of a mean' : 'None of it enters the LLM';
    return `${source}: ${many(cells, 'cell')} in ${many(frames, 'frame')}. ${fate}.`;
  }

  recall() {
    const { trace } = this;
    const { cells, steps } = recallOf(trace, trace.evidence);
    return {
      head: ['Evidence', 'Cells', 'Recall', 'Any', 'With those in a mean', 'Budget spent on it'],
      rows: steps.map(({ name, kept, carried, budget }) => [
        name, `${kept} of ${cells}`, percent(kept, cells), kept ? 'yes' : 'no', carried, `${kept} of ${budget} (${percent(kept, budget)})`,
      ]),
    };
  }

  table() {
    const { trace } = this;
    return trace.evidence.length
      ? { head: TOKEN_HEAD, rows: Array.from(trace.evidence, (token) => tokenRow(trace, token)) } : null;
  }

  // --- the questions file -----------------------------------------------------------------------

  write() {
    const answer = this.right.value.trim();
    const { clip } = this.workspace.urls;
    const video = clip ? decodeURIComponent(clip).split('/').pop() : '';
    this.text.value = JSON.stringify({ video, question: this.trace.header.question, answer, evidence: this.boxes });
    this.copy.disabled = !answer;
    this.copied.textContent = !answer ? ' The benchmark needs the right answer.'
      : video ? '' : ' The file of this clip is not known here; write its name into the line.';
  }

  async copyText() {
    try {
      await navigator.clipboard.writeText(this.text.value);
      this.copied.textContent = ' Copied.';
    } catch { // no permission, or a page without a secure origin
      this.text.select();
      this.copied.textContent = ' Selected; copy it with the keyboard.';
    }
  }
}
