// How many tokens are left after every stage, as bars and as text.

import { el } from './dom.js';
import { FATE } from './fates.js';
import { percent } from './story.js';
import { View } from './view.js';

export class BudgetView extends View {
  constructor(host, workspace) {
    super(host, workspace);
    this.list = el('ol', { class: 'ws-budget' });
    host.append(this.list);
  }

  /** [{key, words, count, parts: [[code, count]]}] of the stages that change the number of tokens. */
  rows() {
    const { trace } = this;
    const parts = (fate, codes) => codes
      .map((code) => [code, fate.reduce((sum, f) => sum + (f === code), 0)])
      .filter(([, count]) => count);
    const rows = [{
      key: 'raw', words: 'video tokens', count: trace.n,
      parts: parts(trace.outside.fate, [FATE.KEPT, FATE.CENTER, FATE.MERGED, FATE.DROPPED]),
    }, {
      key: 'refilled', words: 'enter the LLM', count: trace.entered.length,
      parts: parts(trace.inside ? trace.fate : trace.outside.fate,
        [FATE.KEPT, FATE.CENTER, FATE.MERGED_INSIDE, FATE.DROPPED_INSIDE]),
    }];
    if (trace.inside) {
      const left = parts(trace.fate, [FATE.KEPT, FATE.CENTER]);
      rows.push({
        key: 'end', words: `after layer ${trace.inside.layer}`,
        count: left.reduce((sum, [, count]) => sum + count, 0), parts: left,
      });
    }
    return rows;
  }

  load(trace) {
    this.list.replaceChildren(...this.rows().map(({ key, words, count, parts }) => {
      const bar = el('span', { class: 'ws-bar', 'aria-hidden': 'true' }, ...parts.map(([code, part]) => {
        const piece = el('span', { class: `ws-mark-${trace.codes[code].mark.replace(' ', '-')}` });
        piece.style.flexGrow = part;
        piece.style.setProperty('--fate', trace.codes[code].color);
        piece.title = `${trace.codes[code].label.split(' (')[0]}: ${part}`;
        return piece;
      }));
      const button = el('button', {
        type: 'button', 'data-key': key, onclick: () => this.state.set({ stage: key, step: -1 }),
      }, el('b', {}, String(count)), ` ${words}`, el('span', { class: 'ws-share' }, percent(count, trace.n)), bar);
      return el('li', {}, button);
    }));
  }

  draw(changed) {
    if (!['all', 'stage', 'step'].some((name) => changed.has(name))) return;
    for (const button of this.list.querySelectorAll('button')) {
      const here = this.state.step < 0 && button.dataset.key === this.state.stage;
      if (here) button.setAttribute('aria-current', 'step');
      else button.removeAttribute('aria-current');
    }
  }

  table() {
    const { trace } = this;
    const rows = this.rows().flatMap(({ words, count, parts }) => [
      [words, 'all', count, percent(count, trace.n)],
      ...parts.map(([code, part]) => [words, trace.codes[code].label.split(' (')[0], part, percent(part, trace.n)]),
    ]);
    return { head: ['Stage', 'Fate', 'Tokens', 'Share of all'], rows };
  }
}
