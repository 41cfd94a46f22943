"""Offer a tour of the page to whoever comes for the first time: ``tour.js``.

It is offered on a bare address alone: a link that opens something, or any other part of an address,
is not interrupted. ``?tour=1`` starts it.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from viz.workspace.modules import joined

HERE = Path(__file__).parent


def tour() -> gr.HTML:
    """Lay out the tour, which floats over the page while it runs."""
    return gr.HTML(
        None,
        html_template='<div class="tour"></div>',
        css_template=(HERE / "tour.css").read_text("utf-8"),
        js_on_load=joined(HERE / "tour.js", ["Tour"])
        + "new Tour(element.querySelector('.tour'));\n",
        apply_default_css=False,
        elem_id="tour",
    )
