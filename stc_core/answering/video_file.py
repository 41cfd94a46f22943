"""Look at a video file before a decoder opens it, and refuse what would cost too much."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stc_core.errors import InputError
from stc_core.text import readable

__all__ = ["MAX_ENTRIES", "checked_file", "quoted"]

MAX_ENTRIES = 5_000_000  # of an mp4's index: 17 hours at 30 frames a second with sound
BYTES_PER_ENTRY = 4  # a size in the index or the sample itself; no honest file needs fewer
MAX_BOXES = 1 << 19  # of an mp4: 13 hours in fragments of a second with sound; 2 s to walk
MAX_SPREAD = 1 << 20  # rows of a table that says how many samples each chunk has
HEADER = 64 << 20  # bytes; more in a compressed header is an attack


def checked_file(path: str | os.PathLike[str]) -> tuple[Path, bytes]:
    """Return the absolute path and the file's first 32 bytes, or raise why it is no video.

    An mp4 whose index holds more than 5,000,000 entries, or more than a quarter of the file's
    bytes, is refused here: FFmpeg would take about 40 bytes of memory for each. So is one with
    more than 524,288 boxes or a packed header of more than 64 MiB.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InputError("No video was given; name a video file.")
    name = os.fsdecode(path)  # a Path of an address has lost one of its slashes
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", name) and not os.path.exists(name):
        raise InputError(f"{quoted(name)} is an address; download the video and name the file.")
    try:
        # absolute, so that FFmpeg cannot take "concat:..." or "http:..." for a protocol
        file = Path(path).expanduser().resolve()
        if file.is_dir():
            raise InputError(f"{quoted(file.name)} is a folder; name one video file in it.")
        if not file.is_file():
            raise InputError(f"There is no file {quoted(str(path))}; check the path.")
        with file.open("rb") as stream:
            head = stream.read(32)
            size = stream.seek(0, os.SEEK_END)
            entries = 0 if head.startswith(b"RIFF") else _Index(stream).entries(0, size)
    except _Overlong as error:
        raise InputError(
            f"{quoted(Path(path).name)} has an index that is longer than that of any recording; "
            "export it again, for example as H.264 mp4."
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{quoted(str(path))} cannot be read ({reason}); check the path and its permissions."
        ) from error
    if not head:
        raise InputError(f"{quoted(file.name)} is empty; was it copied completely?")
    if head.startswith((b"#EXTM3U", b"ffconcat")):
        raise InputError(f"{quoted(file.name)} is a playlist; name the video file itself.")
    if entries > min(MAX_ENTRIES, size // BYTES_PER_ENTRY):
        raise InputError(
            f"{quoted(file.name)} says that it has {entries:,} frames, which is more than "
            f"{'a file of its size holds' if entries <= MAX_ENTRIES else f'{MAX_ENTRIES:,}'}; "
            "cut it into parts or export it again."
        )
    return file, head


def quoted(name: str) -> str:
    """Return a name as it may stand in a sentence: in quotes, on one line, shortened."""
    name = readable(name)
    return repr(name if len(name) <= 80 else f"{name[:38]}...{name[-38:]}")


# --- the index of an mp4 or mov, by ISO/IEC 14496-12 -----------------------------------------

HOLDERS = frozenset(  # boxes of boxes, wherever FFmpeg looks into them
    [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"udta", b"edts"]
    + [b"dinf", b"gmhd", b"hoov", b"iprp", b"tapt", b"tref"]
)
PLAIN = frozenset(  # sound whose samples all have one size
    [b"sowt", b"twos", b"raw ", b"in24", b"in32", b"fl32", b"fl64", b"lpcm", b"ipcm", b"fpcm"]
    + [b"ulaw", b"alaw", b"NONE"]
)
DEEPEST = 10  # as in FFmpeg


class _Overlong(Exception):
    """An index has more boxes, rows or packed bytes than a recording needs."""


class _Index:
    """Count what FFmpeg will make of the boxes of a file, at a bounded cost."""

    def __init__(self, stream: BinaryIO, packed: bool = False) -> None:
        self._stream, self._packed, self._boxes = stream, packed, 0

    def entries(self, start: int, end: int, sound: bool = False, depth: int = 0) -> int:
        """Return how many entries FFmpeg will make for the index of these boxes; 0 for other files.

        `sound`: they describe a sound track. FFmpeg reads plain samples in chunks of up to 1024.
        """
        stream = self._stream
        boxes: Iterable[tuple[bytes, int, int]] = self._counted(start, end)
        if depth:
            boxes = list(boxes)
            handlers = [_read(stream, at + 8, 4) for kind, at, _ in boxes if kind == b"hdlr"]
            sound = b"vide" not in handlers and (sound or b"soun" in handlers)
        total, plain, chunks, spread = 0, False, 0, (0, 0)
        for kind, body, stop in boxes:
            if kind in HOLDERS or (kind == b"free" and _read(stream, body, 8)[4:] == b"moov"):
                if depth < DEEPEST:
                    total += self.entries(body, stop, sound, depth + 1)
            elif kind == b"cmov":
                total += self._unpacked(body, stop, depth)
            elif kind in (b"stsz", b"stz2"):
                total += _number(_read(stream, body + 8, 4))
            elif kind == b"trun":
                total += _number(_read(stream, body + 4, 4))
            elif kind == b"stsd":
                plain = sound and _read(stream, body + 12, 4) in PLAIN
            elif kind in (b"stco", b"co64"):
                chunks = _number(_read(stream, body + 4, 4))
            elif kind == b"stsc":
                spread = body + 8, stop
        return chunks + self._samples(*spread, chunks) // 512 if plain else total

    def _counted(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        for box in _boxes(self._stream, start, end):
            self._boxes += 1
            if self._boxes > MAX_BOXES:
                raise _Overlong
            yield box

    def _samples(self, start: int, end: int, chunks: int) -> int:
        """Samples in all chunks, by a table of (first chunk, samples a chunk, description)."""
        count = max(0, end - start) // 12
        if count > MAX_SPREAD:
            raise _Overlong
        rows = np.frombuffer(_read(self._stream, start, 12 * count), ">u4").reshape(-1, 3)
        firsts, each = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.float64)
        lengths = np.diff(firsts, append=chunks + 1)
        return int((np.maximum(lengths, 0) * each).sum())

    def _unpacked(self, body: int, stop: int, depth: int) -> int:
        """Entries of a header that QuickTime packed: boxes dcom, then cmvd (length, zlib)."""
        if self._packed or stop - body > HEADER:  # a file has one
            raise _Overlong
        self._packed = True
        packed = _read(self._stream, body, stop - body)
        at = packed.find(b"cmvd")
        try:
            header = zlib.decompressobj().decompress(packed[at + 8 :], HEADER) if at >= 0 else b""
        except zlib.error:
            return 0  # FFmpeg will say so
        if len(header) >= HEADER:
            raise _Overlong
        inner = _Index(BytesIO(header), packed=True)
        return inner.entries(0, len(header), depth=depth + 1) if depth < DEEPEST else 0


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, first byte of the body, end) of each box; ends where the bytes are none."""
    while start + 8 <= end:
        head = _read(stream, start, 16)
        size, skip = _number(head[:4]), 8
        if size == 1:
            size, skip = _number(head[8:16]), 16
        elif size == 0:
            size = end - start  # the last one
        if size < skip:
            return
        yield head[4:8], start + skip, min(start + size, end)
        start += size


def _read(stream: BinaryIO, at: int, count: int) -> bytes:
    stream.seek(at)
    return stream.read(max(0, count))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
