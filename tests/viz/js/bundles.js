// Traces that test_javascript.py has packed; recorded.py tells what is in them.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { TokenTrace } from '../../../viz/workspace/js/model.js';

/** ArrayBuffer of a file in the folder that BUNDLES names. */
export function bytes(name) {
  if (!process.env.BUNDLES) throw new Error('run these tests by pytest tests/viz/test_javascript.py');
  const data = readFileSync(path.join(process.env.BUNDLES, `${name}.bin`));
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
}

export function traceOf(name) { return new TokenTrace(bytes(name)); }

/** A plain array of what may be typed, for comparison. */
export function list(values) { return Array.from(values); }
