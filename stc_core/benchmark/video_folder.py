"""Read questions about a folder of videos, from a file of JSON lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.answering.prompt import grid_of
from stc_core.answering.video import read_video
from stc_core.benchmark.cases import Case, Skipped
from stc_core.benchmark.questions_file import Line, checked_questions
from stc_core.errors import InputError
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid
from stc_core.shapes.world.questions import EVIDENCE_SHARE

LONG_ANSWER = 32  # tokens; what a model may say about a video of one's own


@dataclass(frozen=True)
class Folder:
    """Describe a folder of videos and a file of questions, one JSON object a line.

    Each line holds ``video`` (a path within the folder), ``question`` and ``answer``, and perhaps

    * ``options``: the answers to choose from, which are shown to the model with letters; the right
      answer is one of them or its letter;
    * ``evidence``: boxes ``[start_s, end_s, left, top, right, bottom]``, times in seconds, sides
      as shares of the frame, 0 to 1 from its top left corner. A token is evidence where a box
      covers a quarter of its cell or more, or more of it than of any other cell, in a sampled
      frame between start and end;
    * ``kind``: a group to report it with; ``id``: a name of its own (default: "line 12").

    Raises
    ------
    InputError
        The folder or file is missing, or a line cannot be used: the message names its number.
    """

    vlm: VLM
    videos: Path
    file: Path
    answer_tokens: int = LONG_ANSWER
    lines: tuple[Line, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", checked_questions(self.videos, self.file))

    def about(self) -> dict[str, Any]:
        """Return a description of these questions, for the first line of a result file."""
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
        return {"source": self.file.name, "split": "own", "questions_sha256": digest}

    def count(self, questions: int) -> int:
        """Return how many of ``questions`` questions there are."""
        return min(questions, len(self.lines))

    def cases(self, questions: int, frames: int) -> Iterator[Case | Skipped]:
        """Yield the first ``questions`` lines, those about one video together."""
        chosen: dict[Path, list[Line]] = {}
        for line in self.lines[:questions]:
            chosen.setdefault(line.path, []).append(line)
        step = self.vlm.family.step(self.vlm.model.config)
        for path, lines in chosen.items():
            try:
                video = read_video(path, frames)
                grid = None
                if any(line.boxes is not None for line in lines):
                    grid = grid_of(self.vlm, video.frames, video.source_size)
            except InputError as error:
                yield from (Skipped(line.id, str(error)) for line in lines)
                continue
            for line in lines:
                evidence = None
                if line.boxes is not None and grid is not None:
                    evidence = cells_of(line.boxes, video.seconds, grid, step)
                yield Case(
                    id=line.id,
                    clip=line.video,
                    kind=line.kind,
                    asked_frames=frames,
                    frames=video.frames,
                    question=line.question,
                    answer=line.answer,
                    right=line.right,
                    evidence=evidence,
                    seconds=video.seconds,
                    duration=video.duration,
                )


def cells_of(
    boxes: tuple[tuple[float, ...], ...], seconds: np.ndarray, grid: TokenGrid, step: int
) -> np.ndarray:
    """Return the cells of the token grid that boxes cover.

    Parameters
    ----------
    boxes : tuple of tuple of float
        (start, end, left, top, right, bottom): times in seconds, sides as shares of the frame.
    seconds : (T,) float
        Times of the frames.
    grid : TokenGrid
    step : int
        Frames that share a time step of the grid.

    Returns
    -------
    (E, 3) int64
        Time step, row and column, sorted. Parts of a frame that the model does not see are no
        evidence.
    """
    found = np.zeros((grid.frames, grid.rows, grid.cols), bool)
    seen_top, seen_left, seen_bottom, seen_right = grid.region
    for start, end, left, top, right, bottom in boxes:
        shown = np.flatnonzero((seconds >= start) & (seconds <= end)) // step
        tall = _covered(top, bottom, seen_top / grid.height, seen_bottom / grid.height, grid.rows)
        wide = _covered(left, right, seen_left / grid.width, seen_right / grid.width, grid.cols)
        share = np.outer(tall, wide)
        # cells that are covered alike differ in the last bits of their shares
        enough = min(EVIDENCE_SHARE, share.max()) * (1 - 1e-9)
        found[shown] |= (share >= enough) & (share > 0)
    return np.argwhere(found)


def _covered(low: float, high: float, first: float, last: float, parts: int) -> np.ndarray:
    """Return (parts,): the share of each equal part of first..last between low and high."""
    edges = first + (last - first) * np.arange(parts + 1) / parts
    inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.clip(inside, 0, None) * parts / (last - first)
