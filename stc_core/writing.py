"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from .errors import InputError

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 text file over what is there; where that fails, what was there stays.

    Raises
    ------
    InputError
        The folder is missing or cannot be written, or the disk is full: one sentence.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
