"""Answer what the error table asks of the server by itself: numbers, pictures, a data set.

Every request has an "id" that its answer repeats; answers reach the browser through a component of
their own, as an event "errors-news" of the document.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from stc_core.text import readable
from viz.errors import fiftyone_files, measure, thumbnails
from viz.errors.store import Tables
from viz.page.guard import EACH, name_of
from viz.server.quota import Ledger, Limits
from viz.server.runner import failure
from viz.server.shelf import served

LIMITS = Limits(own_things=2, own_bytes=128 << 20, things=8, bytes=256 << 20)  # of data sets
DATASET = "errors-fiftyone.zip"
TELL = """
watch('value', () => {
  document.dispatchEvent(new CustomEvent('errors-news', { detail: props.value }));
});
"""
FIELDS = {
    "measure": measure.FIELDS,
    "pictures": ("table", "cases"),
    "dataset": ("table", "cases", "methods", "marks"),
}

Sent = dict[str, Any]
Answer = Callable[[Sent, str], Iterator[dict[str, Any]]]


def wire(table: gr.HTML, tables: Tables, folder: Path) -> None:
    """Connect the table's events ``measure``, ``pictures`` and ``dataset``.

    Parameters
    ----------
    table : HTML
        ``table_component.table_html()``.
    tables : Tables
    folder : Path
        For data sets; in Gradio's temporary directory.
    """
    datasets = Datasets(folder)

    def numbers(sent: Sent, visitor: str) -> Iterator[dict[str, Any]]:
        content = tables.read(sent["table"])
        yield {"measured": measure.measured(content, measure.checked(content, sent))}

    def drawn(sent: Sent, visitor: str) -> Iterator[dict[str, Any]]:
        yield {"pictures": thumbnails.pictures(tables.read(sent["table"]), sent["cases"])}

    def written(sent: Sent, visitor: str) -> Iterator[dict[str, Any]]:
        yield from datasets.write(tables.read(sent["table"]), sent, visitor)

    for name, work in (("measure", numbers), ("pictures", drawn), ("dataset", written)):
        _connect(table, name, work)


def _connect(table: gr.HTML, name: str, work: Answer) -> None:
    news = gr.HTML(value=None, html_template="", js_on_load=TELL, visible="hidden")

    def run(request: gr.Request, event: gr.EventData) -> Iterator[dict[str, Any]]:
        sent = {field: getattr(event, field, None) for field in FIELDS[name]}
        known = {"id": readable(str(getattr(event, "id", None))[:40])}
        try:
            for told in work(sent, name_of(request)):
                yield known | told
        except Exception as error:
            yield known | {"error": str(failure(error))}

    getattr(table, name)(run, None, news, concurrency_id=f"errors {name}", **EACH)


class Datasets:
    """Write data sets for visitors, one at a time, and keep the last few."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._ledger = Ledger(LIMITS)
        self._writing = threading.Lock()

    def write(self, table: Sent, sent: Sent, visitor: str) -> Iterator[dict[str, Any]]:
        """Yield {"fraction"} and, last, {"file": its address, "questions": how many}."""
        cases, methods = sent["cases"], sent["methods"]
        fiftyone_files.checked(table, cases)
        whole = range(len(table["methods"]))
        methods = [one for one in methods or [] if type(one) is int and one in whole][:3]
        home = self._folder / uuid.uuid4().hex
        made = home.with_suffix(".zip")
        with self._writing:
            for share in fiftyone_files.write_dataset(made, table, cases, methods, sent["marks"]):
                yield {"fraction": share}
        home.mkdir()
        path = made.rename(home / DATASET)  # a browser saves it under this name
        self._ledger.add(home.name, visitor, path.stat().st_size)
        for old in self._ledger.excess(visitor):
            shutil.rmtree(self._folder / old, ignore_errors=True)
        yield {"file": served(path), "questions": len(cases)}
