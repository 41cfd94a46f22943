"""The trace: the fate of every video token, from the projector to the LLM's last layer.

One object is written by the model's side and read by everything else: pictures, the page, files.
It holds numbers about tokens and knows neither models nor tensors: numpy is all it needs.
"""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
import zipfile
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import IO

import numpy as np

from stc_core.errors import InputError
from stc_core.record.archive import Archive, Layout
from stc_core.record.grid import TokenGrid
from stc_core.record.trace_header import MAX_HEADER, checked, parsed
from stc_core.text import readable

FORMAT = 2  # of the file; a reader refuses what is newer than itself
MAX_UNPACKED = 640 << 20  # bytes; a trace of 128 frames of 729 tokens with its frames needs 30 MB
MAX_TOKENS = 1 << 18  # N of one clip; 1024 frames of 14 x 14 have 200,704
MAX_FRAMES = 1 << 11  # T
MAX_CELLS = 1 << 9  # rows, and columns
MAX_PICTURES = 256 << 20  # bytes of all small frames; 1024 of 256 x 256 take 192 MiB
MAX_PICTURE_SIDE = 1 << 12  # pixels of a small frame
MAX_ATTENTION = 1 << 26  # numbers of each map; 320 words on 200,704 tokens have 64 million
MAX_SECONDS = 1e7  # of a frame's time, either way
MAX_COMPONENTS = 16  # of the tokens before compression


class Fate(IntEnum):
    """What became of a video token. Exactly one of these is true of each."""

    KEPT = 0  # in the retention pool: reaches the LLM as itself, and its end
    CENTER = 1  # a cluster's place: the mean of the cluster reaches the LLM, and its end
    MERGED = 2  # outside the LLM, averaged into a center
    DROPPED = 3  # outside the LLM, thrown away
    MERGED_INSIDE = 4  # reached the LLM, averaged into another token after layer K
    DROPPED_INSIDE = 5  # reached the LLM, thrown away after layer K


SURVIVORS = (Fate.KEPT, Fate.CENTER)


@dataclass(frozen=True)
class Stage:
    """One compression step, in indices of the original N tokens.

    Attributes
    ----------
    name : str
        "outside" (before the LLM) or "inside".
    layer : int or None
        Index of the decoder layer after which an inside step acts.
    target : (N,) int64
        The token that carries token i after this step, itself where it goes on; -1 where i is
        thrown away by this step or did not reach it.
    fate : (N,) uint8
        ``Fate`` of token i as of this step: what a picture of this step shows.
    """

    name: str
    layer: int | None
    target: np.ndarray
    fate: np.ndarray

    @property
    def survivors(self) -> np.ndarray:
        """(B,) int64, ascending: the tokens that go on."""
        return np.flatnonzero(np.isin(self.fate, SURVIVORS))


@dataclass(frozen=True)
class Word:
    """One token of the text around a video.

    Attributes
    ----------
    text : str
        The token as it stands in the text, its leading space included. Untrusted.
    kind : str
        "question": the user's; "answer": the model's.
    logprob : float or None
        Natural logarithm of the probability with which the model said it; None for a question's.
    """

    text: str
    kind: str
    logprob: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or self.kind not in ("question", "answer"):
            raise ValueError("a word is a text of the kind 'question' or 'answer'")
        if self.logprob is not None and not math.isfinite(self.logprob):
            raise ValueError("a word's logprob must be a finite number or None")


