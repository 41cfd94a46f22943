// The stops of a scrub, by hand and as pack_sweep writes them.

import assert from 'node:assert/strict';
import test from 'node:test';
import {
  curvesOf, flopsWords, methodAt, nearestStop, neighbor, placeOf, readStop, spread, stopTrace,
  unpackScrub, valueWords,
} from '../../../viz/workspace/js/scrub.js';
import { bytes, list, traceOf } from './bundles.js';

const { summary, stops } = unpackScrub(bytes('scrub'));
const run = traceOf('recorded');

test('values in words', () => {
  assert.deepEqual(
    [valueWords('retention', 0.005), valueWords('retention', 1), valueWords('retention', 0.0346), valueWords('tau', 0.7), valueWords('layer', 5)],
    ['0.5 %', '100 %', '3.46 %', 'tau 0.7', 'layer 5']);
  assert.deepEqual([flopsWords(2.5e9), flopsWords(null), flopsWords(61.6e12)], ['2.5 GFLOPs', 'FLOPs unknown', '61.6 TFLOPs']);
});

test('the axis runs from all tokens to few, by the logarithm', () => {
  assert.deepEqual(summary.planned, [0.01, 0.05, 0.2, 1]);
  assert.equal(placeOf(summary, 1), 0);
  assert.equal(placeOf(summary, 0.01), 1);
  assert.ok(Math.abs(placeOf(summary, 0.1) - 0.5) < 1e-9);
  assert.equal(placeOf({ over: 'layer', planned: [0, 8] }, 2), 0.25);
  assert.equal(placeOf({ over: 'tau', planned: [0.7] }, 0.7), 0.5);
});

test('the nearest stop is one that is there', () => {
  assert.equal(nearestStop(summary, 0).value, 1);
  assert.equal(nearestStop(summary, 0.99).value, 0.01);
  const half = { ...summary, stops: summary.stops.filter(({ value }) => value !== 0.01) };
  assert.equal(nearestStop(half, 1).value, 0.05);
  assert.equal(nearestStop({ ...summary, stops: [] }, 0.5), null);
  assert.equal(neighbor(summary, 0.2, 1).value, 0.05);
  assert.equal(neighbor(summary, 0.2, -1).value, 1);
  assert.equal(neighbor(summary, 0.01, 1).value, 0.01);
  assert.equal(neighbor(summary, 0.2, -999).value, 1);
});

test('curves have the answers that matter, from left to right', () => {
  const curves = curvesOf(summary);
  assert.deepEqual(curves.map(({ text }) => text), ['red', 'blue']);
  assert.deepEqual(curves[0].roles, ['right', 'uncompressed', 'run']);
  assert.deepEqual(curves[0].points.map(([, p]) => Math.round(100 * p)), [90, 80, 30, 10]);
  assert.ok(curves[0].points.every(([x], k) => !k || x > curves[0].points[k - 1][0]));
  const dim = { ...summary, answers: [...summary.answers, { text: 'dim', roles: [] }],
    stops: summary.stops.map((stop) => ({ ...stop, p: [...stop.p, 0.01] })) };
  assert.equal(curvesOf(dim).length, 2);
  dim.stops[0].p[2] = null;
  dim.stops[1].p[2] = 0.5;
  assert.equal(curvesOf(dim)[2].points.length, 3);
});

test('labels stay apart', () => {
  for (const wanted of [[5, 5, 5], [0, 149, 150], [], [70], [150, 0, 75, 76]]) {
    const placed = spread(wanted, 150).sort((a, b) => a - b);
    for (let k = 1; k < placed.length; k += 1) assert.ok(placed[k] - placed[k - 1] >= 13 - 1e-9, `${placed}`);
    assert.ok(placed.every((y) => y >= 6 && y <= 144));
  }
});

test('a stop is a trace with its own fates and nothing of the run that it does not hold', () => {
  for (const stop of summary.stops) {
    const made = stopTrace(run, summary, stop, stops.get(stop.value));
    assert.equal(made.fate.length, run.n);
    assert.equal(made.entered.length, stop.entered);
    assert.deepEqual(made.header.alive, [48, stop.entered, stop.left]);
    assert.equal(made.where(made.fate, (fate) => fate < 2).length, stop.left);
    assert.equal(made.header.answer, stop.answer);
    assert.equal(made.header.question, run.header.question);
    assert.ok([made.similarity, made.relevance].every((values) => values.every(Number.isNaN)));
    assert.ok([made.order, made.nearest].every((values) => values.every((value) => value === -1)));
    assert.deepEqual([made.words, made.attention, made.walk.length], [[], null, 0]);
    assert.equal(made.range('relevance'), null);
    assert.deepEqual(list(made.contribution), list(run.contribution));
    assert.deepEqual(made.stages.map(({ key }) => key), ['raw', 'refilled', 'layer', 'end']);
    assert.ok(made.story(5).length > 0);
    for (const token of made.entered) assert.deepEqual(list(made.members(token, 'refilled')), [token]);
  }
  assert.equal(list(run.fate).join(), list(traceOf('recorded').fate).join(), 'the run is as it was');
  assert.equal(run.header.answer, 'red');
});

test('the method of a stop', () => {
  assert.equal(methodAt('STC(retention=0.02, tau=0.7)', 'retention', 0.5), 'STC(retention=0.5, tau=0.7)');
  assert.equal(methodAt('STC(retention=0.02)', 'tau', 0.8), 'STC(retention=0.02, tau=0.8)');
  assert.equal(methodAt('STC(contribution_layer=None, layer=None)', 'layer', 3), 'STC(contribution_layer=None, layer=3)');
});

test('the stop of a link', () => {
  assert.deepEqual(readStop('retention@0.05'), { over: 'retention', value: 0.05 });
  assert.deepEqual(readStop('tau@-0.5'), { over: 'tau', value: -0.5 });
  for (const bad of ['', null, 'lam@0.5', 'retention@', 'retention@x', 'retention@1/../2', 'retention@--', '../x@1']) {
    assert.equal(readStop(bad), null, String(bad));
  }
});
