// The methods that the page can run: their names, what each does in one line, and what it would cost
// at a ratio, reckoned from what two runs have cost.

/** {name: [class, idea]}; a test holds names and ideas to the server's. */
export const METHODS = {
  stc: ['STC', 'One pool of attended, unlike tokens for the whole video; the rest is clustered, and the question merges once more inside the LLM.'],
  stdpp: ['SpaceTimeDPP', 'Attended tokens that together span the most; what is far in time or place is not alike. This project\'s own.'],
  fastv: ['FastV', 'All tokens enter the LLM; after its layer 2 those that the prompt\'s last token attends to stay.'],
  visionzip: ['VisionZip', 'In each frame the most attended tokens, and means of the others.'],
  fastvid: ['FastVID', 'The video is cut where it changes; each segment keeps attended tokens and means on anchor frames.'],
  holitom: ['HoliTom', 'Places that stand still become one token over time; the rest is thinned, then merged inside the LLM.'],
  prunevid: ['PruneVid', 'All tokens enter the LLM; a third of the way up those that the question attends to stay.'],
  vidcom2: ['VidCom2', 'Tokens least like their frame and the video; unusual frames keep more.'],
  vcast: ['VCast', 'Tokens unlike their frame and long ones; more where the video changes its course.'],
  kitoke: ['KiToke', 'Drawn by how alone a token is in the whole video; the rest is merged into them.'],
  flashvid: ['FlashVID', 'In each frame attended tokens unlike each other; the rest is joined into trees over time, and most is dropped inside the LLM.'],
  tango: ['Tango', 'Attended tokens of different kinds, and means of the others; what is near in time and place is alike.'],
  sttm: ['STTM', 'Like neighbors in a frame become larger cells, like cells of consecutive frames one token.'],
  infomerge: ['InfoMerge', 'As FastVID; a place that stands still goes on once, and segments that say more get more means.'],
  v2drop: ['V2Drop', 'All tokens enter the LLM; after its layer 2 those that this layer changed most stay.'],
  evs: ['EVS', 'The first frame, then what changes from frame to frame.'],
  uniform: ['Uniform', 'Baseline: tokens at equal distances, whatever they show.'],
  random: ['Random', 'Baseline: tokens drawn by lot.'],
  frames: ['Frames', 'Baseline: all tokens of a few frames.'],
  downsample: ['Downsample', 'Baseline: a coarser grid, means of neighboring tokens.'],
};
const AROUND = new Map([['stop', 'SToP'], ['dytok', 'DyToK'], ['then', 'Then'], ['frames', 'Frames']]);
const DECODED = 100; // tokens, by the paper's convention (stc_core/record/costs.py)

/** "SToP(VisionZip) at 0.02" of stop(visionzip@0.02),strength=9; null for no method of this page. */
export function specWords(spec) {
  const one = /[a-z0-9]+@[^,=()\s]+|[a-z0-9]+\(|,[a-z_0-9]+=[^,=()\s]+|[,)]/g;
  const [, ratio] = /@([^,=()\s]+)/.exec(spec) ?? [];
  if (!ratio || spec.replace(one, '') !== '') return null;
  const plain = spec.replace(/,[a-z_0-9]+=[^,=()\s]+|@[^,=()\s]+/g, '');
  const named = plain.replace(/[a-z0-9]+/g, (name, place) => {
    const around = plain[place + name.length] === '(';
    return (around ? AROUND.get(name) : METHODS[name]?.[0]) ?? '?';
  });
  return named.includes('?') ? null : `${named.replaceAll(',', ', ')} at ${ratio}`;
}

/** Video tokens in every layer of a method with its own settings: [in layer 0, 1, ...]. */
export function layersOf(name, ratio, { n, perFrame }, depth) {
  const near = (share) => Math.max(1, Math.floor(share + 0.5));
  let asked = Math.min(n, near(ratio * n));
  if (name === 'evs') asked = Math.max(asked, perFrame); // its first frame stays whole
  if (name === 'vcast') asked = Math.max(asked, n / perFrame); // one a frame at least
  if (name === 'frames') asked = perFrame * near(asked / perFrame);
  const deep = (share) => Math.max(0, Math.min(near(share * depth), depth - 2));
  const after = (layer, entered, left) => (
    Array.from({ length: depth }, (_, place) => (place <= layer ? entered : left)));
  if (name === 'stc' || name === 'holitom') return after(deep(18 / 28), asked, near(asked / 2));
  if (name === 'flashvid') { // prunes before the layer, where others do after it
    const full = Math.max(1, near(20 / 28 * depth));
    return after(Math.min(full - 1, depth - 2), asked, Math.max(1, Math.ceil(0.3 * asked - 1e-9)));
  }
  if (name === 'fastv' && ratio < 1) return after(2, n, asked);
  const fewer = Math.max(1, Math.floor(ratio * n + 1e-9));
  if (name === 'prunevid' && ratio < 1) return after(deep(10 / 32), n, fewer);
  if (name === 'v2drop' && ratio < 1) return after(2, n, fewer);
  return after(depth, asked, asked);
}

/**
 * (tokens per layer) => FLOPs in the paper's convention, for the LLM that two runs were made with;
 * null where they do not tell. Both are [{layers: tokens per layer, flops}]. The convention is
 * linear in two numbers of the LLM: the work on one token in one layer, and its width.
 */
export function reckoner(runs) {
  const terms = (layers) => {
    const sum = layers.reduce((total, n) => total + n, 0);
    const squares = layers.reduce((total, n) => total + n * n, 0);
    const { length } = layers;
    return [sum + DECODED * length,
      2 * squares + 2 * DECODED * sum + DECODED * (DECODED + 1) * length];
  };
  const known = runs.filter(({ layers, flops }) => layers.length && flops > 0);
  if (known.length < 2) return null;
  const [[a, b], [c, d]] = known.map(({ layers }) => terms(layers));
  const [f, g] = known.map(({ flops }) => flops);
  const det = a * d - b * c;
  if (Math.abs(det) < 1e-9 * Math.abs(a * d)) return null;
  const work = (f * d - b * g) / det;
  const width = (a * g - f * c) / det;
  if (!(work > 0 && width > 0)) return null;
  return (layers) => {
    const [one, two] = terms(layers);
    return work * one + width * two;
  };
}

/** "41.4 T": operations with a prefix. */
export function big(value) {
  const [unit, size] = [['P', 1e15], ['T', 1e12], ['G', 1e9], ['M', 1e6], ['k', 1e3], ['', 0]]
    .find(([, least]) => value >= least);
  return `${Number((size ? value / size : value).toPrecision(3))} ${unit}`.trim();
}
