// A run as Python. A trace file may claim any method, and somebody will run what is copied.

import assert from 'node:assert/strict';
import test from 'node:test';
import { codeOf } from '../../../viz/workspace/js/code.js';

function code(fields = {}, urls = {}) {
  const header = { method: 'STC(retention=0.02)', question: 'what "is" it?', model: 'embedded', baseline_answer: null, ...fields };
  return codeOf({ trace: { header, frames: 8 }, urls });
}

test('the run of the page', () => {
  assert.equal(code({}, { clip: '/files/my%20clip.mp4' }), [
    'from stc_core import answer, load',
    'from stc_core.methods import STC',
    '',
    'vlm = load()',
    'result = answer(',
    '    vlm,',
    '    "my clip.mp4",',
    '    "what \\"is\\" it?",',
    '    method=STC(retention=0.02),',
    '    frames=8,',
    '    record=True,',
    ')',
    'print(result.text)',
    'result.trace.save("trace.npz")',
    '',
  ].join('\n'));
});

test('another model, the uncompressed answer, a method of methods', () => {
  const made = code({ model: 'hub/model', baseline_answer: '', method: 'Remove(Uniform(retention=1e-3), tokens=(1, -2), name=\'a b\')' });
  assert.match(made, /vlm = load\("hub\/model"\) {2}# hub id/);
  assert.match(made, /import Remove, Uniform\n/);
  assert.match(made, / {4}baseline=True,\n/);
});

test('what is no repr of a method makes no code', () => {
  for (const method of [
    '', 'none', '1', 'STC(retention=0.02); import os', '__import__("os").system("x")', 'STC(a=os.system(1))',
    'STC(\n)#', 'STC(a="b")', 'STC(a=\'b\\\'c\')', 'STC(a=`x`)', 'STC(lambda: 1)',
  ]) assert.equal(code({ method }), '', method);
});
