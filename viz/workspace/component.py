"""The workspace as one ``gr.HTML``: a static template, its own style, the joined scripts.

Its value is a few addresses (``{"bundle", "sprite", "clip", "trace", "key"}``); the browser fetches
what they name. Where the workspace goes to another trace by itself (an edit), it makes that one's
addresses its value and triggers "shown". Nothing of a trace is ever put into a template: Gradio
runs ``${...}`` found there.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import gradio as gr

HERE = Path(__file__).parent

# One scope for all: a file may use what stands in any other, but runs in this order.
SCRIPTS = (
    "model", "story", "state", "dom", "colour", "view", "marks",
    "view-controls", "view-player", "view-words", "view-budget", "view-card", "view-bars",
    "view-strip", "view-sheet", "view-plane", "view-replay",
    "pair", "view-pair", "view-compare",
    "lasso", "edits", "view-edits", "evidence",
    "view-evidence", "view-embedding", "view-flow", "share", "main",
)  # fmt: skip
START = """
const keep = (urls) => {
  props.value = urls;
  trigger('shown', { key: urls.key });
};
const workspace = mount(element.querySelector('.workspace'), { trigger, keep });
const show = () => {
  if (props.value?.bundle !== workspace.urls.bundle) workspace.show(props.value);
};
watch('value', show);
show();
"""


def workspace(**place) -> gr.HTML:
    """The component. Give it ``{"bundle": url, ...}`` as its value to show a trace."""
    return gr.HTML(
        value={}, html_template='<div class="workspace"></div>', css_template=style(),
        js_on_load=script() + START, apply_default_css=False, **place,
    )  # fmt: skip


@cache
def script() -> str:
    """All scripts in one; it defines ``mount(root, {trigger})`` and runs nothing."""
    return "\n".join((HERE / "js" / f"{name}.js").read_text("utf-8") for name in SCRIPTS)


@cache
def style() -> str:
    """The stylesheet; every rule stands under ``.workspace``."""
    return (HERE / "workspace.css").read_text("utf-8")
