"""Describe a question about a clip with its answer and evidence; draw such cases from the world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stc_core.answering.prompt import grid_of
from stc_core.errors import InputError
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid
from stc_core.shapes.exam.asking import exam
from stc_core.shapes.exam.grids import frame_size
from stc_core.shapes.exam.replying import ANSWER_TOKENS
from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS, WORLD, World
from stc_core.text import answer_form, option_letter


@dataclass(frozen=True, eq=False)
class Case:
    """Hold one question about one clip.

    Attributes
    ----------
    id : str
        No two cases of a source share it.
    clip : str
        Seed of a clip of the world of shapes, or path of a video in its folder, as it was given.
    kind : str
        Group of questions with which it is reported; "" for none.
    asked_frames : int
        Frames that were to be sampled; a short clip has fewer.
    frames : (T, H, W, 3) uint8
    question : str
        As the model reads it, options included.
    answer : str
        The right answer, as the model should say it.
    right : frozenset of str
        All that counts as right, in the form of ``plain``.
    evidence : (E, 3) int64 or None
        Time step, row and column of the tokens that hold the evidence; None where it is unknown.
    seconds : (T,) float64 or None
        When each frame is shown, for models that read it; None: one frame a second.
    duration : float or None
        Of the whole video in seconds, for models that read it.
    """

    id: str
    clip: str
    kind: str
    asked_frames: int
    frames: np.ndarray
    question: str
    answer: str
    right: frozenset[str]
    evidence: np.ndarray | None = None
    seconds: np.ndarray | None = None
    duration: float | None = None

    def is_right(self, said: str) -> bool:
        """Tell whether an answer is right but for case and outer spaces, or is the right letter."""
        return answer_form(said) in self.right or option_letter(said) in self.right


@dataclass(frozen=True)
class Skipped:
    """Name a case that cannot be asked, with one sentence that says why."""

    id: str
    why: str


@dataclass(frozen=True)
class Shapes:
    """Draw cases from the world of shapes: clips by seed, kinds in turn, one question per clip."""

    vlm: VLM
    development: bool = False
    world: World = WORLD
    answer_tokens: int = ANSWER_TOKENS

    @property
    def seeds(self) -> range:
        return DEVELOPMENT_SEEDS if self.development else HELD_OUT_SEEDS

    def about(self) -> dict[str, Any]:
        """Return a description of these questions, for the first line of a result file."""
        return {
            "source": "shapes",
            "split": "development" if self.development else "held-out",
            "seeds": [self.seeds.start, self.seeds.stop],
            "world": repr(self.world),
            "size": list(frame_size(self.vlm.processor)),
        }

    def count(self, questions: int) -> int:
        """Return how many of ``questions`` questions there are."""
        return questions

    def grid(self, frames: int) -> TokenGrid:
        """Return the grid of the video tokens of each clip."""
        size = frame_size(self.vlm.processor)
        return grid_of(self.vlm, np.zeros((frames, *size, 3), np.uint8))

    def cases(self, questions: int, frames: int) -> Iterator[Case | Skipped]:
        """Yield the first ``questions`` cases; a smaller number yields the beginning of these."""
        size, step = frame_size(self.vlm.processor), self.vlm.family.step(self.vlm.model.config)
        try:
            grid = self.grid(frames)
        except InputError as error:  # more frames than the model reads
            yield Skipped(f"{frames} frames", str(error))
            return
        cells = grid.rows, grid.cols
        pairs = exam(questions, frames, self.seeds, self.world, size=size, grid=cells)
        for clip, question in pairs:
            yield Case(
                id=str(clip.seed),
                clip=str(clip.seed),
                kind=question.kind,
                asked_frames=frames,
                frames=clip.frames,
                question=question.text,
                answer=question.answer,
                right=frozenset([answer_form(question.answer)]),
                evidence=np.unique(question.evidence // [step, 1, 1], axis=0),
            )
