"""Define the words of the glossary wherever the page uses them, as the lesson does."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from viz.lesson.glossary import spoken
from viz.workspace.modules import joined

HERE = Path(__file__).parent


def definitions() -> gr.HTML:
    """Return what marks these words in the views and in the table of errors; nothing is seen."""
    script = joined(HERE / "definitions.js", ["Definitions"])
    return gr.HTML(
        None,
        html_template="",
        js_on_load=f"{script}new Definitions({json.dumps(spoken())});\n",
        apply_default_css=False,
        visible="hidden",
    )
