// The table in the browser. Whatever comes from a file or a person is set as text, never as markup.

import {
  ANY, Comparison, FLIPS, FLIP_GLYPHS, LONGEST_NOTE, Marks, RIGHT_RIGHT, RIGHT_WRONG, RULES,
  Results, WRONG_RIGHT, WRONG_WRONG, mcnemar, percent, short, showP, tagsOf,
} from './results.js';

const AHEAD = 6; // rows drawn above and below those in view
const GAP = 0.6; // rem between columns, as in errors.css
const NARROW = 720; // pixels of the table's width below which a question is a card

/** An element with attributes and children; strings become text. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

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
      this.offerMethods();
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
        this.offerMarks();
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
    this.offer();
    this.filters = { sides: [] };
    this.compare();
  }

  // What can be chosen ----------------------------------------------------------------------------

  offer() {
    const { results } = this, { methods, order } = results;
    const stock = order.find((method) => methods[method].uncompressed);
    this.options('reference', order.map((method) => [method, results.nameOf(method)]), stock);
    const others = order.filter((method) => method !== stock);
    const shares = [...new Set((others.length ? others : order).map((m) => methods[m].retention))];
    const close = shares.includes(0.02) ? 0.02 : shares[0]; // the paper's setting
    this.options('retention', shares.map((share) => [
      share, share === null ? 'not given' : `${short(share)} %`]), close);
    this.offerMethods();
    this.options('rule', Object.entries(RULES).map(([key, rule]) => [key, rule.label]));
    this.options('kind', [['', 'all kinds'],
      ...results.values('kind').filter(Boolean).map((kind) => [kind, kind])]);
    // one number at a time: the same question at another is no new one for a test
    const frames = results.values('frames');
    const asked = (count) => results.questions.frames.filter((one) => one === count).length;
    const usual = frames.reduce((best, count) => (asked(count) > asked(best) ? count : best));
    this.options('frames', frames.map((count) => [count, String(count)]), usual);
    this.field('frames').parentElement.hidden = frames.length < 2;
    this.offerMarks();
  }

  /** The methods of the chosen retention; what was chosen stays where it is there too. */
  offerMethods() {
    const { methods, order } = this.results;
    const share = this.field('retention').value;
    const here = order.filter((method) => String(methods[method].retention) === share);
    const pairs = here.map((method) => [method, methods[method].label]);
    const former = (name) => {
      const label = this.field(name).selectedOptions[0]?.textContent;
      return pairs.find((pair) => pair[1] === label)?.[0];
    };
    this.options('first', pairs, former('first'));
    this.options('second', [['', 'none'], ...pairs], former('second'));
  }

  offerMarks() {
    const tags = this.marks.tags().map((tag) => [`#${tag}`, `tag: ${tag}`]);
    this.options('mark', [['', 'all'], ['#', 'any tag or note'], ...tags],
      this.field('mark').value);
  }

  options(name, pairs, chosen) {
    const field = this.field(name);
    field.replaceChildren(...pairs.map(([value, label]) => (
      make('option', { value: String(value) }, label))));
    if (chosen !== undefined && pairs.some(([value]) => String(value) === String(chosen))) {
      field.value = String(chosen);
    }
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
    this.columns = this.columnsOf();
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
      this.panel(side, all, select((other) => other !== side)))));
    // the buttons are new ones: whoever pressed one with a key wants to go on from there
    if (focused) this.part('panels').querySelector(`[data-cell="${focused}"]`)?.focus();
  }

  /**
   * Accuracy and test over `all` questions that the other filters leave: what is chosen by its
   * answers proves nothing. Below it the tables of `cases`, which the other method's cell leaves.
   */
  panel(side, all, cases) {
    const { results, comparison } = this;
    const name = results.nameOf(comparison.methods[side]);
    const flips = total(comparison.table(side, all));
    const [both, lost, gained] = flips, count = flips.reduce((sum, one) => sum + one, 0);
    const share = (right) => (count ? `${percent(right, count)} %` : '–');
    const counts = comparison.table(side, cases);
    return make('section', { class: 'panel', 'aria-label': name },
      make('h2', {}, name),
      make('p', {}, `Right: ${share(both + lost)} → ${share(both + gained)} of ${number(count)} `
        + `questions. Lost ${number(lost)}, gained ${number(gained)}; McNemar’s exact p `
        + `${showP(mcnemar(lost, gained)).replace(/^(?!<)/, '= ')}.`),
      make('div', { class: 'tables' }, this.flipTable(side, total(counts)),
        this.evidenceTable(side, counts, total(counts))),
      ...(cases.length < all.length ? [make('p', { class: 'quiet' },
        `Counts of the ${number(cases.length)} questions chosen by the other method.`)] : []));
  }

  flipTable(side, flips) {
    const row = (label, first, second) => make('tr', {}, make('th', { scope: 'row' }, label),
      this.cell(side, first, ANY, flips[first], flips),
      this.cell(side, second, ANY, flips[second], flips));
    return make('table', {},
      make('caption', {}, 'Answers'),
      make('thead', {}, make('tr', {}, make('td'), make('th', { scope: 'col' }, 'right now'),
        make('th', { scope: 'col' }, 'wrong now'))),
      make('tbody', {}, row('right before', RIGHT_RIGHT, RIGHT_WRONG),
        row('wrong before', WRONG_RIGHT, WRONG_WRONG)));
  }

  evidenceTable(side, counts, flips) {
    const { evidence } = this.results;
    const every = counts.flat();
    return make('table', {},
      make('caption', {}, 'Evidence and answers'),
      make('thead', {}, make('tr', {}, make('td'),
        ...FLIPS.map((label, flip) => make('th', { scope: 'col', title: label },
          ...spoken(FLIP_GLYPHS[flip], label))),
        make('th', { scope: 'col' }, 'all'))),
      make('tbody', {}, ...evidence.map((about, kind) => make('tr', {},
        make('th', { scope: 'row' }, this.chip(kind), ` ${about.label}`),
        ...counts[kind].map((count, flip) => this.cell(side, flip, kind, count, every)),
        this.cell(side, ANY, kind, counts[kind].reduce((a, b) => a + b, 0), null)))),
      make('tfoot', {}, make('tr', {}, make('th', { scope: 'row' }, 'all'),
        ...flips.map((count, flip) => this.cell(side, flip, ANY, count, null)),
        this.cell(side, ANY, ANY, flips.reduce((a, b) => a + b, 0), null))));
  }

  /** A count that filters; `among`: the counts it is shaded against. */
  cell(side, flip, evidence, count, among) {
    const own = this.filters.sides[side];
    const on = own.flip === flip && own.evidence === evidence;
    const label = [evidence === ANY ? '' : this.results.evidence[evidence].label,
      flip === ANY ? '' : FLIPS[flip]].filter(Boolean).join(', ') || 'all';
    const button = make('button', {
      type: 'button', 'aria-pressed': String(on), 'aria-label': `${label}: ${number(count)}`,
      'data-cell': `${side} ${flip} ${evidence} ${among ? 'in' : 'edge'} ${among?.length ?? 0}`,
    }, number(count));
    if (among) {
      const most = Math.max(1, ...among);
      button.style.setProperty('--share', `${Math.round(45 * count / most)}%`);
    }
    button.addEventListener('click', () => {
      Object.assign(own, on ? { flip: ANY, evidence: ANY } : { flip, evidence });
      this.filter();
    });
    return make('td', {}, button);
  }

  chip(kind) {
    const { color, glyph } = this.results.evidence[kind];
    const chip = make('span', { class: 'chip', 'aria-hidden': 'true' }, glyph);
    if (color) chip.style.setProperty('--chip', color);
    return chip;
  }

  // The table -------------------------------------------------------------------------------------

  /**
   * The columns: { head, over, width, fill(one, cell) }, widths in rem. The question takes what
   * room there is; `label` is what stands before the value on a card.
   */
  columnsOf() {
    const { results, comparison } = this, { questions } = results;
    const plain = (head, width, column) => ({
      head, width, fill: (one, cell) => cell.append(questions[column][one] || '–'),
    });
    // as wide as the longest text, within bounds; what is longer takes two lines
    const fitting = (texts, least, most, more = 0) => Math.min(most, Math.max(least,
      more + 0.46 * texts.reduce((longest, text) => Math.max(longest, text.length), 0)));
    const said = fitting(results.texts, 5.5, 7.5, 1.6);
    const answer = (over, rows) => ({
      head: 'answer', over, label: over, width: said, fill: (one, cell) => {
        const row = rows[one];
        if (row < 0) cell.append('not asked');
        else cell.append(...this.said(row));
      },
    });
    const columns = [plain('clip', 5.8, 'clip'),
      plain('kind', fitting(results.values('kind'), 3.5, 8), 'kind'),
      plain('question', 11, 'question'),
      { ...plain('right answer', fitting(results.values('expected'), 5.6, 7, 0.4), 'expected'), label: 'right answer' },
      answer(results.nameOf(comparison.reference), comparison.base)];
    comparison.methods.forEach((method, side) => {
      const rows = comparison.sides[side], over = results.nameOf(method);
      const column = (head, width, fill, label) => ({
        head, over, width, label,
        fill: (one, cell) => (rows[one] < 0 ? cell.append('–') : fill(one, cell)),
      });
      columns.push(
        answer(over, rows),
        column('flip', 4.6, (one, cell) => {
          const flip = comparison.flip(side, one);
          cell.classList.add('flip', `flip${flip}`);
          cell.append(...spoken(FLIP_GLYPHS[flip], FLIPS[flip]));
        }),
        column('evidence', 6.6, (one, cell) => {
          const kind = comparison.evidence(side, one);
          cell.append(this.chip(kind), ` ${results.evidence[kind].short}`);
        }),
        column('kept, %', 5.2, (one, cell) => cell.append(this.share(rows[one])), 'kept, %'));
    });
    columns.push({ head: 'tags', width: 4, fill: (one, cell) => {
      const { tags, note } = this.marks.get(comparison.key(one));
      cell.append([...tags, ...(note ? ['✎'] : [])].join(', '));
    } });
    return columns;
  }

  /** An answer and whether it is right. */
  said(row) {
    const { answers, texts } = this.results;
    const right = answers.right[row];
    return [make('span', { class: right ? 'good' : 'bad' },
      ...spoken(right ? '✓' : '✗', right ? 'right:' : 'wrong:')),
    ` ${texts[answers.answer[row]] || '(nothing)'}`];
  }

  /** "2.0 → 1.0": shares of the video's tokens that enter the LLM and that reach its end. */
  share(row) {
    const { tokens, tokens_door: door, tokens_end: end } = this.results.answers;
    if (tokens[row] < 1) return '–';
    return `${percent(door[row], tokens[row])} → ${percent(end[row], tokens[row])}`;
  }

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
    const { comparison, results } = this, { questions } = results;
    const one = this.shown[this.chosen];
    const about = [questions.kind[one], questions.clip[one] && `clip ${questions.clip[one]}`,
      questions.frames[one] ? `${questions.frames[one]} frames` : ''].filter(Boolean).join(', ');
    const list = make('dl', {}, make('dt', {}, 'Right answer'),
      make('dd', {}, questions.expected[one] || '–'));
    list.append(...this.answer(comparison.reference, comparison.base[one], null));
    comparison.methods.forEach((method, side) => {
      list.append(...this.answer(method, comparison.sides[side][one], comparison.gain(side, one)));
    });
    const open = make('button', { type: 'button', class: 'open' }, 'Open in the workspace');
    open.addEventListener('click', () => this.openChosen());
    const title = questions.question[one] || `Case ${questions.id[one]}`;
    detail.replaceChildren(
      make('div', {}, make('h2', {}, title), make('p', { class: 'quiet' }, about), list),
      make('div', {}, ...(this.open ? [open] : []), ...this.markFields(comparison.key(one))));
  }

  /** Term and description of one answer; `gain` of the right answer's log-probability. */
  answer(method, row, gain) {
    const { results } = this, { answers } = results;
    const term = make('dt', {}, results.nameOf(method));
    if (row < 0) return [term, make('dd', { class: 'quiet' }, 'not asked')];
    const parts = [make('dd', {}, ...this.said(row))];
    const words = [];
    if (gain !== null) {
      words.push(`log-probability of the right answer ${gain < 0 ? '−' : '+'}`
        + `${Math.abs(gain).toFixed(2)} against the reference`);
    }
    if (answers.cells[row] > 0 && !results.methods[method].uncompressed) {
      const at = (column) => number(answers[column][row]);
      words.push(`evidence: ${at('cells')} tokens, ${at('door')} enter the LLM themselves `
        + `(${at('door_carried')} with merged ones), ${at('end')} reach its end `
        + `(${at('end_carried')})`);
    }
    if (words.length) parts.push(make('dd', { class: 'quiet' }, `${words.join('; ')}.`));
    return [term, ...parts];
  }

  markFields(key) {
    const { tags, note } = this.marks.get(key);
    const tagField = make('input', { type: 'text', maxlength: 400, autocomplete: 'off' });
    const noteField = make('textarea', { rows: 3, maxlength: LONGEST_NOTE });
    tagField.value = tags.join(', ');
    noteField.value = note;
    const keep = () => {
      this.marks.set(key, { tags: tagsOf(tagField.value), note: noteField.value });
      this.offerMarks();
      this.draw();
      kept.textContent = this.marks.kept ? 'Tags and notes stay in this browser.'
        : 'This browser stores nothing: export the table before you leave the page.';
    };
    const kept = make('p', { class: 'quiet' }, this.marks.kept
      ? 'Tags and notes stay in this browser.' : 'This browser stores nothing.');
    for (const field of [tagField, noteField]) field.addEventListener('input', keep);
    return [make('label', {}, 'Tags, separated by commas', tagField),
      make('label', {}, 'Note', noteField), kept];
  }

  save() {
    const text = this.comparison.csv(this.shown, this.marks);
    const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }));
    const link = make('a', { href: url, download: 'errors.csv' });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}

/** A sign, and the words that a screen reader says instead. */
function spoken(sign, words) {
  return [make('span', { 'aria-hidden': 'true' }, sign), make('span', { class: 'unseen' }, words)];
}

/** Counts of the four flips, whatever became of the evidence. */
function total(counts) {
  return FLIPS.map((_, flip) => counts.reduce((sum, row) => sum + row[flip], 0));
}

function number(count) {
  return count.toLocaleString('en');
}
