"""Show a trace in the output of a notebook's cell: facts, a picture, the report of one file.

``Trace._repr_html_`` imports this by its name (``stc_core.record.notebook``).
"""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

from stc_core.record.notebook import table
from viz.page import onefile
from viz.pictures.sheets import render

if TYPE_CHECKING:
    from stc_core.record.trace import Trace

WIDTH = 900  # pixels of the picture
LARGEST = 1_000_000  # characters of a report that is put into the notebook's file
HEIGHT = 760  # pixels of the report
LARGE = (
    "This trace is too large to be shown token by token inside a notebook. "
    '<code>trace.save("trace.npz")</code> and, on the command line, '
    "<code>python -m viz.onefile trace.npz trace.html</code> make a file of it for the browser."
)


def html_of(trace: Trace) -> str:
    """Return facts, the fates over the clip and, where it is small enough, the whole report.

    The report runs its script in a frame with an origin of its own, which can reach neither the
    notebook nor a network; it is loaded when it is unfolded.
    """
    picture = render(trace, "inside", WIDTH, words=False)
    source = base64.b64encode(picture.png).decode()
    return (
        f'<div style="max-width: {WIDTH}px">{table(trace)}'
        f'<img width="{WIDTH}" style="max-width: 100%; height: auto; background: #fff" '
        f'alt="{html.escape(picture.alt)}" src="data:image/png;base64,{source}">'
        f"{_report(trace)}</div>"
    )


def _report(trace: Trace) -> str:
    page = onefile.page(trace)
    if len(page) > LARGEST:
        return f"<p>{LARGE}</p>"
    return (
        "<details><summary>Every token: the report</summary>"
        '<iframe sandbox="allow-scripts" loading="lazy" title="Report of this trace" '
        f'style="width: 100%; height: {HEIGHT}px; border: 0; background: #fff" '
        f'srcdoc="{html.escape(page)}"></iframe></details>'
    )
