// Arithmetic of the error table: comparison, filters, counts, CSV, marks. No document here.

export const RIGHT_RIGHT = 0;
export const RIGHT_WRONG = 1;
export const WRONG_RIGHT = 2;
export const WRONG_WRONG = 3;
export const FLIPS = ['right → right', 'right → wrong', 'wrong → right', 'wrong → wrong'];
export const FLIP_GLYPHS = ['✓→✓', '✓→✗', '✗→✓', '✗→✗'];
// As in store.py.
export const KEPT = 0;
export const INSIDE = 1;
export const BEFORE = 2;
export const UNKNOWN = 3;
export const ANY = -1;

// When evidence counts as there: which tokens are counted, and what share of them is enough.
export const RULES = {
  own: { label: 'any token of it is there itself', carried: false, share: 0 },
  half: { label: 'half of its tokens are there themselves', carried: false, share: 0.5 },
  carried: { label: 'any of it is there, itself or merged', carried: true, share: 0 },
};

/** By a rule: [tokens of the evidence that enter the LLM, that reach its end], of every answer. */
export function thereOf(answers, rule) {
  return rule.carried ? [answers.door_carried, answers.end_carried] : [answers.door, answers.end];
}

/** What became of the evidence in one answer: KEPT, INSIDE, BEFORE or UNKNOWN. */
export function evidenceOf(answers, row, rule) {
  const cells = answers.cells[row];
  if (cells < 1) return UNKNOWN;
  const enough = Math.max(1, rule.share * cells);
  const [door, end] = thereOf(answers, rule);
  return door[row] < enough ? BEFORE : end[row] < enough ? INSIDE : KEPT;
}

/** Two-sided exact p of McNemar's test: lost and gained are a fair coin's heads and tails. */
export function mcnemar(lost, gained) {
  const all = lost + gained;
  // logarithms, because 2 ** -1100 is no number any more
  let term = -all * Math.LN2, sum = -Infinity;
  for (let heads = 0; heads <= Math.min(lost, gained); heads += 1) {
    const [low, high] = term < sum ? [term, sum] : [sum, term];
    sum = high + Math.log1p(Math.exp(low - high));
    term += Math.log((all - heads) / (heads + 1));
  }
  return Math.min(1, 2 * Math.exp(sum));
}

/** "0.034", "2.1e-8", "< 1e-300". */
export function showP(p) {
  if (p < 1e-300) return '< 1e-300';
  return p < 0.001 ? p.toExponential(1) : p.toFixed(3);
}

/** A share of tokens in per cent, "2.0", "0.03". */
export function percent(part, whole) {
  const share = 100 * part / whole;
  return share > 0 && share < 1 ? share.toFixed(2) : share.toFixed(1);
}

/** A share in per cent with no digit too many: "2", "0.5". */
export function short(share) {
  return String(Number((100 * share).toPrecision(6)));
}

/** The content of a result file; `data` is what store.py writes. */
export class Results {
  constructor(data) {
    Object.assign(this, { whys: [], reasons: [] }, data);
    this.explained = (this.answers.why ?? []).some((why) => why >= 0);
    this.count = data.questions.id.length;
    this.byMethod = new Map();
    const order = data.methods.map((_, method) => method);
    const share = (method) => data.methods[method].retention ?? 0;
    this.order = order.sort((a, b) => share(b) - share(a)); // stable: else as in the file
  }

  /** (questions,) the row of the method's answer to each question, -1 where it was not asked. */
  rowsOf(method) {
    let rows = this.byMethod.get(method);
    if (!rows) {
      const { case: asked, method: methods } = this.answers;
      rows = new Int32Array(this.count).fill(-1);
      for (let row = 0; row < asked.length; row += 1) {
        if (methods[row] === method) rows[asked[row]] = row;
      }
      this.byMethod.set(method, rows);
    }
    return rows;
  }

