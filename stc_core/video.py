"""Read a video file into T frames spread uniformly over its time, with their timestamps.

Time rules, not the frame number: the packets' timestamps are listed first (which decodes nothing),
the frames to keep are chosen from that list, and only those are converted and held. So a file of
three hours costs T pictures of memory, and a variable frame rate is sampled where it should be.
"""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .decoding import (
    Progress,
    checked_file,
    decoded_times,
    fitted,
    packet_times,
    pictures,
    quoted,
    resized,
)
from .errors import InputError

__all__ = ["MAX_FRAMES", "Video", "choose_frames", "read_video", "thumbnails"]

MAX_FRAMES = 1024  # no supported model reads more; at 1024 x 576 they take 1.8 GB
MAX_SIDE = 1024  # pixels; the vision towers read 384 to about 1000
TICK = 1e-3  # seconds; Matroska rounds timestamps to this


@dataclass(frozen=True, eq=False)
class Video:
    """T frames of a video and when they are shown.

    Parameters
    ----------
    frames : (T, H, W, 3) uint8, RGB, upright (rotation and pixel shape of the file applied).
    seconds : (T,) float64, presentation time of each, in seconds from the start of the video
        stream; strictly increasing.
    name : the file's name without its folder.
    duration : seconds to the end of the last frame, which is given the mean spacing.
    frame_count : frames in the file.
    rate : mean frames per second of the file; 0.0 where one frame leaves it unknown.
    source_size : (height, width) in pixels as the file is shown, before any reduction.
    warning : one sentence where the file is damaged or its times are made up, else None.
    """

    frames: np.ndarray
    seconds: np.ndarray
    name: str
    duration: float
    frame_count: int
    rate: float
    source_size: tuple[int, int]
    warning: str | None = None

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(
                f"frames must be (T, H, W, 3) uint8, got {self.frames.shape} {self.frames.dtype}"
            )
        if self.seconds.shape != self.frames.shape[:1] or not np.all(np.diff(self.seconds) > 0):
            raise ValueError("seconds must be (T,) and strictly increasing, one per frame")


def read_video(
    path: str | os.PathLike[str],
    frames: int = 32,
    *,
    max_side: int | None = MAX_SIDE,
    on_progress: Progress | None = None,
) -> Video:
    """Sample a video file uniformly in time.

    Parameters
    ----------
    path : a video file of any container and codec that OpenCV's FFmpeg reads (GIF included).
    frames : T, 1 to 1024. `choose_frames` states which are taken; a file with fewer gives each
        of its frames once.
    max_side : longer side in pixels above which frames are reduced (area average, aspect ratio
        kept) as soon as they are decoded; None keeps the file's size.
    on_progress : called with the share done, 0 to 1. What it raises ends the reading.

    Raises
    ------
    InputError
        No such file, a folder, empty, not a video, no video track, nothing in it that decodes, or
        `frames`/`max_side` out of range.

    Notes
    -----
    - A still picture that FFmpeg opens (png, jpg) is a video of one frame.
    - The colours under a transparent pixel are taken as they are stored; alpha is dropped.
    - A damaged or cut-off file gives what still decodes and says so in `Video.warning`.
    - The chosen frames are reached by seeking where that saves decoding and the container has an
      index (mp4, mov, mkv, webm); each landing is checked against the listed timestamp, and on
      the first that is wrong the file is decoded from its start instead.
    - FFmpeg's messages on stderr are silenced by `OPENCV_FFMPEG_LOGLEVEL`, which it reads when a
      process opens its first file. The variable is set for that moment only and an existing value
      is respected; nothing happens on import.
    """
    count = _whole_number(frames, "frames", 1, MAX_FRAMES)
    if max_side is not None:
        max_side = _whole_number(max_side, "max_side", 1, 1 << 16)
    file, kind = checked_file(path)
    report = on_progress or (lambda share: None)
    report(0.0)
    try:
        video = _read(file, kind, count, max_side, report)
    except cv2.error as error:
        raise _damaged(file) from error
    report(1.0)
    return video


