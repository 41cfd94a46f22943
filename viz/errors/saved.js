// Filters that a person keeps under a name, in this browser. Names and filters come from people and
// from links: both are cut to what they may be, and only ever set as text.

const PLACE = 'errors-filters'; // in the browser's storage
const MOST = 50; // filters
export const LONGEST_NAME = 60; // characters
const LONGEST_FILTER = 2000;
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu; // control signs, and those that turn the direction of text

/** A name as it is kept and shown: one line without signs that nobody sees; '' where nothing is left. */
export function nameOf(text) {
  const plain = String(text ?? '').replace(/\s/g, ' ').replace(UNSEEN, '').replace(/ +/g, ' ').trim();
  return [...plain].slice(0, LONGEST_NAME).join('').trim();
}

export class SavedFilters {
  /** storage: the browser's, or null where it is forbidden. */
  constructor(storage) {
    this.storage = storage;
    this.kept = true; // whether the browser took the last change
    this.filters = new Map(); // name -> filter as in an address
    this.read();
  }

  read() {
    let known = [];
    try {
      known = JSON.parse(this.storage?.getItem(PLACE) ?? '[]');
    } catch { /* not ours: begin afresh */ }
    this.filters = new Map((Array.isArray(known) ? known : [])
      .filter((pair) => Array.isArray(pair) && typeof pair[1] === 'string' && nameOf(pair[0]))
      .slice(0, MOST).map(([name, filter]) => [nameOf(name), filter.slice(0, LONGEST_FILTER)]));
  }

  get names() { return [...this.filters.keys()].sort((a, b) => a.localeCompare(b)); }

  get full() { return this.filters.size >= MOST; }

  /** Keep a filter under a name, in place of one that has it already. */
  set(name, filter) {
    this.filters.set(name, filter);
    this.write();
  }

  remove(name) {
    this.filters.delete(name);
    this.write();
  }

  /** The name under which exactly this filter is kept; ''. */
  nameOf(filter) { return [...this.filters].find(([, other]) => other === filter)?.[0] ?? ''; }

  write() {
    try {
      this.storage.setItem(PLACE, JSON.stringify([...this.filters]));
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }
}
