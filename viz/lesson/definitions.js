// The words of the glossary in the views and in the table of errors: each has its definition where it
// stands first in a view. What the pointer changes all the time is left alone until it rests.

import { Terms } from '../workspace/js/terms.js';

const EVERYDAY = ['token', 'tokens', 'cell', 'cells']; // they are everywhere
const REST = 250; // milliseconds without a change
// Where words are looked for: what counts as one view, and its texts.
const VIEWS = [
  ['#answers', '.verdict'],
  ['#costs', 'th'],
  ['#settings', '[data-testid="block-info"]'],
  ['#workspace [data-view]', 'h3, h4, legend, p, dt, dd, .ws-field > span, .ws-check, .ws-line-title'],
  ['.errors', '.about, .panels p, .panels th, .panels caption, .panels h2, .panels h3'],
];
const APART = 'a, button, select, textarea, svg, summary, table.ws-table, .ws-scroll, .ws-unseen, .ls-term, [aria-hidden="true"]';

export class Definitions {
  constructor(known) {
    this.terms = new Terms();
    const words = Object.entries(known).filter(([word]) => !EVERYDAY.includes(word));
    const capital = ([word, meaning]) => [word[0].toUpperCase() + word.slice(1), meaning];
    this.terms.known = Object.fromEntries([...words.filter(([word]) => word.length > 1).map(capital), ...words]);
    document.body.append(this.terms.tip);
    this.watch = new MutationObserver(() => this.later());
    const opened = ['hidden', 'aria-selected']; // views and tabs
    this.watch.observe(document.body, { childList: true, subtree: true, attributeFilter: opened });
    window.addEventListener('scroll', () => this.terms.hide(), { passive: true, capture: true });
    this.later();
  }

  later() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.mark(), REST);
  }

  mark() {
    if (this.terms.shownFor && !this.terms.shownFor.isConnected) this.terms.hide(); // its view was drawn anew
    for (const [view, texts] of VIEWS) {
      for (const section of document.querySelectorAll(view)) {
        if (section.checkVisibility() && !section.closest('.ws-staged')) this.markIn(section, texts);
      }
    }
  }

  markIn(section, texts) {
    const told = new Set([...section.querySelectorAll('.ls-term')].map((term) => term.dataset.meaning));
    for (const text of section.querySelectorAll(texts)) {
      if (!text.checkVisibility({ visibilityProperty: true })) continue; // the title of a view that is a tab
      const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
      const nodes = [];
      while (walker.nextNode()) if (walker.currentNode.data.trim() && !walker.currentNode.parentElement.closest(APART)) nodes.push(walker.currentNode);
      for (const node of nodes) {
        const parts = this.terms.marked(node.data, told);
        if (parts.every((part) => typeof part === 'string')) continue;
        const whole = document.createElement('span'); // in a flexible box each part would be a column of its own
        whole.append(...parts);
        node.replaceWith(whole);
      }
    }
  }
}
