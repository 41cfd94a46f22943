// What the card says of a token; the trace is that of recorded.py.

import assert from 'node:assert/strict';
import test from 'node:test';
import { many, ordinal, percent, seconds, share, storyOf } from '../../../viz/workspace/js/story.js';
import { traceOf } from './bundles.js';

const trace = traceOf('recorded');

test('a token of the pool that is merged in the LLM', () => {
  assert.deepEqual(storyOf(trace, 13), [
    'Contribution rank 3 of 48.',
    'Considered 3rd: the nearest pool token, frame 0 (0, 0), has cosine 0.30, unlike enough to enter the pool.',
    'Enters the LLM as itself.',
    'It ranked 4th of 5 for the question and was merged into frame 0 (1, 1) after layer 2.',
    `Its share of the token that carries it in the end is ${share(trace.weight[13])}.`,
  ]);
});

test('the first of the pool, a recycled one, a member and one that is dropped', () => {
  assert.match(storyOf(trace, 0)[1], /^Considered 1st: the pool was empty, so it entered\.$/);
  assert.match(storyOf(trace, 14)[1], /frame 1 \(0, 1\), has cosine 0\.80, too alike, so recycled\.$/);
  const member = storyOf(trace, 6).join(' ');
  assert.match(member, /Never considered for the pool: it was full by then\./);
  assert.match(member, /Merged with 2 others into the center at frame 0 \(1, 1\), as one of 3\./);
  assert.match(member, /That token ranked 3rd of 5 for the question and was kept at layer 2\./);
  assert.match(storyOf(trace, 41).join(' '), /That token ranked 5th of 5 .* dropped after layer 2\.$/);
  assert.equal(storyOf(trace, 47).at(-1), 'Dropped before the LLM.');
});

test('words for numbers', () => {
  assert.deepEqual([1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal),
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '102nd', '111th']);
  assert.deepEqual([share(1 / 17), share(0.4), share(0.5)], ['1/17', '0.40', '1/2']);
  assert.deepEqual([many(1, 'token'), many(0, 'token')], ['1 token', '0 tokens']);
  assert.deepEqual([percent(1, 8), percent(1, 800), percent(0, 5), percent(1, 0)],
    ['12.5 %', '0.13 %', '0.0 %', '0.0 %']);
  assert.equal(seconds(1.5), '1.50 s');
});
