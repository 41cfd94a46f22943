// The stages, and what lies over the pictures.

import { el } from './dom.js';
import { View } from './view.js';

export const OVERLAYS = [
  ['seen', 'What the LLM sees'], ['fate', 'Fate'], ['contribution', 'Contribution'], ['similarity', 'Similarity to the pool'],
  ['relevance', 'Relevance to the question'], ['members', 'Members carried'],
  ['attention', 'Attention of the word'], ['full', 'Attention of the word, uncompressed'],
];

export const FILLS = [['carrier', 'their carrier'], ['mean', 'their cluster’s mean']];

export class ControlsView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.stages = el('fieldset', { class: 'ws-stages' });
    this.words = el('p', { class: 'ws-stage-words', 'aria-live': 'polite' });
    this.overlay = this.choice('Overlay', 'overlay', OVERLAYS);
    this.scale = this.choice('Colors', 'scale', [['viridis', 'Viridis'], ['cividis', 'Cividis']]);
    this.fill = this.choice('Merged cells show', 'fill', FILLS);
    this.opacity = el('input', {
      type: 'range', min: '0', max: '1', step: '0.05',
      oninput: () => this.state.set({ opacity: Number(this.opacity.value) }),
    });
    this.strength = el('label', { class: 'ws-field' }, el('span', {}, 'Opacity'), this.opacity);
    this.boxes = {
      image: this.box('Image only (h)', 'image'),
      sinks: this.box('Sinks', 'sinks'),
      evidence: this.box('Evidence', 'evidence'),
    };
    this.host.append(
      el('div', { class: 'ws-stage-row' }, this.stages, this.words),
      el('div', { class: 'ws-overlay-row' },
        this.overlay.label, this.fill.label, this.scale.label, this.strength,
        ...Object.values(this.boxes).map((box) => box.label)),
    );
  }

  choice(title, name, options) {
    const select = el('select', { name, onchange: () => this.state.set({ [name]: select.value }) },
      ...options.map(([value, words]) => el('option', { value }, words)));
    return { select, label: el('label', { class: 'ws-field' }, el('span', {}, title), select) };
  }

  box(words, name) {
    const input = el('input', {
      type: 'checkbox', name, onchange: () => this.state.set({ [name]: input.checked }),
    });
    return { input, label: el('label', { class: 'ws-check' }, input, words) };
  }

  load(trace) {
    const group = this.workspace.id('stage');
    this.stages.replaceChildren(el('legend', {}, 'Stage'), ...trace.stages.map(({ key, label }) => (
      el('label', {},
        el('input', {
          type: 'radio', name: group, value: key,
          onchange: () => this.state.set({ stage: key, step: -1, replaying: false }),
        }),
        el('span', {}, label)))));
    const sinks = trace.sinks.reduce((a, b) => a + b, 0);
    this.boxes.sinks.label.title = sinks
      ? `${sinks} of ${trace.perFrame} cells are in the top tenth of contribution in most frames`
      : 'No cell is in the top tenth of contribution in most frames';
    this.boxes.sinks.input.disabled = !sinks;
    this.boxes.evidence.label.hidden = !trace.evidence.length;
    for (const option of this.overlay.select.options) option.disabled = !this.workspace.offers(option.value);
  }

  draw(changed) {
    const { state, trace } = this;
    const any = (...names) => changed.has('all') || names.some((name) => changed.has(name));
    if (any('look', 'stage', 'overlay', 'fill', 'scale', 'word', 'step')) {
      this.overlay.select.value = state.overlay;
      this.scale.select.value = state.scale;
      this.fill.select.value = state.fill;
      this.fill.label.hidden = state.overlay !== 'seen';
      this.strength.hidden = state.overlay === 'seen';
      this.scale.label.hidden = ['seen', 'fate'].includes(state.overlay);
      for (const option of this.overlay.select.options) option.disabled = !this.workspace.offers(option.value);
      for (const input of this.stages.querySelectorAll('input')) {
        input.checked = state.step < 0 && input.value === state.stage;
      }
      this.words.textContent = state.step >= 0
        ? `Replay: ${state.step} of ${trace.walk.length} tokens considered.`
        : trace.stages.find(({ key }) => key === state.stage).words;
    }
    this.opacity.value = String(state.opacity);
    for (const [name, { input }] of Object.entries(this.boxes)) input.checked = state[name];
  }
}