def choose_frames(times: np.ndarray, count: int) -> np.ndarray:
    """Which of n frames stand for `count` moments spread uniformly over the video.

    The moments are `linspace(first, last, count)`; each takes the frame on the screen then, the
    last one whose time is not later (with 1 ms of grace for containers that round, or a quarter
    of the mean spacing where that is less; the first moment takes the first frame). At a constant
    rate that is, but for the grace, `linspace(0, n - 1, count)` rounded down, as in LLaVA-NeXT. A
    frame that stays on the screen over several moments is taken once; the places that this frees
    go, one by one, to the frame farthest in time from every chosen one (the earliest of equals).

    Parameters
    ----------
    times : (n,) seconds, strictly increasing.
    count : T >= 1.

    Returns
    -------
    (min(T, n),) int64, strictly increasing indices.
    """
    times = np.asarray(times, dtype=np.float64)
    n = len(times)
    if n <= count:
        return np.arange(n)
    moments = np.linspace(times[0], times[-1], count)
    grace = min(TICK, 0.25 * (times[-1] - times[0]) / (n - 1))  # less than a quick camera's frame
    shown = np.searchsorted(times, moments + grace, side="right") - 1
    shown[0] = 0  # also where a burst opens the video
    chosen = np.unique(shown)
    if len(chosen) == count:
        return chosen
    distance = np.full(n, np.inf)
    for index in chosen:
        distance = np.minimum(distance, np.abs(times - times[index]))
    chosen = list(chosen)
    while len(chosen) < count:
        index = int(np.argmax(distance))
        chosen.append(index)
        distance = np.minimum(distance, np.abs(times - times[index]))
    return np.sort(np.asarray(chosen, dtype=np.int64))


def thumbnails(frames: np.ndarray, max_side: int) -> np.ndarray:
    """Reduce frames so that the longer side is at most `max_side`, for traces and film strips.

    Parameters
    ----------
    frames : (T, H, W, 3) uint8.
    max_side : pixels, at least 1.

    Returns
    -------
    (T, h, w, 3) uint8 by area average; h : w is H : W to the nearest pixel, neither below 1.
    Frames that are small enough come back as an equal copy.
    """
    max_side = _whole_number(max_side, "max_side", 1, 1 << 16)
    height, width = fitted(frames.shape[1], frames.shape[2], max_side)
    out = np.empty((len(frames), height, width, 3), np.uint8)
    for small, frame in zip(out, frames, strict=True):
        small[...] = resized(frame, height, width)
    return out


def _read(file: Path, kind: str, count: int, max_side: int | None, report: Progress) -> Video:
    """Choose from the listed packets; where the decoder disagrees, from what it really gives."""
    times, promised = packet_times(file, kind)
    warning = None
    if len(times) and _plausible(times):
        picked = choose_frames(times, count)
        found = pictures(file, kind, times, picked, max_side, report, verify=True)
    else:
        found = None
    if found is None:  # damaged, or a container without usable timestamps
        packets, times = times, decoded_times(file, kind, report)
        if len(times) == 0:
            raise _damaged(file)
        if len(times) < len(packets):
            warning = (
                f"Only {len(times)} of the {len(packets)} frames could be decoded (the file is "
                "damaged, or was trimmed without encoding it again); those are used."
            )
        if not _plausible(times):
            if len(packets) == len(times) and _plausible(packets):
                times = packets  # e.g. B-frames in AVI: the packets know better than the decoder
            else:
                rate = promised.rate or 25.0
                times = np.arange(len(times)) / rate
                warning = (
                    f"The file has no usable timestamps; its {len(times)} frames are "
                    f"taken as {rate:g} per second."
                )
        picked = choose_frames(times, count)
        found = pictures(file, kind, times, picked, max_side, report, verify=False)
        if found is None:
            raise _damaged(file)  # decodes differently each time
    frames, source_size = found
    span = float(times[-1] - times[0])
    rate = (len(times) - 1) / span if span > 0 else promised.rate
    duration = float(times[-1]) + (1 / rate if rate else 0.0)
    if warning is None and promised.seconds > 1.1 * duration + 1:
        warning = (
            f"The file promises {promised.seconds:.1f} s, but its frames end at "
            f"{duration:.1f} s; it may have been cut off."
        )
    return Video(frames, times[picked], file.name, duration, len(times), rate, source_size, warning)


def _plausible(times: np.ndarray) -> bool:
    """Strictly increasing, and within the 115 days that no unset clock respects."""
    return bool(np.all(np.diff(times) > 0) and np.all(np.abs(times) < 1e7))


def _damaged(file: Path) -> InputError:
    return InputError(
        f"{quoted(file.name)} is damaged and its frames cannot be decoded; "
        "export it again, for example as H.264 mp4."
    )


def _whole_number(value: int, name: str, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise InputError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return number
