// Every module of the page can be taken by itself, without a document.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import test from 'node:test';

for (const folder of ['workspace/js/', 'errors/']) {
  const home = new URL(`../../../viz/${folder}`, import.meta.url);
  for (const name of readdirSync(home).filter((each) => each.endsWith('.js'))) {
    test(`${folder}${name}`, async () => {
      const before = Object.keys(globalThis);
      const module = await import(new URL(name, home).href);
      assert.ok(Object.keys(module).length, 'exports nothing');
      assert.deepEqual(Object.keys(globalThis), before, 'leaves a global');
    });
  }
}
