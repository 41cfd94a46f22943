"""Ask several questions about one video; do once what does not depend on the question."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import torch
from torch import Tensor

from stc_core.answering.answer import Answer, answer
from stc_core.answering.streaming import AnswerStream
from stc_core.answering.video import Video
from stc_core.errors import InputError
from stc_core.hooks.run_cache import RunCache
from stc_core.methods import STC, Decision, Method
from stc_core.methods.base import Around
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid

__all__ = ["Conversation"]


class Conversation:
    """Answer questions about one video, each as if it were the first or as the next of a talk.

    ::

        talk = Conversation(load(), "clip.mp4")
        talk.ask("what color is the star?").text
        talk.ask("where is it?").text

    The first question pays for decoding, the vision tower and the stage before the LLM; the next
    ones find all three done, since none of them reads the question. The stage inside the LLM, which
    does, runs for each. Answer and trace are those of ``answer`` on that question alone, bit for
    bit: no question sees the ones before it, unless ``remember`` is set. Only one thread at a time
    may ask.

    Parameters
    ----------
    vlm
        What ``load`` gives.
    video
        A file, which must stay where it is, or a ``Video``.
    method
        The compressor; default ``STC()``.
    frames
        T, frames to sample from a file; default: the model's own number; "auto" as for ``answer``.
    candidates
        With ``frames="auto"``, as for ``answer``.
    start, end, track
        Of a file, as for ``answer``.
    system
        A system prompt for every question.
    remember
        Let the model read the earlier questions and its answers before each question; they are in
        ``history``.
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
        frames: int | Literal["auto"] | None = None,
        candidates: int | None = None,
        start: float = 0.0,
        end: float | None = None,
        track: int | None = None,
        system: str = "",
        remember: bool = False,
        cache: RunCache | None = None,
    ) -> None:
        self.vlm, self.video = vlm, video
        self._clip: dict[str, Any] = {
            "frames": frames,
            "candidates": candidates,
            "start": start,
            "end": end,
            "track": track,
        }
        self.system, self.remember = system, remember
        self.history: list[tuple[str, str]] = []
        self.method = STC() if method is None else method
        self.cache = RunCache() if cache is None else cache
        self._once = _OutsideOnce(self.method)

    @overload
    def ask(self, question: str, *, stream: Literal[False] = False, **options: Any) -> Answer: ...
    @overload
    def ask(self, question: str, *, stream: Literal[True], **options: Any) -> AnswerStream: ...
    def ask(self, question: str, **options: Any) -> Answer | AnswerStream:
        """Answer one more question.

        Parameters
        ----------
        question
            Plain text.
        options
            Of ``answer``: baseline, record, score, keep_cache, max_new_tokens, progress, on_piece,
            stream. A streamed answer is in the history once it is complete; one that was closed
            early is not.

        Raises
        ------
        InputError
            As ``answer``. The conversation can go on.
        """
        whole = {"method", "cache", "system", "history", *self._clip}
        fixed = whole & options.keys()
        if fixed:
            raise InputError(
                f"{min(fixed)} belongs to the whole conversation; begin another one with it"
            )
        stream = options.pop("stream", False)
        options |= self._clip | {"system": self.system, "cache": self.cache}
        options["history"] = tuple(self.history) if self.remember else ()

        def asked(**options: Any) -> Answer:
            found = answer(self.vlm, self.video, question, self._once, **options)
            self.history.append((question, found.text))
            return found

        return AnswerStream(asked, options) if stream else asked(**options)


@dataclass(frozen=True, repr=False)
class _OutsideOnce(Around):
    """Let ``method`` decide about one clip once before the LLM. In a trace it is ``method``."""

    _held: list[tuple[Method, TokenGrid, Tensor, Decision]] = field(
        default_factory=list, init=False
    )

    def __repr__(self) -> str:
        return repr(self.method)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        for method, seen, attention, decision in self._held:
            if method == self.method and seen == grid and torch.equal(attention, contribution):
                return decision
        decision = super().outside(tokens, contribution, grid)
        self._held[:] = [(self.method, grid, contribution, decision)]
        return decision

    def at(self, retention: float) -> Method:
        other = super().at(retention)
        object.__setattr__(other, "_held", self._held)  # what is decided once is known to both
        return other