  /** "STC", "STC at 2 %" */
  nameOf(method) {
    const { label, retention, uncompressed } = this.methods[method];
    return uncompressed || retention === null ? label : `${label} at ${short(retention)} %`;
  }

  /** The different values of a column of the questions, sorted. */
  values(column) {
    const found = [...new Set(this.questions[column])];
    return found.sort((a, b) => (a > b) - (a < b));
  }
}

/** A reference and one or two methods on the questions that the first two of them answered. */
export class Comparison {
  constructor(results, reference, methods, rule = RULES.own) {
    this.results = results;
    this.reference = reference;
    this.methods = methods;
    this.rule = rule;
    this.base = results.rowsOf(reference);
    this.sides = methods.map((method) => results.rowsOf(method));
    this.cases = [];
    for (let one = 0; one < results.count; one += 1) {
      if (this.base[one] >= 0 && this.sides[0][one] >= 0) this.cases.push(one);
    }
    this.texts = new Map();
  }

  /** One of FLIPS, or ANY where this method was not asked. */
  flip(side, one) {
    const { right } = this.results.answers, row = this.sides[side][one];
    return row < 0 ? ANY : 2 * (1 - right[this.base[one]]) + (1 - right[row]);
  }

  isFlip(one) {
    return this.sides.some((_, side) => [RIGHT_WRONG, WRONG_RIGHT].includes(this.flip(side, one)));
  }

  evidence(side, one) {
    const row = this.sides[side][one];
    return row < 0 ? UNKNOWN : evidenceOf(this.results.answers, row, this.rule);
  }

  /** The place of the cause in results.whys, -1 where the file tells none. */
  why(side, one) {
    const row = this.sides[side][one];
    return row < 0 ? -1 : this.results.answers.why?.[row] ?? -1;
  }

  /** By how much the right answer became more likely, natural logarithm; null where unknown. */
  gain(side, one) {
    const known = this.results.answers.log_right, row = this.sides[side][one];
    const before = known[this.base[one]], now = row < 0 ? null : known[row];
    return before === null || now === null ? null : now - before;
  }

  /** All words of a question and its answers in lower case, for the search. */
  text(one) {
    let text = this.texts.get(one);
    if (text === undefined) {
      const { questions, answers, texts } = this.results;
      const said = [this.base, ...this.sides].map((rows) => texts[answers.answer[rows[one]]] ?? '');
      const about = ['id', 'clip', 'kind', 'question', 'expected'];
      text = [...about.map((name) => questions[name][one]), ...said].join('\n').toLowerCase();
      this.texts.set(one, text);
    }
    return text;
  }

