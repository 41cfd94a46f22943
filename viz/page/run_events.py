"""Run what the workspace asks for by itself: one event each, and news that come back.

The news go through a small component of their own. As a part of the workspace's value they would
show its trace again, or bring back one that the visitor has left meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import gradio as gr

from stc_core.text import readable
from viz.page.cards import STAGES
from viz.page.guard import EACH, name_of
from viz.server.runner import Runner, Step, Stopped, failure
from viz.server.turns import MODEL

FULL = "uncompressed: "  # before the stages of that run
# Several workspaces may stand on one page: each knows its own runs by the ``id`` it gave them.
TELL = """
watch('value', () => {
  document.dispatchEvent(new CustomEvent('tokens-%s', { detail: props.value }));
});
"""


def wire(
    workspace: gr.HTML,
    name: str,
    runner: Runner,
    fields: Iterable[str],
    work: Callable[[str, Mapping[str, Any]], Iterator[dict[str, Any]]],
    slot: Mapping[str, Any] | None = None,
) -> None:
    """Connect the workspace's events ``name`` and ``stop_name``; their news are ``tokens-name``.

    Each of the news is "id", that of the request, and what ``work`` yields. In the end may come
    "error", one sentence, with what was known by then.

    Parameters
    ----------
    fields : iterable of str
        What of the request is handed to ``work``. It comes from a browser: it may be anything.
    work : callable
        (owner, fields) -> news; the owner is who may stop it.
    slot : mapping, optional
        Of Gradio's queue, for work without the model, which cannot be stopped. Default: that of the
        events on the model.
    """
    news = gr.HTML(value=None, html_template="", js_on_load=TELL % name, visible="hidden")

    def owner(request: gr.Request, event: gr.EventData) -> str:
        """One request of one visitor: a Cancel must leave the runs before and after it alone."""
        return f"{name_of(request)} {name} {_id(event)}"

    def run(request: gr.Request, event: gr.EventData) -> Iterator[dict[str, Any]]:
        sent = {field: getattr(event, field, None) for field in fields}
        known = {"id": _id(event)}
        try:
            if slot is None:  # before ``work``, which may import torch and say nothing meanwhile
                for step in runner.wake(owner(request, event)):
                    yield known | progress(step)
            for told in work(owner(request, event), sent):
                yield known | told
                known |= {key: told[key] for key in told.keys() - {"stage", "fraction"}}
        except Stopped:
            return  # who has stopped it waits for nothing
        except Exception as error:
            yield known | {"error": str(failure(error))}

    def stop(request: gr.Request, event: gr.EventData) -> None:
        runner.stop(owner(request, event))

    # Not with ``cancels``: it ends whatever the session has of this event, the run after this one
    # too.
    getattr(workspace, name)(
        run,
        None,
        news,
        **(MODEL if slot is None else slot),
        **EACH,
    )
    if slot is not None:
        return
    getattr(workspace, f"stop_{name}")(stop, None, None, queue=False, **EACH)


def progress(step: Step, before: float = 0.0) -> dict[str, Any]:
    """Return as news where a run is; ``before`` counts the seconds of earlier runs."""
    words = STAGES.get(step.stage.removeprefix(FULL), step.stage)
    words = f"Uncompressed run: {words}" if step.stage.startswith(FULL) else words
    return {
        "stage": words[:1].upper() + words[1:],
        "fraction": step.fraction,
        "elapsed": round(before + step.elapsed, 1),
    }


def _id(event: gr.EventData) -> str:
    return readable(str(getattr(event, "id", None))[:40])  # it goes back to the browser
