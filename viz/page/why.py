"""Say why the shown run answers as it does: the button Why? of the workspace (``view-why.js``).

What is shown is a trace of the shelf; ``stc_core.why`` compares runs of its clip and question. A
row of the comparison opens as a trace of its own, like an edit does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from stc_core.errors import InputError
from stc_core.method_text import read_method
from stc_core.record.trace import Trace
from viz.examples import Known
from viz.page import run_events
from viz.page.what_if import ask_again
from viz.server.origin import Origin, about, recall, shelve
from viz.server.rerun import explain_again, rerun
from viz.server.runner import Runner, Step
from viz.server.shelf import Shelf
from viz.server.turns import visitor_of

SECONDS = 8.0  # of one search, where no evidence is known
MOST_SEARCHES = 32  # that can go on; the oldest are forgotten
FIELDS = ("key", "more", "edit", "method")


def wire(
    workspace: gr.HTML, runner: Runner, shelf: Shelf, known: Mapping[tuple[str, str], Known]
) -> None:
    """Connect the workspace's events ``why`` and ``stop_why``.

    The news are "stage", "fraction" and "elapsed", and in the end "done" (``Why.to_json``) or, for
    a row that is opened, "opened" (addresses for the workspace).
    """
    searches: OrderedDict[str, Any] = OrderedDict()

    def work(owner: str, sent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if sent.get("edit") is None and sent.get("method") is None:
            told = explained(runner, shelf, known, searches, owner, sent)
        else:
            told = opened(runner, shelf, known, owner, sent)
        for step in told:
            yield run_events.progress(step) if isinstance(step, Step) else step

    run_events.wire(workspace, "why", runner, FIELDS, work)


def explained(
    runner: Runner,
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    searches: OrderedDict[str, Any],
    owner: str,
    sent: Mapping[str, Any],
) -> Iterator[Step | dict[str, Any]]:
    """Tell why of a trace; yield where the work is and, last, {"done": ``Why.to_json``}.

    Parameters
    ----------
    known : mapping
        What is known of questions, as ``known_questions`` gives it.
    searches : OrderedDict
        {key of a trace: the search that may go on}; changed here.
    owner : str
        Who may stop the run.
    sent : mapping
        From a browser, so it may hold anything: ``key`` of a trace on the shelf, and ``more``,
        whether its search is to go on.

    Raises
    ------
    InputError
        One sentence, for whatever cannot be explained.
    """
    home, origin = _found(shelf, sent.get("key"))
    key, shown, what = home.parent.name, Trace.load(home), about(origin, known)
    tokens = what.tokens(shown.grid) if what else None
    search = searches.pop(key, None) if sent.get("more") is True else None
    asked = {
        "right": what.answer if what else None,
        "evidence": None if tokens is None else tokens.tolist(),
        "seconds": SECONDS,
        "search": search,
    }
    for step in explain_again(runner, owner, origin, asked):
        if isinstance(step, Step):
            yield step
            continue
        why, search = step
        _same_model(why.model, shown)
        if not why.found.done:
            searches[key] = search
            while len(searches) > MOST_SEARCHES:
                searches.popitem(last=False)
        yield {"done": why.to_json()}


def opened(
    runner: Runner,
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    owner: str,
    sent: Mapping[str, Any],
) -> Iterator[Step | dict[str, Any]]:
    """Run a row of a comparison for its trace; yield, last, {"opened": addresses}.

    Parameters
    ----------
    sent : mapping
        From a browser: ``key`` of the explained trace, and the row's ``edit`` or ``method``.

    Raises
    ------
    InputError
        One sentence, for whatever cannot be run.
    """
    home, origin = _found(shelf, sent.get("key"))
    edit = sent.get("edit")
    if edit is not None:
        if not isinstance(edit, Mapping):
            raise InputError("the edit of a row has the lists remove, add and only")
        for step in ask_again(runner, shelf, known, owner, {**edit, "key": home.parent.name}):
            yield step if isinstance(step, Step) else {"opened": step["urls"]}
        return
    shown, method = Trace.load(home), str(read_method(sent.get("method")))
    for step in rerun(runner, owner, origin, method, score=[shown.answer]):
        if isinstance(step, Step):
            yield step
            continue
        _same_model(step.trace.model, shown)
        same = step.trace.attention_layer == shown.attention_layer
        attention = shown.full_attention if same else None
        trace = replace(step.trace, baseline=shown.baseline, full_attention=attention)
        changed = replace(origin, method=method)
        urls = shelve(shelf, trace, changed, known, visitor=visitor_of(owner))[1]
        yield {"opened": urls}


def _found(shelf: Shelf, key: object):
    """Return the file and the origin of a trace that can be asked about again."""
    home = shelf.found(key)
    origin: Origin | None = recall(shelf.folder, home.parent.name)
    if origin is None or origin.method is None:
        raise InputError(
            "it is not recorded how this trace was made, so its runs cannot be compared; press Run "
            "and ask why about that run"
        )
    return home, origin


def _same_model(model: str, shown: Trace) -> None:
    if model != shown.model:
        raise InputError(
            f"the trace was made by the model {shown.model!r}, but this page runs {model!r}; press "
            f"Run and ask why about that run"
        )
