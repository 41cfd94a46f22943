// Pictures of the clips, asked for when they come into view.

import { make } from './elements.js';

const MOST = 12; // in one request, so that the first ones come soon; thumbnails.py allows 60

export class Pictures {
  /** drawn() is called when pictures have come. */
  constructor(server, table, results, drawn) {
    Object.assign(this, { server, table, drawn });
    this.can = results.source === 'shapes' && Boolean(server.trigger);
    this.known = new Map(); // question -> {src, at}; null: there is none
    this.wanted = new Set();
  }

  /** {src, at} of a question, or null; asks for what is not here yet. */
  of(one) {
    if (!this.can) return null;
    if (!this.known.has(one)) {
      this.wanted.add(one);
      this.soon();
    }
    return this.known.get(one) ?? null;
  }

  soon() {
    if (this.asking || !this.wanted.size) return;
    this.asking = true;
    setTimeout(() => this.fetch(), 30); // what is drawn in one go is asked in one go
  }

  async fetch() {
    const cases = [...this.wanted].slice(0, MOST);
    for (const one of cases) this.wanted.delete(one);
    try {
      const { pictures } = await this.server.ask('pictures', { table: this.table, cases });
      for (const one of cases) this.known.set(one, pictures[one] ?? null);
    } catch {
      for (const one of cases) this.known.set(one, null); // a row says the same without one
    }
    this.asking = false;
    this.drawn();
    this.soon();
  }

  /** The picture of a question, or a blank of its size. */
  image(one) {
    const found = this.of(one);
    if (!found) return make('span', { class: 'thumb', 'aria-hidden': 'true' });
    const words = `the clip at ${found.at} s`;
    const made = make('span', { class: 'thumb', role: 'img', 'aria-label': words, title: words });
    made.style.backgroundImage = `url("${found.src}")`;
    return made;
  }
}
