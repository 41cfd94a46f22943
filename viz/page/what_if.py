"""Ask the question of a shown trace again, with some tokens knocked out, swapped in or added.

Attention and relevance only go with an answer; an edit shows whether the answer depends on a token.
The browser keeps the draft and the history (``view-edits.js``) and sends one edit at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from stc_core.errors import InputError
from stc_core.method_text import read_method
from stc_core.record.trace import Trace
from viz.examples import Known
from viz.page import run_events
from viz.server.origin import Origin, recall, shelve
from viz.server.rerun import rerun
from viz.server.runner import Runner, Step
from viz.server.shelf import Shelf
from viz.server.turns import visitor_of

LISTS = {"remove": "remove", "add": "put in", "only": "keep"}  # of an edit, and their verbs


def wire(
    workspace: gr.HTML, runner: Runner, shelf: Shelf, known: Mapping[tuple[str, str], Known]
) -> None:
    """Connect the workspace's events ``edit`` and ``stop_edit``.

    The news are "stage", "fraction" and "elapsed", and in the end "done". ``known`` is what is
    known of questions, as ``known_questions`` gives it.
    """

    def edit(owner: str, sent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for step in ask_again(runner, shelf, known, owner, sent):
            yield run_events.progress(step) if isinstance(step, Step) else {"done": step}

    run_events.wire(workspace, "edit", runner, ("key", *LISTS), edit)


def ask_again(
    runner: Runner,
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    owner: str,
    sent: Mapping[str, Any],
) -> Iterator[Step | dict[str, Any]]:
    """Run an edit; yield where the run is and, last, its result.

    Parameters
    ----------
    owner : str
        Who may stop the run.
    sent : mapping
        From a browser, so it may hold anything: ``key`` of the edited trace on the shelf, and the
        edit of that trace, ``remove``, ``add`` and ``only``.

    Yields
    ------
    Step or dict
        Last {"urls": for the workspace, "answer", "logprob": of that answer, "score": of the answer
        before the edit, "before": {"answer", "logprob"}}. Log-probabilities are natural ones, None
        where they are not known.

    Raises
    ------
    InputError
        One sentence, for whatever cannot be run.
    """
    home = shelf.found(sent.get("key"))
    origin = recall(shelf.folder, home.parent.name)
    if origin is None or origin.method is None:
        raise InputError(
            "it is not recorded how this trace was made, so it cannot be edited; press Run and "
            "edit the trace of that run"
        )
    before = Trace.load(home)
    edit = read_edit(sent, before.grid.size)
    made_by = read_method(origin.method)
    if made_by.edit is not None:
        edit = joined(made_by.edit, edit, before.stage("outside").survivors.tolist())
    changed = replace(origin, method=str(replace(made_by, edit=edit)))
    for step in rerun(runner, owner, origin, changed.method, score=[before.answer]):
        if isinstance(step, Step):
            yield step
        else:
            yield _outcome(shelf, known, changed, before, step, visitor_of(owner))


def read_edit(sent: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return {"remove", "add", "only"} as lists of tokens below ``size``; only may be None.

    Raises ``InputError`` for anything else, and for an edit that changes nothing.
    """
    edit = {name: sent.get(name) for name in LISTS}
    for name, tokens in edit.items():
        if name == "only" and tokens is None:
            continue
        if not isinstance(tokens, list) or len(tokens) > size:
            raise InputError(f"the tokens to {LISTS[name]} must be a list of at most {size}")
        if not all(type(token) is int and 0 <= token < size for token in tokens):
            raise InputError(
                f"the tokens to {LISTS[name]} must be whole numbers from 0 to {size - 1}"
            )
    if not edit["remove"] and not edit["add"] and edit["only"] is None:
        raise InputError("this edit changes nothing; remove, keep, swap in or add tokens first")
    return edit


def joined(
    first: Mapping[str, Any], second: Mapping[str, Any], entered: list[int]
) -> dict[str, Any]:
    """Return one edit that does what two do, one after the other.

    To remove a token that was put in takes that back: it is again where the method put it.

    Parameters
    ----------
    first, second : mapping
        ``second`` is an edit of the trace that ``first`` led to.
    entered : list of int
        Tokens that entered the LLM in that trace.
    """
    added = set(first["add"])
    stays = set(entered) - added
    if second["only"] is not None:
        stays &= set(second["only"])
        added &= set(second["only"])
    gone, more = set(second["remove"]), set(second["add"])
    added = (added - gone) | more
    return {"remove": [], "add": sorted(added), "only": sorted(stays - gone - added)}


def _outcome(
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    origin: Origin,
    before: Trace,
    said,
    visitor: str,
) -> dict[str, Any]:
    """Put the new trace on the shelf and say what changed; ``said`` is an ``Answer``."""
    trace = said.trace
    if trace.model != before.model or trace.grid != before.grid:
        raise InputError(
            f"the trace was made by the model {before.model!r}, but this page runs "
            f"{trace.model!r}; press Run and edit the trace of that run"
        )
    # the uncompressed run is the same one: an edit changes nothing about it
    trace = replace(trace, baseline=before.baseline, full_attention=before.full_attention)
    return {
        "urls": shelve(shelf, trace, origin, known, visitor=visitor)[1],
        "answer": said.text,
        "logprob": said.logprob,
        "score": said.scores.get(before.answer),
        "before": {"answer": before.answer, "logprob": before.logprob},
    }
