// Runs of the same clip and question against each other. No drawing and no DOM: node can test it.

import { isAlive } from './fates.js';

export const NEITHER = 0;
export const FIRST = 1; // only the first of two runs keeps the token
export const SECOND = 2;
export const BOTH = 3;

/** Whether two traces have the same tokens, so that they can be compared one by one. */
export function sameTokens(one, other) {
  return ['frames', 'rows', 'cols'].every((side) => one[side] === other[side]);
}

/** Uint8Array (n): 1 for tokens that go on at a stop of the slider: into the LLM, or to its end. */
export function aliveAt(trace, stage) {
  const late = stage === 'end' || stage === 'layer';
  return trace.once(`alive ${late}`, () => (
    Uint8Array.from(late ? trace.fate : trace.outside.fate, (fate) => (isAlive(fate) ? 1 : 0))));
}

/**
 * {codes, counts, jaccard, chance} of two (n) arrays of 0 and 1. counts are by code; jaccard is the
 * share of what either has that both have, chance what two blind choices of these sizes would share.
 */
export function overlapOf(first, second) {
  const counts = [0, 0, 0, 0];
  const codes = Uint8Array.from(first, (one, i) => {
    const code = one + 2 * second[i];
    counts[code] += 1;
    return code;
  });
  const both = counts[BOTH];
  const [sizeA, sizeB] = [counts[FIRST] + both, counts[SECOND] + both];
  const expected = (sizeA * sizeB) / codes.length;
  const ratio = (shared) => (sizeA + sizeB ? shared / (sizeA + sizeB - shared) : 1);
  return { codes, counts, jaccard: ratio(both), chance: ratio(expected) };
}

/** Uint32Array (frames): how many tokens of every frame are alive. */
export function perFrameOf(trace, alive) {
  const counts = new Uint32Array(trace.frames);
  alive.forEach((one, i) => { counts[trace.frameOf(i)] += one; });
  return counts;
}

/** The shortest ratio that asks for exactly ``entered`` of ``n`` tokens. */
export function ratioOf(entered, n) {
  for (let digit = 1; digit < 8; digit += 1) {
    const ratio = Number((entered / n).toPrecision(digit));
    if (ratio > 0 && ratio <= 1 && Math.abs(ratio * n - entered) < 0.5) return ratio;
  }
  return Math.min(1, entered / n);
}

/**
 * [[word, differs]] of a text: the words that are not in its longest common part with another one.
 * Case and final punctuation make no difference.
 */
export function differing(text, other) {
  const plain = (word) => word.toLowerCase().replace(/[.,!?]+$/, '');
  const [mine, theirs] = [text, other].map((each) => each.split(/\s+/).filter(Boolean));
  const longest = mine.map(() => new Uint16Array(theirs.length + 1));
  longest.push(new Uint16Array(theirs.length + 1));
  const equal = (i, j) => plain(mine[i]) === plain(theirs[j]);
  for (let i = mine.length - 1; i >= 0; i -= 1) {
    for (let j = theirs.length - 1; j >= 0; j -= 1) {
      longest[i][j] = equal(i, j)
        ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  let j = 0;
  return mine.map((word, i) => {
    while (j < theirs.length && !equal(i, j) && longest[i][j + 1] === longest[i][j]) j += 1;
    const common = j < theirs.length && equal(i, j);
    if (common) j += 1;
    return [word, !common];
  });
}

/** Whether two answers differ in case, spaces and final punctuation at most; as `said_the_same` in Python. */
export function sameAnswer(one, other) {
  const plain = (text) => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean).join(' ');
    return words.replace(/[ .,!?]+$/, '') || words;
  };
  return plain(one) === plain(other);
}

/** Logarithm of the probability with which a run says a text; null where it was not asked. */
export function scoreOf({ header }, text) {
  if (Object.hasOwn(header.scores, text)) return header.scores[text];
  return text === header.answer ? header.logprob : null;
}

/** {answer, logprob} of the uncompressed run, as far as one of the traces knows it. */
export function uncompressedOf(traces) {
  const known = traces.find(({ header }) => typeof header.baseline_answer === 'string');
  return known ? { answer: known.header.baseline_answer, logprob: known.header.baseline_logprob } : null;
}
