"""What OpenCV's FFmpeg is asked, and how far it is believed: open, list, seek, decode, say why not.

Every function opens the file anew, so none leaves a capture or a read position behind.
"""

from __future__ import annotations

import math
import os
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import InputError

__all__ = [
    "Header",
    "Progress",
    "checked_file",
    "decoded_times",
    "fitted",
    "packet_times",
    "pictures",
    "quoted",
    "resized",
]

SEEK_GAP = 300  # frames; decoding fewer than this is no slower than a seek (x264's GOP is 250)
MATCH = 5e-4  # seconds; two readings of one frame's time differ by less, two frames' by more
REPORT_EVERY = 256  # frames between calls of on_progress

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Header:
    """What the header says, where it is credible: frames per second and seconds, else 0."""

    rate: float
    seconds: float


def packet_times(file: Path, kind: str) -> tuple[np.ndarray, Header]:
    """Timestamps of all video packets in seconds, sorted, without decoding any of them.

    Packets come in decoding order; sorting gives the order of presentation. What an edit list
    cuts off at the start has negative times and is never shown, so it is left out.
    """
    times = array("d")
    with _opened(file, kind, [cv2.CAP_PROP_FORMAT, -1]) as capture:  # -1: packets, not pictures
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if math.isfinite(rate) and 0 < rate <= 1e5 else 0.0
        total = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        while capture.grab():
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    seconds = total / rate if rate and 0 < total < 1e9 else 0.0
    shown = np.sort(np.frombuffer(times, np.float64)) / 1e3
    return shown[shown > -MATCH], Header(rate, seconds)


def decoded_times(file: Path, kind: str, report: Progress) -> np.ndarray:
    """Timestamps in seconds of all frames that decode, in the order in which they come out."""
    times = array("d")
    with _opened(file, kind) as capture:
        while capture.grab():
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
            if len(times) % REPORT_EVERY == 0:
                report(0.0)  # the end is not known, but the caller may want to stop
    return np.frombuffer(times, np.float64) / 1e3


def pictures(
    file: Path,
    kind: str,
    times: np.ndarray,
    picked: np.ndarray,
    max_side: int | None,
    report: Progress,
    *,
    verify: bool,
) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The picked frames (T, h, w, 3) and the source size; None if the file belies `times`.

    With `verify` seeking is allowed, and every picked frame must carry the time listed for it.
    """
    indexed = kind in ("mp4", "mkv")
    strategies = [True, False] if verify and indexed and _worth_seeking(picked) else [False]
    for seek in strategies:
        with _opened(file, kind) as capture:
            frames: np.ndarray | None = None
            for row, _ in enumerate(_walk(capture, times, picked, report, seek, verify)):
                ok, picture = capture.retrieve()
                if not ok:
                    break
                if frames is None:
                    source = _shown_size(capture, picture)
                    height, width = fitted(*source, max_side)
                    frames = np.empty((len(picked), height, width, 3), np.uint8)
                small = resized(picture, *frames.shape[1:3])
                cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=frames[row])
            else:
                if frames is not None and row + 1 == len(picked):
                    return frames, source
    return None


def _walk(
    capture: cv2.VideoCapture,
    times: np.ndarray,
    picked: np.ndarray,
    report: Progress,
    seek: bool,
    verify: bool,
) -> Iterator[int]:
    """Grab up to each picked frame in turn and yield its index; stop early where that fails."""
    at = -1
    for index in picked:
        if seek and index - at > SEEK_GAP:
            capture.set(cv2.CAP_PROP_POS_MSEC, times[index] * 1e3)
            if not capture.grab():
                return
            now = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            at = int(np.searchsorted(times, now - MATCH))  # where the seek really landed
            if at > index or abs(times[at] - now) > MATCH:
                return
        while at < index:
            if not capture.grab():
                return
            at += 1
            if at % REPORT_EVERY == 0:
                report(float(at / (picked[-1] + 1)))
        now = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        if verify and abs(now - times[index]) > MATCH:
            return
        report(float((index + 1) / (picked[-1] + 1)))
        yield int(index)


def _worth_seeking(picked: np.ndarray) -> bool:
    return bool(np.any(np.diff(picked, prepend=-1) > SEEK_GAP))


# --- geometry --------------------------------------------------------------------------------


def _shown_size(capture: cv2.VideoCapture, picture: np.ndarray) -> tuple[int, int]:
    """(height, width) with square pixels: a file may say that its pixels are wider than high."""
    height, width = picture.shape[:2]
    wide, high = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if wide > 0 and high > 0 and 0.1 < wide / high < 10:  # outside: a broken header
        if capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90:
            height = max(1, round(height * wide / high))  # the picture has been turned already
        else:
            width = max(1, round(width * wide / high))
    return height, width


def fitted(height: int, width: int, max_side: int | None) -> tuple[int, int]:
    """(height, width) reduced so that the longer one is at most max_side; never enlarged."""
    longer = max(height, width)
    if max_side is None or longer <= max_side:
        return height, width
    return max(1, round(height * max_side / longer)), max(1, round(width * max_side / longer))


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, 3) at another size: area average downwards, linear where a side grows."""
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=how)


# --- opening, and saying why not --------------------------------------------------------------

_opening = threading.Lock()
_log = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 moved setLogLevel into its own module


@contextmanager
def _opened(file: Path, kind: str, params: list[int] | None = None) -> Iterator[cv2.VideoCapture]:
    """An FFmpeg capture that turns pictures upright, released at the end whatever happens."""
    with _opening:  # the log level belongs to the process: change it by one thread at a time
        level = _log.getLogLevel()
        _log.setLogLevel(0)  # silent
        loud = "OPENCV_FFMPEG_LOGLEVEL" not in os.environ
        if loud:
            os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # AV_LOG_QUIET
        try:
            capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, params or [])
        finally:
            _log.setLogLevel(level)
            if loud:
                os.environ.pop("OPENCV_FFMPEG_LOGLEVEL", None)
    try:
        if not capture.isOpened():
            raise InputError(_why_not(file, kind))
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    finally:
        capture.release()


def _why_not(file: Path, kind: str) -> str:
    name = quoted(file.name)
    if kind == "sound":
        return f"{name} holds sound only; give a file with a video track."
    if kind in ("mp4", "mkv", "avi"):
        return (
            f"No picture can be read from {name}: it has no video track, is cut off or is "
            "damaged; export it again, for example as H.264 mp4."
        )
    return f"{name} is not a video that can be read; give an mp4, mov, mkv, webm or avi file."


def checked_file(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """The absolute path and the container's kind, or the reason why it cannot be a video."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InputError("No video was given; name a video file.")
    try:
        # absolute, so that FFmpeg cannot take "http:..." or "concat:..." for a protocol
        file = Path(path).expanduser().resolve()
        if file.is_dir():
            raise InputError(f"{quoted(file.name)} is a folder; name one video file in it.")
        if not file.is_file():
            raise InputError(f"There is no file {quoted(str(path))}; check the path.")
        with file.open("rb") as stream:
            head = stream.read(16)
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
    return file, _container(head)


def _container(head: bytes) -> str:
    """Kind of file by its first 16 bytes, as far as it matters here."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "mkv"  # and webm
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith((b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf3")) or (
        head.startswith(b"RIFF") and head[8:12] == b"WAVE"
    ):
        return "sound"
    return "other"


def quoted(name: str) -> str:
    """A name for a sentence: in quotes, on one line, not longer than a sentence bears."""
    return repr(name if len(name) <= 80 else f"{name[:38]}...{name[-38:]}")
