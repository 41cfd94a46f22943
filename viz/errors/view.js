// The table in the browser. Whatever comes from a file or a person is set as text, never as markup.

import { restore, standardOf, writeAddress, written } from './address.js';
import { associationOf, causesOf, rightOf } from './association.js';
import { Choices } from './choices.js';
import { columnsOf } from './columns.js';
import { Counts } from './counts.js';
import { detailOf } from './detail.js';
import { make, number } from './elements.js';
import { Gallery } from './gallery.js';
import { Pictures } from './pictures.js';
import { ANY, Comparison, FLIPS, Marks, RULES, Results, short } from './results.js';
import { SavedBar } from './saved-bar.js';
import { SavedFilters } from './saved.js';
import { Server } from './server.js';

const AHEAD = 6; // rows drawn above and below those in view
const GAP = 0.6; // rem between columns, as in errors.css
const NARROW = 720; // pixels of the table's width below which a question is a card

export class ErrorTable {
  /** root: the element of errors.html; trigger: sends an event to the server. */
  constructor(root, trigger = null) {
    this.root = root;
    this.part = (name) => root.querySelector(`.${name}`);
    this.field = (name) => root.querySelector(`[name="${name}"]`);
    this.scroller = this.part('scroller');
    this.chosen = -1; // place in this.shown
    this.view = 'table'; // or 'gallery'
    this.server = new Server(trigger);
    this.gallery = new Gallery(this.part('gallery'), (place) => this.choose(place, true));
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
    for (const name of ['kind', 'frames', 'mark', 'order', 'why']) {
      this.field(name).addEventListener('change', () => this.filter());
    }
    this.field('text').addEventListener('input', () => this.filter());
    this.field('clear').addEventListener('click', () => this.clear());
    this.field('csv').addEventListener('click', () => this.save());
    this.field('jsonl').addEventListener('click', () => this.saveLines());
    this.field('dataset').addEventListener('click', () => this.saveDataset());
    this.field('copy').addEventListener('click', () => this.copyLink());
    for (const view of ['table', 'gallery']) {
      this.field(`view-${view}`).addEventListener('click', () => this.turn(view));
    }
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
  async load(url, open, name = null) {
    this.asked += 1;
    const { asked } = this;
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`the table cannot be fetched (${answer.status})`);
    const data = await answer.json();
    if (asked !== this.asked) return; // another file was opened meanwhile
    this.open = open;
    this.name = name;
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
    this.part('about').textContent = `${results.name}: ${results.about}${results.explained ? ''
      : ' Why answers turned is not in it: python -m stc_core benchmark --why --output FOLDER adds it.'}`;
    this.bar ??= new SavedBar(this, new SavedFilters(storage));
    this.pictures = new Pictures(this.server, this.name, results, () => this.pictured());
    this.scroller.classList.toggle('pictured', this.pictures.can);
    this.measured = null;
    this.choices = new Choices(this.field, results);
    this.filters = { sides: [] };
    this.standing();
    this.standard = standardOf(this);
    const asked = new URLSearchParams(location.search).get('errors');
    if (asked && !this.restored) restore(this, asked);
    this.restored = true; // another file begins afresh
    this.compare();
    this.turn(this.view);
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
    this.columns = columnsOf(this.results, this.comparison, this.marks, this.pictures);
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
      why: chosen('why') === '' ? -1 : Number(chosen('why')),
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
    this.bar.offer();
    this.address();
  }

  /** As the table opens: nothing filtered, the usual methods. */
  standing() {
    this.choices.offer(this.marks);
    this.field('text').value = '';
    this.field('order').value = 'file';
    this.filters.sides = [];
  }

  /** The tab is shown or left: only then are its filters in the page's address. */
  appear(visible) {
    if (visible === this.visible) return;
    const before = this.visible;
    this.visible = visible;
    if (visible || before) this.address();
  }

  address() {
    if (!this.comparison) return;
    writeAddress(this.visible ? written(this) : '');
  }

  clear() {
    for (const name of ['kind', 'mark', 'text', 'why']) this.field(name).value = '';
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
    if (filters.why >= 0) parts.push(results.whys[filters.why]);
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
    this.drawMeasured();
    // the buttons are new ones: whoever pressed one with a key wants to go on from there
    if (focused) this.part('panels').querySelector(`[data-cell="${focused}"]`)?.focus();
  }

  /** What the server has to be asked for the numbers of the panels. */
  question() {
    const { comparison, filters } = this;
    const narrowed = filters.mark !== null || filters.text.trim();
    return {
      table: this.name, reference: comparison.reference, methods: comparison.methods, kind: filters.kind,
      frames: filters.frames, rule: Object.keys(RULES).find((key) => RULES[key] === comparison.rule),
      cases: narrowed ? comparison.select(filters, this.marks, () => false) : null,
    };
  }

