// A tour of the page: a ring around one part after another, and a card that says what it is for.
// It takes nothing away: the page works while it runs, and Escape ends it.

const SEEN = 'video-tokens tour'; // in the browser's storage: whether it was offered before
// What is not on the page, or not to be seen, is left out.
const STOPS = [
  ['#ask-now', 'Ask', 'Choose a clip or bring your own, and ask a question. Run answers it twice: with all tokens of the video, and with the few that a method keeps.'],
  ['#answers', 'Both answers', 'Here both answers stand side by side, with what they cost. The page opens on one that compression turned wrong.'],
  ['[data-view="player"]', 'The clip', 'The clip as the language model gets it. Point at a cell: a card says what became of its token. A click holds it in every view.'],
  ['[data-view="strip"]', 'Every frame', 'All frames at once. Colors say which tokens were kept, merged or dropped.'],
  ['[data-view="why"]', 'Why?', 'One button says why the answer turned, and proves it with runs of the model.'],
  ['[data-view="scrub"]', 'Scrub', 'One slider from all tokens to half a per cent: where does the answer turn?'],
  ['[role="tab"]:nth-of-type(2)', 'Learn', 'Six steps on how a method chooses tokens, from a failure to its cause.'],
  ['[role="tab"]:nth-of-type(3)', 'Errors', 'All questions of a benchmark: which answers turned, where their evidence went, and why.'],
];

export class Tour {
  constructor(host) {
    this.host = host;
    this.at = -1;
    const query = new URLSearchParams(location.search);
    document.addEventListener('keydown', (event) => this.key(event));
    window.addEventListener('resize', () => this.place());
    window.addEventListener('scroll', () => this.place(), { passive: true });
    Object.defineProperty(window, '__tour', { configurable: true, value: this });
    if (query.get('tour') === '1') this.beginSoon(600);
    else if (!location.search && !stored()) this.offer();
  }

  offer() {
    const card = make('section', { class: 'tour-card tour-offer', popover: 'manual', 'aria-label': 'Tour' },
      make('p', {}, 'New here? A tour of two minutes shows what is where.'),
      buttons(['Start the tour', () => this.begin(), 'tour-main'], ['No, thanks', () => this.end()]));
    this.host.replaceChildren(card);
    card.showPopover();
  }

  /** Begin when the page shows a trace, or after so many tenths of a second. */
  beginSoon(patience) {
    if (window.__tokenview?.ready || patience <= 0) this.begin();
    else setTimeout(() => this.beginSoon(patience - 1), 100);
  }

  begin() {
    this.stops = [];
    this.title = make('h2', { tabindex: '-1' });
    this.words = make('p');
    this.count = make('span', { class: 'tour-count' });
    this.ring = make('div', { class: 'tour-ring', 'aria-hidden': 'true', popover: 'manual' });
    this.bar = buttons(['Back', () => this.go(this.at - 1)], ['Next', () => this.go(this.at + 1), 'tour-main'], ['End', () => this.end()]);
    this.card = make('section', { class: 'tour-card', role: 'dialog', popover: 'manual', 'aria-label': 'Tour of the page' },
      this.title, this.words, this.count, this.bar);
    this.host.replaceChildren(this.ring, this.card);
    this.ring.showPopover(); // above everything, whatever layers the page has
    this.card.showPopover();
    this.go(0);
  }

  go(wanted) {
    const title0 = this.stops[this.at]?.title;
    this.stops = STOPS.map(([where, title, words]) => ({ title, words, there: () => visible(where) }))
      .filter(({ there }) => there()); // parts come and go with what is open
    const moved = this.stops.findIndex(({ title }) => title === title0) - this.at;
    const at = wanted + (title0 && moved > -this.at - 1 ? moved : 0);
    if (at >= this.stops.length) {
      this.end();
      return;
    }
    this.at = Math.max(0, at);
    const { title, words, there } = this.stops[this.at];
    this.title.textContent = title;
    this.words.textContent = words;
    this.count.textContent = `${this.at + 1} of ${this.stops.length}`;
    const [back, next] = this.bar.children;
    back.disabled = this.at === 0;
    next.textContent = this.at === this.stops.length - 1 ? 'Done' : 'Next';
    there()?.scrollIntoView({ block: 'nearest' });
    this.place();
    this.title.focus({ preventScroll: true });
  }

  /** Ring and card where the part of the page is now. */
  place() {
    if (this.at < 0) return;
    const found = this.stops[this.at].there();
    this.ring.style.display = found ? '' : 'none';
    if (!found) return;
    const box = found.getBoundingClientRect(), gap = 6;
    const top = Math.max(2, box.top - gap), left = Math.max(2, box.left - gap);
    const right = Math.min(innerWidth - 2, box.right + gap), bottom = Math.min(innerHeight - 2, box.bottom + gap);
    Object.assign(this.ring.style, { top: `${top}px`, left: `${left}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    const { offsetWidth: wide, offsetHeight: tall } = this.card;
    // beside it where there is room, else below, above, or over its lower corner
    const spots = [[right + 10, top], [left - wide - 10, top], [left, bottom + 10], [left, top - tall - 10]];
    const fits = ([x, y]) => x >= 8 && y >= 8 && x + wide <= innerWidth - 8 && y + tall <= innerHeight - 8;
    const [x, y] = spots.find(fits) ?? [Math.max(8, innerWidth - wide - 16), Math.max(8, innerHeight - tall - 16)];
    Object.assign(this.card.style, { left: `${x}px`, top: `${y}px` });
  }

  end() {
    this.at = -1;
    this.host.replaceChildren();
    try {
      localStorage.setItem(SEEN, 'seen');
    } catch { /* forbidden: it is offered again */ }
  }

  key(event) {
    if (this.at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') this.end();
    else if (!this.card.contains(event.target)) return;
    else if (event.key === 'ArrowRight') this.go(this.at + 1);
    else if (event.key === 'ArrowLeft') this.go(this.at - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function stored() {
  try {
    return localStorage.getItem(SEEN);
  } catch {
    return null;
  }
}

function visible(where) {
  return [...document.querySelectorAll(where)].find((one) => one.checkVisibility() && one.getBoundingClientRect().width > 0) ?? null;
}

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function buttons(...each) {
  return make('div', { class: 'tour-buttons' }, ...each.map(([words, act, look = '']) => {
    const made = make('button', { type: 'button', class: look }, words);
    made.addEventListener('click', act);
    return made;
  }));
}
