"""Show a trace in a notebook: as ``viz`` draws it where that can be imported, else as a table."""

from __future__ import annotations

import html
from importlib import import_module
from typing import TYPE_CHECKING

from stc_core.text import readable

if TYPE_CHECKING:
    from stc_core.record.trace import Trace

DRAWER = "viz.notebook"  # imported by its name: a trace must be usable without pictures
OPTIONAL = ("viz", "matplotlib", "gradio", "PIL")  # what may be missing for it
HEAD = "text-align: left; vertical-align: top; white-space: nowrap"
CELL = "text-align: left; vertical-align: top; overflow-wrap: anywhere"


def html_of(trace: Trace) -> str:
    """Return a trace as HTML for the output of a cell."""
    try:
        drawer = import_module(DRAWER)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OPTIONAL:
            raise
        return table(trace)
    return drawer.html_of(trace)


def table(trace: Trace) -> str:
    """Return question, answers, method, counts and notes as an HTML table; all text is escaped."""
    grid = trace.grid
    facts = {
        "Question": trace.question,
        "Answer": trace.answer,
        "Uncompressed": trace.baseline.get("answer"),
        "Method": trace.method,
        "Model": trace.model,
        "Video tokens": f"{grid.size:,} in {grid.frames} frames of {grid.rows} × {grid.cols}",
        **{
            fate.replace("_", " ").capitalize(): f"{count:,} ({count / grid.size:.1%})"
            for fate, count in trace.counts().items()
            if count
        },
        **{f"Note {number}": note for number, note in enumerate(trace.notes, 1)},
    }
    rows = "".join(
        f'<tr><th scope="row" style="{HEAD}">{name}</th>'
        f'<td style="{CELL}">{html.escape(readable(str(value)))}</td></tr>'
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<table><tbody>{rows}</tbody></table>"
