// Words with a dotted line: their definition in one line, at the pointer and for the keyboard.

import { el } from './dom.js';

/** Words of a text with their definitions, shown where one is pointed at or focused. */
export class Terms {
  constructor() {
    this.known = {};
    this.shownFor = null; // the word whose definition is shown
    this.told = new Set(); // words that are marked in this text
    this.tip = el('span', { class: 'ls-tip', role: 'tooltip', id: `ls-tip-${Math.random().toString(36).slice(2)}`, hidden: true });
  }

  /** {word: what it means}. */
  get known() { return this.meanings; }

  set known(meanings) {
    this.meanings = meanings;
    const words = Object.keys(meanings).sort((a, b) => b.length - a.length);
    this.pattern = words.length ? new RegExp(`(?<![\\w“])(${words.join('|')})(?!\\w)`, 'g') : null; // not in a quotation
  }

  /** The words that are marked already; none at the beginning of a text. */
  fresh(first) {
    if (first) this.told = new Set();
    return this.told;
  }

  /** A sentence as nodes; each word is marked where it stands first. */
  marked(sentence, told) {
    if (!this.pattern) return [sentence];
    const parts = [];
    let from = 0;
    for (const match of sentence.matchAll(this.pattern)) {
      const meaning = this.known[match[1]];
      if (told.has(meaning) || inQuotes(sentence, match.index)) continue;
      told.add(meaning);
      parts.push(sentence.slice(from, match.index), this.term(match[1], meaning));
      from = match.index + match[1].length;
    }
    return [...parts, sentence.slice(from)];
  }

  term(word, meaning) {
    const made = el('span', { class: 'ls-term', 'data-meaning': meaning, tabindex: '0', 'aria-describedby': this.tip.id }, word);
    const show = () => this.show(made, meaning);
    for (const name of ['pointerenter', 'focus']) made.addEventListener(name, show);
    for (const name of ['pointerleave', 'blur']) made.addEventListener(name, () => this.hide());
    made.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.hide();
    });
    return made;
  }

  show(term, meaning) {
    this.shownFor = term;
    this.tip.textContent = `${term.textContent}: ${meaning}.`;
    this.tip.hidden = false;
    const { left, bottom } = term.getBoundingClientRect();
    this.tip.style.left = `${Math.max(8, Math.min(left, innerWidth - this.tip.offsetWidth - 8))}px`;
    this.tip.style.top = `${bottom + 4}px`;
  }

  hide() {
    this.shownFor = null;
    this.tip.hidden = true;
  }
}

function inQuotes(text, place) {
  const before = text.slice(0, place);
  return before.lastIndexOf('“') > before.lastIndexOf('”');
}