@dataclass(frozen=True, eq=False)
class Trace:
    """The fate of every video token of one clip under one method.

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
        Of a recorded trace: the tokens before compression, centred, on their c <= 16 leading
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

    @property
    def survivors(self) -> np.ndarray:
        """(B,) int64, ascending: the tokens in the LLM's last layers."""
        return np.flatnonzero(np.isin(self.fate, SURVIVORS))

    @property
    def full_words(self) -> tuple[Word, ...]:
        """The words of the uncompressed run."""
        return tuple(Word(**word) for word in self.baseline.get("words", ()))

    def stage(self, name: str) -> Stage | None:
        """The step of that name, None where this run had none."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def members(self, token: int) -> np.ndarray:
        """(m,) int64: the tokens that survivor ``token`` carries, itself included."""
        return np.flatnonzero(self.target == token)

    def counts(self) -> dict[str, int]:
        """How many tokens met each fate, by lower-case name."""
        found = np.bincount(self.fate, minlength=len(Fate))
        return {fate.name.lower(): int(found[fate]) for fate in Fate}

    def alive(self, among: np.ndarray | None = None) -> list[int]:
        """Tokens before the first step and after each: N, entering the LLM, leaving layer K.

        With ``among``, indices of different tokens, only these are counted.
        """
        if among is None:
            return [self.grid.size, *(len(stage.survivors) for stage in self.stages)]
        return [len(among), *(int(np.isin(among, s.survivors).sum()) for s in self.stages)]

    def check(self) -> None:
        """Raise ``ValueError`` unless every invariant of a trace holds."""
        n = self.grid.size
        for name, kind in _KINDS.items():
            array = getattr(self, name)
            if not (isinstance(array, np.ndarray) and array.shape == (n,) and array.dtype == kind):
                raise ValueError(f"a trace's {name} must be {n} numbers of type {kind.__name__}")
        for name, odd in (("contribution", np.isinf), ("similarity", np.isposinf),
                          ("relevance", np.isinf)):  # fmt: skip
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
        if tuple(stage.name for stage in self.stages) not in _ORDERS:
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
            if not _shares(array):
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
        path = Path(path)
        raw = self._header()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for number, stage in enumerate(self.stages):
            arrays[f"stage{number}_target"] = stage.target
            arrays[f"stage{number}_fate"] = stage.fate
        for name in _RECORDED:
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if self.frames is not None:
            # steps from frame to frame wrap around and pack to a third of the frames themselves
            arrays["frames"] = np.diff(self.frames, axis=0, prepend=np.uint8(0))
        if not path.parent.is_dir():
            raise InputError(
                f"the folder {_shown(path.parent)} for the trace does not exist; create it"
            )
        partial = None
        try:
            handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                _write(file, {"header": np.frombuffer(raw, np.uint8), **arrays})
            os.chmod(partial, 0o644)  # mkstemp's 0600 would hide the file from other users
            os.replace(partial, path)
        except OSError as error:
            raise InputError(f"cannot write {_shown(path)}: {error.strerror or error}") from error
        finally:
            if partial is not None:
                Path(partial).unlink(missing_ok=True)
        return path

    def _header(self) -> bytes:
        """The JSON header of the file, held to what ``load`` takes."""
        header = {
            "format": FORMAT,
            "grid": self.grid.to_json(),
            "stages": [{"name": stage.name, "layer": stage.layer} for stage in self.stages],
            **{name: getattr(self, name) for name in _TEXT},
            "notes": list(self.notes),
            "costs": self.costs,
            "baseline": self.baseline,
            "logprob": self.logprob,
            "scores": self.scores,
            "words": [asdict(word) for word in self.words],
            "attention_layer": self.attention_layer,
        }
        try:
            checked(header)
            _check_size(self.grid)
            _check_times(self.seconds)
            for name in ("frames", "attention", "full_attention"):
                if getattr(self, name) is not None:
                    _check_shape(name, getattr(self, name).shape)
        except ValueError as error:
            raise InputError(f"this trace cannot be saved: {error}") from error
        raw = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
        if len(raw) > MAX_HEADER:
            raise InputError(
                f"this trace cannot be saved: its texts and lists take {len(raw)} bytes where "
                f"{MAX_HEADER} are the most"
            )
        return raw

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
            - a header of ``header.MAX_HEADER`` (4 MiB) of JSON, 16 deep, of 2^18 values: 4096 words
              of each run, 64 notes, a question of 2^17 characters, an answer of 2^18, 1024 scores,
              ``header`` lists the rest;
            - ``MAX_TOKENS`` (2^18) tokens in ``MAX_FRAMES`` (2048) frames of at most ``MAX_CELLS``
              (512) rows and columns, at rising times within ``MAX_SECONDS`` (1e7) of 0;
            - ``MAX_PICTURES`` (256 MiB) of small frames of at most ``MAX_PICTURE_SIDE`` (4096)
              pixels a side, ``MAX_ATTENTION`` (2^26) numbers in each map of attention.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no trace file {_shown(path)}; check the path")
        try:
            with Archive(path) as archive:
                if archive.unpacked > MAX_UNPACKED:
                    raise _Refused(
                        f"{_shown(path.name)} would unpack to {archive.unpacked >> 20} MiB; "
                        f"a trace has at most {MAX_UNPACKED >> 20} MiB"
                    )
                header = _read_header(archive)
                version = header.get("format")
                if type(version) is int and version > FORMAT:
                    raise _Refused(
                        f"{_shown(path.name)} is a trace of format {version:.3g}, newer than the "
                        f"{FORMAT} this program reads; update the program"
                    )
                checked(header)
                return cls._read(header, archive)
        except _Refused:
            raise
        except Exception as error:  # a damaged file can fail anywhere in zip, json or numpy
            raise InputError(
                f"{_shown(path.name)} is not a trace file or is damaged ({_reason(error)}); "
                f"save it again"
            ) from error

    @classmethod
    def _read(cls, header: dict, archive: Archive) -> Trace:
        grid = TokenGrid.from_json(header["grid"])
        _check_size(grid)
        old = header["format"] < 2
        _check_members(archive, header, grid, old)
        stages = tuple(
            Stage(
                item["name"],
                item["layer"],
                archive.read(f"stage{number}_target"),
                archive.read(f"stage{number}_fate"),
            )
            for number, item in enumerate(header["stages"])
        )
        unknown = np.full(grid.size, -1, np.int64)
        names = [name for name in _ARRAYS if not (old and name in _SINCE_2)]
        arrays = {name: archive.read(name) for name in names}
        arrays |= {name: unknown for name in _ARRAYS if name not in arrays}
        _check_times(arrays["seconds"])
        words = [tuple(Word(**word) for word in entry.get("words", ()))
                 for entry in (header, header["baseline"])]  # fmt: skip
        fields = {
            "grid": grid,
            "stages": stages,
            "notes": tuple(header["notes"]),
            "costs": header["costs"],
            "baseline": header["baseline"],
            "logprob": header.get("logprob"),
            "scores": header.get("scores", {}),
            "words": words[0],
            "attention_layer": header.get("attention_layer"),
            **{name: header[name] for name in _TEXT},
            **arrays,
        }
        trace = cls(**fields)  # what is small comes first, so that what is refused costs little
        entered = trace.alive()[1] if stages[0].name == "outside" else grid.size
        _check_maps(archive, {"attention": (len(words[0]), entered),
                              "full_attention": (len(words[1]), grid.size)})  # fmt: skip
        large = {name: archive.read(name) for name in (*_RECORDED, "frames") if name in archive}
        if "frames" in large and not old:
            frames = large["frames"]
            for before, after in zip(frames, frames[1:], strict=False):
                after += before
        return replace(trace, **large) if large else trace


class _Refused(InputError):
    """A sentence about a file that is whole."""


def _shown(path: object) -> str:
    """A path as it may stand in a sentence."""
    return readable(str(path))


def _reason(error: Exception) -> str:
    """What was wrong with a file, briefly: of our own sentences, else the kind of error."""
    if type(error) in (ValueError, InputError) and error.args:
        return readable(" ".join(str(error).split()))[:200]
    return type(error).__name__


def _read_header(archive: Archive) -> dict:
    layout = archive.layout("header")
    if layout.dtype != np.uint8 or len(layout.shape) != 1 or layout.shape[0] > MAX_HEADER:
        raise ValueError(f"its header must be at most {MAX_HEADER} bytes of text")
    return parsed(archive.read("header").tobytes())


def _check_size(grid: TokenGrid) -> None:
    """Refuse grids that nothing here draws."""
    if grid.frames > MAX_FRAMES or max(grid.rows, grid.cols) > MAX_CELLS or grid.size > MAX_TOKENS:
        raise ValueError(
            f"its {grid.frames} x {grid.rows} x {grid.cols} tokens are more than {MAX_FRAMES} "
            f"frames, {MAX_CELLS} rows or columns, or {MAX_TOKENS} tokens in all"
        )


def _check_times(seconds: np.ndarray) -> None:
    if not ((np.abs(seconds) <= MAX_SECONDS).all() and (np.diff(seconds) > 0).all()):
        raise ValueError(f"the times of its frames must rise, within {MAX_SECONDS:g} s of 0")


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Refuse pictures and maps of attention that take too much."""
    size = math.prod(shape)
    if name != "frames":
        if size > MAX_ATTENTION:
            raise ValueError(f"its {name} has {size} numbers where {MAX_ATTENTION} are the most")
    elif size > MAX_PICTURES or not 1 <= min(shape[1:3]) <= max(shape[1:3]) <= MAX_PICTURE_SIDE:
        raise ValueError(
            f"its frames must have 1 to {MAX_PICTURE_SIDE} pixels a side and take at most "
            f"{MAX_PICTURES >> 20} MiB"
        )


