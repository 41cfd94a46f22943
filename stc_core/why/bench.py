"""Ask one question of one clip under many decisions before the LLM.

The vision tower, the method's signal and its decision come from one run; every further run pays
for its own pass through the LLM alone, and gives what an independent run would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stc_core.answering.generation import Said, endings_of, generate, scores_of
from stc_core.answering.prompt import Prompt
from stc_core.answering.reporting import Reporter
from stc_core.hooks.compression import compress
from stc_core.hooks.run_cache import RunCache
from stc_core.hooks.tower import vision
from stc_core.methods import Decision, Edited, Method
from stc_core.methods.base import Around
from stc_core.methods.decided import Decided
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid
from stc_core.record.trace import Trace
from stc_core.why.report import Row


@dataclass(frozen=True)
class Heard(Around):
    """Do what ``method`` does, and keep what it was given and decided."""

    found: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        decision = self.method.outside(tokens, contribution, grid)
        self.found.update(tokens=tokens, contribution=contribution, grid=grid, decision=decision)
        return decision


@dataclass(frozen=True)
class Run:
    """Hold one run: the answer, {candidate: its probability}, the video tokens that entered."""

    answer: str
    probabilities: dict[str, float]
    tokens: int

    def row(self, kind: str, label: str, **more: Any) -> Row:
        """Return it as a row of the report."""
        return Row(kind, label, self.answer, self.probabilities, self.tokens, **more)


class Bench:
    """Hold a clip and a question in front of a loaded model.

    Use it inside ``opened``.

    Parameters
    ----------
    vlm : VLM
    prompt : Prompt
    method : Method
        The one in question.
    limit : int
        Tokens of the longest answer.
    about : mapping
        What ``compress`` is told of the clip.
    step : callable
        Called before each run of the model; what it raises ends the run.
    """

    def __init__(
        self,
        vlm: VLM,
        prompt: Prompt,
        method: Method,
        limit: int,
        about: Mapping[str, Any],
        step: Callable[[], None] = lambda: None,
    ) -> None:
        self.vlm, self.prompt, self.method, self.limit = vlm, prompt, method, limit
        self._about, self._step = dict(about), step
        self.candidates: dict[str, list[int]] = {}  # answer -> its tokens, the end included
        self.trace: Trace
        self._heard: dict[str, Any] = {}

    @contextmanager
    def opened(self, cache: RunCache) -> Iterator[None]:
        """Let the vision tower run once inside the ``with``."""
        with vision(
            self.vlm.model, cache=cache, methods=[self.method], batch=self.vlm.vision_batch
        ):
            yield

    def first(self, choose: Callable[[str, str], Sequence[str]]) -> tuple[Run, Run]:
        """Return the uncompressed and the compressed run; later runs use what these have heard.

        ``choose`` tells by their answers whose probability every run is to tell.
        """
        listening = Heard(self.method)
        whole = self._said()
        with compress(self.vlm.model, listening, **self._about) as live:
            said = self._said()
            self.candidates = endings_of(self.vlm, choose(whole.text, said.text))
            compressed = self._run(said, len(live.outside.survivors))
        self.trace, self._heard = live.freeze(), listening.found
        return self._run(whole, self.trace.grid.size), compressed

    def decision(self, method: Method | None = None) -> Decision:
        """Return what a method decides on this clip; default: the decision in question."""
        heard = self._heard
        if method is None:
            return heard["decision"]
        with torch.no_grad():
            return method.outside(heard["tokens"], heard["contribution"], heard["grid"])

    def edited(
        self, edit: Mapping[str, Any], method: Method | None = None, start: Decision | None = None
    ) -> Run:
        """Ask under the decision in question, edited.

        Parameters
        ----------
        edit : mapping
            ``remove``, ``add`` and ``only`` as for ``Edited``.
        method : Method, optional
            Whose inside stage acts; default: the one in question.
        start : Decision, optional
            What is edited; default: the decision in question.
        """
        base = self._decided(method or self.method, start or self.decision())
        return self.asked(method or self.method, self.decision(Edited(base, **edit)))

    def asked(self, method: Method, decision: Decision) -> Run:
        """Ask under a decision, with the inside stage of ``method``."""
        with compress(self.vlm.model, self._decided(method, decision)):
            return self._run(self._said(), len(decision.survivors))

    def _decided(self, method: Method, decision: Decision) -> Decided:
        return Decided(method, decision, self._heard["contribution"])

    def _said(self) -> Said:
        self._step()
        return generate(self.vlm, self.prompt, Reporter(self.vlm.device), self.limit)

    def _run(self, said: Said, tokens: int) -> Run:
        """Score the candidates too: a compressed cache goes on only inside its ``with``."""
        scores = scores_of(self.vlm, said, self.candidates)
        chances = {answer: min(1.0, math.exp(score)) for answer, score in scores.items()}
        return Run(said.text, chances, tokens)
