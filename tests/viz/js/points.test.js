import assert from 'node:assert/strict';
import test from 'node:test';
import { PointGrid } from '../../../viz/workspace/js/points.js';

test('the nearest point, as a look at each of them finds it', () => {
  let seed = 5;
  const random = () => { // the same every time
    seed = (seed * 48271) % 2147483647;
    return seed / 2147483647;
  };
  const [wide, tall, count] = [200, 120, 300];
  const places = Float32Array.from({ length: 2 * count }, (_, k) => random() * (k % 2 ? tall : wide));
  const grid = new PointGrid(places, 9, wide, tall);
  for (let turn = 0; turn < 500; turn += 1) {
    const [x, y] = [random() * 240 - 20, random() * 160 - 20];
    const far = (i) => Math.hypot(places[2 * i] - x, places[2 * i + 1] - y);
    const best = [...Array(count).keys()].reduce((a, b) => (far(b) < far(a) ? b : a));
    assert.equal(grid.nearest(x, y, 9), far(best) <= 9 ? best : -1);
  }
});