def _check_members(archive: Archive, header: dict, grid: TokenGrid, old: bool) -> None:
    """Look at type and shape of every array before any is read, but for maps of attention."""
    n = grid.size
    expected = {name: (kind, (n,)) for name, kind in _KINDS.items()}
    expected["seconds"] = np.float64, (grid.frames,)
    if old:
        expected = {name: value for name, value in expected.items() if name not in _SINCE_2}
    for number in range(len(header["stages"])):
        expected[f"stage{number}_target"] = np.int64, (n,)
        expected[f"stage{number}_fate"] = np.uint8, (n,)
    more = () if old else _RECORDED
    if archive.names - {"header", "frames", *expected, *more}:
        raise ValueError("it has a member that this version does not know")
    for name, (kind, shape) in expected.items():
        _check_layout(name, archive.layout(name), kind, shape)
    if "frames" in archive:
        layout = archive.layout("frames")
        shape = layout.shape
        if layout.dtype != np.uint8 or len(shape) != 4 or shape[::3] != (grid.frames, 3):
            raise ValueError("its frames must be (T, height, width, 3) uint8")
        _check_shape("frames", shape)
    if "features" in archive:
        layout = archive.layout("features")
        width = layout.shape[1] if len(layout.shape) == 2 else 0
        if not 1 <= width <= MAX_COMPONENTS:
            raise ValueError(f"its features must be {n} x 1 to {MAX_COMPONENTS} float16")
        _check_layout("features", layout, np.float16, (n, width))
    for name in ("frames", "features"):
        if name in archive:
            archive.check(name)


