// Where all tokens go, as bands from stage to stage, and how thick these are in a picture.

import { OPEN, isAlive } from './fates.js';

const SHORT = ['kept', 'as centers', 'merged', 'dropped', 'merged', 'dropped']; // a column says where

/**
 * {columns: [{title, nodes: [{code, words, count}]}], bands: [{column, from, to, code, words, tokens}]}:
 * a band leads from node ``from`` of its column to node ``to`` of the next; ``tokens`` are source
 * tokens. What was merged ends where it was merged: as a token it is no more.
 */
export function flowOf(trace) {
  const all = Array.from({ length: trace.n }, (_, i) => i);
  const columns = [{ title: 'raw', nodes: [node(OPEN, 'tokens', trace.n)] }];
  const bands = [];
  const split = (title, fate, from) => { // every group of ``from`` by what becomes of its tokens
    const found = new Set(from.flatMap(({ tokens }) => [...new Set(tokens.map((i) => fate[i]))]));
    const groups = SHORT.map((_, code) => code).filter((code) => found.has(code))
      .map((code, place) => ({ code, node: place, tokens: [] }));
    for (const { node: start, tokens: theirs } of from) {
      for (const group of groups) {
        const tokens = theirs.filter((i) => fate[i] === group.code);
        if (!tokens.length) continue;
        const words = trace.codes[group.code].label.split(' (')[0];
        bands.push({ column: columns.length - 1, from: start, to: group.node, code: group.code, words, tokens });
        group.tokens = group.tokens.concat(tokens);
      }
    }
    columns.push({ title, nodes: groups.map(({ code, tokens }) => node(code, SHORT[code], tokens.length)) });
    return groups.filter(({ code }) => isAlive(code));
  };
  let alive = split('before the LLM', trace.outside.fate, [{ node: 0, tokens: all }]);
  if (trace.inside) alive = split(`layer ${trace.inside.layer}`, trace.fate, alive);
  const left = alive.reduce((sum, { tokens }) => sum + tokens.length, 0);
  for (const { node: from, code, tokens } of alive) {
    bands.push({ column: columns.length - 1, from, to: 0, code, words: 'reach the last layer of the LLM', tokens });
  }
  columns.push({ title: 'end', nodes: [node(OPEN, 'left', left)] });
  return { columns, bands };
}

function node(code, words, count) { return { code, words, count }; }

/**
 * Bands as pixels: {thick(band), boxes}: for every column its nodes as {y, h}, from 0 to ``room``,
 * with ``gap`` between them; no band is thinner than ``least``.
 */
export function flowLayout({ columns, bands }, room, gap, least) {
  const arrange = (scale) => {
    const thick = ({ tokens }) => Math.max(least, scale * tokens.length);
    const total = (some) => some.reduce((sum, band) => sum + thick(band), 0);
    const boxes = columns.map(({ nodes }, column) => {
      let y = 0;
      return nodes.map((_, place) => {
        const into = total(bands.filter((band) => band.column === column - 1 && band.to === place));
        const out = total(bands.filter((band) => band.column === column && band.from === place));
        const box = { y, h: Math.max(into, out) };
        y += box.h + gap;
        return box;
      });
    });
    const ends = boxes.map((column) => column[column.length - 1]);
    return { thick, boxes, tall: Math.max(...ends.map(({ y, h }) => y + h)) };
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
