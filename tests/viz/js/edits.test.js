// Edits as sets, by hand: tokens 0 to 4 enter by themselves.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Draft, among, except, lastAdmitted } from '../../../viz/workspace/js/edits.js';

const base = new Set([0, 1, 2, 3, 4]);
const entered = (draft) => [...draft.entered(base)].sort((a, b) => a - b);

test('removing, keeping and adding', () => {
  const none = new Draft();
  assert.ok(none.empty);
  assert.deepEqual(entered(none), [0, 1, 2, 3, 4]);
  const less = none.without(base, [1, 3, 9]);
  assert.deepEqual([entered(less), less.plain()], [[0, 2, 4], { remove: [1, 3], add: [], only: null }]);
  assert.ok(none.empty, 'a draft is never changed');
  const back = less.with(base, [3, 7]);
  assert.deepEqual([entered(back), back.plain()], [[0, 2, 3, 4, 7], { remove: [1], add: [7], only: null }]);
  const just = back.just(base, [2, 7, 8]);
  assert.deepEqual([entered(just), just.plain()], [[2, 7], { remove: [], add: [7], only: [2] }]);
  assert.deepEqual(entered(just.without(base, [2])), [7]);
});

test('what brings all back is no edit', () => {
  const some = new Draft().just(base, [0, 1]);
  assert.ok(some.with(base, [2, 3, 4]).empty);
  assert.ok(new Draft().without(base, [2]).with(base, [2]).empty);
  assert.ok(new Draft().just(base, [0, 1, 2, 3, 4]).empty);
});

test('swapping in leaves the budget as it is, adding raises it', () => {
  const leaving = [4, 2, 0, 1, 3];
  const none = new Draft();
  const swapped = none.swap(base, [7, 8], leaving);
  assert.deepEqual([entered(swapped), swapped.plain()], [[0, 1, 3, 7, 8], { remove: [2, 4], add: [7, 8], only: null }]);
  assert.deepEqual(entered(none.with(base, [7, 8])), [0, 1, 2, 3, 4, 7, 8]);
  assert.deepEqual(entered(none.swap(base, [4, 7], leaving)), [0, 1, 3, 4, 7], 'what is selected makes no room');
  assert.deepEqual(entered(swapped.swap(base, [4], leaving)), [1, 3, 4, 7, 8], 'the next to go goes');
  const few = none.just(base, [1]);
  assert.deepEqual(entered(few.swap(base, [9], leaving)), [9]);
  assert.deepEqual(few.places(base, [8, 9], leaving), [1], 'one can make room, not two');
});

test('means of clusters make room first, then what the pool took last', () => {
  const trace = { entered: [1, 3, 5, 8, 9], order: [0, 2, -1, 0, 0, 7, 0, 0, 5, -1] };
  assert.deepEqual(lastAdmitted(trace, (token) => token !== 8), [8, 9, 5, 1, 3]);
});

test('parts are said and dropped', () => {
  const draft = new Draft({ remove: [1], add: [7, 6] });
  assert.deepEqual(draft.parts(), [
    ['removed', '− 1 token removed', [1]], ['added', '+ 2 tokens put in', [6, 7]]]);
  assert.deepEqual(draft.drop('removed').plain(), { remove: [], add: [6, 7], only: null });
  assert.deepEqual(new Draft({ only: [] }).parts(), [['kept', 'only 0 tokens kept', []]]);
  assert.ok(draft.same(new Draft({ remove: [1], add: [6, 7] })));
  assert.ok(!draft.same(draft.drop('added')));
  assert.deepEqual([among([1, 9, 1], base), except([1, 2, 2], [1])], [[1], [2]]);
});

test('whatever is done, the result is what sets say', () => {
  let seed = 11;
  const random = (most) => { // a generator of its own, the same every time
    seed = (seed * 48271) % 2147483647;
    return seed % most;
  };
  const some = () => Array.from({ length: random(5) }, () => random(10));
  for (let turn = 0; turn < 300; turn += 1) {
    let draft = new Draft();
    let expected = new Set(base);
    for (let step = 0; step < 6; step += 1) {
      const tokens = some();
      const what = ['without', 'with', 'just', 'swap'][random(4)];
      const before = entered(draft).length;
      const room = draft.places(base, tokens, []).length;
      const more = except(tokens, draft.entered(base)).length;
      draft = draft[what](base, tokens, []);
      if (what === 'swap') {
        assert.equal(entered(draft).length, before + Math.max(0, more - room));
        assert.deepEqual(except(tokens, draft.entered(base)), []);
        expected = draft.entered(base);
      }
      if (what === 'without') expected = new Set(except(expected, tokens));
      if (what === 'with') expected = new Set([...expected, ...tokens]);
      if (what === 'just') expected = new Set(among(tokens, expected));
      assert.deepEqual(entered(draft), [...expected].sort((a, b) => a - b));
    }
  }
});