  /** Fill the panels with shares and odds; those of another selection are asked for. */
  async drawMeasured() {
    const question = this.question(), key = JSON.stringify(question);
    if (this.measured?.key === key) {
      this.fillMeasured(this.measured);
      return;
    }
    if (this.asking === key || !this.name) return;
    this.asking = key;
    await new Promise((done) => { setTimeout(done, 60); }); // who types asks once
    if (this.asking !== key) return;
    try {
      const { measured } = await this.server.ask('measure', question);
      if (this.asking !== key) return;
      this.measured = { key, ...measured };
      this.fillMeasured(this.measured);
    } catch (error) {
      for (const place of this.root.querySelectorAll('.panel .rates')) place.textContent = `No intervals: ${error.message}.`;
    }
    if (this.asking === key) this.asking = null;
  }

  fillMeasured({ sides, methods }) {
    const { retention } = this.results.methods[this.comparison.methods[0]];
    this.root.querySelectorAll('.panel').forEach((panel, place) => {
      const side = sides[place];
      panel.querySelector('.rates').textContent = rightOf(side);
      panel.querySelector('.sentence').textContent = side.sentence;
      panel.querySelector('.assoc').replaceWith(associationOf(side, methods, retention === null ? '' : ` at ${short(retention)} %`));
      const why = panel.querySelector('.whys');
      if (side.why.length) {
        why.replaceWith(causesOf(side, this.results.whys, this.filters.why, (cause) => {
          this.field('why').value = cause === null ? '' : String(cause);
          this.filter();
        }));
      } else why.hidden = true;
    });
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
    if (this.view === 'gallery') {
      this.gallery.draw(this);
      return;
    }
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

  /** Show the questions as a table or as a gallery. */
  turn(view) {
    this.view = view;
    for (const one of ['table', 'gallery']) this.field(`view-${one}`).setAttribute('aria-current', String(one === view));
    this.scroller.hidden = view !== 'table';
    this.part('gallery').hidden = view !== 'gallery';
    this.draw();
    this.address();
  }

  /** Pictures have come: those of the rows in view, and of the chosen question. */
  pictured() {
    this.later();
    const picture = this.part('detail').querySelector('.thumb');
    if (picture && this.chosen >= 0) picture.replaceWith(this.pictures.image(this.shown[this.chosen]));
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
    if (this.view === 'gallery') {
      this.draw();
      this.part('gallery').querySelector(`[data-place="${this.chosen}"]`)?.scrollIntoView({ block: 'nearest' });
      this.drawDetail();
      if (open) this.openChosen();
      return;
    }
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
    const { comparison, marks, pictures, results } = this;
    detail.replaceChildren(...detailOf({
      results, comparison, marks, pictures, one: this.shown[this.chosen],
      open: this.open ? () => this.openChosen() : null,
      changed: () => {
        this.choices.offerMarks(marks);
        this.draw();
      },
    }));
  }

  // Files and links -------------------------------------------------------------------------------

  save() {
    this.file(this.comparison.csv(this.shown, this.marks), 'text/csv;charset=utf-8', 'errors.csv');
  }

  saveLines() {
    this.file(this.comparison.jsonl(this.shown, this.marks), 'application/jsonl', 'errors.jsonl');
  }

  file(text, type, name) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    this.download(url, name);
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    this.part('exported').textContent = `Saved ${number(this.shown.length)} questions as ${name}.`;
  }

  download(url, name) {
    make('a', { href: url, download: name }).click();
  }

  /** The server draws the clips again and packs them with answers and boxes. */
  async saveDataset() {
    const { comparison, marks, shown } = this, says = this.part('exported');
    const kept = shown.flatMap((one) => {
      const mark = marks.get(comparison.key(one));
      return mark.tags.length || mark.note ? [[one, mark]] : [];
    });
    this.field('dataset').disabled = true;
    says.textContent = 'Drawing the clips …';
    try {
      const { file, questions } = await this.server.ask('dataset', {
        table: this.name, cases: shown, methods: [comparison.reference, ...comparison.methods],
        marks: Object.fromEntries(kept),
      }, (share) => { says.textContent = `Drawing the clips: ${Math.round(100 * share)} % …`; });
      this.download(file, 'errors-fiftyone.zip');
      says.textContent = `Saved ${number(questions)} questions as errors-fiftyone.zip; unpack it and load the folder with `
        + 'fiftyone.Dataset.from_dir(folder, fiftyone.types.LegacyFiftyOneDataset).';
    } catch (error) {
      says.textContent = `No data set: ${error.message}.`;
    }
    this.field('dataset').disabled = false;
  }

  async copyLink() {
    this.address();
    const says = this.part('exported');
    try {
      await navigator.clipboard.writeText(location.href);
      says.textContent = 'The link to these filters is copied.';
    } catch {
      says.textContent = 'This browser copies nothing here; the link is in its address bar.';
    }
  }
}
