// Questions as pictures: the clip, the question, both answers, what became of the evidence.

import { chip, make, said, spoken } from './elements.js';
import { FLIPS, FLIP_GLYPHS } from './results.js';

const PAGE = 48;

export class Gallery {
  /** choose(place) opens a question. */
  constructor(host, choose) {
    Object.assign(this, { host, choose, count: PAGE });
    host.addEventListener('click', (event) => {
      const card = event.target.closest('[data-place]');
      if (card) this.choose(Number(card.dataset.place));
      else if (event.target.closest('.more')) {
        this.count += PAGE;
        this.draw(this.now);
      }
    });
  }

  /** now: {shown, chosen, comparison, results, pictures}; another selection begins at its start. */
  draw(now) {
    if (now.shown !== this.now?.shown) this.count = PAGE;
    this.now = now;
    const focused = document.activeElement?.dataset?.place;
    const cards = now.shown.slice(0, this.count).map((one, place) => this.card(one, place));
    const left = now.shown.length - cards.length;
    this.host.replaceChildren(...cards,
      ...(left > 0 ? [make('button', { type: 'button', class: 'more' }, `Show more (${left} left)`)] : []));
    if (focused) this.host.querySelector(`[data-place="${focused}"]`)?.focus({ preventScroll: true });
  }

  card(one, place) {
    const { chosen, comparison, results, pictures } = this.now;
    const answers = comparison.sides.map((rows, side) => {
      const row = rows[one];
      if (row < 0) return make('span', { class: 'answer' }, 'not asked');
      const flip = comparison.flip(side, one), about = results.evidence[comparison.evidence(side, one)];
      const why = comparison.why(side, one);
      return make('span', { class: 'answer' },
        make('span', { class: `flip flip${flip}` }, ...spoken(FLIP_GLYPHS[flip], FLIPS[flip])), ' ', ...said(results, row), ' ',
        make('span', { class: 'quiet' }, chip(about), ` ${about.short}${why < 0 ? '' : ` · ${results.whys[why]}`}`));
    });
    return make('button', { type: 'button', class: 'card', 'data-place': place, 'aria-current': String(place === chosen) },
      pictures.image(one), make('span', { class: 'words' },
        make('strong', {}, results.questions.question[one] || `case ${results.questions.id[one]}`),
        make('span', { class: 'answer' }, make('span', { class: 'quiet' }, `${results.nameOf(comparison.reference)} `),
          ...said(results, comparison.base[one])), ...answers));
  }
}
