"""Choose which methods are tried at which retention, and on how many questions each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from stc_core.benchmark.equal_flops import Cost, costing_as
from stc_core.errors import InputError
from stc_core.method_text import RETENTION, make_method
from stc_core.methods import METHODS, STC, DyToK, Frames, Method, SToP, Then, VidCom2, VisionZip
from stc_core.methods.base import round_half_up
from stc_core.methods.fastv import FastV
from stc_core.methods.prunevid import PruneVid
from stc_core.methods.stc import ABLATIONS

RETENTIONS = (0.10, 0.05, 0.02, 0.01)
CLOSE = 0.02  # the retention of ablations and sweeps, as in the paper
FRAMES = (16, 64)  # beside the main number
# The methods of the paper's table, and ours.
MAIN = ("stc", "fastv", "visionzip", "fastvid", "holitom", "stdpp")
# What is asked again at the FLOPs of methods that let all tokens into the first layers.
EQUAL = ("stc", "visionzip", "fastvid", "vidcom2", "stdpp")
PARTS = ("main", "flops", "ablation", "sweep", "frames")
# At worst (half of the answers right) Wilson's 95 % interval is +- 2.48 points at this number,
# which is also a multiple of the 13 kinds of question that are asked in turn.
QUESTIONS = 1560
QUICK_QUESTIONS = 26
MANY = 1 << 30  # all there are
QUICK_RETENTIONS = (0.10, 0.02)
QUICK_FRAMES = 8

# FastV's K counts layers: of 28 the paper lets all tokens through three. A shallow decoder spends
# far more that way, so FastV is also tried with that share of the depth.
FULL_SHARE = 3 / 28

# Where a published rule looks like a mistake or has two forms, the other form is a row, too.
VARIANTS: dict[str, dict[str, Any]] = {
    "fastvid": {"centers_join": False},
    "holitom": {"few_neighbors": False},
    "vidcom2": {"counting": "vllm"},
    "vcast": {"leftover": "each"},
    "kitoke": {"choose": "top"},
}

# Methods around methods, each at every retention.
COMPOSED: tuple[Method, ...] = (
    SToP(VisionZip()),
    Then(VidCom2(), FastV(retention=0.5)),
    Frames(VisionZip(), keep=8),
    DyToK(VisionZip(dominant=6 / 7)),
)

# What is varied, one at a time. K is in layers of the paper's 28.
LAYERS = (2, 7, 14, 18, 21)
SWEEPS: dict[str, tuple[float | str, ...]] = {
    "tau": (0.5, 0.6, 0.7, 0.8, 0.9),
    "cluster_ratio": (0.0, 0.1, 0.3, 0.5, 0.7, 1.0),
    "lam": (0.0, 0.25, 0.5, 0.75, 1.0),
    "keep_inside": (0.1, 0.25, 0.5, 0.75, 1.0),
    "heads": ("mean", "max"),
    "text": ("hidden", "embeddings"),
}


@dataclass(frozen=True)
class Row:
    """Describe one row of a table: one method, on so many questions, at so many frames.

    Attributes
    ----------
    method : Method or None
        None: the stock model, uncompressed.
    frames, questions : int
    parts : tuple of str
        Where it is reported: "main", "own" (settings of the model's own), "ablation AS",
        "own ablation AS", "sweep tau", "frames", and "flops FastV(...)" where it costs as much as
        that method.
    """

    method: Method | None
    frames: int
    questions: int
    parts: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[int, str]:
        """Return what the lines of this row in a result file have in common."""
        return self.frames, name_of(self.method)


def name_of(method: Method | None) -> str:
    """Return the ``repr`` of the method, "none" for the uncompressed model."""
    return "none" if method is None else repr(method)


def names_after(begin: str, parts: Iterable[str]) -> list[str]:
    """Return what follows ``begin`` in the parts that begin so."""
    return [part.removeprefix(begin) for part in parts if part.startswith(begin)]


def _in_clip(method: Method, frames: int) -> Method:
    """Return the method; of clips shorter than 32 frames it chooses a quarter of the frames."""
    if isinstance(method, Frames) and method.keep is not None:
        return replace(method, keep=max(1, min(method.keep, frames // 4)))
    return method


def title_of(method: Method | None) -> str:
    """Return the class of the method, with those of the methods that it is around."""
    if method is None:
        return "uncompressed"
    inner = ", ".join(title_of(part) for part in _parts(method).values())
    return f"{type(method).__name__}({inner})" if inner else type(method).__name__


def options_of(method: Method | None) -> str:
    """Return the options beside the retention that differ from the defaults, as in ``repr``."""
    if method is None:
        return ""
    parts = _parts(method)
    same = {"retention", *(f.name for f in fields(Method) if parts)}  # said by the part
    changed = [
        f"{f.name}={getattr(method, f.name)!r}"
        for f in fields(method)
        if f.init and f.name not in {*same, *parts} and getattr(method, f.name) != f.default
    ]
    if "inner" in parts:
        changed.append(f"inner retention={parts['inner'].retention!r}")
    return ", ".join(filter(None, [*changed, *map(options_of, parts.values())]))


def _parts(method: Method) -> dict[str, Method]:
    """Return {option: method} of those that a method is around."""
    found = {f.name: getattr(method, f.name) for f in fields(method) if f.repr}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, Method) and type(value) is not Method
    }


def settings(
    quick: bool,
    own: bool,
    questions: int | None = None,
    retentions: Sequence[float] | None = None,
    parts: Sequence[str] | None = None,
    frames: int | None = None,
) -> dict[str, Any]:
    """Return the arguments of ``grid``: those asked for, else the defaults of this kind of run.

    Parameters
    ----------
    quick : bool
        A short run.
    own : bool
        Questions of the user's own, all of which are then asked under every row.
    questions, retentions, parts, frames
        As for ``grid``; None for the default.
    """
    few = own or quick
    if questions is None:
        questions = MANY if own else QUICK_QUESTIONS if quick else QUESTIONS
    return {
        "questions": questions,
        "retentions": tuple(retentions or (QUICK_RETENTIONS if quick else RETENTIONS)),
        "parts": tuple(parts or (("main", "ablation") if few else PARTS)),
        "frames": QUICK_FRAMES if quick and frames is None else frames,
        "even": own,
    }


def grid(
    depth: int,
    frames: int,
    *,
    questions: int = QUESTIONS,
    retentions: Sequence[float] = RETENTIONS,
    methods: Iterable[str] | None = None,
    parts: Iterable[str] = PARTS,
    even: bool = False,
    settings: Mapping[str, Any] | None = None,
    cost: Cost | None = None,
) -> list[Row]:
    """Return all rows, none twice: first the uncompressed model, then the methods of ``METHODS``.

    Parameters
    ----------
    depth : int
        Decoder layers of the model, for the sweep of K.
    frames : int
        Frames in a clip, except in the frame sweep.
    questions : int
        Of the main rows: STC, the methods of the paper's table, ours, methods that are asked for
        with settings and the uncompressed model. The ablations take half of it, everything else a
        quarter.
    retentions : sequence of float
        Of the main rows; ablations and sweeps take 2 %, or the nearest to it among these.
    methods : iterable of str, optional
        Names, or texts as ``make_method`` reads them; default: all names, and ``COMPOSED``.
    parts : iterable of str
        Of ``PARTS``.
    even : bool
        All rows take as many questions.
    settings : mapping, optional
        Options of STC that suit the model (``VLM.settings``): main rows and ablations with them
        are added to those with the paper's.
    cost : callable, optional
        Predicts the FLOPs of a method. Default: nothing is compared at equal FLOPs.

    Returns
    -------
    list of Row
    """
    asked = list(METHODS) if methods is None else list(methods)
    names = [name for name in asked if "(" not in name]
    composed = [make_method(text, RETENTION) for text in asked if "(" in text]
    if methods is None:
        composed = [_in_clip(method, frames) for method in COMPOSED]
    for name in names:
        if name not in METHODS:
            raise InputError(f"there is no method {name!r}; choose some of {', '.join(METHODS)}")
    if unknown := set(parts) - set(PARTS):
        raise InputError(f"there is no part {sorted(unknown)[0]!r}; choose of {', '.join(PARTS)}")
    if questions < 1:
        raise InputError(f"at least one question is needed, not {questions}")
    if frames < 1:
        raise InputError(f"a clip has at least one frame, not {frames}")
    if not retentions:
        raise InputError("at least one retention is needed, such as 0.02")
    quarter, half = max(1, questions // 4), max(1, questions // 2)
    if even:
        quarter = half = questions
    close = min(retentions, key=lambda r: abs(r - CLOSE))
    early = max(0, round_half_up(FULL_SHARE * depth) - 1)
    rows: list[Row] = []
    if "main" in parts:
        for retention in retentions:
            for name in names:
                count = questions if name in MAIN else quarter
                rows.append(Row(METHODS[name](retention=retention), frames, count, ("main",)))
                if name in VARIANTS:
                    other = METHODS[name](retention=retention, **VARIANTS[name])
                    rows.append(Row(other, frames, count, ("main", "variant")))
                if METHODS[name] is FastV:
                    row = Row(FastV(retention=retention, layer=early), frames, count, ("main",))
                    rows.append(row)
                if METHODS[name] is STC:  # "w/o M" of the paper's table
                    alone = STC(retention=retention, keep_inside=1.0)
                    rows.append(Row(alone, frames, count, ("main",)))
                    if settings:
                        own = STC(retention=retention, **settings)
                        rows.append(Row(own, frames, count, ("main", "own")))
            for method in composed:
                count = quarter if methods is None else questions
                rows.append(Row(method.at(retention), frames, count, ("main",)))
    if "flops" in parts and cost is not None:
        for late in (FastV(layer=early), FastV(), PruneVid()):
            if type(late) in [METHODS[name] for name in names]:
                rows += _equal(late.at(close), [n for n in EQUAL if n in names], cost, frames, half)
    if "stc" in names:
        stc = STC(retention=close)
        if "ablation" in parts:
            for name, switches in ABLATIONS.items():
                rows.append(Row(replace(stc, **switches), frames, half, (f"ablation {name}",)))
                if settings:
                    # without similarity tau is never asked for: that row is there already
                    tuned = {o: v for o, v in settings.items() if o != "tau" or "S" in name}
                    own = replace(stc, **tuned, **switches)
                    rows.append(Row(own, frames, half, (f"own ablation {name}",)))
        if "sweep" in parts:
            for layer in sorted({round_half_up(k * depth / 28) for k in LAYERS}):
                if layer <= depth - 2:
                    rows.append(Row(replace(stc, layer=layer), frames, quarter, ("sweep layer",)))
            for option, values in SWEEPS.items():
                for value in values:
                    changed: dict[str, Any] = {option: value}
                    one = replace(stc, **changed)
                    rows.append(Row(one, frames, quarter, (f"sweep {option}",)))
        if "frames" in parts:
            for count in (frames, *(f for f in FRAMES if f != frames)):
                rows.append(Row(stc, count, quarter, ("frames",)))
    stock: dict[int, int] = {}
    for row in rows:
        stock[row.frames] = max(stock.get(row.frames, 0), row.questions)
    first = [Row(None, f, n, ("main" if f == frames else "frames",)) for f, n in stock.items()]
    return _merged([*first, *rows])


def _equal(
    late: Method, names: Sequence[str], cost: Cost, frames: int, questions: int
) -> Iterator[Row]:
    """Yield a row for a method and for each of the others that can cost as much."""
    part = (f"flops {name_of(late)}",)
    found = [costing_as(METHODS[name](), late, cost) for name in names]
    for method in [late, *filter(None, found)]:
        yield Row(method, frames, questions, part)


def _merged(rows: Iterable[Row]) -> list[Row]:
    """Merge rows of the same method and frames, with the most questions and all parts."""
    found: dict[tuple[int, str], Row] = {}
    for row in rows:
        one = found.setdefault(row.key, row)
        found[row.key] = replace(
            one,
            questions=max(one.questions, row.questions),
            parts=tuple(dict.fromkeys((*one.parts, *row.parts))),
        )
    return list(found.values())
