// One screen: how tall the row of clip, views and token may be, so that it ends where the window does.

const WIDE = 860; // pixels of the workspace from which they stand side by side
const LEAST = 330; // of the row; a lower window has to be scrolled
const MOST = 1000;
const EDGE = 8; // left free under it

/** Keeps ``--ws-room`` and the class ``ws-one`` of the workspace; ``height`` is 0 where all is stacked. */
export class Room {
  /** ``resized()`` is called when the row has another size, ``hidden()`` when nobody sees it. */
  constructor(root, row, resized, hidden) {
    Object.assign(this, { root, row, resized, hidden, height: 0, stacked: false });
    this.watch = new ResizeObserver(() => this.measure());
    for (let one = row; one; one = one.parentElement) this.watch.observe(one); // whatever grows above the row
    window.addEventListener('resize', () => this.measure());
  }

  measure() {
    const { root, row } = this;
    if (!root.clientWidth || !root.isConnected) { // in a hidden tab
      this.hidden();
      return;
    }
    const staged = root.classList.contains('ws-staged');
    const one = !staged && root.clientWidth >= WIDE && !this.stacked;
    root.classList.toggle('ws-one', one);
    const height = staged ? this.staged() : one ? this.fit() : 0;
    if (one && height !== this.height) root.style.setProperty('--ws-room', `${height}px`);
    const size = `${row.clientWidth} ${height} ${one}`;
    if (size === this.size) return;
    Object.assign(this, { height, size });
    this.resized();
  }

  /** What is left for a picture, down to the end of the panel or stage that it is in; 0 where all is stacked. */
  rest(picture) {
    const box = picture.closest(this.root.classList.contains('ws-staged') ? '.ws-host' : '[data-panel]');
    if (!this.height || !box) return 0;
    const above = picture.getBoundingClientRect().top - box.getBoundingClientRect().top + box.scrollTop;
    return Math.max(0, Math.floor(box.clientHeight - above - 4));
  }

  /** Of the view that has the screen. */
  staged() { return this.row.querySelector('.ws-on-stage:not([data-view=legend])')?.clientHeight || 0; }

  /** From where the row begins, with the page scrolled to its top, to the end of the window. */
  fit() {
    const top = this.row.getBoundingClientRect().top + window.scrollY;
    return Math.round(Math.min(MOST, Math.max(LEAST, window.innerHeight - top - EDGE)));
  }
}
