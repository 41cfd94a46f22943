// The trace of recorded.py: 4 frames of 3 x 4 tokens; 0, 13, 30 kept, 5 and 40 centers; after
// layer 2 token 13 is merged into 5 and 40 dropped.

import assert from 'node:assert/strict';
import test from 'node:test';
import { ABSENT, FATE, OPEN, RECYCLED } from '../../../viz/workspace/js/fates.js';
import {
  TokenTrace, clamp, grouped, quantile, rangeOf, ranks, unpack,
} from '../../../viz/workspace/js/model.js';
import { bytes, list, traceOf } from './bundles.js';

const trace = traceOf('recorded');
const every = Array.from({ length: 48 }, (_, i) => i);
const { KEPT, CENTER, MERGED, DROPPED, MERGED_INSIDE, DROPPED_INSIDE } = FATE;

/** 48 looks: ``rest`` but for the tokens named. */
function looks(rest, named) {
  return every.map((i) => named[i] ?? rest);
}

test('places', () => {
  assert.deepEqual([trace.n, trace.frames, trace.rows, trace.cols, trace.perFrame], [48, 4, 3, 4, 12]);
  assert.equal(trace.place(13), 'frame 1 (0, 1)');
  assert.deepEqual([trace.frameOf(35), trace.rowOf(35), trace.colOf(35)], [2, 2, 3]);
  for (const i of every) assert.equal(trace.index(trace.frameOf(i), trace.rowOf(i), trace.colOf(i)), i);
});

test('a cell is found by any point in it, and none beyond the frame', () => {
  assert.deepEqual(trace.box(5), { x: 0.25, y: 1 / 3, w: 0.25, h: 2 / 3 - 1 / 3 });
  for (const i of every) {
    const { x, y, w, h } = trace.box(i);
    for (const part of [0.01, 0.5, 0.99]) {
      assert.equal(trace.at(trace.frameOf(i), x + part * w, y + part * h), i);
    }
  }
  for (const [x, y] of [[-0.01, 0.5], [1, 0.5], [0.5, -0.01], [0.5, 1]]) assert.equal(trace.at(0, x, y), -1);
});

test('a letterbox is no token, and cells end where the frame ends', () => {
  const boxed = traceOf('letterbox'); // 100 x 200 pixels, cells lie from -50 to 150
  assert.deepEqual(boxed.seen, [-50, 0, 150, 200]);
  assert.deepEqual(boxed.box(0), { x: 0, y: 0, w: 0.5, h: 0 });
  assert.deepEqual(boxed.box(2), { x: 0, y: 0, w: 0.5, h: 0.5 });
  assert.equal(boxed.at(0, 0.1, 0.1), 2);
  assert.equal(boxed.at(0, 0.9, 0.9), 5);
});

test('the frame at a time', () => {
  const found = [-1, 0, 0.49, 0.4995, 0.5, 1.2, 1.5, 99].map((time) => trace.frameAt(time));
  assert.deepEqual(found, [0, 0, 0, 1, 1, 2, 3, 3]);
  assert.equal(trace.end, 2);
});

test('the opening is where most goes in, or the evidence', () => {
  assert.deepEqual(list(trace.entered), [0, 5, 13, 30, 40]);
  assert.equal(trace.opening, 0);
  assert.equal(traceOf('evidence').opening, 2);
  assert.deepEqual(list(traceOf('evidence').evidence), [30, 31]);
});

test('looks at every stop', () => {
  assert.deepEqual(trace.stages.map(({ key }) => key), ['raw', 'pool', 'recycled', 'refilled', 'layer', 'end']);
  const pool = { 0: KEPT, 13: KEPT, 30: KEPT };
  const entered = { ...pool, 5: CENTER, 40: CENTER };
  assert.deepEqual(list(trace.fateAt('raw')), looks(OPEN, {}));
  assert.deepEqual(list(trace.fateAt('pool')), looks(OPEN, pool));
  assert.deepEqual(list(trace.fateAt('recycled')), looks(RECYCLED, pool));
  assert.deepEqual(
    list(trace.fateAt('refilled')), looks(DROPPED, { ...entered, 6: MERGED, 7: MERGED, 41: MERGED }));
  const inside = { ...entered, 13: MERGED_INSIDE, 40: DROPPED_INSIDE };
  assert.deepEqual(list(trace.fateAt('layer')), looks(ABSENT, inside));
  assert.equal(trace.fateAt('end'), trace.fate);
  for (const token of [0, 5, 13, 30, 40]) assert.equal(trace.fate[token], inside[token]);
});

test('what the stops say is counted', () => {
  const words = Object.fromEntries(trace.stages.map((stage) => [stage.key, stage.words]));
  assert.match(words.raw, /All 48 /);
  assert.match(words.pool, / 3 tokens/);
  assert.match(words.recycled, /^3 were considered and not taken, 42 were never/); // 6 considered
  assert.match(words.refilled, /^5 tokens enter the LLM: 3 as themselves, 2 as centers/);
  assert.match(words.layer, /^After layer 2, 3 of the 5 go on/);
});

test('the replay', () => {
  assert.deepEqual(list(trace.walk), [0, 1, 13, 14, 30, 2]);
  assert.deepEqual(list(trace.fateDuring(0)), looks(OPEN, {}));
  assert.deepEqual(list(trace.fateDuring(3)), looks(OPEN, { 0: KEPT, 1: RECYCLED, 13: KEPT }));
  const { accepted, recycled } = trace.threshold;
  assert.deepEqual([accepted, recycled], [Math.fround(0.3), 0.75]);
});

