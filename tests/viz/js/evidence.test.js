// Boxes and the cells they mean: 4 frames, half a second apart, of 3 x 4 cells.

import assert from 'node:assert/strict';
import test from 'node:test';
import { boxesAround, cellsOf, covered, framesOf, recallOf, timesOf } from '../../../viz/workspace/js/evidence.js';
import { list, traceOf } from './bundles.js';

const trace = traceOf('recorded');

test('frames by their time', () => {
  assert.deepEqual(framesOf(trace, [0.5, 1]), [1, 2]);
  assert.deepEqual(framesOf(trace, [0.6, 0.9]), []);
  for (let first = 0; first < 4; first += 1) {
    for (let last = first; last < 4; last += 1) {
      const frames = Array.from({ length: last - first + 1 }, (_, k) => first + k);
      assert.deepEqual(framesOf(trace, timesOf(trace, first, last)), frames);
    }
  }
});

test('cells of which a box covers a quarter, or the one that it covers most', () => {
  const cells = (...sides) => covered(trace, [0, 9, ...sides]);
  assert.deepEqual(cells(0.25, 0, 0.5, 1 / 3), [1]);
  assert.deepEqual(cells(0, 0, 0.32, 1 / 3), [0, 1]); // 0.28 of cell 1
  assert.deepEqual(cells(0, 0, 0.3, 1 / 3), [0]); // 0.2 of it
  assert.deepEqual(cells(0.05, 0.05, 0.06, 0.06), [0]); // however little
  assert.deepEqual(cells(2, 2, 3, 3), []);
  assert.deepEqual(list(cellsOf(trace, [[0.5, 0.5, 0, 0, 0.5, 1 / 3], [1.5, 1.5, 0.75, 0, 1, 1]])), [12, 13, 39, 43, 47]);
});

test('boxes around tokens mean just these', () => {
  const chosen = [0, 1, 2, 3, 4, 17, 18, 47];
  const boxes = boxesAround(trace, chosen);
  assert.equal(boxes.length, 4); // a row, the cell below it, two in the next frame, the last
  assert.deepEqual(list(cellsOf(trace, boxes)), chosen);
});

test('what a run kept of them', () => {
  assert.deepEqual(recallOf(trace, Int32Array.of(5, 6, 13, 40, 47)), {
    cells: 5,
    frames: 3,
    steps: [
      { name: 'Enter the LLM', kept: 3, carried: 4, budget: 5 },
      { name: 'Reach its end', kept: 1, carried: 3, budget: 3 },
    ],
  });
});
