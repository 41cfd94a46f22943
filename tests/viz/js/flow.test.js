// Bands of recorded.py: 48 tokens, 3 kept, 2 centers with 3 members, 40 dropped.

import assert from 'node:assert/strict';
import test from 'node:test';
import { FATE } from '../../../viz/workspace/js/fates.js';
import { flowLayout, flowOf, runsOf } from '../../../viz/workspace/js/flow.js';
import { traceOf } from './bundles.js';

const trace = traceOf('recorded');

test('columns and bands', () => {
  const { columns, bands } = flowOf(trace);
  assert.deepEqual(columns.map(({ title, nodes }) => [title, nodes.map(({ code, count }) => [code, count])]), [
    ['raw', [[6, 48]]],
    ['before the LLM', [[FATE.KEPT, 3], [FATE.CENTER, 2], [FATE.MERGED, 3], [FATE.DROPPED, 40]]],
    ['layer 2', [[FATE.KEPT, 2], [FATE.CENTER, 1], [FATE.MERGED_INSIDE, 1], [FATE.DROPPED_INSIDE, 1]]],
    ['end', [[6, 3]]],
  ]);
  const found = bands.map(({ column, from, to, tokens }) => [column, from, to, tokens]).slice(4);
  assert.deepEqual(bands[2].tokens, [6, 7, 41]);
  assert.deepEqual(found, [
    [1, 0, 0, [0, 30]], [1, 0, 2, [13]], [1, 1, 1, [5]], [1, 1, 3, [40]],
    [2, 0, 0, [0, 30]], [2, 1, 0, [5]],
  ]);
});

test('bands fill the room, none is thinner than asked, none lies over another', () => {
  for (const name of ['recorded', 'walked']) {
    const flow = flowOf(traceOf(name));
    const { thick, boxes } = flowLayout(flow, 300, 14, 12);
    for (const band of flow.bands) assert.ok(thick(band) >= 12);
    const ends = boxes.map((column) => column.at(-1).y + column.at(-1).h);
    assert.ok(Math.abs(Math.max(...ends) - 300) < 1e-6);
    for (const column of boxes) {
      column.slice(1).forEach((box, k) => { assert.ok(box.y >= column[k].y + column[k].h + 14 - 1e-9); });
    }
  }
});

test('bands are as thick as they have tokens', () => {
  const band = (to, count) => ({ column: 0, from: 0, to, tokens: Array(count).fill(0) });
  const flow = { columns: [{ nodes: [{}] }, { nodes: [{}, {}] }], bands: [band(0, 60), band(1, 40)] };
  const { thick, boxes } = flowLayout(flow, 214, 14, 12); // two pixels a token
  const near = (value, expected) => assert.ok(Math.abs(value - expected) < 1e-6, `${value} ${expected}`);
  flow.bands.forEach((each, k) => { near(thick(each), [120, 80][k]); });
  near(boxes[0][0].h, 200);
  near(boxes[1][1].y, 134);
});

test('layers with as many tokens are one stretch', () => {
  assert.deepEqual(runsOf([5, 5, 5, 3]).map(({ layers, count }) => [layers, count]), [['layers 0 to 2', 5], ['layer 3', 3]]);
  assert.deepEqual(runsOf([]), []);
});
