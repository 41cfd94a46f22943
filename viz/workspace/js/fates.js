// What becomes of a token, as numbers, and how the stages in between look.

// Fates 0 to 5 are those of stc_core.Fate. The others are looks of stages in between.
export const FATE = { KEPT: 0, CENTER: 1, MERGED: 2, DROPPED: 3, MERGED_INSIDE: 4, DROPPED_INSIDE: 5 };
export const OPEN = 6; // not decided yet
export const RECYCLED = 7; // not in the pool: waits for the clusters
export const ABSENT = 8; // did not reach this stage

export const BETWEEN = [
  { name: 'open', color: '#8C959F', mark: 'none', light: 1, label: 'not decided yet', glyph: '–' },
  { name: 'recycled', color: '#56B4E9', mark: 'hatch', light: 0.45,
    label: 'not in the pool, recycled', glyph: '◌' },
  { name: 'absent', color: '#333333', mark: 'dim', light: 0.25,
    label: 'did not get this far', glyph: '·' },
];

/** Whether a token of this fate goes on as itself. */
export function isAlive(fate) { return fate === FATE.KEPT || fate === FATE.CENTER; }
