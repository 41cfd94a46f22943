"""Explain a compressed answer: compare runs, and search where nothing is known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from operator import index
from typing import Any

import numpy as np

from stc_core.answering.asked import asked_about
from stc_core.answering.prompt import checked_question
from stc_core.answering.reporting import Progress, Reporter
from stc_core.answering.video import Video
from stc_core.errors import InputError
from stc_core.hooks.run_cache import RunCache
from stc_core.methods import STC, Method, Uniform
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid
from stc_core.text import readable, said_the_same
from stc_core.why.bench import Bench
from stc_core.why.influence import influence
from stc_core.why.report import Found, Row, Why
from stc_core.why.rows import lost, plans
from stc_core.why.search import Search
from stc_core.why.sentence import cause_of, sentence_of

Cells = Callable[[TokenGrid], Iterable[int] | None]  # evidence on the grid of a clip
READ, FIRST, SEARCHED = 0.1, 0.3, 0.6  # shares of all work that are done after these steps


def explain(
    vlm: VLM,
    video: str | os.PathLike | Video,
    question: str,
    method: Method | None = None,
    *,
    frames: int | None = None,
    right: str | None = None,
    evidence: Iterable[int] | None = None,
    seconds: float = 10.0,
    search: Search | None = None,
    seed: int = 0,
    max_new_tokens: int = 64,
    cache: RunCache | None = None,
    progress: Progress | None = None,
) -> Why:
    """Tell why the compressed model says what it says.

    The tokens that the answer needs are ``evidence``. Without it, lost tokens that suffice are
    searched for: the smallest set whose return brings back the uncompressed answer. They are then
    given back, swapped in and taken away, against as many random ones, the parts of the method off,
    and baselines.

    Parameters
    ----------
    vlm
        What ``load`` gives.
    video
        A file, or a ``Video`` that was read before.
    question
    method
        The compressor in question; default ``STC()``.
    frames
        T, frames to sample; default: what the checkpoint records, else 32.
    right
        The right answer, where it is known.
    evidence
        Indices, among the N tokens of the clip, of those that the right answer needs.
    seconds
        Longest search, where there is no evidence.
    search
        An empty ``Search`` to be filled, or one that has run before for the same case and goes on.
    seed
        Of the random tokens.
    max_new_tokens
        Longest answer.
    cache
        As for ``answer``; without one the vision tower still runs only once.
    progress
        Called with a stage and the share of all work done, 0 to 1. What it raises ends the work and
        leaves the model clean: the way to cancel.

    Returns
    -------
    Why
        The same for the same arguments, as far as the search came to its end.

    Raises
    ------
    InputError
        As ``answer``; evidence that is not in the clip; a model that gives no answer.
    """
    checked_question(question)
    if not seconds >= 0:
        raise InputError(f"the search takes a number of seconds from 0, not {seconds!r}")
    method, cache = STC() if method is None else method, RunCache() if cache is None else cache
    report = progress or (lambda stage, share: None)
    decode = Reporter(vlm.device, report, 0.0, READ)
    shown, about, prompt = asked_about(vlm, video, question, frames, max_new_tokens, cache, decode)
    state: dict[str, Any] = {"stage": "the compressed run", "share": READ}
    about = about | {"question": question}

    def step() -> None:
        report(state["stage"], state["share"])

    bench = Bench(vlm, prompt, method, max_new_tokens, about, step)
    found = explained(bench, cache, right, evidence, seconds, search, seed, report, state)
    report("done", 1.0)
    return found


def explained(
    bench: Bench,
    cache: RunCache,
    right: str | None = None,
    evidence: Iterable[int] | Cells | None = None,
    seconds: float = 10.0,
    search: Search | None = None,
    seed: int = 0,
    report: Progress = lambda stage, share: None,
    state: dict[str, Any] | None = None,
    kinds: Collection[str] | None = None,
) -> Why:
    """Tell why, of a clip and question that stand in front of the model already.

    Parameters
    ----------
    bench : Bench
    cache : RunCache
        Keeps what the vision tower gives; shared by several benches of one clip.
    right, seconds, search, seed
        As for ``explain``.
    evidence : iterable of int, callable or None
        As for ``explain``; or a function that gives it for the grid of the clip.
    report : callable
        As ``progress`` of ``explain``.
    state : dict, optional
        Gets "stage" and "share", where the work is; read by the ``step`` of the bench.
    kinds : collection of str, optional
        Kinds of rows to run beside "full" and "compressed"; default: all.

    Returns
    -------
    Why

    Raises
    ------
    InputError
        As ``explain``.
    """
    state = {} if state is None else state
    with bench.opened(cache):
        full, compressed = bench.first(partial(_candidates, right))
        given = evidence(bench.trace.grid) if callable(evidence) else evidence
        needed, wanted = _checked(given, bench), next(iter(bench.candidates))
        rows = [
            full.row("full", "all tokens", budget="all", method=repr(Uniform(retention=1.0))),
            compressed.row("compressed", "the compressed run"),
        ]
        turned = rows[0].turned(wanted) and not rows[1].turned(wanted)
        found = Found("known" if needed is not None else "none")
        if needed is None:
            needed = np.empty(0, np.int64)
            if turned:
                needed, found = _searched(bench, wanted, seconds, search, report)
        rows += _compared(bench, needed, seed, state, kinds)
    method = bench.method
    where = lost(bench.trace, needed, method)
    cause = cause_of(rows, wanted, where, found, right is not None)
    times = _times(bench, needed)
    sentence = sentence_of(cause, rows, wanted, right, where, found, times, len(needed))
    return Why(
        cause,
        sentence,
        wanted,
        right,
        tuple(rows),
        tuple(needed.tolist()),
        times,
        where,
        found,
        repr(method),
        readable(bench.vlm.name),
    )


def _candidates(right: str | None, full: str, compressed: str) -> list[str]:
    """Return the different answers whose probability is told, the wanted one first.

    It is the right one, in the model's own words where the model gives it, else the uncompressed.
    """
    if not full.strip():
        raise InputError("the uncompressed model gives no answer here, so nothing can be explained")
    wanted = full if right is None or said_the_same(full, right) else right
    kept: list[str] = []
    for text in (wanted, full, compressed):
        if text.strip() and not any(said_the_same(text, other) for other in kept):
            kept.append(text)
    return kept


def _checked(evidence: Iterable[int] | None, bench: Bench) -> np.ndarray | None:
    """Return the evidence as ascending indices of the clip; None where none is given."""
    if evidence is None:
        return None
    n = bench.trace.grid.size
    try:
        tokens = sorted({index(token) for token in evidence})
    except TypeError:
        raise InputError(f"evidence must be indices of tokens, not {evidence!r}") from None
    for token in tokens:
        if not 0 <= token < n:
            raise InputError(f"the evidence names token {token}, but this clip has 0 to {n - 1}")
    if not tokens:
        raise InputError("the evidence names no token; leave it out to have it searched for")
    return np.array(tokens, np.int64)


def _searched(
    bench: Bench,
    wanted: str,
    seconds: float,
    search: Search | None,
    report: Callable[[str, float], None],
) -> tuple[np.ndarray, Found]:
    """Search for the tokens whose return brings ``wanted`` back."""
    search = Search(()) if search is None else search
    if not search.order:
        report("how much each token matters", FIRST)
        search.order = order_of(bench, wanted)
    if search.order and not search.done:
        search.run(trial(bench, wanted), seconds, _told(search, seconds, report))
    how = "search" if search.restored else "none"
    found = Found(how, search.done or not search.order, len(search.tried), search.seconds)
    tokens = search.best if search.restored else ()
    return np.array(tokens, np.int64), found


def order_of(bench: Bench, wanted: str) -> tuple[int, ...]:
    """Return the lost tokens of a run, the most influential on the answer first."""
    strength = influence(bench.vlm, bench.prompt, bench.candidates[wanted]).numpy()
    gone = np.setdiff1d(np.arange(len(strength)), bench.trace.outside.survivors)
    return tuple(gone[np.argsort(-strength[gone], kind="stable")].tolist())


def trial(bench: Bench, wanted: str) -> Callable[[tuple[int, ...]], tuple[bool, float]]:
    """Return what ``Search.run`` tests sets by: are these tokens enough for the wanted answer?"""

    def test(tokens: tuple[int, ...]) -> tuple[bool, float]:
        run = bench.edited({"add": tokens})
        return said_the_same(run.answer, wanted), run.probabilities[wanted]

    return test


def _told(
    search: Search, seconds: float, report: Callable[[str, float], None]
) -> Callable[[int, bool, int], None]:
    """Return what tells ``report`` how far a search is."""
    began = time.perf_counter()

    def told(tried: int, back: bool, size: int) -> None:
        share = min(1.0, (time.perf_counter() - began) / seconds)
        words = f"; {size} bring it back" if back else ""
        report(f"search: {tried} sets tried{words}", FIRST + (SEARCHED - FIRST) * share)

    return told


def _compared(
    bench: Bench,
    needed: np.ndarray,
    seed: int,
    state: dict[str, Any],
    kinds: Collection[str] | None,
) -> list[Row]:
    """Return the rows of all runs that are compared."""
    rows = []
    todo = [plan for plan in plans(bench, needed, seed) if kinds is None or plan[0] in kinds]
    for number, (kind, label, run, more) in enumerate(todo):
        state["stage"] = f"run {number + 1} of {len(todo)}: {label}"
        state["share"] = SEARCHED + (1 - SEARCHED) * number / len(todo)
        rows.append(run().row(kind, label, **more))
    return rows


def _times(bench: Bench, needed: np.ndarray) -> tuple[float, ...]:
    """Return the seconds at which the lost of the needed tokens are seen; of all, if none is."""
    trace = bench.trace
    gone = np.setdiff1d(needed, trace.outside.survivors)
    frames = np.unique((gone if len(gone) else needed) // trace.grid.per_frame)
    return tuple(round(float(trace.seconds[frame]), 3) for frame in frames)
