"""Other methods on the clip and question of the trace that the workspace shows.

The browser says what it wants to compare (``view-compare.js``); the answers go back through a small
component of their own. As a part of the workspace's value they would show that trace anew, or bring
back one that the visitor has left meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from stc_core.errors import InputError
from stc_core.trace import Trace

from .cards import STAGES
from .examples import Known
from .rerun import Origin, from_text, recall, rerun, shelve
from .runs import Runner, Step, Stopped, failure
from .shelf import Shelf

MOST = 2  # runs beside the one that is shown
FULL = "uncompressed: "  # before the stages of that run
# Several workspaces may stand on one page: each knows its own runs by the ``id`` it gave them.
TELL = """
watch('value', () => {
  document.dispatchEvent(new CustomEvent('tokens-compare', { detail: props.value }));
});
"""


def build() -> gr.HTML:
    """The component through which runs reach the workspace; it shows nothing itself."""
    return gr.HTML(value=None, html_template="", js_on_load=TELL, visible="hidden")


def wire(
    workspace: gr.HTML, news: gr.HTML, runner: Runner, shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
) -> None:  # fmt: skip
    """Connect the workspace's events ``compare`` and ``stop_compare``.

    Parameters
    ----------
    news : gr.HTML
        What ``build`` made. It is given {"id": of the request, "others": all runs so far, each as
        what ``Shelf.addresses`` gives and its "spec", "elapsed": seconds} and one of "stage" (with
        "fraction"), "error" and "done".
    known : mapping
        What is known of questions, as ``known_questions`` gives it.
    """
    quiet = {"api_visibility": "private", "show_progress": "hidden"}

    def compare(request: gr.Request, event: gr.EventData) -> Iterator[dict[str, Any]]:
        sent = {name: getattr(event, name, None) for name in ("id", "key", "specs")}
        mine = {"id": str(sent["id"])[:40], "others": [], "elapsed": 0.0}
        before = 0.0  # seconds of the runs that have ended
        try:
            for step in run_others(runner, shelf, known, _owner(request, event), sent):
                if isinstance(step, Step):
                    mine["elapsed"] = round(before + step.elapsed, 1)
                    yield mine | _progress(step)
                else:
                    mine["others"] = [*mine["others"], step]
                    before = mine["elapsed"]
            yield mine | {"done": True}
        except Stopped:
            return  # who has stopped it waits for nothing
        except Exception as error:
            yield mine | {"error": str(failure(error))}

    def stop(request: gr.Request, event: gr.EventData) -> None:
        runner.stop(_owner(request, event))

    # Not with ``cancels``: it ends whatever the session has of this event, the run after this one
    # too.
    workspace.compare(
        compare, None, news, concurrency_id="model", concurrency_limit=1, trigger_mode="multiple",
        **quiet,
    )  # fmt: skip
    workspace.stop_compare(stop, None, None, trigger_mode="multiple", queue=False, **quiet)


def run_others(
    runner: Runner, shelf: Shelf, known: Mapping[tuple[str, str], Known], owner: str,
    sent: Mapping[str, Any],
) -> Iterator[Step | dict[str, Any]]:  # fmt: skip
    """Run other methods on the clip of a trace, one after the other.

    Parameters
    ----------
    owner : str
        Who may stop the runs.
    sent : mapping
        From a browser, so it may hold anything: ``key`` of the trace on the shelf, ``specs``, one
        or two methods as ``rerun.to_text`` writes them.

    Yields
    ------
    Step or dict
        Where a run is; after each run {"spec": as asked for, and what ``Shelf.addresses`` gives}.

    Raises
    ------
    InputError
        One sentence, for whatever cannot be run.
    """
    home = shelf.find(sent.get("key"))
    if home is None:
        raise InputError("this trace is no longer on the server; open it again")
    origin = recall(shelf.folder, home.parent.name)
    if origin is None:
        raise InputError(
            "the clip of this trace is not known here, so no other method can be run on it; run "
            "the question on this page, then compare"
        )
    texts = sent.get("specs")
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST:
        raise InputError(f"one to {MOST} methods can be compared with the trace shown")
    specs = [from_text(text) for text in texts]  # all of them, before the first run
    shown = Trace.load(home)
    for text, spec in zip(texts, specs, strict=True):
        for step in _run(runner, shelf, known, owner, origin, spec, shown):
            yield step if isinstance(step, Step) else {"spec": text, **step}


def _run(
    runner: Runner, shelf: Shelf, known: Mapping[tuple[str, str], Known], owner: str,
    origin: Origin, spec: dict[str, Any], shown: Trace,
) -> Iterator[Step | dict[str, Any]]:  # fmt: skip
    first = shown.baseline.get("answer")
    whole = isinstance(first, str)  # the uncompressed run is known and the same for every method
    score = [shown.answer, first] if whole else [shown.answer]
    for step in rerun(runner, owner, origin, spec, baseline=not whole, score=score):
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
        yield shelve(shelf, trace, replace(origin, spec=spec), known)[1]


def _owner(request: gr.Request, event: gr.EventData) -> str:
    """One request of one visitor: a Cancel must leave the runs before and after it alone."""
    return f"{request.session_hash or ''} compare {str(getattr(event, 'id', None))[:40]}"


def _progress(step: Step) -> dict[str, Any]:
    words = STAGES.get(step.stage.removeprefix(FULL), step.stage)
    words = f"Uncompressed run: {words}" if step.stage.startswith(FULL) else words
    return {"stage": words[:1].upper() + words[1:], "fraction": step.fraction}
