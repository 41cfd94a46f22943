// What is known of one token, in the sentences of the token card.

import { FATE } from './fates.js';

/** Array of sentences: plain text, nothing of it comes from a person or a model. */
export function storyOf(trace, i) {
  return [ranked(trace, i), considered(trace, i), ...carried(trace, i)].filter(Boolean);
}

/** The story in one line: what it is, what became of it, where it went, why. */
export function briefOf(trace, i) {
  const what = `${seconds(trace.seconds[trace.frameOf(i)])}, cell (${trace.rowOf(i)}, ${trace.colOf(i)})`;
  return `${what}: ${[`${fateOf(trace, i)}${whereOf(trace, i)}`, whyOf(trace, i)].filter(Boolean).join('; ')}`;
}

function fateOf(trace, i) { return trace.codes[trace.fate[i]].label.split(' (')[0]; }

/** What carries a token on, or what it carries. */
function whereOf(trace, i) {
  const carrier = trace.outside.target[i];
  if (carrier < 0) return '';
  const size = trace.members(carrier, 'refilled').length;
  if (carrier !== i) {
    const end = trace.target[i] < 0 ? `, which was ${fateOf(trace, carrier)}` : '';
    return ` at ${trace.place(carrier)} with ${many(size - 1, 'other')}${end}`;
  }
  const goal = trace.target[i];
  if (goal >= 0 && goal !== i) return ` into ${trace.place(goal)}`;
  return trace.outside.fate[i] === FATE.CENTER ? ` of ${many(size, 'token')}` : '';
}

function whyOf(trace, i) {
  const rank = trace.outside.target[i] === i && trace.relevanceRank(i);
  const relevant = rank ? `rank ${rank} of ${trace.entered.length} for the question` : '';
  if (!trace.walk.length) return relevant;
  if (trace.order[i] < 0) return 'the pool was full before its turn';
  if (trace.nearest[i] < 0) return relevant || 'first in the pool';
  const cosine = trace.similarity[i].toFixed(2);
  const near = trace.accepted(i) ? `unlike the pool (cosine ${cosine})` : `too alike the pool (cosine ${cosine})`;
  return [near, relevant].filter(Boolean).join(', ');
}

function ranked(trace, i) {
  const rank = trace.contributionRank(i);
  return rank ? `Contribution rank ${rank} of ${trace.n}.` : '';
}

function considered(trace, i) {
  if (!trace.walk.length) return '';
  if (trace.order[i] < 0) return 'Never considered for the pool: it was full by then.';
  const turn = `Considered ${ordinal(trace.order[i] + 1)}`;
  if (trace.nearest[i] < 0) return `${turn}: the pool was empty, so it entered.`;
  const near = `nearest pool token, ${trace.place(trace.nearest[i])}, has cosine `
    + `${trace.similarity[i].toFixed(2)}`;
  return trace.accepted(i)
    ? `${turn}: the ${near}, unlike enough to enter the pool.`
    : `${turn}: the ${near}, too alike, so recycled.`;
}

function carried(trace, i) {
  const carrier = trace.outside.target[i];
  if (carrier < 0) return ['Dropped before the LLM.'];
  const size = trace.members(carrier, 'refilled').length;
  const said = [];
  if (carrier !== i) {
    said.push(`Merged with ${many(size - 1, 'other')} into the center at ${trace.place(carrier)}, `
      + `as one of ${size}.`);
  } else if (trace.outside.fate[i] === FATE.CENTER) {
    said.push(`Center of a cluster: the mean of ${many(size, 'token')} enters the LLM in its place.`);
  } else {
    said.push('Enters the LLM as itself.');
  }
  if (trace.inside) said.push(within(trace, carrier, carrier === i ? 'It' : 'That token'));
  if (trace.target[i] >= 0 && trace.weight[i] < 1) {
    said.push(`Its share of the token that carries it in the end is ${share(trace.weight[i])}.`);
  }
  return said;
}

function within(trace, carrier, subject) {
  const rank = trace.relevanceRank(carrier);
  const ranking = rank
    ? `${subject} ranked ${ordinal(rank)} of ${trace.entered.length} for the question and was`
    : `${subject} was`;
  const goal = trace.inside.target[carrier];
  const layer = trace.inside.layer;
  if (goal === carrier) return `${ranking} kept at layer ${layer}.`;
  if (goal < 0) return `${ranking} dropped after layer ${layer}.`;
  return `${ranking} merged into ${trace.place(goal)} after layer ${layer}.`;
}

/** "1/17" where a share is one, else two digits. */
export function share(weight) {
  const parts = Math.round(1 / weight);
  return Math.abs(1 / parts - weight) < 1e-5 ? `1/${parts}` : weight.toPrecision(2);
}

export function ordinal(number) {
  const tens = number % 100;
  const ending = tens > 10 && tens < 14 ? 'th' : ['th', 'st', 'nd', 'rd'][number % 10] || 'th';
  return `${number}${ending}`;
}

export function many(count, thing) { return `${count} ${thing}${count === 1 ? '' : 's'}`; }

export function percent(part, whole) {
  const value = whole ? (100 * part) / whole : 0;
  return `${value > 0 && value < 1 ? value.toFixed(2) : value.toFixed(1)} %`;
}

export function seconds(value) { return `${value.toFixed(2)} s`; }
