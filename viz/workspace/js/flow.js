// Where all tokens go, as bands from stage to stage, and how thick these are in a picture.

import { FATE, OPEN, isAlive } from './fates.js';

const NODES = [[FATE.KEPT, 'kept'], [FATE.CENTER, 'centers'], [FATE.DROPPED, 'dropped'], [FATE.DROPPED_INSIDE, 'dropped']];
const MERGED = [FATE.MERGED, FATE.MERGED_INSIDE];

/**
 * {columns: [{title, nodes: [{code, words, count}], merged}], bands: [{column, from, to, code, words,
 * tokens, into}]}: a band leads from node ``from`` of its column to node ``to`` of the next;
 * ``tokens`` are source tokens. What is merged runs into the node of the tokens that carry it, whose
 * ``count`` is theirs alone: ``into`` says how many of these it runs into, 0 for other bands, and
 * ``merged`` how many tokens ended so in a column.
 */
export function flowOf(trace) {
  const all = Array.from({ length: trace.n }, (_, i) => i);
  const columns = [{ title: 'raw', nodes: [node(OPEN, 'tokens', trace.n)], merged: 0 }];
  const bands = [];
  const split = (title, { fate, target }, from) => { // every group of ``from`` by what becomes of its tokens
    const merges = (i) => MERGED.includes(fate[i]);
    const home = (i) => (merges(i) ? fate[target[i]] : fate[i]);
    const groups = NODES.map(([code, words]) => ({ code, words, tokens: [] }))
      .filter(({ code }) => from.some(({ tokens }) => tokens.some((i) => home(i) === code)));
    from.forEach(({ tokens: theirs, place }) => {
      groups.forEach((group, to) => {
        const parts = new Map(); // by fate, what stays itself first
        for (const i of theirs) if (home(i) === group.code) parts.set(fate[i], [...parts.get(fate[i]) || [], i]);
        for (const code of [...parts.keys()].sort()) {
          const tokens = parts.get(code);
          const into = MERGED.includes(code) ? new Set(tokens.map((i) => target[i])).size : 0;
          bands.push({ column: columns.length - 1, from: place, to, code, words: wordsOf(trace, code, into), tokens, into });
          if (!into) group.tokens = group.tokens.concat(tokens);
        }
      });
    });
    const merged = from.reduce((sum, { tokens }) => sum + tokens.filter(merges).length, 0);
    const one = (words, { length }) => (length === 1 && words === 'centers' ? 'center' : words);
    columns.push({ title, nodes: groups.map(({ code, words, tokens }) => node(code, one(words, tokens), tokens.length)), merged });
    return groups.map((group, place) => ({ ...group, place })).filter(({ code }) => isAlive(code));
  };
  let alive = split('before the LLM', trace.outside, [{ place: 0, tokens: all }]);
  if (trace.inside) alive = split(`layer ${trace.inside.layer}`, trace, alive);
  const left = alive.reduce((sum, { tokens }) => sum + tokens.length, 0);
  for (const { place: from, code, tokens } of alive) {
    bands.push({ column: columns.length - 1, from, to: 0, code, words: 'reach the last layer of the LLM', tokens, into: 0 });
  }
  columns.push({ title: 'end', nodes: [node(OPEN, 'left', left)], merged: 0 });
  return { columns, bands };
}

function wordsOf(trace, code, into) {
  const words = trace.codes[code].label.split(' (')[0];
  return into > 1 ? words.replace('a center', `${into} centers`) : words;
}

function node(code, words, count) { return { code, words, count }; }

/**
 * Bands as pixels: {thick(band), boxes, scale}: for every column its nodes as {y, h}, from 0 to
 * ``room``, with ``gap`` between them; ``scale`` pixels a token, though no band begins thinner than
 * ``least``. A band of merged tokens ends as thick as the node that it runs into.
 */
export function flowLayout({ columns, bands }, room, gap, least) {
  const arrange = (scale) => {
    const thick = ({ tokens }) => Math.max(least, scale * tokens.length);
    const total = (some) => some.reduce((sum, band) => sum + thick(band), 0);
    const boxes = columns.map(({ nodes }, column) => {
      let y = 0;
      return nodes.map((_, place) => {
        const into = total(bands.filter((band) => band.column === column - 1 && band.to === place && !band.into));
        const out = total(bands.filter((band) => band.column === column && band.from === place));
        const box = { y, h: Math.max(into, out) };
        y += box.h + gap;
        return box;
      });
    });
    const ends = boxes.map((column) => column[column.length - 1]);
    return { thick, boxes, scale, tall: Math.max(...ends.map(({ y, h }) => y + h)) };
  };
  let [low, high] = [0, room]; // pixels a token
  for (let turn = 0; turn < 40; turn += 1) {
    const middle = (low + high) / 2;
    if (arrange(middle).tall > room) high = middle;
    else low = middle;
  }
  return arrange(low);
}

/** [{layers: "layers 0 to 18", count}]: stretches of equal numbers. */
export function runsOf(counts) {
  const runs = [];
  counts.forEach((count, layer) => {
    const run = runs[runs.length - 1];
    if (run && run.count === count) run.layers = `layers ${run.first} to ${layer}`;
    else runs.push({ first: layer, layers: `layer ${layer}`, count });
  });
  return runs;
}
