"""Record the fate of every video token, from the projector to the last layer of the LLM."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stc_core.record.grid import TokenGrid
from stc_core.record.notebook import html_of
from stc_core.record.rerun_file import write_rerun
from stc_core.record.stages import ORDERS, SURVIVORS, Fate, Stage, Word, replay, weights
from stc_core.record.trace_arrays import KINDS_OF_ARRAYS, MAX_COMPONENTS, all_shares
from stc_core.record.trace_file import read_trace, write_trace


@dataclass(frozen=True, eq=False)
class Trace:
    """Hold the fate of every video token of one clip under one method.

    Attributes
    ----------
    grid : TokenGrid
        T, rows, cols; N = ``grid.size``.
    fate : (N,) uint8
        ``Fate`` of each token at the end.
    target : (N,) int64
        The token that carries this one into the LLM's last layers; -1 if none does.
    weight : (N,) float32
        Share of this token in its target; the weights into one survivor sum to 1.
    contribution : (N,) float32
        Attention received in the vision tower, on the token grid.
    similarity : (N,) float32
        Highest cosine to the retention pool when the token was considered: -inf for the first,
        nan for tokens that were never reached.
    nearest : (N,) int64
        The pool token to which ``similarity`` is the cosine; -1 where there was none.
    order : (N,) int64
        Turn of the token in the walk that filled the pool, 0 for the first; -1 for tokens that
        were never reached.
    relevance : (N,) float32
        Text relevance at layer K; nan for tokens that were not there.
    seconds : (T,) float64
        Time of each grid frame from the start of the file, in seconds.
    stages : tuple of Stage
    method, model, question, answer : str
        ``repr`` of the method; name of the model; what was asked and answered.
    positions : str
        "original" or "compact": position ids of the survivors in the LLM.
    costs : dict
        What ``stc_core.record.costs.Costs.to_json`` gives, for this run.
    baseline : dict
        Of the uncompressed run: "answer", "costs", "logprob" and "scores" as here, and in a
        recorded trace "words", each as the dict of a ``Word``. Empty where there was no such run.
    frames : (T, h, w, 3) uint8 or None
        Small pictures of the frames, for drawing.
    notes : tuple of str
        Sentences for the reader: what was unusual about this run.
    logprob : float or None
        Natural logarithm of the probability of the whole answer, its end included.
    scores : dict of str to float
        The same of other answers that were asked about.
    words : tuple of Word
        Of a recorded trace: the tokens of the question (the end of one that is very long), then
        those of the answer (the beginning of one that is very long).
    attention : (W, n) float16 or None
        What each of these words pays at ``attention_layer`` to the n video tokens that entered the
        LLM, in ascending order; mean over heads. For a word of the answer, it is the attention of
        the place that predicted it.
    full_attention : (W', N) float16 or None
        The same for the words of the uncompressed run.
    attention_layer : int or None
        Index of the decoder layer: K, or where the method has no inside stage the paper's.
    features : (N, c) float16 or None
        Of a recorded trace: the tokens before compression, centered, on their c <= 16 leading
        principal components.
    """

    grid: TokenGrid
    fate: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    contribution: np.ndarray
    similarity: np.ndarray
    nearest: np.ndarray
    order: np.ndarray
    relevance: np.ndarray
    seconds: np.ndarray
    stages: tuple[Stage, ...]
    method: str = ""
    model: str = ""
    question: str = ""
    answer: str = ""
    positions: str = "original"
    costs: dict = field(default_factory=dict)
    baseline: dict = field(default_factory=dict)
    frames: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    logprob: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    words: tuple[Word, ...] = ()
    attention: np.ndarray | None = None
    full_attention: np.ndarray | None = None
    attention_layer: int | None = None
    features: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.check()

    def _repr_html_(self) -> str | None:
        return html_of(self)

    @property
    def survivors(self) -> np.ndarray:
        """Return (B,) int64, ascending: the tokens in the last layers of the LLM."""
        return np.flatnonzero(np.isin(self.fate, SURVIVORS))

    @property
    def full_words(self) -> tuple[Word, ...]:
        """Return the words of the uncompressed run."""
        return tuple(Word(**word) for word in self.baseline.get("words", ()))

    @property
    def outside(self) -> Stage:
        """Return the step before the LLM, which every run of ``compress`` has.

        Raises ``ValueError`` for a trace without one.
        """
        stage = self.stage("outside")
        if stage is None:
            raise ValueError("this trace has no stage outside the LLM")
        return stage

    def stage(self, name: str) -> Stage | None:
        """Return the step of that name, None where this run had none."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def members(self, token: int) -> np.ndarray:
        """Return (m,) int64: the tokens that survivor ``token`` carries, itself included."""
        return np.flatnonzero(self.target == token)

    def counts(self) -> dict[str, int]:
        """Count the tokens of each fate, by lower-case name."""
        found = np.bincount(self.fate, minlength=len(Fate))
        return {fate.name.lower(): int(found[fate]) for fate in Fate}

    def alive(self, among: np.ndarray | None = None) -> list[int]:
        """Count the tokens before the first step and after each: N, into the LLM, out of layer K.

        With ``among``, indices of different tokens, only these are counted.
        """
        if among is None:
            return [self.grid.size, *(len(stage.survivors) for stage in self.stages)]
        return [len(among), *(int(np.isin(among, s.survivors).sum()) for s in self.stages)]

    def check(self) -> None:
        """Raise ``ValueError`` unless every invariant of a trace holds."""
        n = self.grid.size
        for name, kind in KINDS_OF_ARRAYS.items():
            array = getattr(self, name)
            if not (isinstance(array, np.ndarray) and array.shape == (n,) and array.dtype == kind):
                raise ValueError(f"a trace's {name} must be {n} numbers of type {kind.__name__}")
        for name, odd in (
            ("contribution", np.isinf),
            ("similarity", np.isposinf),
            ("relevance", np.isinf),
        ):
            if odd(getattr(self, name)).any():
                raise ValueError(f"a trace's {name} must be numbers that are not infinite")
        if self.seconds.shape != (self.grid.frames,) or not np.isfinite(self.seconds).all():
            raise ValueError(f"a trace needs one time for each of its {self.grid.frames} frames")
        if self.frames is not None and not (
            self.frames.ndim == 4
            and self.frames.shape[0] == self.grid.frames
            and self.frames.shape[3] == 3
            and self.frames.size
            and self.frames.dtype == np.uint8
        ):
            raise ValueError("a trace's frames must be (T, height, width, 3) uint8")
        if self.positions not in ("original", "compact"):
            raise ValueError(f"positions must be 'original' or 'compact', not {self.positions!r}")
        if not self.stages:
            raise ValueError("a trace needs at least one stage")
        fate, target = replay(self.stages, n)
        if tuple(stage.name for stage in self.stages) not in ORDERS:
            raise ValueError("a trace has one stage outside the LLM, one inside, or both in turn")
        if not (np.array_equal(fate, self.fate) and np.array_equal(target, self.target)):
            raise ValueError("a trace's fates and targets must be what its stages lead to")
        carried = self.target >= 0
        if not (self.weight[~carried] == 0).all() or not (self.weight[carried] > 0).all():
            raise ValueError("in a trace just the carried tokens have a weight above zero")
        sums = np.bincount(self.target[carried], self.weight[carried].astype(np.float64), n)
        if not np.allclose(sums[self.survivors], 1, atol=1e-4):
            raise ValueError("in a trace the weights into one survivor must sum to 1")
        self._check_walk()
        self._check_record()

    def _check_walk(self) -> None:
        reached, near = self.order >= 0, self.nearest >= 0
        turns = np.sort(self.order[reached])
        if self.order.min() < -1 or not np.array_equal(turns, np.arange(len(turns))):
            raise ValueError("a trace's order must number the tokens reached 0, 1, 2 ..., else -1")
        if self.nearest.min() < -1 or self.nearest.max() >= self.grid.size or near[~reached].any():
            raise ValueError("a trace's nearest must be tokens, or -1, of tokens in its order")
        if not (self.order[self.nearest[near]] < self.order[near]).all():
            raise ValueError("in a trace the nearest pool token must have had its turn before")

    def _check_record(self) -> None:
        if not all(isinstance(word, Word) for word in self.words):
            raise ValueError("a trace's words must be of the type Word")
        for value in (self.logprob, *self.scores.values()):
            if value is not None and not math.isfinite(value):
                raise ValueError("a trace's log-probabilities must be finite numbers")
        n, outside = self.grid.size, self.stage("outside")
        entered = n if outside is None else len(outside.survivors)
        for name, rows, cols in (
            ("attention", len(self.words), entered),
            ("full_attention", len(self.full_words), n),
        ):
            array = getattr(self, name)
            if array is None:
                continue
            if array.shape != (rows, cols) or array.dtype != np.float16:
                raise ValueError(f"a trace's {name} must be {rows} x {cols} float16")
            if not all_shares(array):
                raise ValueError(f"a trace's {name} must be numbers from 0 to 1")
            if self.attention_layer is None or self.attention_layer < 0:
                raise ValueError("a trace with attention must name the layer in attention_layer")
        features = self.features
        if features is not None and not (
            features.ndim == 2
            and features.shape[0] == n
            and 1 <= features.shape[1] <= MAX_COMPONENTS
            and features.dtype == np.float16
            and np.isfinite(features).all()
        ):
            raise ValueError(
                f"a trace's features must be {n} x 1 to {MAX_COMPONENTS} finite float16"
            )

    @classmethod
    def from_stages(cls, grid: TokenGrid, stages: tuple[Stage, ...], **fields) -> Trace:
        """Build a trace from its steps: fates and targets follow from them.

        ``contribution``, ``similarity``, ``relevance`` default to nan, ``nearest`` and ``order``
        to -1, ``seconds`` to 0, 1, 2 ... and ``weight`` to what plain means give.
        """
        n = grid.size
        fate, target = replay(stages, n)
        for names, kind, missing in (
            (("contribution", "similarity", "relevance"), np.float32, np.nan),
            (("nearest", "order"), np.int64, -1),
        ):
            for name in names:
                given = fields.get(name)
                given = np.full(n, missing) if given is None else np.asarray(given)
                fields[name] = given.astype(kind)
        if fields.get("weight") is None:
            fields["weight"] = weights(stages, n)
        if fields.get("seconds") is None:
            fields["seconds"] = np.arange(grid.frames)
        fields["seconds"] = np.asarray(fields["seconds"], np.float64)
        return cls(grid=grid, fate=fate, target=target, stages=stages, **fields)

    def save(self, path: str | os.PathLike) -> Path:
        """Write one ``.npz`` with a JSON header; the file appears whole or not at all.

        Raises ``InputError`` where nothing can be written there, and for a trace that ``load``
        would refuse.
        """
        return write_trace(self, Path(path))

    def to_rerun(self, path: str | os.PathLike) -> Path:
        """Write a recording for the Rerun viewer; the file appears whole or not at all.

        Over the time of the clip: its small frames, over them the fate of every cell before the LLM
        (``clip/fate_outside``) and at the end (``clip/fate_end``), for each frame the mean and the
        highest of each score, and its tokens of each fate. Question, answers and notes are texts.

        Parameters
        ----------
        path
            Ends in ``.rrd``.

        Raises
        ------
        InputError
            The package ``rerun-sdk`` is not installed, ``path`` has another ending, or nothing can
            be written there.
        """
        return write_rerun(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Trace:
        """Read a trace file; needs numpy only.

        Nothing is taken on trust: sizes, types and shapes are looked at before what they describe
        is inflated or parsed. What is loaded can be drawn by everything in ``viz``.

        Raises
        ------
        InputError
            One sentence, for whatever is no trace file, was made by a newer version, or goes beyond

            - a plain zip file of at most ``MAX_UNPACKED`` (640 MiB) in all and 32 members, each of
              them known, stored or deflated;
            - a header of ``trace_header.MAX_HEADER`` (4 MiB) of JSON, 16 deep, of 2^18 values: 4096
              words of each run, 64 notes, a question of 2^17 characters, an answer of 2^18, 1024
              scores, ``trace_header`` lists the rest;
            - ``MAX_TOKENS`` (2^18) tokens in ``MAX_FRAMES`` (4096) frames of at most ``MAX_CELLS``
              (512) rows and columns, at rising times within ``MAX_SECONDS`` (1e7) of 0;
            - ``MAX_PICTURES`` (256 MiB) of small frames of at most ``MAX_PICTURE_SIDE`` (4096)
              pixels a side, ``MAX_ATTENTION`` (2^26) numbers in each map of attention.
        """
        return read_trace(Path(path), cls)
