"""What can be said of a video file before a decoder opens it, and what is refused there."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from .errors import InputError

__all__ = ["MAX_ENTRIES", "checked_file", "quoted"]

MAX_ENTRIES = 5_000_000  # of an mp4's index: 17 hours at 30 frames a second with sound
BYTES_PER_ENTRY = 4  # a size in the index or the sample itself; no honest file needs fewer
HEADER = 64 << 20  # bytes; more in a compressed header is an attack


def checked_file(path: str | os.PathLike[str]) -> tuple[Path, bytes]:
    """The absolute path and the file's first 32 bytes, or the reason why it cannot be a video.

    An mp4 whose index holds more than 5,000,000 entries, or more than a quarter of the file's
    bytes, is refused here: FFmpeg would take about 40 bytes of memory for each.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InputError("No video was given; name a video file.")
    if isinstance(path, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        raise InputError(f"{quoted(path)} is an address; download the video and name the file.")
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
            entries = 0 if head.startswith(b"RIFF") else _entries(stream, 0, size)
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
    """A name for a sentence: in quotes, on one line, not longer than a sentence bears."""
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


def _entries(stream: BinaryIO, start: int, end: int, sound: bool = False, depth: int = 0) -> int:
    """How many entries FFmpeg will make for the index of these boxes; 0 for other files.

    `sound`: they describe a sound track. FFmpeg reads plain samples in chunks of up to 1024.
    """
    boxes = list(_boxes(stream, start, end)) if depth else _boxes(stream, start, end)
    if depth:
        handlers = [_read(stream, at + 8, 4) for kind, at, _ in boxes if kind == b"hdlr"]
        sound = b"vide" not in handlers and (sound or b"soun" in handlers)
    total, plain, chunks, spread = 0, False, 0, b""
    for kind, body, stop in boxes:
        if kind in HOLDERS or (kind == b"free" and _read(stream, body, 8)[4:] == b"moov"):
            if depth < DEEPEST:
                total += _entries(stream, body, stop, sound, depth + 1)
        elif kind == b"cmov":
            total += _compressed(_read(stream, body, stop - body), depth)
        elif kind in (b"stsz", b"stz2"):
            total += _number(_read(stream, body + 8, 4))
        elif kind == b"trun":
            total += _number(_read(stream, body + 4, 4))
        elif kind == b"stsd":
            plain = sound and _read(stream, body + 12, 4) in PLAIN
        elif kind in (b"stco", b"co64"):
            chunks = _number(_read(stream, body + 4, 4))
        elif kind == b"stsc":
            spread = _read(stream, body + 8, stop - body - 8)
    return chunks + _samples(spread, chunks) // 512 if plain else total


def _samples(spread: bytes, chunks: int) -> int:
    """Samples in all chunks, by a table of (first chunk, samples a chunk, description)."""
    rows = [spread[at : at + 8] for at in range(0, len(spread) - 11, 12)]
    firsts = [_number(row[:4]) for row in rows]
    lasts = [*firsts[1:], chunks + 1]
    return sum(
        max(0, last - first) * _number(row[4:])
        for first, last, row in zip(firsts, lasts, rows, strict=True)
    )


def _compressed(body: bytes, depth: int) -> int:
    """Entries of a header that QuickTime packed: boxes dcom, then cmvd (length, zlib)."""
    at = body.find(b"cmvd")
    try:
        unpacked = zlib.decompressobj().decompress(body[at + 8 :], HEADER) if at >= 0 else b""
    except zlib.error:
        return 0  # FFmpeg will say so
    if len(unpacked) >= HEADER:
        return MAX_ENTRIES + 1
    return _entries(BytesIO(unpacked), 0, len(unpacked), depth=depth + 1) if depth < DEEPEST else 0


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte of the body, end) of each box; ends where the bytes are none."""
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
