// An edit of what enters the LLM, as plain sets of tokens. No drawing: node can test all of it.

import { many } from './story.js';

/**
 * What is to enter the LLM otherwise than a method chose: ``removed`` of its tokens, or just
 * ``kept`` of them (null: all), and ``added`` ones on top. Never changed, only replaced.
 * ``base`` is always the Set of tokens that entered before any edit.
 */
export class Draft {
  constructor({ remove = [], add = [], only = null } = {}) {
    this.removed = new Set(remove);
    this.added = new Set(add);
    this.kept = only === null ? null : new Set(only);
  }

  get empty() { return !this.removed.size && !this.added.size && this.kept === null; }

  /** Set of the tokens that enter the LLM as themselves with this edit. */
  entered(base) {
    const stays = [...(this.kept || base)].filter((token) => !this.removed.has(token));
    return new Set([...stays, ...this.added]);
  }

  /** Without those of ``tokens`` that would enter. */
  without(base, tokens) {
    const gone = among(tokens, this.entered(base));
    const ours = among(gone, base);
    return new Draft({
      remove: this.kept ? [] : [...this.removed, ...ours],
      only: this.kept && except(this.kept, gone),
      add: except(this.added, gone),
    });
  }

  /** With nothing but those of ``tokens`` that would enter. */
  just(base, tokens) {
    const stay = among(tokens, this.entered(base));
    const only = among(stay, base);
    return new Draft({ remove: [], only: only.length === base.size ? null : only, add: except(stay, base) });
  }

  /** With ``tokens`` that would not enter: those of the method come back with what they carry. */
  with(base, tokens) {
    const more = except(tokens, this.entered(base));
    const back = among(more, base);
    const only = this.kept && [...this.kept, ...back];
    return new Draft({
      remove: except(this.removed, back),
      only: only && only.length === base.size ? null : only,
      add: [...this.added, ...except(more, base)],
    });
  }

  /**
   * With ``tokens`` in place of as many others, so that as many enter as before; ``leaving`` are the
   * tokens that entered before any edit, the first to go first.
   */
  swap(base, tokens, leaving) {
    const more = except(tokens, this.entered(base));
    return this.without(base, this.places(base, tokens, leaving).slice(0, more.length)).with(base, more);
  }

  /** Entering tokens that make room for ``tokens``, the first to go first. */
  places(base, tokens, leaving) {
    const now = this.entered(base);
    return except([...leaving, ...now], tokens).filter((token) => now.has(token));
  }

  /** Without one of its parts: "removed", "kept" or "added". */
  drop(part) {
    const { remove, add, only } = this.plain();
    return new Draft({
      remove: part === 'removed' ? [] : remove,
      add: part === 'added' ? [] : add,
      only: part === 'kept' ? null : only,
    });
  }

  same(other) { return JSON.stringify(this.plain()) === JSON.stringify(other.plain()); }

  /** {remove, add, only} as sorted lists: what the server takes. */
  plain() {
    const sorted = (set) => [...set].sort((a, b) => a - b);
    return {
      remove: sorted(this.removed), add: sorted(this.added), only: this.kept && sorted(this.kept),
    };
  }

  /** [[part, words, tokens]] of what it changes. */
  parts() {
    const { remove, add, only } = this.plain();
    return [
      ['removed', `− ${many(remove.length, 'token')} removed`, remove],
      ['kept', `only ${many((only || []).length, 'token')} kept`, only || []],
      ['added', `+ ${many(add.length, 'token')} put in`, add],
    ].filter(([part, , tokens]) => tokens.length || (part === 'kept' && only));
  }
}

export function among(tokens, set) { return [...new Set(tokens)].filter((token) => set.has(token)); }

export function except(tokens, without) {
  const out = new Set(without);
  return [...new Set(tokens)].filter((token) => !out.has(token));
}

/**
 * Tokens that entered, the first to make room first: means of clusters, then the pool from its last
 * token to its first.
 */
export function lastAdmitted({ entered, order }, kept) {
  const turn = (token) => {
    if (!kept(token)) return Infinity;
    return order[token] >= 0 ? order[token] : order.length; // a method without a walk
  };
  return [...entered].sort((a, b) => {
    const [one, other] = [turn(a), turn(b)];
    return one === other ? b - a : other - one;
  });
}
