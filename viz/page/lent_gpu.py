"""Answer in a process that is lent a GPU for one run, on Spaces that lend them (ZeroGPU).

There the page's own process has no GPU. The package ``spaces`` forks one that does for the time of
a call, so everything that goes in and comes out is pickled, and the model, which is loaded before
the page opens, is inherited.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from stc_core.errors import InputError
from viz.server.runner import Failure, Stopped, failure, tell

LENT = "SPACES_ZERO_GPU"  # set by such a Space
SECONDS = 120  # for which a GPU is asked: more than any run of a model of 7 G parameters takes


def is_lent(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this process runs on a Space that lends GPUs by the call."""
    return environment.get(LENT, "").lower() in ("1", "t", "true")


def check_spaces() -> None:
    """Raise ``InputError`` without the package ``spaces``; import it, before torch."""
    try:
        import spaces  # noqa: F401
    except ImportError:
        raise InputError(
            f"{LENT} says that this machine lends GPUs by the call, which needs the package "
            f"spaces; install it, or unset {LENT}"
        ) from None


def on_lent_gpu(answer: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """Return ``answer`` as ``Runner`` calls it, with every call on a lent GPU.

    Parameters
    ----------
    answer : callable
        (model, progress=..., **job) -> Answer; ``on_piece``, too, where the job streams.
    model
        What ``answer`` gets, loaded.
    """
    import gradio as gr
    import spaces

    def run(job: Mapping[str, Any], streams: bool) -> Iterator[tuple[str, Any]]:
        yield from told(partial(answer, model, **job), streams)

    lent = spaces.GPU(run, duration=SECONDS)

    def call(_: Any, *, progress: Callable[[str, float], None], on_piece=None, **job: Any) -> Any:
        try:
            with closing(lent(job, on_piece is not None)) as news:
                for kind, value in news:
                    if kind == "step":
                        progress(*value)
                    elif kind == "piece" and on_piece is not None:
                        on_piece(value)
                    elif kind == "error":
                        raise value
                    elif kind == "answer":
                        return value
        except gr.Error as error:  # no GPU is free, the visitor's quota is spent
            raise Failure(f"{error.title}: {error.message}".removesuffix(".") + ".") from error
        raise Stopped

    return call


def told(answer: Callable[..., Any], streams: bool) -> Iterator[tuple[str, Any]]:
    """Call ``answer`` and yield what it reports, then ("answer", result) or ("error", exception).

    All of it can be pickled. Closing the iterator stops the run.
    """
    news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    stop = threading.Event()

    how = {"streams": streams}
    thread = threading.Thread(target=tell, args=(answer, stop, news), kwargs=how, name="run")
    thread.start()
    try:
        while True:
            kind, value = news.get()
            if kind == "error":
                known = isinstance(value, InputError)
                value = InputError(str(value)) if known else failure(value)
            yield kind, value
            if kind not in ("step", "piece"):
                return
    finally:
        stop.set()
        thread.join()
