"""Open a trace: with the page, from the menu, an upload, or as the workspace chose it."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from viz.page import cards, live
from viz.page.guard import EACH, LAST, QUIET, guarded, name_of
from viz.page.inspect_tab import Controls
from viz.page.one_case import Left
from viz.page.share import wanted
from viz.page.shown import Showing, Values
from viz.server.origin import recall
from viz.server.quota import PAGE
from viz.server.runner import Runner, failure

PICTURES = {"concurrency_id": "pictures"}


class Opening:
    """Handle these events; each method returns what changes."""

    def __init__(self, showing: Showing, controls: Controls, runner: Runner, left: Left) -> None:
        self._showing, self._controls, self._runner = showing, controls, runner
        self._left = left

    def of_address(self, request: gr.Request) -> Values:
        """Return the trace that the page's address asks for, else the first saved one."""
        showing = self._showing
        asked_for = wanted(request.query_params, showing.shelf, showing.saved)
        if asked_for.path is None:
            return gr.skip()
        saved = asked_for.path in showing.saved
        values = showing.file(asked_for.path, PAGE if saved else name_of(request))
        if asked_for.asked:
            values |= self._beside(values, name_of(request))
        else:
            values[showing.views.workspace]["other"] = True
        if asked_for.note:
            values[self._controls.status] = cards.status(asked_for.note, "error")
        return values

    def of_menu(self, request: gr.Request, name: str) -> Values:
        live.stop(self._runner, request)
        chosen = next((path for path in self._showing.saved if path.name == name), None)
        return self._opened(chosen) if chosen is not None else gr.skip()

    def of_upload(self, request: gr.Request, path: str | None) -> Values:
        live.stop(self._runner, request)
        return self._opened(Path(path), name_of(request)) if path else gr.skip()

    def of_turn(self, request: gr.Request, event: gr.EventData) -> Values:
        """Open the trace of an earlier answer of the conversation."""
        live.stop(self._runner, request)
        home = self._showing.shelf.find(getattr(event, "key", None))
        if home is None:
            words = "The trace of this answer is no longer here; ask the question again."
            return {self._controls.status: cards.status(words, "error")}
        values = self._opened(home, name_of(request))
        return values | {self._controls.status: cards.status("Shows an earlier answer.", "done")}

    def follow(self, request: gr.Request, event: gr.EventData) -> Values:
        """Show the cards of another trace of the shelf that the workspace went to by itself."""
        home = self._showing.shelf.find(getattr(event, "key", None))
        if home is None:
            return gr.skip()
        values = self._showing.file(home, name_of(request))
        del values[self._showing.views.workspace]
        return values

    def _beside(self, values: Values, visitor: str) -> Values:
        """Return the left side for what the views show."""
        key = values[self._showing.views.workspace]["key"]
        return self._left.values(recall(self._showing.shelf.folder, key), visitor)

    def _opened(self, path: Path, visitor: str = PAGE) -> Values:
        status = self._controls.status
        try:
            values = self._showing.file(path, visitor)
            values |= self._beside(values, visitor)
        except Exception as error:
            return {status: cards.status(str(failure(error)), "error")}
        return {status: cards.status(f"Shows the trace {path.name}.", "done"), **values}


def wire(demo: gr.Blocks, showing: Showing, controls: Controls, runner: Runner, left: Left) -> None:
    """Open a trace with the page, and others as they are chosen."""
    opening, views = Opening(showing, controls, runner, left), showing.views
    shown = [controls.status, *views.all, *controls.asked]
    first = demo.load(  # the queue costs 0.3 s
        guarded(opening.of_address), None, shown, queue=False, **QUIET
    )
    first.then(runner.start, None, None, **QUIET)  # importing torch would hold up the opening
    if controls.saved is not None:
        controls.saved.input(opening.of_menu, controls.saved, shown, **PICTURES, **LAST)
    controls.upload.upload(opening.of_upload, controls.upload, shown, **PICTURES, **LAST)
    controls.turns.talk.chosen(guarded(opening.of_turn), None, shown, **PICTURES, **EACH)
    views.workspace.shown(guarded(opening.follow), None, views.all, **PICTURES, **EACH)
