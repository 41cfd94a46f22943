"""Write files that appear whole or not at all, and make the folders for them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stc_core.errors import InputError
from stc_core.text import readable

__all__ = [
    "check_folder",
    "check_target",
    "made_folder",
    "write_whole",
    "writing_errors",
    "written_folder",
    "written_whole",
]


def check_folder(path: Path, what: str) -> None:
    """Raise ``InputError`` where the folder that a file is to be written to does not exist."""
    if not path.parent.is_dir():
        folder = readable(str(path.parent))
        raise InputError(f"the folder {folder} for the {what} does not exist; create it")


def check_target(path: Path, what: str) -> None:
    """Raise ``InputError`` where a file cannot be written, as far as that shows before any work."""
    check_folder(path, what)
    if path.is_dir():
        raise InputError(f"{readable(str(path))} is a folder; name a file for the {what}")


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


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what is written there replaces ``path`` at the end of the ``with``.

    After an exception ``path`` is as it was, and nothing else is left. The path that is given has
    the same folder and suffix. Errors of the disk pass as they are; see ``writing_errors``.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to fill; it replaces ``path`` at the end of the ``with``.

    After an exception, and after a kill, ``path`` is as it was; what a kill left is cleared away by
    the next call.
    """
    fresh, former = path.with_name(f".{path.name}.unfinished"), path.with_name(f".{path.name}.old")
    if former.exists() and not path.exists():
        former.rename(path)  # an earlier write was killed between the two renames below
    for leftover in (fresh, former):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        yield fresh
        if path.exists():
            path.rename(former)
        fresh.rename(path)
    finally:
        if former.exists() and not path.exists():
            former.rename(path)
        for leftover in (fresh, former):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turn errors of the disk into an ``InputError`` that names what cannot be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write {readable(str(path))}: {reason}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 text file over what is there; where that fails, what was there stays.

    Raises
    ------
    InputError
        The folder is missing or cannot be written, or the disk is full: one sentence.
    """
    with writing_errors(path), written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