def _check_maps(archive: Archive, shapes: dict[str, tuple[int, int]]) -> None:
    """The same for maps of attention, and their numbers."""
    for name, shape in shapes.items():
        if name in archive:
            _check_layout(name, archive.layout(name), np.float16, shape)
            _check_shape(name, shape)
            archive.check(name, _shares)


def _shares(array: np.ndarray) -> bool:
    """Whether all of float16 are from 0 to 1, by their bits: numpy compares these 20 times slower.

    The bits of numbers from 0 on rise with the numbers; 0x3C00 is 1, 0x8000 is -0.
    """
    bits = array.view(np.uint16)
    return bool(((bits <= 0x3C00) | (bits == 0x8000)).all())


def _check_layout(name: str, layout: Layout, kind: type, shape: tuple[int, ...]) -> None:
    if layout.dtype != kind or layout.shape != shape:
        size = " x ".join(map(str, shape))
        raise ValueError(f"its {name} must be {size} numbers of type {kind.__name__}")


_TEXT = ("method", "model", "question", "answer", "positions")
_SINCE_2 = ("nearest", "order")
_ARRAYS = (
    "fate", "target", "weight", "contribution", "similarity", *_SINCE_2, "relevance", "seconds",
)  # fmt: skip
_RECORDED = ("attention", "full_attention", "features")
_KINDS = {
    "fate": np.uint8, "target": np.int64, "weight": np.float32, "contribution": np.float32,
    "similarity": np.float32, "nearest": np.int64, "order": np.int64, "relevance": np.float32,
}  # fmt: skip
_ORDERS = (("outside",), ("inside",), ("outside", "inside"))


