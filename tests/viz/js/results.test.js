// Arithmetic of the error table on three questions, by hand.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  BEFORE, Comparison, INSIDE, KEPT, Marks, RULES, Results, UNKNOWN, cell, evidenceOf, mcnemar, percent, short, showP, tagsOf,
} from '../../../viz/errors/results.js';

const answers = { cells: [8, 8, 8, 0, -1], door: [4, 1, 0, 0, 0], end: [4, 0, 0, 0, 0],
  door_carried: [8, 8, 0, 0, 0], end_carried: [8, 0, 0, 0, 0] };
const rows = [0, 1, 2, 3, 4];

test('what became of the evidence', () => {
  assert.deepEqual(rows.map((row) => evidenceOf(answers, row, RULES.own)), [KEPT, INSIDE, BEFORE, UNKNOWN, UNKNOWN]);
  assert.deepEqual(rows.map((row) => evidenceOf(answers, row, RULES.half)), [KEPT, BEFORE, BEFORE, UNKNOWN, UNKNOWN]);
  assert.deepEqual(rows.map((row) => evidenceOf(answers, row, RULES.carried)), [KEPT, INSIDE, BEFORE, UNKNOWN, UNKNOWN]);
});

test('the exact test', () => {
  const close = (p, expected) => assert.ok(Math.abs(p - expected) < 1e-12, `${p} ${expected}`);
  close(mcnemar(10, 2), (2 * (1 + 12 + 66)) / 4096);
  close(mcnemar(2, 10), mcnemar(10, 2));
  close(mcnemar(0, 5), 2 / 32);
  assert.equal(mcnemar(0, 0), 1);
  assert.equal(mcnemar(7, 7), 1);
  assert.equal(showP(mcnemar(3000, 10)), '< 1e-300');
  assert.deepEqual([showP(0.0386), showP(2.14e-8)], ['0.039', '2.1e-8']);
});

test('shares', () => {
  assert.deepEqual([percent(1, 50), percent(3, 10000), percent(0, 7)], ['2.0', '0.03', '0.0']);
  assert.deepEqual([short(0.02), short(0.005), short(0.1 + 0.2)], ['2', '0.5', '30']);
});

test('flips and gains of a comparison', () => {
  const results = new Results({
    methods: [
      { label: 'No compression', retention: null, uncompressed: true, repr: 'None' },
      { label: 'STC', retention: 0.02, uncompressed: false, repr: 'STC()' },
    ],
    questions: { id: ['a', 'b', 'c'], clip: ['x', 'x', 'y'], frames: [8, 8, 8], kind: ['k', 'k', 'l'],
      question: ['q1', 'q2', 'q3'], expected: ['1', '2', '3'] },
    answers: { case: [0, 1, 2, 0, 1], method: [0, 0, 0, 1, 1], right: [1, 0, 1, 0, 1], answer: [0, 0, 0, 0, 0],
      cells: [0, 0, 0, 4, 4], door: [0, 0, 0, 2, 0], end: [0, 0, 0, 1, 0],
      log_right: [-0.1, -2, null, -1.1, -0.5] },
    texts: ['one'],
  });
  assert.equal(results.nameOf(1), 'STC at 2 %');
  assert.deepEqual(results.order, [1, 0]);
  const both = new Comparison(results, 0, [1]);
  assert.deepEqual(both.cases, [0, 1]); // the third was not asked
  assert.deepEqual([both.flip(0, 0), both.flip(0, 1), both.flip(0, 2)], [1, 2, -1]);
  assert.deepEqual(both.table(0, [0, 1]), [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]);
  assert.deepEqual([both.gain(0, 0), both.gain(0, 1), both.gain(0, 2)], [-1, 1.5, null]);
  assert.deepEqual([both.sort([1, 0], 'harmed'), both.sort([0, 1], 'helped')], [[0, 1], [1, 0]]);
});

test('cells of CSV', () => {
  assert.deepEqual([cell(1.5), cell('a "b"'), cell('=1+1'), cell('  @x'), cell('a=b')],
    ['1.5', '"a ""b"""', '"\'=1+1"', '"\'  @x"', '"a=b"']);
});

test('tags and notes', () => {
  assert.deepEqual(tagsOf('a, b , a,, '), ['a', 'b']);
  assert.equal(tagsOf(Array.from({ length: 30 }, (_, k) => k).join(',')).length, 12);
  const kept = new Map();
  const storage = { getItem: (name) => kept.get(name) ?? null, setItem: (name, text) => kept.set(name, text) };
  const marks = new Marks('file', storage);
  marks.set('8 a', { tags: ['odd'], note: 'why?' });
  assert.deepEqual(new Marks('file', storage).get('8 a'), { tags: ['odd'], note: 'why?' });
  assert.ok(marks.has('8 a', '') && marks.has('8 a', 'odd') && !marks.has('8 a', 'even') && !marks.has('8 b', ''));
  marks.set('8 a', { tags: [], note: '' });
  assert.equal(kept.get('video-tokens errors file'), '{}');
  const closed = { getItem() { throw new Error('forbidden'); }, setItem() { throw new Error('forbidden'); } };
  const lost = new Marks('file', closed);
  lost.set('8 a', { tags: ['odd'], note: '' });
  assert.deepEqual([lost.kept, lost.tags()], [false, ['odd']]);
});
