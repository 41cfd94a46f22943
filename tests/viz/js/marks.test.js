// What of the drawing is arithmetic; the trace is that of recorded.py.

import assert from 'node:assert/strict';
import test from 'node:test';
import { FATE, OPEN } from '../../../viz/workspace/js/fates.js';
import { Marks, family, niceStep } from '../../../viz/workspace/js/marks.js';
import { START } from '../../../viz/workspace/js/state.js';
import { traceOf } from './bundles.js';

const trace = traceOf('recorded');

test('steps of an axis', () => {
  assert.deepEqual([[10, 5], [10, 4], [0.9, 3], [48, 6], [1, 10]].map(([span, most]) => niceStep(span, most)), [2, 5, 0.5, 10, 0.1]);
  for (let span = 0.01; span < 1e6; span *= 1.37) {
    for (let most = 1; most < 12; most += 1) {
      const step = niceStep(span, most);
      assert.ok(span / step <= most * 1.01 && span / step > most / 2.6, `${span} ${most} ${step}`);
    }
  }
});

test('marks are of cells that are there and large enough for them', () => {
  const marks = new Marks(trace.codes);
  const hatched = trace.codes.findIndex(({ mark }) => mark.startsWith('hatch'));
  marks.add(FATE.KEPT, { x: 0, y: 0, w: 5, h: 5 });
  marks.add(FATE.KEPT, { x: 0, y: 0, w: 0, h: 5 }); // in a letterbox
  marks.add(OPEN, { x: 0, y: 0, w: 50, h: 50 });
  marks.add(hatched, { x: 0, y: 0, w: 13, h: 50 });
  assert.equal(marks.count, 1);
  marks.add(hatched, { x: 0, y: 0, w: 14, h: 14 });
  assert.equal(marks.count, 2);
  assert.deepEqual([marks.cells[FATE.KEPT].length, marks.cells[hatched].length], [1, 1]);
});

test('who belongs to a token', () => {
  const of = (token, patch) => family(trace, { ...START, ...patch }, token);
  assert.deepEqual(of(13, {}), { carrier: 5, members: [5, 6, 7, 13], hidden: 0 });
  assert.deepEqual(of(13, { stage: 'layer' }), { carrier: 5, members: [5, 6, 7, 13], hidden: 0 });
  assert.deepEqual(of(13, { stage: 'refilled' }), { carrier: 13, members: [13], hidden: 0 });
  assert.deepEqual(of(13, { step: 2 }), { carrier: 13, members: [13], hidden: 0 });
  assert.deepEqual(of(47, {}), { carrier: -1, members: [], hidden: 0 });
});

test('of a large family those next to the token', () => {
  const large = traceOf('walked');
  const sizes = large.values('members');
  const carrier = sizes.reduce((best, size, i) => (size > (sizes[best] || 0) ? i : best), 0);
  const all = [...large.members(carrier)];
  assert.ok(all.length > 50);
  const { members, hidden } = family(large, { ...START }, carrier);
  assert.deepEqual([members.length, hidden], [50, all.length - 50]);
  const furthest = Math.max(...members.map((i) => Math.abs(i - carrier)));
  const rest = all.filter((i) => !members.includes(i));
  assert.ok(rest.every((i) => Math.abs(i - carrier) >= furthest));
});
