"""Keep answers in a file of JSON lines that survives a kill and has one writer.

The first line holds the configuration, every other line one answer. A later run of the same
configuration goes on from there.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from stc_core.errors import InputError
from stc_core.writing import written_whole

try:
    import fcntl
except ImportError:  # Windows: there a second run is not noticed
    fcntl = None  # type: ignore[assignment]  # a module, where there is one

NAME = "results.jsonl"
LARGE = 4 << 20  # bytes from which the finished file is kept compressed


class Record:
    """Hold the open file of one run.

    Attributes
    ----------
    known : dict
        (case, frames, method) -> answer, of this run and those before.
    """

    def __init__(self, path: Path, file: BinaryIO, known: dict) -> None:
        self.path, self.known = path, known
        self._file = file
        self.replaced = False  # whether answers of the file have been given anew

    def add(self, answer: dict[str, Any]) -> None:
        """Write one answer through to the file system and add it to ``known``.

        An answer of the same key is replaced: its former line goes when the file is closed.
        """
        with _writing(self.path):
            _write(self._file, answer)
        self.replaced |= key_of(answer) in self.known
        self.known[key_of(answer)] = answer


def key_of(answer: dict[str, Any]) -> tuple[str, int, str]:
    """Return the key of an answer, which no two answers of a file share."""
    return answer["case"], answer["frames"], answer["method"]


@contextmanager
def open_record(folder: Path, configuration: dict[str, Any]) -> Iterator[Record]:
    """Open ``results.jsonl`` in the folder, new or existing; compress it afterwards if it is large.

    Raises
    ------
    InputError
        The folder cannot be written, another run is writing there, or the file is of another
        configuration or no result file at all.
    """
    path, packed = folder / NAME, folder / f"{NAME}.gz"
    with _writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("ab+", buffering=0)  # what is written is written, also before a kill
    with file:
        _lock(file, folder)
        with _writing(path):
            if packed.exists() and not path.stat().st_size:
                with gzip.open(packed) as former:
                    shutil.copyfileobj(former, file)
            known = _read(path, file, json.loads(json.dumps(configuration)))
        record = Record(path, file, known)
        yield record
        with _writing(path):
            if record.replaced:
                _tidy(path, configuration, known)
            if path.stat().st_size > LARGE:
                _pack(path, packed)
            else:
                packed.unlink(missing_ok=True)


def _write(file: BinaryIO, content: dict[str, Any]) -> None:
    """Append one whole line in pure ASCII, so that a torn line cannot end in half a character."""
    line = (json.dumps(content) + "\n").encode()
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lock(file: BinaryIO, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # a run that ended just now may have taken the file away
        gone = os.fstat(file.fileno()).st_nlink == 0
    except OSError:
        gone = True
    if gone:
        raise InputError(
            f"another run is writing to {str(folder)!r}; wait for its end or choose another folder"
        )


def _read(path: Path, file: BinaryIO, configuration: dict) -> dict:
    """Return the answers in the file without its torn last line; begin the file if it is new."""
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]  # a kill or a full disk may have torn a line
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        known = {key_of(answer): answer for answer in lines[1:]}
        former = lines[0] if lines else None
    except (ValueError, KeyError, TypeError, RecursionError):
        former, known = {}, {}
    begun = former is not None or content[:1] not in (b"", b"{")
    if begun and not (isinstance(former, dict) and "checkpoint" in former):
        raise InputError(f"{str(path)!r} is no result file of a benchmark; choose another folder")
    if begun and former is not None and former != configuration:
        every = {**former, **configuration}
        differs = [k for k in every if former.get(k) != configuration.get(k)]
        raise InputError(
            f"{str(path)!r} holds answers of another configuration ({', '.join(differs)}); "
            f"choose another folder"
        )
    file.truncate(len(whole))
    if not begun:
        _write(file, configuration)
    return known


def _tidy(path: Path, configuration: dict[str, Any], known: dict) -> None:
    """Leave the last line of each answer alone in the file, which is replaced as a whole."""
    with written_whole(path) as partial, partial.open("wb", buffering=0) as file:
        for content in (configuration, *known.values()):
            _write(file, content)


def _pack(path: Path, packed: Path) -> None:
    """Replace the file by its compressed form, which appears whole; same lines, same bytes."""
    with path.open("rb") as plain, written_whole(packed) as partial, partial.open("wb") as raw:
        with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped:
            shutil.copyfileobj(plain, zipped)
    path.unlink()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {str(path)!r}: {error.strerror or error}; what was answered before is "
            f"kept, run again to go on"
        ) from error
