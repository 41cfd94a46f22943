"""Put the question to the model on Run, show its trace, and stop on Cancel."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from stc_core.errors import InputError
from viz.page import cards, live
from viz.page.guard import EACH, QUIET, guarded, name_of
from viz.page.inspect_tab import Controls
from viz.page.shown import Showing, Values
from viz.page.turns import history_of, with_turn
from viz.server.job import job_of, origin_of
from viz.server.origin import Origin
from viz.server.runner import Runner, Step, Stopped, failure, sentence
from viz.server.stand_ins import video_of
from viz.server.turns import MODEL


class Asking:
    """Handle these events; each method returns or yields what changes."""

    def __init__(self, showing: Showing, controls: Controls, runner: Runner) -> None:
        self._showing, self._controls, self._runner = showing, controls, runner

    def press(self) -> Values:
        """Mark the run as waiting at once, and give it a name; what asked for it is done."""
        waiting = cards.status("Waiting for the model …", "busy", 0.0)
        named = {self._controls.ticket: uuid.uuid4().hex, self._controls.live_note: ""}
        return self._busy(waiting) | named

    def run(
        self, request: gr.Request, ticket: str, shown, talk, remember, video, question, *settings
    ) -> Iterator[Values]:
        """Answer, and show the answers as they are written.

        Parameters
        ----------
        shown : dict
            The value of the workspace.
        talk, remember
            The conversation so far, and whether the model is to read it.
        settings
            Those of ``job_of``, in its order.
        """
        try:
            job = job_of(video, question, *settings)
            origin = self._showing.films.origin(origin_of(job))
            origin = replace(origin, history=history_of(talk, remember, origin))
            job |= {"video": video_of(origin), "frames": origin.frames}
            if origin.history:
                job["history"] = origin.history
        except InputError as error:
            yield self._idle(cards.status(sentence(error), "error"))
            return
        live.stop(self._runner, request)
        try:
            yield from self._answered(job, origin, request, ticket, talk)
        except Stopped:
            yield self.cancelled(shown)
        except Exception as error:
            before = self._before(shown)
            yield self._idle(cards.status(str(failure(error)), "error")) | before

    def cancel(self, request: gr.Request, ticket: str) -> None:
        self._runner.stop(_owner(request, ticket))

    def cancelled(self, shown: object) -> Values:
        words = cards.status("Cancelled; nothing was changed.", "quiet")
        return self._idle(words) | self._before(shown)

    def _before(self, shown: object) -> Values:
        """Return the answers of the trace that the views show, in place of unfinished ones."""
        key = shown.get("key") if isinstance(shown, dict) else None
        home = self._showing.shelf.find(key)
        return self._showing.answers(home) if home is not None else {}

    def _answered(
        self, job: dict[str, Any], origin: Origin, request: gr.Request, ticket: str, talk: object
    ) -> Iterator[Values]:
        elapsed, said = 0.0, {}
        views, turns = self._showing.views, self._controls.turns
        for news in self._runner.run(_owner(request, ticket), **job, stream=True):
            if isinstance(news, Step):
                elapsed = news.elapsed
                values = self._busy(cards.progress(news.stage, news.fraction, elapsed))
                if news.said != said:
                    said = news.said
                    values[views.answers] = cards.writing(origin.question, said, job["baseline"])
                yield values
                continue
            yield self._late(cards.progress("drawing", 1.0, elapsed))
            done = cards.status(f"Answered in {elapsed:.1f} s.", "done")
            values = self._showing.trace(news.trace, origin, ran=True, visitor=name_of(request))
            key = values[views.workspace]["key"]
            values[self._controls.live_note] = ""
            values[turns.talk] = with_turn(talk, origin, key, news.trace.answer)
            yield self._idle(done) | values

    def _idle(self, status: str) -> Values:
        return self._line(status, run=True, cancel=False)

    def _busy(self, status: str) -> Values:
        return self._line(status, run=False, cancel=True)

    def _late(self, status: str) -> Values:
        """Too late to cancel."""
        return self._line(status, run=False, cancel=False)

    def _line(self, status: str, *, run: bool, cancel: bool) -> Values:
        controls = self._controls
        return {
            controls.status: status,
            controls.run: gr.update(interactive=run),
            controls.cancel: gr.update(interactive=cancel),
        }


def wire(showing: Showing, controls: Controls, runner: Runner) -> None:
    """Connect the two buttons."""
    asking = Asking(showing, controls, runner)
    line = [controls.status, controls.run, controls.cancel]
    views, turns = showing.views, controls.turns
    pressed = controls.run.click(
        asking.press, None, [*line, controls.ticket, controls.live_note], queue=False, **QUIET
    )
    pressed.then(
        asking.run,
        [
            controls.ticket,
            views.workspace,
            *turns.all,
            controls.video,
            controls.question,
            *controls.settings.values(),
        ],
        [*line, *views.all, turns.talk, controls.live_note],
        **MODEL,
        **EACH,  # Run can be pressed again while the end of a cancelled run is on its way
    )
    # Not with ``cancels``, which ends whatever the session has of an event. The run says itself
    # that it was cancelled, behind all that it still had on its way to the browser; here it is said
    # at once, and for a run that has not begun.
    stopping = controls.cancel.click(asking.cancel, controls.ticket, None, queue=False, **QUIET)
    stopping.then(
        guarded(asking.cancelled), views.workspace, [*line, views.answers], queue=False, **QUIET
    )


def _owner(request: gr.Request, ticket: str) -> str:
    """Return one run of one visitor: a Cancel must leave the one after it alone."""
    return f"{name_of(request)} {ticket}"
