"""Files that appear whole or not at all, and the folders for them."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from pathlib import Path

from stc_core.errors import InputError
from stc_core.text import readable

__all__ = ["made_folder", "write_whole"]


def made_folder(path: Path) -> Path:
    """Make a folder, and those above it, where they are missing; return it.

    Raises
    ------
    InputError
        It cannot be made, or is no folder, or nothing can be written into it: one sentence.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write into the folder {readable(str(path))!r} "
            f"({error.strerror or error}); choose another"
        ) from error
    return path


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
        reason = error.strerror or error
        raise InputError(f"cannot write {readable(str(path))!r}: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
