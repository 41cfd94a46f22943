"""Several questions about one video: what does not depend on the question is done once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from .answering import Answer, answer
from .errors import InputError
from .grid import TokenGrid
from .loading import VLM
from .methods import STC, Decision, Method
from .video import Video
from .vision import VisionCache

__all__ = ["Conversation"]


class Conversation:
    """Questions about one video, each answered as if it were the first.

    ::

        talk = Conversation(load(), "clip.mp4")
        talk.ask("what color is the star?").text
        talk.ask("where is it?").text

    The first question pays for decoding, the vision tower and the stage before the LLM; the next
    ones find all three done, since none of them reads the question. The stage inside the LLM, which
    does, runs for each. Answer and trace are those of ``answer`` on that question alone, bit for
    bit: no question sees the ones before it. Only one thread at a time may ask.

    Parameters
    ----------
    vlm
        What ``load`` gives.
    video
        A file, which must stay where it is, or a ``Video``.
    method
        The compressor; default ``STC()``.
    frames
        T, frames to sample from a file; default: the model's own number.
    cache
        Where frames and features are kept; default: one of its own, of 1 GiB at most. A clip that
        is too large for it is seen anew for each question.
    """

    def __init__(
        self,
        vlm: VLM,
        video: str | os.PathLike | Video,
        method: Method | None = None,
        *,
        frames: int | None = None,
        cache: VisionCache | None = None,
    ) -> None:
        self.vlm, self.video, self.frames = vlm, video, frames
        self.method = STC() if method is None else method
        self.cache = VisionCache() if cache is None else cache
        self._once = _OutsideOnce(self.method)

    def ask(self, question: str, **options: Any) -> Answer:
        """Answer one more question.

        Parameters
        ----------
        question
            Plain text.
        options
            Of ``answer``: baseline, record, score, max_new_tokens, progress.

        Raises
        ------
        InputError
            As ``answer``. The conversation can go on.
        """
        fixed = {"method", "frames", "cache"} & options.keys()
        if fixed:
            raise InputError(
                f"{min(fixed)} belongs to the whole conversation; begin another one with it"
            )
        return answer(
            self.vlm, self.video, question, self._once, frames=self.frames, cache=self.cache,
            **options,
        )  # fmt: skip


@dataclass(frozen=True, repr=False)
class _OutsideOnce(Method):
    """``method``, deciding about one clip once before the LLM. In a trace it is ``method``."""

    method: Method
    # the method's own, for whoever asks any method for them
    retention: float = field(init=False)
    positions: str = field(init=False)
    contribution_layer: int | None = field(init=False)
    signal: str = field(init=False)
    _held: list[tuple[TokenGrid, Tensor, Decision]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method):
            raise InputError(f"a compression method is needed, such as STC(), not {self.method!r}")
        for each in fields(Method):
            object.__setattr__(self, each.name, getattr(self.method, each.name))

    def __repr__(self) -> str:
        return repr(self.method)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        for seen, attention, decision in self._held:
            if seen == grid and torch.equal(attention, contribution):
                return decision
        decision = self.method.outside(tokens, contribution, grid)
        self._held[:] = [(grid, contribution, decision)]
        return decision

    def asked(self, grid: TokenGrid) -> int:
        return self.method.asked(grid)

    def budget(self, grid: TokenGrid) -> int:
        return self.method.budget(grid)

    def remarks(self, grid: TokenGrid, entered: int) -> tuple[str, ...]:
        return self.method.remarks(grid, entered)

    def inside_layer(self, depth: int) -> int | None:
        return self.method.inside_layer(depth)

    def inside_budget(self, entered: int) -> int:
        return self.method.inside_budget(entered)

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        return self.method.inside(visual, text, attention)
