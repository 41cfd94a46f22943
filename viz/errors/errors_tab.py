"""Show the tab of the error table: which answers a method turned, and where their evidence went."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from viz.errors import news
from viz.errors.reading import LIMITS
from viz.errors.store import ErrorCase, Tables
from viz.errors.table_component import table_html
from viz.page import cards
from viz.page.guard import EACH, LAST, QUIET, guarded, name_of
from viz.server.quota import PAGE
from viz.server.runner import Stopped, failure
from viz.server.shelf import served
from viz.server.turns import MODEL

NAMES = ("results.jsonl", "results.jsonl.gz")  # as a benchmark leaves them

News = tuple[str, dict[gr.components.Component, Any]]  # the line, and what changes beside it
OpenCase = Callable[[ErrorCase, tuple[str, ...], str], Iterator[News]]


def errors_tab(
    results: Path,
    folder: Path,
    open_case: OpenCase | None = None,
    outputs: Sequence[gr.components.Component] = (),
    echo: Sequence[gr.HTML] = (),
) -> None:
    """Lay out and wire the tab, inside the ``with gr.Tab`` of the caller.

    Parameters
    ----------
    results : Path
        Folder whose result file is shown at first; it need not be there.
    folder : Path
        For the tables; must lie in Gradio's temporary directory.
    open_case : callable, optional
        Called with the case that was chosen, the ``repr`` of the methods that are compared, the
        reference first, "none" for the uncompressed model, and the visitor. It yields what the line
        above the table shows, HTML of ``cards.status``, and {component: value} of those ``outputs``
        that change. An exception of it becomes the line.
    outputs : sequence of components, optional
        What ``open_case`` may change beside the line: workspace, chosen tab.
    echo : sequence of HTML, optional
        Lines elsewhere on the page that say the same while a case is opened.
    """
    tables = Tables(folder)

    with gr.Row(elem_id="errors-top", equal_height=True):
        upload = gr.UploadButton(
            "Open a result file",
            file_types=[".jsonl", ".gz"],
            size="sm",
            scale=0,
            min_width=180,
            elem_id="errors-upload",
        )
        status = gr.HTML(
            cards.status(f"results.jsonl or results.jsonl.gz, {LIMITS}."),
            apply_default_css=False,
            elem_id="errors-status",
            scale=1,
        )
    table = table_html()
    news.wire(table, tables, folder.with_name("datasets"))

    def show(path: Path, visitor: str = PAGE) -> dict:
        try:
            name = tables.add(path, visitor)
        except Exception as error:  # a traceback helps nobody here; failure() logs the unexpected
            return {status: cards.status(str(failure(error)), "error")}
        value = {
            "table": name,
            "url": served(tables.path(name)),
            "opens": open_case is not None,
        }
        return {status: cards.status(f"Shows {path.name}.", "done"), table: value}

    def first() -> dict:
        found = next(filter(Path.is_file, (results / name for name in NAMES)), None)
        missing = {table: {"missing": True}}
        return missing if found is None else missing | show(found)

    def read(request: gr.Request, path: str | None) -> dict:
        return show(Path(path), name_of(request)) if path else gr.skip()

    def choose(request: gr.Request, chosen: gr.EventData) -> Iterator[dict]:
        asked = (getattr(chosen, name, None) for name in ("table", "question", "methods"))
        lines = [status, *echo]
        try:
            for line, others in open_case(*tables.case(*asked), name_of(request)):
                yield dict.fromkeys(lines, line) | others
        except Stopped:
            return  # another case was chosen meanwhile
        except Exception as error:
            yield dict.fromkeys(lines, cards.status(str(failure(error)), "error"))

    shown = [status, table]
    table.appear(guarded(first), None, shown, **QUIET)
    upload.upload(read, upload, shown, **LAST)
    if open_case is not None:
        table.choose(
            choose,
            None,
            [status, *echo, *outputs],
            **MODEL,
            **EACH,
        )
