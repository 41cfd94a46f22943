"""Show the workspace as one ``gr.HTML``: a static template, its own style, the joined modules.

Its value is a few addresses (``{"bundle", "sprite", "clip", "trace", "key"}``); the browser fetches
what they name. Where the workspace goes to another trace by itself (an edit), it makes that one's
addresses its value and triggers "shown". Nothing of a trace is ever put into a template: Gradio
runs ``${...}`` found there.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import gradio as gr

from viz.workspace.modules import joined

HERE = Path(__file__).parent
STYLES = ("workspace", "screen", "stage")

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
    """Return the component. Give it ``{"bundle": url, ...}`` as its value to show a trace."""
    return gr.HTML(
        value={},
        html_template='<div class="workspace"></div>',
        css_template=style(),
        js_on_load=script() + START,
        apply_default_css=False,
        **place,
    )


@cache
def script() -> str:
    """Join all modules into a script that defines ``mount(root, {trigger})``."""
    return joined(HERE / "js" / "main.js", ["mount"])


@cache
def style() -> str:
    """Return the stylesheet; every rule stands under ``.workspace``."""
    return "\n".join((HERE / f"{name}.css").read_text("utf-8") for name in STYLES)
