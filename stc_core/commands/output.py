"""Wrap standard output so that its errors can be told from those of any other file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Unwritten(Exception):
    """Report that stdout took no more; the cause is the ``OSError``."""


class Output:
    """Wrap stdout so that its errors can be told from those of any other file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._checked():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._checked():
            self._stream.flush()

    def give_up(self) -> None:
        """Discard what is left in the buffer, so that the exit reports no second error."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    @staticmethod
    @contextmanager
    def _checked() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unwritten from error
