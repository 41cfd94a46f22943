// Pieces of the document that the parts of the table share. Strings become text, never markup.

/** An element with attributes and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A sign, and the words that a screen reader says instead. */
export function spoken(sign, words) {
  return [make('span', { 'aria-hidden': 'true' }, sign), make('span', { class: 'unseen' }, words)];
}

export function number(count) {
  return count.toLocaleString('en');
}

/** The sign of what became of the evidence; `about` of Results.evidence. */
export function chip(about) {
  const { color, glyph } = about;
  const chip = make('span', { class: 'chip', 'aria-hidden': 'true' }, glyph);
  if (color) chip.style.setProperty('--chip', color);
  return chip;
}

/** An answer and whether it is right. */
export function said(results, row) {
  const { answers, texts } = results;
  const right = answers.right[row];
  return [make('span', { class: right ? 'good' : 'bad' },
    ...spoken(right ? '✓' : '✗', right ? 'right:' : 'wrong:')),
  ` ${texts[answers.answer[row]] || '(nothing)'}`];
}
