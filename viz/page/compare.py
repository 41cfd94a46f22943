"""Run other methods on the clip and question of the trace that the workspace shows.

The browser says what it wants to compare (``view-compare.js``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from stc_core.errors import InputError
from stc_core.method_text import read_short
from stc_core.record.trace import Trace
from viz.examples import Known
from viz.page import run_events
from viz.server.origin import Origin, recall, shelve
from viz.server.rerun import rerun
from viz.server.runner import Runner, Step
from viz.server.shelf import Shelf
from viz.server.turns import visitor_of

MOST = 2  # runs beside the one that is shown


def wire(
    workspace: gr.HTML, runner: Runner, shelf: Shelf, known: Mapping[tuple[str, str], Known]
) -> None:
    """Connect the workspace's events ``compare`` and ``stop_compare``.

    ``known`` is what is known of questions, as ``known_questions`` gives it.
    """
    work = partial(told, runner, shelf, known)
    run_events.wire(workspace, "compare", runner, ("key", "specs"), work)


def told(
    runner: Runner,
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    owner: str,
    sent: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Yield the news of ``run_others``, whose arguments these are.

    Each is {"others": all runs so far, each as what ``Shelf.addresses`` gives and its "spec",
    "elapsed": seconds}, with "stage" and "fraction" during a run and "done" in the end.
    """
    others, elapsed, before = [], 0.0, 0.0  # before: seconds of the runs that have ended
    for step in run_others(runner, shelf, known, owner, sent):
        if isinstance(step, Step):
            now = run_events.progress(step, before)
            elapsed = now["elapsed"]
            yield {"others": others} | now
        else:
            others, before = [*others, step], elapsed
            yield {"others": others, "elapsed": elapsed}  # stays, should the next one fail
    yield {"others": others, "elapsed": elapsed, "done": True}


def run_others(
    runner: Runner,
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    owner: str,
    sent: Mapping[str, Any],
) -> Iterator[Step | dict[str, Any]]:
    """Run other methods on the clip of a trace, one after the other.

    Parameters
    ----------
    owner : str
        Who may stop the runs.
    sent : mapping
        From a browser, so it may hold anything: ``key`` of the trace on the shelf, ``specs``, one
        or two methods as ``MethodText.short`` writes them.

    Yields
    ------
    Step or dict
        Where a run is; after each run {"spec": as asked for, and what ``Shelf.addresses`` gives}.

    Raises
    ------
    InputError
        One sentence, for whatever cannot be run.
    """
    home = shelf.found(sent.get("key"))
    origin = recall(shelf.folder, home.parent.name)
    if origin is None:
        raise InputError(
            "the clip of this trace is not known here, so no other method can be run on it; run "
            "the question on this page, then compare"
        )
    texts = sent.get("specs")
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST:
        raise InputError(f"one to {MOST} methods can be compared with the trace shown")
    methods = [str(read_short(text)) for text in texts]  # all of them, before the first run
    shown = Trace.load(home)
    for text, method in zip(texts, methods, strict=True):
        for step in _run(runner, shelf, known, owner, origin, method, shown):
            yield step if isinstance(step, Step) else {"spec": text, **step}


def _run(
    runner: Runner,
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    owner: str,
    origin: Origin,
    method: str,
    shown: Trace,
) -> Iterator[Step | dict[str, Any]]:
    first = shown.baseline.get("answer")
    whole = isinstance(first, str)  # the uncompressed run is known and the same for every method
    score = [shown.answer, first] if whole else [shown.answer]
    for step in rerun(runner, owner, origin, method, baseline=not whole, score=score):
        if isinstance(step, Step):
            yield step
            continue
        trace = step.trace
        if trace.model != shown.model or trace.grid != shown.grid:
            raise InputError(
                f"the trace was made by the model {shown.model!r}, but this page runs "
                f"{trace.model!r}; press Run and compare with the trace of that run"
            )
        if whole:
            same = trace.attention_layer == shown.attention_layer
            attention = shown.full_attention if same else None
            trace = replace(trace, baseline=shown.baseline, full_attention=attention)
        changed = replace(origin, method=method)
        yield shelve(shelf, trace, changed, known, visitor=visitor_of(owner))[1]
