// The legend of what lies over the pictures: fates with their counts, or colors with their range.

import { UNITS, digits } from './color.js';
import { el, swatch } from './dom.js';
import { percent } from './story.js';
import { View } from './view.js';

export class LegendView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.legend = el('div', { class: 'ws-legend' });
    this.host.append(this.legend);
  }

  draw(changed) {
    const names = ['all', 'look', 'stage', 'overlay', 'fill', 'scale', 'word', 'step'];
    if (names.some((name) => changed.has(name))) this.key();
  }

  /** How to read the frames as the LLM has them. */
  seenWords() {
    const { fill, stage } = this.state;
    if (stage === 'raw' && this.state.step < 0) return 'Nothing is decided yet: every cell is as it was.';
    return `A merged cell shows ${fill === 'mean' ? 'the mean of its cluster' : 'the cell that carries it'}; `
      + 'what the LLM does not get fades to grey.';
  }

  /** Legend of the fates with their counts, or the color bar with its range. */
  key() {
    const { look } = this.workspace;
    if (!look) return;
    this.legend.title = look.seen ? this.seenWords() : ''; // there is no room for it in a low window
    this.legend.classList.toggle('ws-thin', look.seen);
    if (!look.scalar) {
      const counts = new Uint32Array(this.trace.codes.length);
      for (const fate of look.fate) counts[fate] += 1;
      this.legend.replaceChildren(...this.trace.codes.map((code, number) => (counts[number]
        ? el('span', { class: 'ws-key' }, swatch(code),
          el('span', {}, `${code.label.split(' (')[0]} `, el('b', {}, `${counts[number]}`),
            el('span', { class: 'ws-percent' }, ` (${percent(counts[number], this.trace.n)})`)))
        : null)).filter(Boolean),
      ...(look.seen ? [el('span', { class: 'ws-quiet-text ws-seen-words' }, this.seenWords())] : []));
      return;
    }
    const bar = el('span', { class: 'ws-ramp', 'aria-hidden': 'true' });
    const colors = this.trace.header.scales[this.state.scale];
    bar.style.background = `linear-gradient(to right, ${colors.join(', ')})`;
    const { range } = look;
    const words = UNITS[this.state.overlay];
    this.legend.replaceChildren(...(range
      ? [el('span', {}, digits(range.low)), bar,
        el('span', {}, `${range.top > range.high ? '≥ ' : ''}${digits(range.high)}`),
        el('span', { class: 'ws-quiet-text' },
          `${words}; range over the video ${digits(range.low)} to ${digits(range.top)}`)]
      : [el('span', { class: 'ws-quiet-text' }, `${words}: not measured`)]));
  }
}
