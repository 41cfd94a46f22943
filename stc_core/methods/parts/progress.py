"""Report how far a long decision has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)


@contextmanager
def listening_to_progress(callback: Callable[[float], None]) -> Iterator[None]:
    """Call ``callback(share 0..1)`` while a method decides within the ``with``, in this thread.

    Only what takes long on a CPU reports: the clustering of many tokens.
    """
    token = _listener.set(callback)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def part_of_progress(first: float, last: float) -> Iterator[None]:
    """Let the shares that are reported within the ``with`` be those from ``first`` to ``last``."""
    callback = _listener.get()
    if callback is None:
        yield
        return
    with listening_to_progress(lambda share: callback(first + share * (last - first))):
        yield


def report(share: float) -> None:
    """Tell the listener, if there is one."""
    callback = _listener.get()
    if callback is not None:
        callback(share)
