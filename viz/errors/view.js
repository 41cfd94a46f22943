// The table in the browser. Whatever comes from a file or a person is set as text, never as markup.

import { Choices } from './choices.js';
import { columnsOf } from './columns.js';
import { Counts } from './counts.js';
import { detailOf } from './detail.js';
import { make, number } from './elements.js';
import { ANY, Comparison, FLIPS, Marks, RULES, Results } from './results.js';

const AHEAD = 6; // rows drawn above and below those in view
const GAP = 0.6; // rem between columns, as in errors.css
const NARROW = 720; // pixels of the table's width below which a question is a card

export class ErrorTable {
  /** root: the element of errors.html. */
  constructor(root) {
    this.root = root;
    this.part = (name) => root.querySelector(`.${name}`);
    this.field = (name) => root.querySelector(`[name="${name}"]`);
    this.scroller = this.part('scroller');
    this.chosen = -1; // place in this.shown
    this.asked = 0;
    this.listen();
  }

  listen() {
    const compare = () => this.compare();
    for (const name of ['reference', 'first', 'second', 'rule']) {
      this.field(name).addEventListener('change', compare);
    }
    this.field('retention').addEventListener('change', () => {
      this.choices.offerMethods();
      this.compare();
    });
    for (const name of ['kind', 'frames', 'mark', 'order']) {
      this.field(name).addEventListener('change', () => this.filter());
    }
    this.field('text').addEventListener('input', () => this.filter());
    this.field('clear').addEventListener('click', () => this.clear());
    this.field('csv').addEventListener('click', () => this.save());
    this.scroller.addEventListener('scroll', () => this.later(), { passive: true });
    this.scroller.addEventListener('keydown', (event) => this.move(event));
    this.part('rows').addEventListener('click', (event) => {
      const row = event.target.closest('[role=row]');
      if (row) this.choose(Number(row.dataset.place), true);
    });
    document.addEventListener('keydown', (event) => this.step(event)); // wherever the focus is
    new ResizeObserver(() => this.later()).observe(this.scroller);
    window.addEventListener('storage', (event) => {
      if (this.marks && event.key === this.marks.name) {
        this.marks.read();
        this.choices.offerMarks(this.marks);
        // who writes a note here keeps the field
        if (!this.part('detail').contains(document.activeElement)) this.filter();
      }
    });
  }

