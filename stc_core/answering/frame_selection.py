"""Choose the frames that a model sees by what changes between them, at a fixed number of tokens.

Uniform sampling spends as many frames on a still minute as on an eventful one. ``frames="auto"`` of
``answer`` looks at more frames than the model reads, at low resolution, and shows it those that
differ:

1. *Candidates*: frames uniform in time, held at 64 pixels and compared at 32 x 32.
2. *Near-duplicates* are dropped before the vision tower: a candidate goes where no cell of 4 x 4 of
   these pixels differs from the last kept one by more than ``LEVEL`` gray levels.
3. Where more remain than the model usually reads, they are chosen *farthest first* (Gonzalez,
   "Clustering to minimize the maximum intercluster distance", 1985): the first frame, then again
   and again the one in which most cells differ from the chosen frame that is most like it; of
   equals the one with most of the remaining frames between it and every chosen one, then the
   earliest.
4. *Tokens*: as many as the method's retention gives of the usual uniform frames. Its retention is
   scaled so that fewer frames keep more tokens each; see ``equal_tokens``.

Models that join several frames to one time step (Qwen: 2) read neighbors: there the candidates are
chosen in groups of so many consecutive ones, and a group is a picture of all its frames.

The vision tower's pooled features take no part. To have them, the tower must run on a frame, which
is the cost that dropping frames before it saves. And what looks alike to the tower alone is already
left to the method: its pool of tokens spans the whole video, so that frames with like features get
few.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stc_core.answering.reading import read
from stc_core.answering.upright import resized
from stc_core.answering.video import MAX_FRAMES, Video, choose_frames, read_video
from stc_core.answering.video_file import checked_file
from stc_core.errors import InputError

__all__ = [
    "AUTO",
    "CANDIDATES",
    "Chosen",
    "changed_cells",
    "checked_candidates",
    "choose_distinct",
    "choose_in_file",
    "choose_in_video",
    "farthest_first",
    "pictures_of",
    "without_near_duplicates",
]

AUTO = "auto"
CANDIDATES = 128  # by default
DECODED_SIDE = 64  # pixels, longer side of a candidate as it is read
SIDE, CELL = 32, 4  # pixels of a picture and of a cell of it
LEVEL = 16  # gray levels; mean over a cell of what a codec, grain or slow light change is less


@dataclass(frozen=True)
class Chosen:
    """Hold the frames that were chosen, and among how many.

    Attributes
    ----------
    video : Video
        The chosen frames alone, with their times.
    looked_at : int
        Candidates.
    distinct : int
        Those that remained without near-duplicates.
    usual : int
        Frames that uniform sampling takes of the same video.
    """

    video: Video
    looked_at: int
    distinct: int
    usual: int


def pictures_of(frames: np.ndarray, step: int = 1) -> np.ndarray:
    """Reduce frames to small pictures, in groups of ``step`` consecutive ones.

    Parameters
    ----------
    frames : (N, H, W, 3) uint8
        Whatever H : W is, a picture is square.
    step : int
        Frames that the model joins to one time step. The last frame is repeated where some miss.

    Returns
    -------
    (ceil(N / step), step, 32, 32, 3) uint8
        By area average; linear where a side has fewer than 32 pixels.
    """
    small = np.stack([resized(frame, SIDE, SIDE) for frame in frames])
    whole = np.pad(small, [(0, -len(small) % step), *[(0, 0)] * 3], mode="edge")
    return whole.reshape(-1, step, SIDE, SIDE, 3)


def changed_cells(pictures: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Count the cells in which pictures differ from one picture.

    A cell of 4 x 4 pixels differs where the absolute differences of its values, averaged over
    pixels and colors, exceed ``LEVEL`` in any frame of the group. In whole numbers, so that it is
    the same on every machine.

    Parameters
    ----------
    pictures : (M, step, 32, 32, 3) uint8
    picture : (step, 32, 32, 3) uint8

    Returns
    -------
    (M,) int64, 0 to 64
    """
    apart = np.abs(pictures.astype(np.int16) - picture.astype(np.int16))
    cells = SIDE // CELL
    parts = apart.reshape(*apart.shape[:2], cells, CELL, cells, CELL, 3)
    sums = parts.sum(axis=(3, 5, 6), dtype=np.int32)  # (M, step, 8, 8)
    return (sums > LEVEL * CELL * CELL * 3).any(axis=1).sum(axis=(1, 2))


def without_near_duplicates(pictures: np.ndarray) -> np.ndarray:
    """Walk through the pictures and keep those that differ from the last kept one in any cell.

    Parameters
    ----------
    pictures : (M, step, 32, 32, 3) uint8

    Returns
    -------
    (m,) int64, ascending, from 0 on
    """
    kept = [0]
    for place in range(1, len(pictures)):
        if changed_cells(pictures[place : place + 1], pictures[kept[-1]])[0]:
            kept.append(place)
    return np.array(kept)


