// The stops of a scrub: one question at many settings. No drawing: node can test all of it.

import { digits } from './color.js';
import { indices, unpack } from './model.js';

export const AXES = [
  ['retention', 'Retention', 'retention ratio'], ['tau', 'tau', 'tau'], ['layer', 'Layer K', 'layer K'],
];
const LEAST = 0.02; // probability that an answer must reach somewhere to get a curve of its own
const MOST_CURVES = 6;
const APART = 13; // pixels between two labels
const FROM_RUN = ['sinks', 'contribution rank', 'range contribution ', 'itself', 'fate raw'];

/** "5 %", "tau 0.7", "layer 5". */
export function valueWords(over, value) {
  if (over === 'retention') return `${digits(Number((100 * value).toPrecision(3)))} %`;
  return `${over === 'tau' ? 'tau' : 'layer'} ${digits(value)}`;
}

/** "12.3 GFLOPs". */
export function flopsWords(flops) {
  if (!Number.isFinite(flops) || flops === null) return 'FLOPs unknown';
  const units = [[1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M']];
  const [scale, letter] = units.find(([size]) => flops >= size) || [1, ''];
  return `${digits(flops / scale)} ${letter}FLOPs`;
}

/** Where a value lies on the axis, 0 to 1; retention ratios by their logarithm, 100 % at 0. */
export function placeOf(scrub, value) {
  const { over, planned } = scrub;
  const [low, high] = [planned[0], planned[planned.length - 1]];
  if (high === low) return 0.5;
  if (over === 'retention') return (Math.log(high) - Math.log(value)) / (Math.log(high) - Math.log(low));
  return (value - low) / (high - low);
}

/** The stop that is nearest to a place, null where none is there yet. */
export function nearestStop(scrub, place) {
  let best = null;
  for (const stop of scrub.stops) {
    const gap = Math.abs(placeOf(scrub, stop.value) - place);
    if (!best || gap < best.gap) best = { stop, gap };
  }
  return best && best.stop;
}

/** The stop ``step`` places on, as they lie on the axis; the same at its ends. */
export function neighbor(scrub, value, step) {
  const stops = [...scrub.stops].sort((a, b) => placeOf(scrub, a.value) - placeOf(scrub, b.value));
  const here = stops.findIndex((stop) => stop.value === value);
  if (here < 0) return nearestStop(scrub, placeOf(scrub, scrub.present));
  return stops[Math.min(Math.max(here + step, 0), stops.length - 1)];
}

/** [{text, roles, number, points: [[place, probability]], end}] of the answers that get a curve. */
export function curvesOf(scrub) {
  const curves = scrub.answers.map(({ text, roles }, number) => {
    const points = scrub.stops
      .filter(({ p }) => p[number] !== null)
      .map(({ value, p }) => [placeOf(scrub, value), p[number]])
      .sort((a, b) => a[0] - b[0]);
    const most = Math.max(0, ...points.map(([, chance]) => chance));
    return { text, roles, number, points, most, end: points.length ? points[points.length - 1][1] : 0 };
  }).filter(({ points, most, roles }) => points.length && (roles.length || most >= LEAST));
  const rank = ({ roles, most }) => (roles.length ? 2 : 0) + most;
  return curves.sort((a, b) => rank(b) - rank(a)).slice(0, MOST_CURVES).sort((a, b) => a.number - b.number);
}

/** The heights of labels that stay apart, as near to the wanted ones as they can, within 0 .. tall. */
export function spread(wanted, tall, apart = APART) {
  const order = wanted.map((_, k) => k).sort((a, b) => wanted[a] - wanted[b]);
  const placed = wanted.slice();
  let free = apart / 2;
  for (const k of order) {
    placed[k] = Math.max(placed[k], free);
    free = placed[k] + apart;
  }
  let room = tall - apart / 2;
  for (const k of order.reverse()) {
    placed[k] = Math.min(placed[k], room);
    room = placed[k] - apart;
  }
  return placed;
}

/** {summary, stops: Map of value to what ``stopTrace`` takes} of a file made by pack_sweep. */
export function unpackScrub(buffer) {
  const { header, arrays } = unpack(buffer);
  const stops = new Map(header.packed.map(({ value, stages, layers }, number) => [value, {
    value, layers, fate: arrays[`stop${number}_fate`], target: arrays[`stop${number}_target`],
    steps: stages.map(({ name, layer }, place) => ({
      name, layer, fate: arrays[`stop${number}_stage${place}_fate`], target: arrays[`stop${number}_stage${place}_target`],
    })),
  }]));
  return { summary: header.sweep, stops };
}

/**
 * A trace as the views take one, of a stop of the run's scrub: its fates and carriers. What the
 * vision tower saw is the run's; the walk of the selection, cosines, relevance and attention are not
 * in a stop, and are empty rather than those of the run.
 */
export function stopTrace(run, scrub, stop, packed) {
  const made = Object.create(run);
  const nothing = new Float32Array(run.n).fill(NaN);
  const nobody = new Int32Array(run.n).fill(-1);
  const cache = new Map();
  for (const key of FROM_RUN) if (run.cache.has(key)) cache.set(key, run.cache.get(key));
  const steps = packed.steps.map((step) => ({ ...step, target: indices(step.target) }));
  Object.assign(made, {
    cache, run, stop, steps,
    fate: packed.fate, target: indices(packed.target), weight: new Float32Array(run.n).fill(1),
    similarity: nothing, relevance: nothing, nearest: nobody, order: nobody,
    words: [], fullWords: [], attention: null, fullAttention: null, walk: new Int32Array(0),
    absent: 'A stop of a scrub holds no attention of words; go back to the run to see it.',
  });
  made.outside = steps.find((step) => step.name === 'outside') || run.everything();
  made.inside = steps.find((step) => step.name === 'inside') || null;
  made.entered = made.where(made.outside.fate, (fate) => fate < 2);
  made.stages = made.stops();
  made.header = {
    ...run.header,
    answer: stop.answer, logprob: stop.logprob, scores: {}, words: [], full_words: [], notes: [],
    method: methodAt(run.header.method, scrub.over, stop.value), layers: packed.layers,
    alive: [run.n, ...(made.outside === steps[0] ? [stop.entered] : []), ...(made.inside ? [stop.left] : [])],
    attention_layer: made.inside ? made.inside.layer : null,
  };
  return made;
}

/** The repr of a method with another value of one setting. */
export function methodAt(method, over, value) {
  const setting = new RegExp(`\\b${over}=[^,)]*`);
  const words = `${over}=${value}`;
  if (setting.test(method)) return method.replace(setting, words);
  return method.replace(/\)$/, `, ${words})`);
}

/** "retention@0.05" as {over, value}; null for anything else. */
export function readStop(text) {
  const found = /^(retention|tau|layer)@(-?[0-9.e-]{1,12})$/.exec(String(text ?? ''));
  const value = found ? Number(found[2]) : NaN;
  return Number.isFinite(value) ? { over: found[1], value } : null;
}
