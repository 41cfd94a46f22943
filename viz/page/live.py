"""Ask the same question again, at once and in place, when a setting changes after a run.

One such run of a visitor is under way at a time, and the latest change is the next: a slow machine
skips changes, it never queues them. It is the run that the button Run would start, made short by
what the model's cache holds: frames, vision features and the uncompressed answer stay the same.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

import gradio as gr

from stc_core import InputError
from stc_core.method_text import same_method
from viz.examples import asked
from viz.page import cards
from viz.page.guard import LAST, guarded, name_of
from viz.page.inspect_tab import Controls
from viz.page.shown import Showing, Values
from viz.server.job import job_of, origin_of
from viz.server.origin import Origin, recall
from viz.server.runner import Runner, Stopped, failure, sentence
from viz.server.stand_ins import video_of


class Following:
    """Handle these events; its method returns what changes."""

    def __init__(self, showing: Showing, controls: Controls, runner: Runner) -> None:
        self._showing, self._controls, self._runner = showing, controls, runner

    def follow(
        self, request: gr.Request, on: bool, shown: dict | None, video, question, *settings
    ) -> Values:
        """Answer as the settings are now; ``settings`` are those of ``job_of``, in its order."""
        origin = self._of_run(shown) if on else None
        if origin is None:
            return gr.skip()
        busy = self._runner.busy(f"{name_of(request)} ")
        try:
            job = job_of(video, question, *settings)
        except InputError as error:
            return self._say(sentence(error))
        new = self._showing.films.origin(origin_of(job))
        new = replace(new, history=origin.history, system=origin.system)
        if asked(new.video, new.question) != asked(origin.video, origin.question):
            if busy:
                return gr.skip()
            return self._say("Another clip or question: press Run.")
        first = self._controls.first_model
        if (job.get("model") or first) != (origin.model or first):
            return self._say("Another model: press Run.")
        try:
            if new.frames == origin.frames and same_method(new.method, origin.method):
                return gr.skip()
            if busy:
                return self._say("Changed while another run is under way: press Run to ask again.")
            job |= {"video": video_of(new), "frames": new.frames}
            job |= new.before
            return self._answered(job, new, name_of(request))
        except Stopped:
            return gr.skip()
        except Exception as error:
            return self._say(str(failure(error)))

    def _answered(self, job: dict[str, Any], origin: Origin, visitor: str) -> Values:
        began = time.perf_counter()
        *_, answer = self._runner.run(f"{visitor} live {uuid.uuid4().hex}", **job)
        values = self._showing.trace(answer.trace, origin, ran=True, follows=True, visitor=visitor)
        return values | self._say(f"Followed in {time.perf_counter() - began:.2f} s.")

    def _of_run(self, shown: dict | None) -> Origin | None:
        """Return what the trace in the workspace was made of, where this page made it."""
        if not isinstance(shown, dict) or not shown.get("ran"):
            return None
        return recall(self._showing.shelf.folder, shown.get("key"))

    def _say(self, words: str) -> Values:
        """Return the line under the switch."""
        return {self._controls.live_note: f'<p class="live-note">{cards.escape(words)}</p>'}


def wire(controls: Controls, showing: Showing, runner: Runner, changed: gr.HTML) -> None:
    """Let the views follow the settings while the switch is on; ``changed`` says when."""
    views = showing.views
    changed.asked(
        guarded(Following(showing, controls, runner).follow),
        [
            controls.live,
            views.workspace,
            controls.video,
            controls.question,
            *controls.settings.values(),
        ],
        [controls.live_note, *views.all],
        queue=False,  # the queue alone costs 0.1 s
        **LAST,
    )


def stop(runner: Runner, request: gr.Request) -> None:
    """End what this visitor's settings have started, before something else is shown."""
    runner.stop_all(f"{name_of(request)} live ")
