"""Fit UMAP in the background and send the positions to the workspace that asked.

The workspace sends ``embedding`` when a visitor wants it. A fit runs in a process of its own, one
at a time and at low priority; its result is kept by the content of the tokens, so every method
and ratio on one clip shares it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from stc_core.errors import InputError
from stc_core.record.trace import Trace
from stc_core.text import readable
from stc_core.writing import written_whole
from viz.page.guard import EACH
from viz.pictures.embedding import (
    DISTANCE,
    METRIC,
    MOST_FITTED,
    NEIGHBOURS,
    check_size,
    to_scale,
    umap,
)
from viz.server.runner import Failure, failure
from viz.server.shelf import UMAP, Shelf, served

TICK = 1.0  # seconds between two words to the visitor
PATIENCE = 600.0  # seconds that one fit may take
MOST_WAITING = 8  # clips; one fit at a time

# Several workspaces may stand on one page: each knows its own by the key of the trace.
TELL = """
watch('value', () => {
  document.dispatchEvent(new CustomEvent('tokens-embedding', { detail: props.value }));
});
"""


class Fits:
    """Keep UMAP positions as files in ``folder``, which must lie where Gradio serves files.

    Parameters
    ----------
    patience : float
        Seconds after which a fit is given up.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        self.folder, self.patience = Path(folder), patience
        self._fits: dict[str, Future[Path]] = {}
        self._asking = threading.Lock()
        self._one_at_a_time = threading.Lock()

    def ask(self, features: np.ndarray) -> Future[Path]:
        """Return the file of (N, 2) little-endian uint16 for (N, c) components; fit where needed.

        It fails with ``Failure``. ``InputError`` at once for a size that ``umap`` refuses, and
        where too many clips wait already.
        """
        check_size(len(features))
        key = hashlib.sha256(repr(features.shape).encode() + features.tobytes()).hexdigest()[:20]
        path = self.folder / key / UMAP
        with self._asking:
            fit = self._fits.get(key)
            if fit is not None:
                return fit
            fit = Future()
            if path.exists():
                os.utime(path.parent)  # the shelf forgets what nobody has opened for long
                fit.set_result(path)
                return fit
            if len(self._fits) >= MOST_WAITING:
                raise InputError("too many clips wait for their UMAP; try again in some minutes")
            self._fits[key] = fit
        threading.Thread(target=self._work, args=(key, features, path), daemon=True).start()
        return fit

    def _work(self, key: str, features: np.ndarray, path: Path) -> None:
        fit = self._fits[key]
        try:
            with self._one_at_a_time:
                self._run(features, path)
        except Exception as error:
            fit.set_exception(error)
        else:
            fit.set_result(path)
        finally:
            with self._asking:
                del self._fits[key]

    def _run(self, features: np.ndarray, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # spawned: a copy of a process whose threads hold locks may never get past them
        process = multiprocessing.get_context("spawn").Process(
            target=_fit, args=(features, str(path)), daemon=True
        )
        process.start()
        process.join(self.patience)
        if process.is_alive():
            process.kill()
            process.join()
            raise Failure(f"UMAP was given up after {self.patience:.0f} s; the PCA remains.")
        if process.exitcode != 0:
            raise Failure("UMAP could not be fitted; the log says why. The PCA remains.")


def _fit(features: np.ndarray, path: str) -> None:
    """The process: the file appears whole or not at all."""
    if hasattr(os, "nice"):
        os.nice(10)  # answers come first
    with written_whole(Path(path)) as partial:
        partial.write_bytes(to_scale(umap(features)).astype("<u2").tobytes())


def build() -> gr.HTML:
    """Return the component through which positions reach the workspace; it shows nothing itself."""
    return gr.HTML(value=None, html_template="", js_on_load=TELL, visible="hidden")


def wire(workspace: gr.HTML, news: gr.HTML, shelf: Shelf, fits: Fits | None = None) -> None:
    """Connect the workspace's event ``embedding``.

    Parameters
    ----------
    news : gr.HTML
        What ``build`` made. It is given {"key": of the trace} and "seconds" waited, "error", or
        "url" with "settings".
    """
    fits = fits or Fits(shelf.folder)

    def tell(event: gr.EventData) -> Iterator[dict[str, Any]]:
        sent = event._data if isinstance(event._data, dict) else {}
        mine = {"key": readable(str(sent.get("key"))[:20])}  # it goes back to the browser
        try:
            for word in follow(shelf, fits, sent.get("key")):
                yield mine | word
        except Exception as error:
            yield mine | {"error": str(failure(error))}

    workspace.embedding(
        tell,
        None,
        news,
        concurrency_id="embedding",
        concurrency_limit=2 * MOST_WAITING,
        **EACH,
    )


def follow(shelf: Shelf, fits: Fits, key: object) -> Iterator[dict[str, Any]]:
    """Yield news of the UMAP of the trace under ``key``, which comes from a browser.

    Yields {"seconds": waited} every ``TICK`` and, last, {"url": of the positions, "settings"}.
    ``InputError`` or ``Failure`` with a sentence where there will be none.
    """
    features = Trace.load(shelf.found(key)).features
    if features is None:
        raise InputError("this trace was saved without the features of its tokens")
    began, fit = time.monotonic(), fits.ask(features)
    while not fit.done():
        yield {"seconds": round(time.monotonic() - began, 1)}
        wait([fit], TICK)
    path = fit.result()
    settings = {
        "neighbors": NEIGHBOURS,
        "distance": DISTANCE,
        "metric": METRIC,
        "fitted": min(len(features), MOST_FITTED),
    }
    yield {"url": served(path), "settings": settings}
