"""Collect what the page shows of a trace: {component: value} for the right side.

Every event that shows a trace calls this file, a run as well as a saved trace or a case of the
error table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gradio as gr

from stc_core.record.trace import Trace
from viz.examples import Known
from viz.page import cards
from viz.page.inspect_tab import Views
from viz.server.origin import Origin, about, recall, shelve
from viz.server.quota import PAGE
from viz.server.shelf import Shelf
from viz.server.stand_ins import StandIns

Values = dict[gr.components.Component, Any]  # of those components alone that change


@dataclass(frozen=True)
class Showing:
    """Put traces on the shelf and return what the views show of them.

    Attributes
    ----------
    views : Views
    shelf : Shelf
    known : mapping
        What is known of questions, as ``known_questions`` gives it.
    saved : sequence of Path
        The traces of the project.
    origins : mapping
        Of those, as ``read_origins`` gives it.
    """

    views: Views
    shelf: Shelf
    known: Mapping[tuple[str, str], Known]
    saved: Sequence[Path] = ()
    origins: Mapping[str, tuple[Path, str | None]] | None = None

    @cached_property
    def films(self) -> StandIns:
        """Return what browsers play in place of clips that they cannot."""
        return StandIns(self.shelf.folder.parent / "films")

    def trace(
        self,
        trace: Trace,
        origin: Origin | None = None,
        source: Path | None = None,
        *,
        ran: bool = False,
        follows: bool = False,
        visitor: str = PAGE,
    ) -> Values:
        """Return the values of all views; the figures fold up, since they show another trace.

        Parameters
        ----------
        source : Path, optional
            The file that the trace was read from.
        ran : bool
            Whether a run on this page made it.
        follows : bool
            Whether it follows settings, so that the workspace stays where it is, and the trace's
            file comes later.
        visitor : str
            Whose it is.
        """
        views, known = self.views, self.known
        _, urls = shelve(self.shelf, trace, origin, known, source, later=follows, visitor=visitor)
        return {
            views.answers: cards.answers(trace, about(origin, known) if origin else None),
            views.workspace: urls | {"ran": ran, "live": follows},
            views.costs: cards.costs(trace),
            views.notes: cards.notes(trace),
            views.run_line: cards.run_line(trace),
            views.figures.fold: gr.update(open=False),
        }

    def file(self, path: Path, visitor: str = PAGE) -> Values:
        """Return the values of all views for a trace file: saved, on the shelf, or uploaded."""
        trace = Trace.load(path)
        return self.trace(trace, self.origin(path, trace), path, visitor=visitor)

    def answers(self, path: Path) -> Values:
        """Return the answers alone of a trace file of the shelf."""
        trace = Trace.load(path)
        origin, known = self.origin(path, trace), self.known
        words = cards.answers(trace, about(origin, known) if origin else None)
        return {self.views.answers: words}

    def origin(self, path: Path, trace: Trace) -> Origin | None:
        """Return what a saved trace, or one of the shelf, was made of; None where nobody knows."""
        found = (self.origins or {}).get(path.name) if path in self.saved else None
        if found is None:
            return recall(self.shelf.folder, path.parent.name)
        clip, method = found
        return Origin(str(clip), trace.question, trace.grid.frames, method)
