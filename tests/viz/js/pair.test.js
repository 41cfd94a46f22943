// Runs against each other, by hand.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import {
  aliveAt, differing, overlapOf, perFrameOf, ratioOf, sameAnswer, sameTokens, scoreOf, uncompressedOf,
} from '../../../viz/workspace/js/pair.js';
import { list, traceOf } from './bundles.js';

const trace = traceOf('recorded');

test('who goes on', () => {
  const alive = (stage) => [...aliveAt(trace, stage).keys()].filter((i) => aliveAt(trace, stage)[i]);
  assert.deepEqual(alive('refilled'), [0, 5, 13, 30, 40]);
  assert.deepEqual(alive('layer'), [0, 5, 30]);
  assert.deepEqual(alive('end'), [0, 5, 30]);
  assert.deepEqual(list(perFrameOf(trace, aliveAt(trace, 'refilled'))), [2, 1, 1, 1]);
  assert.ok(sameTokens(trace, traceOf('evidence')));
  assert.ok(!sameTokens(trace, traceOf('walked')));
});

test('overlap', () => {
  const { codes, counts, jaccard, chance } = overlapOf([1, 1, 0, 0, 1, 0, 0, 0], [1, 0, 1, 0, 1, 0, 0, 0]);
  assert.deepEqual(list(codes), [3, 1, 2, 0, 3, 0, 0, 0]);
  assert.deepEqual(counts, [4, 1, 1, 2]);
  assert.equal(jaccard, 2 / 4);
  const expected = (3 * 3) / 8;
  assert.equal(chance, expected / (6 - expected));
  assert.equal(overlapOf([0, 0], [0, 0]).jaccard, 1);
});

test('a ratio asks for just as many tokens', () => {
  assert.equal(ratioOf(125, 6272), 0.02);
  assert.equal(ratioOf(24, 48), 0.5);
  for (let n = 1; n < 400; n += 7) {
    for (let entered = 1; entered <= n; entered += 1) {
      const ratio = ratioOf(entered, n);
      assert.ok(ratio > 0 && ratio <= 1 && Math.round(ratio * n) === entered);
    }
  }
});

test('words that differ', () => {
  const marked = (text, other) => differing(text, other).filter(([, differs]) => differs).map(([word]) => word);
  assert.deepEqual(marked('The red star.', 'the red star'), []);
  assert.deepEqual(marked('a red star and a bar', 'a blue star and bar'), ['red', 'a']);
  assert.deepEqual(marked('red', ''), ['red']);
  assert.deepEqual(differing('', 'red'), []);
  assert.ok(sameAnswer(' Red  bar. ', 'red bar'));
  assert.ok(!sameAnswer('red bar', 'red bars'));
  const alike = new URL('../../answers_alike.json', import.meta.url); // Python is held to it, too
  for (const [one, other, same] of JSON.parse(readFileSync(alike, 'utf8'))) {
    assert.equal(sameAnswer(one, other), same, JSON.stringify([one, other]));
  }
});

test('what a run knows of an answer', () => {
  const header = { scores: { red: -0.5 }, answer: 'blue', logprob: -1, baseline_answer: 'red', baseline_logprob: -0.2 };
  assert.deepEqual(['red', 'blue', 'toString'].map((text) => scoreOf({ header }, text)), [-0.5, -1, null]);
  assert.deepEqual(uncompressedOf([{ header: { baseline_answer: null } }, { header }]), { answer: 'red', logprob: -0.2 });
  assert.equal(uncompressedOf([{ header: { baseline_answer: null } }]), null);
});
