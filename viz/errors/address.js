// What is chosen in the error table, as a part of the page's address, so that a link opens it again.

import { ANY } from './results.js';

const FIELDS = ['reference', 'retention', 'first', 'second', 'frames', 'rule', 'kind', 'why', 'mark', 'text', 'order'];
const METHODS = ['reference', 'first', 'second'];
const LONGEST = 2000; // characters

/** "view=table&retention=0.02&first=STC&flip0=1": fields by what they say, not by their numbers. */
export function written(table) {
  const parts = new URLSearchParams({ view: table.view });
  if (table.bar?.name) parts.set('name', table.bar.name);
  for (const [name, value] of new URLSearchParams(filterOf(table))) parts.set(name, value);
  return String(parts).slice(0, LONGEST);
}

/** What is compared and filtered, without how it is shown: what is kept under a name. */
export function filterOf(table) {
  const parts = new URLSearchParams();
  for (const name of FIELDS) {
    const field = table.field(name);
    const value = METHODS.includes(name) ? labelOf(table, field) : field.value;
    if (value !== '' && value !== table.standard[name]) parts.set(name, value);
  }
  table.filters.sides.forEach(({ flip, evidence }, side) => {
    if (flip !== ANY) parts.set(`flip${side}`, flip);
    if (evidence !== ANY) parts.set(`evidence${side}`, evidence);
  });
  return String(parts).slice(0, LONGEST);
}

/** What the fields of a fresh table say, to leave it out of addresses. */
export function standardOf(table) {
  return Object.fromEntries(FIELDS.map((name) => {
    const field = table.field(name);
    return [name, METHODS.includes(name) ? labelOf(table, field) : field.value];
  }));
}

/** Choose what an address names; what this file does not hold is left as it is. */
export function restore(table, text) {
  const parts = new URLSearchParams(text.slice(0, LONGEST));
  const choose = (name) => {
    const wanted = parts.get(name), field = table.field(name);
    if (wanted === null) return;
    if (field.tagName === 'INPUT') {
      field.value = wanted;
      return;
    }
    const found = [...field.options].find((option) => (
      METHODS.includes(name) && option.value !== '' ? label(table, option) : option.value) === wanted);
    if (found) field.value = found.value;
  };
  choose('retention');
  table.choices.offerMethods();
  for (const name of FIELDS) if (name !== 'retention') choose(name);
  if (parts.get('view') === 'gallery') table.view = 'gallery';
  const name = parts.get('name');
  for (const other of ['view', 'name']) parts.delete(other);
  if (name) table.bar?.welcome(name, String(parts));
  const whole = (name) => (/^[0-3]$/.test(parts.get(name) ?? '') ? Number(parts.get(name)) : ANY);
  table.filters.sides = [0, 1].map((side) => (
    { flip: whole(`flip${side}`), evidence: whole(`evidence${side}`) }));
}

/** Put it into the page's address; '' takes it out. */
export function writeAddress(text) {
  const query = new URLSearchParams(location.search);
  if (text) query.set('errors', text);
  else query.delete('errors');
  const tail = String(query) ? `?${query}` : '';
  history.replaceState(history.state, '', `${location.pathname}${tail}${location.hash}`);
}

function labelOf(table, field) {
  const option = field.selectedOptions[0];
  return option && option.value !== '' ? label(table, option) : '';
}

function label(table, option) {
  return table.results.methods[Number(option.value)].label;
}
