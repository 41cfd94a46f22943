// Scales, and the pixels of every token; the trace is that of recorded.py.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Look, digits, packed, ramp, rgb } from '../../../viz/workspace/js/color.js';
import { START } from '../../../viz/workspace/js/state.js';
import { list, traceOf } from './bundles.js';

const trace = traceOf('recorded');
const lookAt = (patch) => new Look(trace, { ...START, ...patch });
const pixel = (pixels, i) => list(pixels.subarray(4 * i, 4 * i + 4));

test('a ramp goes through its stops', () => {
  const gray = ramp(['#000000', '#ffffff']);
  assert.deepEqual([0, 1, 128, 255].map((k) => list(gray.subarray(3 * k, 3 * k + 3))),
    [[0, 0, 0], [1, 1, 1], [128, 128, 128], [255, 255, 255]]);
  const three = ramp(['#ff0000', '#00ff00', '#0000ff']);
  assert.deepEqual(list(three.subarray(0, 3)), [255, 0, 0]);
  assert.deepEqual(list(three.subarray(765)), [0, 0, 255]);
  assert.deepEqual(list(three.subarray(3 * 127, 3 * 127 + 3)), [1, 254, 0]); // 127 / 127.5 of the way
});

test('colors as numbers', () => {
  assert.deepEqual(rgb('#E69F00'), [230, 159, 0]);
  const bytes = new Uint8Array(new Uint32Array([packed([1, 2, 3], 0.5)]).buffer);
  assert.deepEqual(list(bytes), [1, 2, 3, 128]);
  assert.deepEqual([41, 0.012345, 1234.6, 0.1].map(digits), ['41', '0.0123', '1230', '0.1']);
});

test('fates darken the picture as their light says', () => {
  const look = lookAt({});
  assert.equal(look.range, null);
  assert.equal(look.fate, trace.fate);
  for (const token of [0, 5, 6, 13, 40, 47]) {
    const { light, color } = trace.codes[trace.fate[token]];
    assert.deepEqual(pixel(look.over, token), [0, 0, 0, Math.round(255 * (1 - light))]);
    assert.deepEqual(pixel(look.solid, token), [...rgb(color), 255]);
  }
  assert.deepEqual(pixel(look.over, 0), [0, 0, 0, 0]); // what is kept is seen as it is
});

test('the replay goes before the stage', () => {
  const look = lookAt({ step: 3, stage: 'end' });
  assert.deepEqual(list(look.fate), list(trace.fateDuring(3)));
});

test('values span the scale, and what has none is dark', () => {
  const look = lookAt({ overlay: 'members', stage: 'refilled', scale: 'cividis' });
  const scale = trace.header.scales.cividis;
  assert.deepEqual(look.range, { low: 1, high: 3, top: 3 });
  assert.deepEqual(pixel(look.over, 0), [...rgb(scale[0]), 255]);
  assert.deepEqual(pixel(look.over, 5), [...rgb(scale.at(-1)), 255]);
  const middle = ramp(scale).subarray(3 * 128, 3 * 128 + 3); // two members of one to three
  assert.deepEqual(pixel(look.over, 40), [...middle, 255]);
  assert.deepEqual(pixel(look.over, 6), [0, 0, 0, 171]);
  assert.deepEqual(pixel(look.solid, 6), [0, 0, 0, 0]);
  assert.equal(look.few, true);
  assert.equal(lookAt({ overlay: 'contribution' }).few, false);
});

test('an overlay that nobody measured', () => {
  const look = lookAt({ overlay: 'attention', word: -1 });
  assert.equal(look.range, null);
  assert.ok(trace.codes.length > 6 && look.over.length === 4 * 48);
  for (let i = 0; i < 48; i += 1) assert.deepEqual(pixel(look.over, i), [0, 0, 0, 171]);
});
