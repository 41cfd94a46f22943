// One state, told to all who listen once a frame. The animation frame is run by hand.

import assert from 'node:assert/strict';
import test, { beforeEach } from 'node:test';
import { START, State } from '../../../viz/workspace/js/state.js';

let due;
beforeEach(() => { due = new Map(); });
let last = 0;
globalThis.requestAnimationFrame = (act) => {
  last += 1;
  due.set(last, act);
  return last;
};
globalThis.cancelAnimationFrame = (number) => { due.delete(number); };
function nextFrame() {
  const acts = [...due.values()];
  due.clear();
  for (const act of acts) act();
}

function heard(state) {
  const told = [];
  const stop = state.on((_, changed) => told.push([...changed].sort()));
  return { told, stop };
}

test('many changes are told once, in the next frame', () => {
  const state = new State();
  const { told, stop } = heard(state);
  state.set({ frame: 3 });
  state.set({ stage: 'pool', hover: 7 });
  assert.deepEqual([state.frame, state.stage, state.hover], [3, 'pool', 7]); // known at once
  assert.equal(due.size, 1);
  assert.deepEqual(told, []);
  nextFrame();
  assert.deepEqual(told, [['frame', 'hover', 'stage']]);
  stop();
  state.set({ frame: 4 });
  nextFrame();
  assert.equal(told.length, 1);
});

test('what stays the same is no change, NaN included', () => {
  const state = new State();
  const { told } = heard(state);
  state.set({ frame: 0, stage: 'end' });
  assert.equal(due.size, 0);
  state.set({ time: NaN });
  nextFrame();
  state.set({ time: NaN });
  nextFrame();
  assert.deepEqual(told, [['time']]);
});

test('a flush tells at once, and the frame that was asked for is given back', () => {
  const state = new State();
  const { told } = heard(state);
  state.set({ word: 2 });
  state.flush();
  assert.equal(due.size, 0);
  assert.deepEqual(told, [['word']]);
});

test('an unknown name is an error', () => {
  assert.throws(() => new State().set({ nothing: 1 }), /no state "nothing"/);
});

test('the focus is under the pointer, else what was clicked last', () => {
  const state = new State();
  assert.equal(state.focus, -1);
  state.set({ locked: [4, 9] });
  assert.equal(state.focus, 9);
  state.set({ hover: 0 });
  assert.equal(state.focus, 0);
});

test('a reset keeps what the visitor set for all traces', () => {
  const state = new State();
  state.set({ locked: [4], frame: 3, stage: 'raw', word: 1, opacity: 0.3, scale: 'cividis', sinks: true, evidence: false });
  state.reset();
  const { opacity, scale, sinks, evidence, ...rest } = state.fields;
  assert.deepEqual([opacity, scale, sinks, evidence], [0.3, 'cividis', true, false]);
  for (const [key, value] of Object.entries(rest)) assert.deepEqual(value, START[key], key);
  assert.notEqual(state.locked, START.locked); // nobody may write into the start
});

test('a listener that throws stops no other', (context) => {
  const state = new State();
  const said = context.mock.method(console, 'error', () => {});
  state.on(() => { throw new Error('planted'); });
  const { told } = heard(state);
  state.set({ frame: 1 });
  nextFrame();
  assert.deepEqual(told, [['frame']]);
  assert.equal(said.mock.calls[0].arguments[0].message, 'planted');
});