def farthest_first(pictures: np.ndarray, count: int) -> np.ndarray:
    """Choose the first picture, then again and again the one that differs most from the chosen.

    Two pictures are as far apart as cells differ between them (``changed_cells``), and of equals
    those are farther that are farther apart in their order.

    Parameters
    ----------
    pictures : (M, step, 32, 32, 3) uint8
    count : int
        At least 1.

    Returns
    -------
    (min(M, count),) int64, ascending, from 0 on
    """
    total = len(pictures)
    order, chosen = np.arange(total), [0]
    changed, gap = changed_cells(pictures, pictures[0]), order
    while len(chosen) < min(total, count):
        chosen.append(int(np.argmax(changed * total + gap)))  # the earliest of equals
        changed = np.minimum(changed, changed_cells(pictures, pictures[chosen[-1]]))
        gap = np.minimum(gap, np.abs(order - chosen[-1]))
    return np.sort(np.array(chosen))


def choose_distinct(frames: np.ndarray, most: int, step: int = 1) -> tuple[np.ndarray, int]:
    """Choose at most ``most`` frames that differ from each other.

    Parameters
    ----------
    frames : (N, H, W, 3) uint8
        The candidates in their order; the resolution does not matter from 32 x 32 pixels on.
    most : int
        At least 1. Where ``step`` does not divide it, fewer are chosen.
    step : int
        Frames that the model joins to one time step: chosen together, so that neighbors are joined.

    Returns
    -------
    (n,) int64, ascending, from 0 on
        Places of the chosen frames; n <= max(most, step).
    int
        How many frames there were without near-duplicates.
    """
    pictures = pictures_of(frames, step)
    distinct = without_near_duplicates(pictures)
    groups = distinct[farthest_first(pictures[distinct], max(1, most // step))]
    return _members(groups, step, len(frames)), len(_members(distinct, step, len(frames)))


def _members(groups: np.ndarray, step: int, count: int) -> np.ndarray:
    """Return the frames, of ``count``, that these groups of ``step`` hold."""
    places = (groups[:, None] * step + np.arange(step)).ravel()
    return places[places < count]


def choose_in_video(video: Video, most: int, candidates: int, step: int = 1) -> Chosen:
    """Choose among the frames of a ``Video``: ``candidates`` of them, uniform in time."""
    looked = choose_frames(video.seconds, candidates)
    places, distinct = choose_distinct(video.frames[looked], most, step)
    kept = looked[places]
    shown = replace(video, frames=video.frames[kept], seconds=video.seconds[kept])
    return Chosen(shown, len(looked), distinct, min(most, len(video.frames)))


def choose_in_file(
    path: str | os.PathLike[str],
    most: int,
    candidates: int,
    step: int = 1,
    *,
    max_side: Callable[[int], int],
    part: Mapping[str, Any],
    report: Callable[[float], None],
) -> Chosen:
    """Choose among the frames of a file, which is decoded twice: small, then what was chosen.

    Parameters
    ----------
    path
        As for ``read_video``.
    most, candidates : int
        Frames that are chosen and looked at; at least as many are looked at as uniform sampling
        would take.
    step : int
        As for ``choose_distinct``.
    max_side : callable
        Number of frames -> the longer side in pixels at which they are kept.
    part : mapping
        "start", "end" and "track", as for ``read_video``.
    report : callable
        Called with the share done, 0 to 1.

    Raises
    ------
    InputError
        As ``read_video``.
    """
    small = read_video(
        path,
        candidates,
        max_side=DECODED_SIDE,
        on_progress=lambda share: report(0.6 * share),
        **part,
    )
    places, distinct = choose_distinct(small.frames, most, step)
    file, head = checked_file(path)
    shown = read(
        file,
        head,
        part["track"],
        lambda times: _nearest(times, small.seconds[places]),
        max_side(len(places)),
        part["start"],
        lambda share: report(0.6 + 0.4 * share),
    )
    return Chosen(shown, len(small.frames), distinct, min(most, len(small.frames)))


def _nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the places in rising ``times`` (n,) nearest to some wanted ones, each once."""
    after = np.searchsorted(times, wanted).clip(max=len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.unique(np.where(wanted - times[before] < times[after] - wanted, before, after))


def checked_candidates(frames: object, candidates: object, most: int) -> int | None:
    """Return how many frames to look at, None where they are not to be chosen.

    Parameters
    ----------
    frames, candidates
        As given to ``answer``.
    most : int
        Frames that the model reads by default, which is the least.

    Raises
    ------
    InputError
        ``frames`` is another text than "auto", or ``candidates`` comes without it or is no whole
        number from ``most`` to 4096.
    """
    if isinstance(frames, str) and frames != AUTO:
        raise InputError(f"frames must be a whole number or {AUTO!r}, not {frames!r}")
    if not isinstance(frames, str):
        if candidates is not None:
            raise InputError(f"candidates belongs to frames={AUTO!r}; leave it out or ask for that")
        return None
    if candidates is None:
        return max(CANDIDATES, most)
    try:
        count = -1 if isinstance(candidates, bool) else operator.index(candidates)  # type: ignore[arg-type]
    except TypeError:
        count = -1
    if not most <= count <= MAX_FRAMES:
        raise InputError(
            f"candidates must be a whole number from {most}, the frames that the model reads, to "
            f"{MAX_FRAMES}, not {candidates!r}"
        )
    return count