def _write(file: IO[bytes], arrays: dict[str, np.ndarray]) -> None:
    """What ``np.savez_compressed`` writes, in a third of its time; equal arrays, equal bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            item = zipfile.ZipInfo(f"{name}.npy")  # without a date
            archive.writestr(item, member.getbuffer(), zipfile.ZIP_DEFLATED, compresslevel=1)


def replay(stages: tuple[Stage, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Compose the steps: (fate (N,) uint8, target (N,) int64) at the end.

    Raises ``ValueError`` where a step contradicts itself or the one before it.
    """
    fate = np.full(n, Fate.KEPT, np.uint8)
    target = np.arange(n, dtype=np.int64)
    for stage in stages:
        _check_stage(stage, n, reached=np.isin(fate, SURVIVORS))
        inside = stage.name == "inside"
        ended = (Fate.MERGED_INSIDE, Fate.DROPPED_INSIDE) if inside else (Fate.MERGED, Fate.DROPPED)
        changed = np.isin(fate, SURVIVORS) & (np.isin(stage.fate, ended) | (not inside))
        fate = np.where(changed, stage.fate, fate).astype(np.uint8)
        carried = target >= 0
        target[carried] = stage.target[target[carried]]
    return fate, target


def weights(stages: tuple[Stage, ...], n: int) -> np.ndarray:
    """(N,) float32: share of each token in its final target when every step takes true means."""
    weight = np.ones(n, np.float64)
    place = np.arange(n)
    for stage in stages:
        taking_part = stage.target >= 0
        size = np.bincount(stage.target[taking_part], minlength=n)
        carried = place >= 0
        after = np.where(carried, stage.target[place], -1)
        weight = np.where(after >= 0, weight / np.maximum(size[after], 1), 0.0)
        place = after
    return weight.astype(np.float32)


def _check_stage(stage: Stage, n: int, reached: np.ndarray) -> None:
    if stage.name not in ("outside", "inside"):
        raise ValueError(f"a stage is named 'outside' or 'inside', not {stage.name!r}")
    if stage.target.shape != (n,) or stage.target.dtype != np.int64:
        raise ValueError(f"stage {stage.name}: target must be {n} numbers of type int64")
    if stage.fate.shape != (n,) or stage.fate.dtype != np.uint8 or stage.fate.max() >= len(Fate):
        raise ValueError(f"stage {stage.name}: fate must be {n} numbers of type uint8 below 6")
    survives = np.isin(stage.fate, SURVIVORS)
    inside = stage.name == "inside"
    merged = stage.fate == (Fate.MERGED_INSIDE if inside else Fate.MERGED)
    dropped = stage.fate == (Fate.DROPPED_INSIDE if inside else Fate.DROPPED)
    itself = np.arange(n)
    if not survives.any():
        raise ValueError(f"stage {stage.name} leaves no token")
    if (survives & ~reached).any() or ((merged | dropped) & ~reached).any():
        raise ValueError(f"stage {stage.name} decides about tokens that did not reach it")
    if not (survives | merged | dropped | ~reached).all():
        raise ValueError(f"stage {stage.name} leaves tokens without a fate of its own")
    if not (stage.target[survives] == itself[survives]).all():
        raise ValueError(f"stage {stage.name}: a survivor must be its own target")
    if not (stage.target[dropped | ~reached] == -1).all():
        raise ValueError(f"stage {stage.name}: a token that is thrown away has no target")
    goal = stage.target[merged]
    if merged.any() and (goal.min() < 0 or goal.max() >= n or not survives[goal].all()):
        raise ValueError(f"stage {stage.name}: a merged token's target must survive")
