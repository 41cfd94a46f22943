"""Record one question asked at many settings of a method: what becomes of tokens and answer."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.record.grid import TokenGrid
from stc_core.record.stages import ORDERS, Stage, replay
from stc_core.record.sweep_file import read_sweep, write_sweep

AXES = ("retention", "tau", "layer")  # fields of methods that a sweep goes along


@dataclass(frozen=True, eq=False)
class Stop:
    """Hold one run of a sweep.

    Attributes
    ----------
    value : float
        Of the axis; a layer is a whole number.
    answer : str
    logprob : float
        Natural logarithm of the probability of this answer, as it was said.
    scores : dict of str to float
        The same of candidate answers with their end, as far as they were asked about.
    stages : tuple of Stage
        What became of every video token.
    costs : dict
        What ``stc_core.record.costs.Costs.to_json`` gives.
    """

    value: float
    answer: str
    logprob: float
    scores: dict[str, float]
    stages: tuple[Stage, ...]
    costs: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _end(self) -> tuple[np.ndarray, np.ndarray]:
        return replay(self.stages, len(self.stages[0].fate))

    @property
    def fate(self) -> np.ndarray:
        """Return (N,) uint8: the ``Fate`` of each token at the end."""
        return self._end[0]

    @property
    def target(self) -> np.ndarray:
        """Return (N,) int64: the token that carries each one at the end; -1 for none."""
        return self._end[1]

    @property
    def entered(self) -> int:
        """Count the video tokens that entered the LLM."""
        first = self.stages[0]
        return len(first.survivors) if first.name == "outside" else len(first.fate)

    @property
    def left(self) -> int:
        """Count the video tokens in the last layers of the LLM."""
        return len(self.stages[-1].survivors)

    @property
    def flops(self) -> float | None:
        """Return the predicted FLOPs of the whole answer; None where they are not known."""
        parts = self.costs.get("real_flops") or {}
        return float(sum(parts.values())) if parts else None

    @property
    def seconds(self) -> float | None:
        """Return the measured seconds of the whole answer; None where they are not known."""
        parts = self.costs.get("seconds") or {}
        return float(sum(parts.values())) if parts else None

    def probability(self, answer: str) -> float | None:
        """Return the probability of an answer, 0 to 1; None where nobody asked for it."""
        logprob = self.scores.get(answer, self.logprob if answer == self.answer else None)
        return None if logprob is None else math.exp(min(logprob, 0.0))


@dataclass(frozen=True)
class Turn:
    """Hold two stops in a row whose answers differ: the answer turns between them.

    Attributes
    ----------
    low, high : float
        Values of the two stops.
    before, after : str
        Answers at ``low`` and at ``high``.
    """

    low: float
    high: float
    before: str
    after: str


@dataclass(frozen=True, eq=False)
class Sweep:
    """Hold the stops of a sweep that are computed so far, and what they are about.

    Attributes
    ----------
    grid : TokenGrid
    over : str
        The axis: "retention", "tau" or "layer".
    present : float
        The value of the method that was asked about.
    planned : tuple of float
        All values that are to be computed, ascending.
    method, model, question : str
        ``repr`` of that method; name of the model; what was asked.
    stops : tuple of Stop
        Ascending by value.
    baseline : dict
        Of the uncompressed run: "answer", "logprob", "scores" and "costs"; empty before it.
    expected : str or None
        The right answer, where it is known.
    refused : dict of float to str
        Values that could not be computed, each with a sentence.
    latest : Stop or None
        The stop that came or changed last; not kept in a file.

    Raises
    ------
    ValueError
        The stops contradict each other or the grid.
    """

    grid: TokenGrid
    over: str
    present: float
    planned: tuple[float, ...]
    method: str = ""
    model: str = ""
    question: str = ""
    stops: tuple[Stop, ...] = ()
    baseline: dict[str, Any] = field(default_factory=dict)
    expected: str | None = None
    refused: dict[float, str] = field(default_factory=dict)
    latest: Stop | None = None

    def __post_init__(self) -> None:
        if self.over not in AXES:
            raise ValueError(f"a sweep goes over one of {', '.join(AXES)}, not {self.over!r}")
        for values in (self.planned, [stop.value for stop in self.stops]):
            if (np.diff(values) <= 0).any() or not np.isfinite(values).all():
                raise ValueError("the values of a sweep must be finite numbers that rise")
        for stop in self.stops:
            if tuple(stage.name for stage in stop.stages) not in ORDERS:
                raise ValueError("a stop has one stage outside the LLM, one inside, or both")
            if any(len(stage.fate) != self.grid.size for stage in stop.stages):
                raise ValueError(f"a stop must tell the fates of {self.grid.size} tokens")

    @property
    def waiting(self) -> tuple[float, ...]:
        """Return the planned values that are neither computed nor refused."""
        known = {stop.value for stop in self.stops} | set(self.refused)
        return tuple(value for value in self.planned if value not in known)

    @property
    def answers(self) -> tuple[str, ...]:
        """Return the candidate answers, each once.

        First that of the uncompressed run, that at the present value and the right one, then the
        others in the order of the axis. An empty answer is no candidate: no model can be asked for
        its probability.
        """
        first = [self.baseline.get("answer"), self.present_answer, self.expected]
        every = [*first, *(stop.answer for stop in self.stops)]
        return tuple(dict.fromkeys(text for text in every if text and text.strip()))

    @property
    def present_answer(self) -> str | None:
        """Return the answer at the present value; None before it is computed."""
        found = self.stop(self.present)
        return None if found is None else found.answer

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Return the tipping points: each pair of neighboring stops whose answers differ."""
        return tuple(
            Turn(one.value, other.value, one.answer, other.answer)
            for one, other in zip(self.stops, self.stops[1:], strict=False)
            if one.answer != other.answer
        )

    def stop(self, value: float) -> Stop | None:
        """Return the stop of that value; None where it is not computed."""
        return next((stop for stop in self.stops if stop.value == value), None)

    def method_at(self, value: float) -> str:
        """Return the ``repr`` of the method with that value of the axis."""
        words = f"{self.over}={value!r}"
        changed, count = re.subn(rf"\b{self.over}=[^,)]*", words, self.method, count=1)
        return changed if count else re.sub(r"\)$", f", {words})", self.method)

    def curve(self, answer: str) -> Iterator[tuple[float, float]]:
        """Yield (value, probability of the answer) of each stop that knows it."""
        for stop in self.stops:
            probability = stop.probability(answer)
            if probability is not None:
                yield stop.value, probability

    def save(self, path: str | os.PathLike) -> Path:
        """Write one ``.npz``; the file appears whole or not at all.

        Raises ``InputError`` where nothing can be written there.
        """
        return write_sweep(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Sweep:
        """Read the file of a sweep, finished or not; needs numpy only.

        As with traces, nothing is taken on trust. Raises ``InputError``, one sentence, for
        whatever is no such file.
        """
        return read_sweep(Path(path), cls, Stop)
