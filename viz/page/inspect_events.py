"""Connect the tab Inspect: every event gets what it needs and returns {component: value}.

Nothing of a visitor is kept here, and every event on the model shares one place in the queue. The
events are in files of their own: ``open_events`` (a trace is opened), ``ask_events`` (Run, Cancel),
``live`` (the settings are followed), ``figure_events`` and ``choice_events`` (the fields).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr

from viz.examples import Example
from viz.page import ask_events, choice_events, figure_events, live, open_events
from viz.page.inspect_tab import Controls
from viz.page.one_case import Left
from viz.page.shown import Showing
from viz.server.runner import Runner


def wire(
    demo: gr.Blocks,
    runner: Runner,
    showing: Showing,
    controls: Controls,
    examples: Sequence[Example],
    own: Mapping[str, float],
    left: Left,
    changed: gr.HTML,
) -> None:
    """Connect the two sides of the tab.

    Parameters
    ----------
    showing : Showing
        Of the views; the first of its saved traces opens.
    own : mapping
        What the checkpoint records as its settings.
    left : Left
        What fills the left side where a trace is opened.
    changed : gr.HTML
        What tells of changes, of ``changes``.
    """
    live.wire(controls, showing, runner, changed)
    open_events.wire(demo, showing, controls, runner, left)
    ask_events.wire(showing, controls, runner)
    figure_events.wire(showing.views, showing.shelf)
    choice_events.wire(demo, controls, examples, own, showing.films)
