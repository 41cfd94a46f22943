// The chosen question in full, with its tags and its note.

import { make, number, said } from './elements.js';
import { LONGEST_NOTE, tagsOf } from './results.js';

/** What is known of question `one`; open() where it can be opened, changed() after a mark. */
export function detailOf({ results, comparison, marks, pictures, one, open, changed }) {
  const { questions } = results;
  const about = [questions.kind[one], questions.clip[one] && `clip ${questions.clip[one]}`,
    questions.frames[one] ? `${questions.frames[one]} frames` : ''].filter(Boolean).join(', ');
  const list = make('dl', {}, make('dt', {}, 'Right answer'),
    make('dd', {}, questions.expected[one] || '–'));
  list.append(...answer(results, comparison.reference, comparison.base[one], null));
  comparison.methods.forEach((method, side) => {
    list.append(...answer(results, method, comparison.sides[side][one], comparison.gain(side, one)));
    const reason = comparison.reason(side, one);
    if (reason) list.append(make('dd', { class: 'reason' }, make('strong', {}, `${comparison.cause(side, one)}. `), reason));
  });
  const button = make('button', { type: 'button', class: 'open' }, 'Open in the workspace');
  button.addEventListener('click', () => open());
  const title = questions.question[one] || `Case ${questions.id[one]}`;
  return [
    make('div', {}, ...(pictures.can ? [pictures.image(one)] : []), make('h2', {}, title),
      make('p', { class: 'quiet' }, about), list),
    make('div', {}, ...(open ? [button] : []),
      ...markFields(marks, comparison.key(one), changed))];
}

/** Term and description of one answer; `gain` of the right answer's log-probability. */
function answer(results, method, row, gain) {
  const { answers } = results;
  const term = make('dt', {}, results.nameOf(method));
  if (row < 0) return [term, make('dd', { class: 'quiet' }, 'not asked')];
  const parts = [make('dd', {}, ...said(results, row))];
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

/** Fields for tags and note; changed() is called after every letter. */
function markFields(marks, key, changed) {
  const { tags, note } = marks.get(key);
  const tagField = make('input', { type: 'text', maxlength: 400, autocomplete: 'off' });
  const noteField = make('textarea', { rows: 3, maxlength: LONGEST_NOTE });
  tagField.value = tags.join(', ');
  noteField.value = note;
  const keep = () => {
    marks.set(key, { tags: tagsOf(tagField.value), note: noteField.value });
    changed();
    kept.textContent = marks.kept ? 'Tags and notes stay in this browser.'
      : 'This browser stores nothing: export the table before you leave the page.';
  };
  const kept = make('p', { class: 'quiet' }, marks.kept
    ? 'Tags and notes stay in this browser.' : 'This browser stores nothing.');
  for (const field of [tagField, noteField]) field.addEventListener('input', keep);
  return [make('label', {}, 'Tags, separated by commas', tagField),
    make('label', {}, 'Note', noteField), kept];
}
