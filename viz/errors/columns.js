// The columns of the table.

import { chip, said, spoken } from './elements.js';
import { FLIPS, FLIP_GLYPHS, KEPT, percent, thereOf } from './results.js';

/**
 * The columns: { head, over, width, fill(one, cell) }, widths in rem. The question takes what
 * room there is; `label` is what stands before the value on a card.
 */
export function columnsOf(results, comparison, marks, pictures) {
  const { questions } = results;
  const plain = (head, width, column) => ({
    head, width, fill: (one, cell) => cell.append(questions[column][one] || '–'),
  });
  // as wide as the longest text, within bounds; what is longer takes two lines
  const fitting = (texts, least, most, more = 0) => Math.min(most, Math.max(least,
    more + 0.46 * texts.reduce((longest, text) => Math.max(longest, text.length), 0)));
  const answerWidth = fitting(results.texts, 5.5, 7.5, 1.6);
  const answer = (over, rows) => ({
    head: 'answer', over, label: over, width: answerWidth, fill: (one, cell) => {
      const row = rows[one];
      if (row < 0) cell.append('not asked');
      else cell.append(...said(results, row));
    },
  });
  const clip = pictures.can ? { head: 'clip', width: 8.6, fill: (one, cell) => {
    cell.classList.add('clip');
    cell.append(pictures.image(one), questions.clip[one] || '–');
  } } : plain('clip', 5.8, 'clip');
  const columns = [clip,
    plain('kind', fitting(results.values('kind'), 3.5, 8), 'kind'),
    plain('question', 11, 'question'),
    { ...plain('right answer', fitting(results.values('expected'), 5.6, 7, 0.4), 'expected'),
      label: 'right answer' },
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
        cell.append(chip(results.evidence[kind]), ` ${results.evidence[kind].short}`);
        if (kind === KEPT) cell.append(...counted(results.answers, rows[one], comparison.rule));
      }),
      ...(results.explained ? [column('why', 7, (one, cell) => {
        cell.append(comparison.cause(side, one) ?? '–');
      }, 'why')] : []),
      column('kept, %', 5.2, (one, cell) => cell.append(share(results.answers, rows[one])), 'kept, %'));
  });
  columns.push({ head: 'tags', width: 4, fill: (one, cell) => {
    const { tags, note } = marks.get(comparison.key(one));
    cell.append([...tags, ...(note ? ['✎'] : [])].join(', '));
  } });
  return columns;
}

/** " 1/8": so many of the evidence's tokens are there at the end; an answer may need more. */
function counted(answers, row, rule) {
  const [, end] = thereOf(answers, rule);
  return spoken(` ${end[row]}/${answers.cells[row]}`, ` ${end[row]} of ${answers.cells[row]} tokens`);
}

/** "2.0 → 1.0": shares of the video's tokens that enter the LLM and that reach its end. */
function share(answers, row) {
  const { tokens, tokens_door: door, tokens_end: end } = answers;
  if (tokens[row] < 1) return '–';
  return `${percent(door[row], tokens[row])} → ${percent(end[row], tokens[row])}`;
}
