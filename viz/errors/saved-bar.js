// The fields of the named filters: choose one, keep the present one under a name, delete one.

import { filterOf, restore } from './address.js';
import { make } from './elements.js';
import { nameOf } from './saved.js';

export class SavedBar {
  /** table: the ErrorTable whose filters they are; saved: SavedFilters. */
  constructor(table, saved) {
    Object.assign(this, { table, saved, linked: null }); // linked: [name, filter] of a link
    const field = (name) => table.field(name);
    field('saved').addEventListener('change', () => this.choose(field('saved').value));
    field('keep').addEventListener('click', () => this.keep());
    field('filter-name').addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.keep();
    });
    field('forget').addEventListener('click', () => this.forget());
    window.addEventListener('storage', (event) => {
      if (event.key !== null && event.key !== 'errors-filters') return;
      saved.read();
      this.offer();
    });
  }

  /** The filter of a link and its name, as the link gives them. */
  welcome(name, filter) {
    const plain = nameOf(name);
    this.linked = plain && this.saved.filters.get(plain) !== filter ? [plain, filter] : null;
  }

  /** The menu; the filter that is in force is chosen in it. */
  offer() {
    const { linked, saved, table } = this;
    const now = filterOf(table);
    const menu = table.field('saved');
    const options = saved.names.map((name) => [`#${name}`, name]);
    if (linked) options.push([`@${linked[0]}`, `${linked[0]} (from the link)`]);
    menu.replaceChildren(make('option', { value: '' }, options.length ? 'none' : 'none yet'),
      ...options.map(([value, words]) => make('option', { value }, words)));
    const ours = saved.nameOf(now);
    if (ours) menu.value = `#${ours}`;
    else if (linked && linked[1] === now) menu.value = `@${linked[0]}`;
    table.field('forget').disabled = !menu.value.startsWith('#');
  }

  /** What a link calls the filter in force; ''. */
  get name() {
    const now = filterOf(this.table);
    return this.saved.nameOf(now) || (this.linked?.[1] === now ? this.linked[0] : '');
  }

  choose(value) {
    const filter = value.startsWith('@') ? this.linked?.[1] : this.saved.filters.get(value.slice(1));
    if (value && filter === undefined) return;
    this.table.standing();
    restore(this.table, filter ?? '');
    this.table.compare();
  }

  keep() {
    const { saved, table } = this;
    const field = table.field('filter-name');
    const name = nameOf(field.value);
    if (!name) {
      this.say('Give the filter a name first.');
      field.focus();
      return;
    }
    if (saved.full && !saved.filters.has(name)) {
      this.say('Fifty filters are kept already; delete one first.');
      return;
    }
    saved.set(name, filterOf(table));
    if (this.linked?.[0] === name) this.linked = null;
    field.value = '';
    this.say(saved.kept ? `“${name}” is kept in this browser.` : `“${name}” is kept until the page is left: this browser stores nothing.`);
    this.offer();
    table.address();
  }

  forget() {
    const { saved, table } = this;
    const name = table.field('saved').value.slice(1);
    if (!saved.filters.has(name)) return;
    saved.remove(name);
    this.say(`“${name}” is deleted; what it chose is still shown.`);
    this.offer();
    table.address();
    table.field('saved').focus();
  }

  say(words) { this.table.part('saved-said').textContent = words; }
}
