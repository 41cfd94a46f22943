// Question and answer word by word: a click shows where a word's attention goes at layer K.

import { digits } from './color.js';
import { el } from './dom.js';
import { many } from './story.js';
import { View } from './view.js';

export class WordsView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.lines = el('div', { class: 'ws-words' });
    this.note = el('p', { class: 'ws-quiet-text', 'aria-live': 'polite' });
    host.append(this.lines, this.note);
  }

  load(trace) {
    const lines = { question: [], answer: [] };
    trace.words.forEach((word, number) => { lines[word.kind].push(this.word(word, number)); });
    if (!trace.words.length) {
      lines.question.push(trace.header.question || '–');
      lines.answer.push(trace.header.answer || '–');
    }
    this.lines.replaceChildren(...[['question', 'Question'], ['answer', 'Answer']].map(([kind, title]) => (
      el('p', { class: `ws-line ws-${kind}` }, el('span', { class: 'ws-line-title' }, title), ...lines[kind]))));
  }

  word(word, number) {
    const chance = word.logprob === null ? '' : `, said with probability ${Math.exp(word.logprob).toFixed(2)}`;
    const text = word.text.trim() || '␣';
    return el('button', {
      type: 'button', class: 'ws-word', 'data-word': number, 'aria-pressed': 'false',
      title: `Attention of this word${chance}`, onclick: () => this.choose(number),
    }, text);
  }

  choose(number) {
    const { state, trace, workspace } = this;
    if (state.word === number) {
      state.set({ word: -1, ...workspace.noWord() });
      return;
    }
    const known = ['attention', 'full'].find((overlay) => (
      trace.range(overlay, state.stage, number) !== null));
    state.set({ word: number, ...(known ? { overlay: known } : {}) });
  }

  draw(changed) {
    if (!['all', 'word'].some((name) => changed.has(name))) return;
    for (const button of this.lines.querySelectorAll('button')) {
      button.setAttribute('aria-pressed', String(Number(button.dataset.word) === this.state.word));
    }
    this.note.textContent = this.words();
  }

  words() {
    const { trace, state } = this;
    if (!trace.words.length) return trace.absent || 'This trace was saved without the attention of its words.';
    if (state.word < 0) return 'Choose a word to see what it attends to.';
    const missed = trace.missed(state.word);
    const where = `at layer ${trace.header.attention_layer}, mean over heads`;
    if (!missed) return `Attention ${where}. It shows what was read, not what was needed.`;
    const { top, lost, merged } = missed;
    return `Attention ${where}. Of the ${many(top.length, 'cell')} it attends to most in the uncompressed `
      + `run, ${top.length - lost.length - merged.length} reach the end as themselves, ${merged.length} only `
      + `as part of a mean (dotted corners), ${lost.length} not at all (solid corners).`;
  }

  table() {
    const { trace } = this;
    if (!trace.words.length) return null;
    const rows = trace.words.map((word, number) => {
      const paid = trace.attentionOf('attention', number);
      const best = paid.reduce((at, value, i) => (value > (at < 0 ? -1 : paid[at]) ? i : at), -1);
      const missed = trace.missed(number);
      return [
        word.text, word.kind, word.logprob === null ? '–' : Math.exp(word.logprob).toFixed(3),
        best < 0 ? '–' : `${trace.place(best)}, ${digits(paid[best])}`,
        missed ? missed.top.length : '–', missed ? missed.merged.length : '–', missed ? missed.lost.length : '–',
      ];
    });
    return {
      head: ['Word', 'Of', 'Probability', 'Attends most to', 'Top 2 % cells uncompressed', 'of these merged', 'of these lost'],
      rows,
    };
  }
}
