"""Draw random parts of a clip: the video tokens that the decoder is shown in a batch of training.

A decoder that has only seen whole clips is confused by gaps as such, whatever is missing. So most
batches show it a random part of each clip's tokens, at their original positions (PatchDropout,
arXiv:2208.07220; FLIP, arXiv:2212.00794). No compression method chooses the part, and nothing is
merged: a part is drawn from the seed of its batch and from where the renderer painted things.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stc_core.shapes.world.questions import Question
from stc_core.shapes.world.scenes import Dice

PATTERNS = ("cells", "frames", "blocks", "things")
FULL = 0.25  # share of the batches that show every token
LEAST_SHARE = 0.01  # of the tokens in a part; the shares are log-uniform from here to 1
LEAST_TOKENS = 8  # in a part
VIEWS = ((0.1, 6), (0.25, 3), (0.5, 2))  # (share, parts of each clip) up to that share
CLEAR = 0.12  # share of a cell from which on a thing shows in it and is to be named
MOST_BONUS = 1.0  # how far the cells of things are preferred over uniform noise from 0 to 1
LOOKS = ("color", "shape", "look", "exists", "place", "flash")  # kinds that some cells answer
PATHS = ("direction", "motion")  # kinds that a part of the way answers


@dataclass(frozen=True)
class Part:
    """Describe how the parts of one batch are drawn.

    Attributes
    ----------
    share : float
        Of a clip's tokens that a part holds, in (0, 1].
    pattern : str
        One of ``PATTERNS``.
    bonus : float
        Added to the uniform noise of cells where things are: 0 ignores things, 1 takes them first.
    views : int
        Parts of each clip.
    """

    share: float
    pattern: str
    bonus: float
    views: int


def part_of(seed: int, most: float = 1.0) -> Part | None:
    """Draw how a batch shows its clips; None for whole clips.

    Parameters
    ----------
    seed : int
        Of the batch.
    most : float
        The largest share that memory allows. Below 1, no batch shows whole clips.
    """
    dice = Dice(seed, 7)
    whole = dice.chance(FULL)
    share = float(np.exp(dice.between(np.log(LEAST_SHARE), 0.0)))
    pattern, blind = dice.pick(PATTERNS), dice.chance(0.5)
    bonus = dice.between(0.2, MOST_BONUS) if pattern == "things" or not blind else 0.0
    if whole and most >= 1:
        return None
    share = min(share, most)
    views = next((views for bound, views in VIEWS if share <= bound), 1)
    return Part(share, pattern, float(bonus), views)


def draw_part(part: Part, seed: int, view: int, share: np.ndarray) -> np.ndarray:
    """Draw the tokens of one part of one clip.

    Parameters
    ----------
    part : Part
    seed : int
        Of the clip.
    view : int
        Number of the part among those of the clip.
    share : (K, T, rows, cols) float
        `drawing.coverage` of the clip.

    Returns
    -------
    (k,) int64, ascending indices of tokens in T x rows x cols.
    """
    frames, rows, cols = share.shape[1:]
    dice = Dice(seed, 16 + view)
    if part.pattern == "frames":
        score = dice.uniform(frames)[:, None, None]
    elif part.pattern == "blocks":
        long, side = 2 + int(dice.uniform(1)[0] * 7), 2 + int(dice.uniform(1)[0] * 2)
        coarse = dice.uniform(-(-frames // long), -(-rows // side), -(-cols // side))
        score = coarse.repeat(long, 0).repeat(side, 1).repeat(side, 2)[:frames, :rows, :cols]
    else:
        score = dice.uniform(frames, rows, cols)
    shows = share.max(axis=0) >= CLEAR
    score = score + part.bonus * shows + 1e-6 * dice.uniform(frames, rows, cols)
    count = min(score.size, max(LEAST_TOKENS, round(part.share * score.size)))
    chosen = np.argpartition(-score.ravel(), count - 1)[:count]
    return np.sort(chosen).astype(np.int64)


def still_answerable(question: Question, kept: np.ndarray, share: np.ndarray) -> bool:
    """Tell whether a part holds enough of a question's evidence for it to be asked.

    Properties of a thing need two of their cells (or the only one), a count one cell of each
    thing, a path cells of several frames over half of its time, every other kind half of its
    evidence. An absence needs none.

    Parameters
    ----------
    question : Question
    kept : (T, rows, cols) bool
    share : (K, T, rows, cols) float
        ``drawing.coverage`` of the clip.
    """
    evidence = question.evidence
    if len(evidence) == 0:
        return True
    there = kept[tuple(evidence.T)]
    if question.kind in LOOKS:
        return bool(there.sum() >= min(2, len(evidence)))
    if question.kind == "count":
        shows = share >= CLEAR
        counted = shows.any(axis=(1, 2, 3))
        return bool((shows & kept).any(axis=(1, 2, 3))[counted].all())
    if question.kind in PATHS:
        frames, left = evidence[:, 0], np.unique(evidence[there, 0])
        enough = min(3, len(np.unique(frames)))
        return bool(len(left) >= enough and 2 * np.ptp(left) >= np.ptp(frames))
    return bool(2 * there.sum() >= len(evidence))
