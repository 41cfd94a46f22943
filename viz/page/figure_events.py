"""Draw the figures for papers and slides when their accordion is opened."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from stc_core.record.trace import Trace
from viz.page.guard import LAST, guarded
from viz.page.inspect_tab import ORDER, Views
from viz.page.shown import Values
from viz.server.shelf import Shelf


def wire(views: Views, shelf: Shelf) -> None:
    """Draw the figures of the trace that the workspace shows."""
    pictures, files = views.figures.pictures, views.figures.files

    def draw(shown: dict | None) -> Iterator[Values]:
        """First the pictures; what can be downloaded comes after."""
        home = shelf.find((shown or {}).get("key"))
        if home is None:
            yield gr.skip()
            return
        trace = Trace.load(home)
        values: Values = {}
        for name in ORDER:
            path, words = shelf.shown(trace, home, name)
            values[pictures[name]] = gr.update(value=path, alt_text=words)
            values |= {button: gr.update(interactive=False) for button in files[name]}
        yield values
        yield {
            button: gr.update(value=path, interactive=True)
            for name in ORDER
            for button, path in zip(files[name], shelf.downloads(trace, home, name), strict=True)
        }

    views.figures.fold.expand(
        guarded(draw),
        views.workspace,
        views.figures.all,
        concurrency_id="figures",  # opening a trace or the lesson must not wait for these
        **LAST,
    )
