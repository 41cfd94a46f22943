// Bands of recorded.py: 48 tokens, 3 kept, 2 centers with 3 members, 40 dropped; 13 is merged into 5.

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
    ['before the LLM', [[FATE.KEPT, 3], [FATE.CENTER, 2], [FATE.DROPPED, 40]]],
    ['layer 2', [[FATE.KEPT, 2], [FATE.CENTER, 1], [FATE.DROPPED_INSIDE, 1]]],
    ['end', [[6, 3]]],
  ]);
  assert.deepEqual(columns.map(({ merged }) => merged), [0, 3, 1, 0]);
  const found = bands.map(({ column, from, to, tokens }) => [column, from, to, tokens]).slice(4);
  assert.deepEqual(bands.slice(0, 3).map(({ code, to, into, tokens }) => [code, to, into, tokens]), [
    [FATE.KEPT, 0, 0, [0, 13, 30]], [FATE.CENTER, 1, 0, [5, 40]], [FATE.MERGED, 1, 2, [6, 7, 41]],
  ]);
  assert.equal(bands[2].words, 'merged into 2 centers before the LLM');
  assert.deepEqual(found, [
    [1, 0, 0, [0, 30]], [1, 0, 1, [13]], [1, 1, 1, [5]], [1, 1, 2, [40]],
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

test('a band that merges takes no room where it ends', () => {
  const band = (to, count, into) => ({ column: 0, from: 0, to, into, tokens: Array(count).fill(0) });
  const out = { column: 1, from: 0, to: 0, into: 0, tokens: Array(10).fill(0) };
  const flow = { columns: [{ nodes: [{}] }, { nodes: [{}] }, { nodes: [{}] }], bands: [band(0, 10, 0), band(0, 90, 10), out] };
  const { thick, boxes, scale } = flowLayout(flow, 200, 14, 1);
  assert.ok(Math.abs(scale - 2) < 1e-6 && Math.abs(thick(flow.bands[1]) - 180) < 1e-6);
  assert.deepEqual(boxes.map(([{ h }]) => Math.round(h)), [200, 20, 20]);
});

test('layers with as many tokens are one stretch', () => {
  assert.deepEqual(runsOf([5, 5, 5, 3]).map(({ layers, count }) => [layers, count]), [['layers 0 to 2', 5], ['layer 3', 3]]);
  assert.deepEqual(runsOf([]), []);
});
