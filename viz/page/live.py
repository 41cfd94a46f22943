"""Live: after a run, a change of the settings asks the same question again, at once and in place.

One such run of a visitor is under way at a time, and the latest change is the next: a slow machine
skips changes, it never queues them. It is the run that the button Run would start, made short by
what the model's cache holds: frames, vision features and the uncompressed answer stay the same.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import gradio as gr

from stc_core import InputError
from viz.examples import asked
from viz.page import cards
from viz.page.guard import guarded, name_of
from viz.page.inspect_tab import Controls, Views
from viz.server.job import job_of, origin_of
from viz.server.origin import Origin, recall
from viz.server.runner import Runner, Step, Stopped, failure, sentence
from viz.server.shelf import Shelf

Show = Callable[..., list]


def wire(controls: Controls, views: Views, runner: Runner, shelf: Shelf, show: Show) -> None:
    """Let the views follow the settings while the switch is on.

    ``show(trace, origin, visitor=...)`` puts a trace on the shelf and gives the values of
    ``views.all``.
    """
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    keep = [gr.skip() for _ in views.all]

    def follow(
        request: gr.Request, on: bool, shown: dict | None, video, question, *numbers
    ) -> list:
        origin = of_run(shown) if on else None
        if origin is None or runner.busy(f"{(mine := name_of(request))} "):
            return [gr.skip(), *keep]
        try:
            job = job_of(video, question, *numbers)
        except InputError as error:
            return [note(sentence(error)), *keep]
        if asked(job["video"], job["question"]) != asked(origin.video, origin.question):
            return [note("Another clip or question: press Run."), *keep]
        if job.get("model") != origin.model:
            return [note("Another model: press Run."), *keep]
        if (job["method"], job["frames"]) == (origin.spec, origin.frames):
            return [gr.skip(), *keep]
        began = time.perf_counter()
        try:
            for news in runner.run(f"{mine} live {uuid.uuid4().hex}", **job):
                if not isinstance(news, Step):
                    values = show(news.trace, origin_of(job), visitor=mine)
                    return [note(f"Followed in {time.perf_counter() - began:.2f} s."), *values]
        except Stopped:
            pass
        except Exception as error:
            return [note(str(failure(error))), *keep]
        return [gr.skip(), *keep]

    def of_run(shown: dict | None) -> Origin | None:
        """What the trace in the workspace was made of, where this page made it."""
        if not isinstance(shown, dict) or not shown.get("ran"):
            return None
        return recall(shelf.folder, shown.get("key"))

    others = ("baseline", "model")
    followed = [part for name, part in controls.settings.items() if name not in others]
    gr.on(
        [part.change for part in (controls.live, *followed)], guarded(follow),
        [controls.live, views.workspace, controls.video, controls.question,
         *controls.settings.values()],
        [controls.live_note, *views.all],
        trigger_mode="always_last", queue=False, **quiet,  # the queue alone costs 0.1 s
    )  # fmt: skip


def stop(runner: Runner, request: gr.Request) -> None:
    """End what this visitor's settings have started: something else is about to be shown."""
    runner.stop_all(f"{name_of(request)} live ")


def note(words: str) -> str:
    """The line under the switch."""
    return f'<p class="live-note">{cards.escape(words)}</p>'
