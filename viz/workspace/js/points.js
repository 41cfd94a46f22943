// Points of a picture, found by where the pointer is.

import { clamp, grouped } from './model.js';

/** Points in the plane, found by a grid of square cells instead of a look at each. */
export class PointGrid {
  /** ``places``: Float32Array (2 n) of x, y in pixels; ``cell``: side of a cell. */
  constructor(places, cell, wide, tall) {
    Object.assign(this, { places, cell, columns: Math.ceil(wide / cell) + 1, rows: Math.ceil(tall / cell) + 1 });
    const home = Int32Array.from({ length: places.length / 2 }, (_, i) => (
      this.row(places[2 * i + 1]) * this.columns + this.column(places[2 * i])));
    Object.assign(this, grouped(home, this.columns * this.rows));
  }

  column(x) { return clamp(Math.floor(x / this.cell), 0, this.columns - 1); }

  row(y) { return clamp(Math.floor(y / this.cell), 0, this.rows - 1); }

  /** The point nearest to (x, y), no further than ``reach`` pixels; -1 for none. */
  nearest(x, y, reach) {
    let best = -1;
    let least = reach * reach;
    for (let row = this.row(y - reach); row <= this.row(y + reach); row += 1) {
      const first = row * this.columns;
      const from = this.start[first + this.column(x - reach)];
      const to = this.start[first + this.column(x + reach) + 1];
      for (let at = from; at < to; at += 1) { // cells of a row lie one after the other
        const far = this.squared(this.list[at], x, y);
        if (far <= least) [best, least] = [this.list[at], far];
      }
    }
    return best;
  }

  squared(i, x, y) { return (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2; }
}