  /**
   * The questions that pass a filter, in the order of the file.
   *
   * filter: { kind, frames, mark, text, why, sides: [{ flip, evidence }, ...] }; null and ANY let all
   * through. Of the sides only those count that `applies` accepts: a table of counts shows what
   * there is to choose from, not what was chosen.
   */
  select(filter, marks, applies = () => true) {
    const { questions } = this.results;
    const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
    return this.cases.filter((one) => {
      if (filter.kind !== null && questions.kind[one] !== filter.kind) return false;
      if (filter.frames !== null && questions.frames[one] !== filter.frames) return false;
      if (filter.mark !== null && !marks.has(this.key(one), filter.mark)) return false;
      if (filter.sides.some((_, side) => applies(side) && !this.fits(side, one, filter))) {
        return false;
      }
      if (filter.why >= 0 && this.sides.some((_, side) => applies(side))
        && !this.sides.some((_, side) => this.why(side, one) === filter.why)) return false;
      if (!words.length) return true;
      const text = this.text(one) + '\n' + marks.text(this.key(one)).toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  fits(side, one, filter) {
    const { flip, evidence } = filter.sides[side];
    if (flip !== ANY && this.flip(side, one) !== flip) return false;
    const asked = this.sides[side][one] >= 0;
    return evidence === ANY || (asked && this.evidence(side, one) === evidence);
  }

  /** counts[evidence][flip] of some questions, of those that the method was asked. */
  table(side, cases) {
    const counts = [0, 1, 2, 3].map(() => [0, 0, 0, 0]);
    for (const one of cases) {
      const flip = this.flip(side, one);
      if (flip !== ANY) counts[this.evidence(side, one)][flip] += 1;
    }
    return counts;
  }

  /** What tells this question from others of the same source, for its tags and note. */
  key(one) {
    const { id, frames } = this.results.questions;
    return `${frames[one]} ${id[one]}`;
  }

  /** Sort in place: "file", "harmed", "helped" (by the first method) or "kind". */
  sort(cases, order) {
    const { kind, question } = this.results.questions;
    const gain = (one) => this.gain(0, one) ?? 0;
    const compare = {
      harmed: (a, b) => gain(a) - gain(b),
      helped: (a, b) => gain(b) - gain(a),
      kind: (a, b) => less(kind[a], kind[b]) || less(question[a], question[b]),
    }[order];
    return compare ? cases.sort(compare) : cases;
  }

  /** The name of the cause, and the sentence that says and proves it; null where there is none. */
  cause(side, one) {
    return this.results.whys[this.why(side, one)] ?? null;
  }

  reason(side, one) {
    const { answers, reasons } = this.results, row = this.sides[side][one];
    return row < 0 ? null : reasons[answers.reason?.[row]] ?? null;
  }

  /** The questions as JSON lines: one object each, its answers in a list, the reference first. */
  jsonl(cases, marks) {
    const { results } = this, { questions, answers, texts, evidence, methods } = results;
    const answer = (method, row, side) => {
      const known = answers.cells[row] >= 1;
      const left = side < 0 || !known ? null : Object.fromEntries(
        ['cells', 'door', 'door_carried', 'end', 'end_carried'].map((name) => [name, answers[name][row]]));
      return { method: methods[method].repr, answer: texts[answers.answer[row]], right: answers.right[row] > 0,
        log_right: answers.log_right[row], tokens: answers.tokens[row] < 0 ? null
          : [answers.tokens[row], answers.tokens_door[row], answers.tokens_end[row]], evidence: left };
    };
    return cases.map((one) => {
      const { tags, note } = marks.get(this.key(one));
      const said = [answer(this.reference, this.base[one], -1)];
      this.methods.forEach((method, side) => {
        const row = this.sides[side][one];
        if (row < 0) return;
        said.push({ ...answer(method, row, side), flip: FLIPS[this.flip(side, one)],
          evidence_was: evidence[this.evidence(side, one)].label,
          why: this.cause(side, one), why_in_words: this.reason(side, one) });
      });
      return `${JSON.stringify({ case: questions.id[one], clip: questions.clip[one], frames: questions.frames[one],
        kind: questions.kind[one], question: questions.question[one], expected: questions.expected[one], answers: said,
        tags, note })}\n`;
    }).join('');
  }

  /** The questions as CSV (RFC 4180, with the mark of UTF-8 in front, which Excel needs). */
  csv(cases, marks) {
    const { results } = this, { questions, answers, texts, evidence } = results;
    const head = ['case', 'clip', 'frames', 'kind', 'question', 'right answer',
      `answer: ${results.nameOf(this.reference)}`];
    for (const method of this.methods) {
      const name = results.nameOf(method);
      head.push(`method: ${name}`);
      for (const what of ['answer', 'flip', 'evidence', 'evidence tokens', 'entering the LLM',
        'at the end', 'share at the end, %', 'change of the log-probability of the right answer']) {
        head.push(`${what}: ${name}`);
      }
      if (results.explained) head.push(`why: ${name}`, `why in words: ${name}`);
    }
    head.push('tags', 'note');
    const lines = cases.map((one) => {
      const line = [questions.id[one], questions.clip[one], questions.frames[one],
        questions.kind[one], questions.question[one], questions.expected[one],
        texts[answers.answer[this.base[one]]]];
      this.methods.forEach((method, side) => {
        const row = this.sides[side][one];
        line.push(results.methods[method].repr);
        if (row < 0) {
          line.push('', '', '', '', '', '', '', '', ...(results.explained ? ['', ''] : []));
          return;
        }
        const count = (column) => (answers.cells[row] < 1 ? '' : answers[column][row]);
        const whole = answers.tokens[row];
        line.push(texts[answers.answer[row]], FLIPS[this.flip(side, one)],
          evidence[this.evidence(side, one)].label, count('cells'), count('door'), count('end'),
          whole < 1 ? '' : Number(percent(answers.tokens_end[row], whole)),
          this.gain(side, one) ?? '');
        if (results.explained) line.push(this.cause(side, one) ?? '', this.reason(side, one) ?? '');
      });
      const { tags, note } = marks.get(this.key(one));
      return [...line, tags.join(', '), note];
    });
    return '\ufeff' + [head, ...lines].map((line) => line.map(cell).join(',') + '\r\n').join('');
  }
}

function less(a, b) {
  return (a > b) - (a < b);
}

// What spreadsheets begin a formula with, the full-width signs of Japanese input among them, behind
// whatever they skip: spaces, controls, marks without a width. A leading tab or line end is enough.
const FORMULA = /^[\s\p{Cc}\p{Cf}\p{Z}]*[=+\-@＝＋－＠]|^[\p{Cc}]/u;

/** One cell of a CSV file. A text that a spreadsheet would take for a formula gets a quote. */
export function cell(value) {
  if (typeof value === 'number') return String(value);
  const guarded = FORMULA.test(value) ? `'${value}` : value;
  return `"${guarded.replaceAll('"', '""')}"`;
}

const MOST_TAGS = 12;
const LONGEST_TAG = 40;
export const LONGEST_NOTE = 4000;

/** "a, b , a" -> ["a", "b"] */
export function tagsOf(text) {
  const tags = text.split(',').map((tag) => tag.trim().slice(0, LONGEST_TAG)).filter(Boolean);
  return [...new Set(tags)].slice(0, MOST_TAGS);
}

/** Tags and notes, in the browser's storage where it lets us, else as long as the page lives. */
export class Marks {
  constructor(key, storage) {
    this.name = `video-tokens errors ${key}`;
    this.storage = storage;
    this.kept = true; // whether they outlive the page
    this.read();
  }

  /** Take over what is stored, of which another tab may have changed some. */
  read() {
    this.marks = new Map();
    let stored = null;
    try {
      stored = JSON.parse(this.storage.getItem(this.name));
    } catch {
      this.kept = false;
    }
    for (const [key, mark] of Object.entries(stored ?? {})) {
      const tags = Array.isArray(mark?.tags) ? tagsOf(mark.tags.join(',')) : [];
      const note = typeof mark?.note === 'string' ? mark.note.slice(0, LONGEST_NOTE) : '';
      if (tags.length || note) this.marks.set(key, { tags, note });
    }
  }

  get(key) {
    return this.marks.get(key) ?? { tags: [], note: '' };
  }

  set(key, mark) {
    if (this.kept) this.read();
    if (mark.tags.length || mark.note) this.marks.set(key, mark);
    else this.marks.delete(key);
    try {
      this.storage.setItem(this.name, JSON.stringify(Object.fromEntries(this.marks)));
    } catch {
      this.kept = false;
    }
  }

  text(key) {
    const { tags, note } = this.get(key);
    return [...tags, note].join('\n');
  }

  /** Whether a question has this tag; "" for any tag or note. */
  has(key, tag) {
    return tag === '' ? this.marks.has(key) : this.get(key).tags.includes(tag);
  }

  /** All tags, sorted. */
  tags() {
    return [...new Set([...this.marks.values()].flatMap((mark) => mark.tags))].sort();
  }
}
