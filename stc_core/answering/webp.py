"""Read animated WebP with Pillow, the second decoder: FFmpeg opens such files and decodes nothing.

The times come from the chunks of the file, which are listed before anything is decoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from stc_core.answering.upright import fitted, resized
from stc_core.answering.video_file import quoted
from stc_core.errors import InputError

__all__ = ["NOTE", "check", "decode", "is_animated", "listed"]

NOTE = "Pillow has decoded this video: it is an animated WebP, which FFmpeg does not decode."
MAX_PIXELS = 1 << 24  # of the canvas, of which libwebp holds two at 4 bytes a pixel
SHORTEST = 11  # milliseconds: below this browsers, and FFmpeg in a GIF, show a frame for 100
USUAL = 100
ANIMATED = 2  # a bit of the flags in VP8X


def is_animated(head: bytes) -> bool:
    """Tell by a file's first 32 bytes whether it is an animated WebP."""
    known = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) >= 30
    return known and bool(head[20] & ANIMATED)


def check(file: Path, head: bytes, track: int | None) -> tuple[int, int]:
    """Return (height, width) in pixels.

    Raises
    ------
    InputError
        A canvas of more than ``MAX_PIXELS``, or another track than the one there is.
    """
    if track:
        raise InputError(f"{quoted(file.name)} has 1 video track; track must be 0, not {track}.")
    width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{quoted(file.name)} has frames of {width} x {height} pixels, more than the "
            f"{MAX_PIXELS:,} that an animated WebP may have here; make it smaller."
        )
    return height, width


def listed(file: Path) -> np.ndarray:
    """Return (n + 1,) float64: seconds at which each frame is shown, and the end of the last."""
    shown = [length if length >= SHORTEST else USUAL for length in _lengths(file)]
    if not shown:
        raise _damaged(file)
    return np.concatenate(([0], np.cumsum(shown))) / 1000


def decode(
    file: Path, picked: np.ndarray, max_side: int | None, report: Callable[[float], None]
) -> np.ndarray:
    """Return (T, h, w, 3) uint8 RGB: the frames at ``picked`` (T,), ascending, alpha dropped."""
    with _faults(file), Image.open(file, formats=("WEBP",)) as image:
        height, width = fitted(image.height, image.width, max_side)
        frames = np.zeros((len(picked), height, width, 3), np.uint8)
        for row, index in enumerate(picked):
            image.seek(int(index))
            picture = np.asarray(image.convert("RGB"))
            frames[row] = resized(picture, height, width)
            report((row + 1) / len(picked))
        return frames


def _lengths(file: Path) -> Iterator[int]:
    """Yield how many milliseconds each frame is shown, as its chunk ``ANMF`` says."""
    with file.open("rb") as stream:
        end = stream.seek(0, 2)
        at = 12
        while at + 8 <= end:
            stream.seek(at)
            head = stream.read(24)
            if head[:4] == b"ANMF" and len(head) == 24:
                yield int.from_bytes(head[20:23], "little")
            size = int.from_bytes(head[4:8], "little")
            at += 8 + size + size % 2  # chunks begin at even places


@contextmanager
def _faults(file: Path) -> Iterator[None]:
    """Turn what Pillow says of a damaged file into a sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ``check`` has looked
            yield
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _damaged(file) from error


def _damaged(file: Path) -> InputError:
    return InputError(
        f"{quoted(file.name)} is damaged and its frames cannot be decoded; export it again, for "
        "example as H.264 mp4."
    )