test('members', () => {
  assert.deepEqual(list(trace.members(5, 'raw')), [5]);
  assert.deepEqual(list(trace.members(5, 'refilled')), [5, 6, 7]);
  assert.deepEqual(list(trace.members(5)), [5, 6, 7, 13]);
  assert.deepEqual(list(trace.members(40, 'refilled')), [40, 41]);
  assert.deepEqual(list(trace.members(40)), []);
  assert.deepEqual(list(trace.members(6)), []);
});

test('members share out what is not dropped, each token once', () => {
  const large = traceOf('walked');
  const carried = [...Array(large.n).keys()].flatMap((i) => list(large.members(i)));
  const expected = [...large.target.keys()].filter((i) => large.target[i] >= 0);
  assert.deepEqual(carried.sort((a, b) => a - b), expected);
  for (const i of large.entered) assert.ok(large.members(i, 'refilled').includes(i));
});

test('ranks and values', () => {
  const ranked = [0, 1, 13, 14, 30, 2, 47, 46, 3].map((i) => trace.contributionRank(i));
  assert.deepEqual(ranked, [1, 2, 3, 4, 5, 6, 7, 8, 48]);
  assert.deepEqual([0, 30, 5, 13, 40, 1].map((i) => trace.relevanceRank(i)), [1, 2, 3, 4, 5, 0]);
  const sizes = trace.values('members', 'refilled');
  assert.deepEqual([0, 5, 13, 30, 40, 6].map((i) => sizes[i]), [1, 3, 1, 1, 2, NaN]);
  assert.deepEqual(trace.range('members', 'refilled'), { low: 1, high: 3, top: 3 });
  assert.deepEqual(trace.range('members', 'end'), { low: 1, high: 4, top: 4 });
  assert.equal(trace.range('attention', 'end', -1), null);
});

test('sinks are cells that get most in most frames', () => {
  assert.deepEqual(list(trace.sinks), Array(12).fill(0)); // another cell in every frame
  const always = Array(12).fill(0);
  always[7] = 1;
  assert.deepEqual(list(traceOf('sinks').sinks), always);
  const thrice = traceOf('sinks');
  thrice.contribution[2] = 1; // more than cell 7 in the first
  assert.deepEqual(list(thrice.sinks), always);
  const even = traceOf('sinks');
  even.contribution[2] = 1;
  even.contribution[12 + 2] = 1; // and in the second of four frames
  assert.deepEqual(list(even.sinks), Array(12).fill(0));
});

test('attention comes back as fine as it was packed', () => {
  const paid = trace.attentionOf('attention', 4); // 20/120, 21/120, ... 24/120
  [0, 5, 13, 30, 40].forEach((token, place) => {
    assert.ok(Math.abs(paid[token] - (20 + place) / 120) < 0.2 / 200);
  });
  assert.equal(paid.filter(Number.isNaN).length, 43);
});

test('cells that a word looks at in vain', () => {
  assert.deepEqual([0, 1, 2, 3, 4].map((word) => trace.fullWord(word)), [0, 1, 2, 3, 4]);
  const { top, lost, merged } = trace.missed(3); // half of its attention is on cell 20, which is dropped
  assert.deepEqual([list(top), list(lost), list(merged)], [[20], [20], []]);
});

test('another answer has no words of the uncompressed run from where it differs', () => {
  const other = traceOf('recorded');
  other.fullWords = other.fullWords.map((word, k) => (k === 3 ? { ...word, text: 'blue' } : word));
  assert.deepEqual([0, 1, 2, 3, 4].map((word) => other.fullWord(word)), [0, 1, 2, -1, -1]);
  assert.equal(other.missed(3), null);
});

test('what is no bundle is refused in a sentence', () => {
  assert.throws(() => unpack(new ArrayBuffer(0)), /This is no bundle of this version/);
  assert.throws(() => new TokenTrace(new TextEncoder().encode('PK\x03\x04 and more').buffer), /open the trace again/);
  const { header, arrays } = unpack(bytes('recorded'));
  assert.equal(header.grid.frames, 4);
  assert.ok(arrays.fate instanceof Uint8Array && arrays.weight instanceof Float32Array);
});

test('numbers', () => {
  assert.deepEqual([clamp(-1, 0, 2), clamp(1, 0, 2), clamp(3, 0, 2)], [0, 1, 2]);
  assert.deepEqual(list(ranks([2, NaN, 5, 2])), [2, 0, 1, 3]);
  assert.equal(quantile([NaN, 4, 1, 3, 2], 0.5), 3);
  assert.equal(quantile([NaN, Infinity], 0.5), null);
  const { start, list: members } = grouped([2, -1, 2, 0], 3);
  assert.deepEqual([list(start), list(members)], [[0, 1, 1, 3], [3, 0, 2]]);
});

test('colors end where one value in a hundred would darken all others', () => {
  const values = [...Array(200).keys(), 1e6];
  assert.deepEqual(rangeOf(values), { low: 0, high: 198, top: 1e6 }); // floor(0.99 * 201) = 198
  assert.deepEqual(rangeOf([3, 3, 3]), { low: 3, high: 3, top: 3 });
  assert.equal(rangeOf([NaN]), null);
});
