// A run as Python: what to type to make it again.

// All that the repr of a method may hold: names with a capital that are called, keywords, numbers,
// short strings. A trace file can claim any method, and somebody will run what is copied here.
const PIECES = new RegExp([
  '\\s+', '([A-Z]\\w*)(?=\\()', '[a-z_]\\w*(?==)', 'None', 'True', 'False',
  '-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?', '\'[^\'\\\\\\n]*\'', '[(),=\\[\\]]',
].join('|'), 'y');

/** The Python that makes the run of this trace again; empty for a method that cannot be named. */
export function codeOf({ trace, urls }) {
  const { method, question, model, baseline_answer: baseline } = trace.header;
  const names = new Set();
  PIECES.lastIndex = 0;
  while (PIECES.lastIndex < method.length) {
    const piece = PIECES.exec(method);
    if (!piece) return '';
    if (piece[1]) names.add(piece[1]);
  }
  if (!names.size) return '';
  const file = urls.clip ? decodeURIComponent(urls.clip.split('/').pop()) : 'clip.mp4';
  const text = JSON.stringify; // every JSON string is a Python literal of the same text
  return `${[
    'from stc_core import answer, load',
    `from stc_core.methods import ${[...names].sort().join(', ')}`,
    '',
    model === 'embedded' ? 'vlm = load()' : `vlm = load(${text(model)})  # hub id or folder of this model`,
    'result = answer(',
    '    vlm,',
    `    ${text(file)},`,
    `    ${text(question)},`,
    `    method=${method},`,
    `    frames=${trace.frames},`,
    ...(baseline === null ? [] : ['    baseline=True,']),
    '    record=True,',
    ')',
    'print(result.text)',
    'result.trace.save("trace.npz")',
  ].join('\n')}\n`;
}