  /**
   * Fetch and show a table, the file that store.py wrote. open(question, methods) is called when
   * a question is chosen; null where nobody listens.
   */
  async load(url, open) {
    this.asked += 1;
    const { asked } = this;
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`the table cannot be fetched (${answer.status})`);
    const data = await answer.json();
    if (asked !== this.asked) return; // another file was opened meanwhile
    this.open = open;
    this.show(new Results(data));
  }

  fail(error) {
    this.part('hint').textContent = `The table could not be shown: ${error.message}.`;
    this.part('hint').hidden = false;
  }

  show(results) {
    let storage = null;
    try {
      storage = window.localStorage;
    } catch { /* forbidden; Marks says so */ }
    this.results = results;
    this.chosen = -1;
    this.marks = new Marks(results.key, storage);
    this.part('hint').hidden = true;
    this.part('body').hidden = false;
    this.part('about').textContent = `${results.name}: ${results.about}`;
    this.choices = new Choices(this.field, results);
    this.choices.offer(this.marks);
    this.filters = { sides: [] };
    this.compare();
  }

  // From what is chosen to what is shown ----------------------------------------------------------

  compare() {
    const reference = Number(this.field('reference').value);
    const [first, second] = ['first', 'second'].map((name) => this.field(name).value);
    const methods = [Number(first)];
    if (second !== '' && second !== first) methods.push(Number(second));
    const rule = RULES[this.field('rule').value];
    this.comparison = new Comparison(this.results, reference, methods, rule);
    this.filters.sides = methods.map((_, side) => (
      this.filters.sides[side] ?? { flip: ANY, evidence: ANY }));
    this.columns = columnsOf(this.results, this.comparison, this.marks);
    this.drawHead();
    this.filter();
  }

  filter() {
    const { comparison, marks } = this;
    const chosen = (name) => this.field(name).value;
    const keep = this.chosen < 0 ? -1 : this.shown[this.chosen];
    Object.assign(this.filters, {
      kind: chosen('kind') || null,
      frames: this.field('frames').length > 1 ? Number(chosen('frames')) : null,
      mark: chosen('mark') ? chosen('mark').slice(1) : null,
      text: chosen('text'),
    });
    const found = comparison.select(this.filters, marks);
    this.shown = comparison.sort(found, chosen('order'));
    this.chosen = this.shown.indexOf(keep);
    this.drawPanels();
    this.part('found').textContent = this.words();
    if (this.chosen < 0) this.scroller.scrollTop = 0;
    this.draw();
    this.drawDetail();
  }

  clear() {
    for (const name of ['kind', 'mark', 'text']) this.field(name).value = '';
    for (const side of this.filters.sides) Object.assign(side, { flip: ANY, evidence: ANY });
    this.filter();
  }

  /** "212 of 1,560 questions: STC at 2 %: lost before the LLM, right → wrong; kind color" */
  words() {
    const { comparison, filters, results } = this;
    const parts = filters.sides.flatMap(({ flip, evidence }, side) => {
      const said = [evidence === ANY ? '' : results.evidence[evidence].label,
        flip === ANY ? '' : FLIPS[flip]].filter(Boolean).join(', ');
      return said ? [`${results.nameOf(comparison.methods[side])}: ${said}`] : [];
    });
    if (filters.kind !== null) parts.push(`kind ${filters.kind}`);
    if (filters.frames !== null) parts.push(`${filters.frames} frames`);
    if (filters.mark !== null) parts.push(filters.mark ? `tag ${filters.mark}` : 'tag or note');
    if (filters.text.trim()) parts.push(`“${filters.text.trim()}”`);
    const all = comparison.cases.length;
    const count = this.shown.length === all ? number(all)
      : `${number(this.shown.length)} of ${number(all)}`;
    return `${count} questions${parts.length ? `: ${parts.join('; ')}` : ''}`;
  }

  // Counts ----------------------------------------------------------------------------------------

  drawPanels() {
    const { comparison } = this;
    const focused = document.activeElement?.dataset?.cell;
    const select = (applies) => comparison.select(this.filters, this.marks, applies);
    const all = select(() => false);
    this.part('panels').replaceChildren(...comparison.methods.map((_, side) => (
      new Counts(this.results, comparison, side, this.filters.sides[side], () => this.filter())
        .panel(all, select((other) => other !== side)))));
    // the buttons are new ones: whoever pressed one with a key wants to go on from there
    if (focused) this.part('panels').querySelector(`[data-cell="${focused}"]`)?.focus();
  }

  // The table -------------------------------------------------------------------------------------

  drawHead() {
    const { columns } = this;
    const widths = columns.map(({ head, width }) => (
      head === 'question' ? `minmax(${width}rem, 1fr)` : `${width}rem`));
    this.scroller.style.setProperty('--columns', widths.join(' '));
    const least = columns.reduce((sum, { width }) => sum + width + GAP, GAP);
    this.scroller.style.setProperty('--least', `${least}rem`);
    this.scroller.setAttribute('aria-colcount', columns.length);
    this.part('head').replaceChildren(make('div', { role: 'row', 'aria-rowindex': 1 },
      ...columns.map(({ head, over }) => make('div', { role: 'columnheader', title: over ?? head },
        ...(over ? [make('small', {}, over), ' '] : []), head))));
  }

  /** Draw with the next picture of the screen, once. */
  later() {
    if (this.waiting || !this.shown) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  /** The rows in view and a few around them; the others are only height. */
  draw() {
    const { scroller } = this, rows = this.part('rows');
    const narrow = scroller.clientWidth > 0 && scroller.clientWidth < NARROW;
    scroller.classList.toggle('narrow', narrow);
    scroller.classList.toggle('two', this.comparison.methods.length > 1);
    this.height = Number(getComputedStyle(scroller).getPropertyValue('--row')); // pixels
    const count = this.shown.length;
    rows.style.height = `${count * this.height}px`;
    scroller.setAttribute('aria-rowcount', count + 1);
    const first = Math.max(0, Math.floor(scroller.scrollTop / this.height) - AHEAD);
    const last = Math.min(count,
      Math.ceil((scroller.scrollTop + scroller.clientHeight) / this.height) + AHEAD);
    const drawn = [];
    for (let place = first; place < last; place += 1) drawn.push(this.row(place));
    rows.replaceChildren(...drawn);
    const seen = this.chosen >= first && this.chosen < last;
    if (seen) scroller.setAttribute('aria-activedescendant', `errors-row-${this.chosen}`);
    else scroller.removeAttribute('aria-activedescendant');
  }

  row(place) {
    const one = this.shown[place];
    const row = make('div', {
      role: 'row', id: `errors-row-${place}`, 'aria-rowindex': place + 2, 'data-place': place,
      'aria-selected': String(place === this.chosen),
      class: this.comparison.isFlip(one) ? 'flipped' : null,
    });
    row.style.transform = `translateY(${place * this.height}px)`;
    for (const { label = null, fill } of this.columns) {
      const cell = make('div', { role: 'gridcell', 'data-label': label });
      fill(one, cell);
      if (cell.textContent.length > 8) cell.title = cell.textContent;
      row.append(cell);
    }
    return row;
  }

  // Choosing --------------------------------------------------------------------------------------

  choose(place, open = false) {
    if (!this.shown.length) return;
    this.chosen = Math.min(Math.max(place, 0), this.shown.length - 1);
    const { scroller } = this, top = this.chosen * this.height;
    const head = this.part('head').offsetHeight;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    const low = top + this.height + head - scroller.clientHeight;
    if (low > scroller.scrollTop) scroller.scrollTop = low;
    this.draw();
    this.drawDetail();
    if (open) this.openChosen();
  }

  openChosen() {
    const { reference, methods } = this.comparison;
    this.open?.(this.shown[this.chosen], [...new Set([reference, ...methods])]);
  }

  move(event) {
    if (event.target !== this.scroller || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.height) - 1);
    const to = {
      ArrowDown: this.chosen + 1, ArrowUp: this.chosen - 1, PageDown: this.chosen + page,
      PageUp: this.chosen - page, Home: 0, End: this.shown.length - 1,
    }[event.key];
    if (to !== undefined) this.choose(to);
    else if (event.key === 'Enter' && this.chosen >= 0) this.openChosen();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** n and p: the next and the previous flip, wherever the focus is but where one types. */
  step(event) {
    const typing = event.target.closest?.('input, select, textarea');
    if (typing || !this.root.checkVisibility() || event.ctrlKey || event.metaKey || event.altKey || !this.shown) return;
    const by = { n: 1, p: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    if (this.flip(by)) this.scroller.focus({ preventScroll: true });
    else this.part('found').textContent = `${this.words()}. No ${by > 0 ? 'later' : 'earlier'} flip.`;
  }

  /** Choose the next flip (by = 1) or the previous one (-1), and open it; whether there is one. */
  flip(by, open = false) {
    const count = this.shown?.length ?? 0;
    const start = this.chosen < 0 && by < 0 ? count : this.chosen;
    for (let place = start + by; place >= 0 && place < count; place += by) {
      if (this.comparison.isFlip(this.shown[place])) {
        this.choose(place, open);
        return true;
      }
    }
    return false;
  }

  // The chosen question ---------------------------------------------------------------------------

  drawDetail() {
    const detail = this.part('detail');
    if (this.chosen < 0) {
      detail.replaceChildren(make('p', { class: 'quiet' }, 'Choose a question to see all of it.'));
      return;
    }
    const { comparison, marks, results } = this;
    detail.replaceChildren(...detailOf({
      results, comparison, marks, one: this.shown[this.chosen],
      open: this.open ? () => this.openChosen() : null,
      changed: () => {
        this.choices.offerMarks(marks);
        this.draw();
      },
    }));
  }

  save() {
    const text = this.comparison.csv(this.shown, this.marks);
    const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }));
    const link = make('a', { href: url, download: 'errors.csv' });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}
