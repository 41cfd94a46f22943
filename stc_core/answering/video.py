"""Read a video file into T frames spread uniformly over its time, with their timestamps.

Time rules, not the frame number: the packets' timestamps are listed first (which decodes nothing),
the frames to keep are chosen from that list, and only those are converted and held. So a file of
three hours costs T pictures of memory, and a variable frame rate is sampled where it should be.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stc_core.answering.upright import fitted, resized
from stc_core.answering.video_file import checked_file
from stc_core.errors import InputError
from stc_core.text import readable

if TYPE_CHECKING:
    from stc_core.answering.decoding import Progress

__all__ = ["MAX_FRAMES", "Video", "check_video", "choose_frames", "read_video", "thumbnails"]

MAX_FRAMES = 4096  # an hour at one a second
MAX_SIDE = 1024  # pixels; the vision towers read 384 to about 1000
TICK = 1e-3  # seconds; Matroska rounds timestamps to this


@dataclass(frozen=True, eq=False)
class Video:
    """Hold T frames of a video and when they are shown.

    Parameters
    ----------
    frames : (T, H, W, 3) uint8, RGB, upright (rotation and pixel shape of the file applied).
    seconds : (T,) float64, presentation time of each, in seconds from the first frame of the
        track; strictly increasing.
    name : the file's name without its folder, with U+FFFD in place of what is no text.
    duration : the video's own, in seconds from its first frame to the end of its last as the
        container says; where it does not say how long that is shown, the mean spacing.
    frame_count : frames in the file.
    rate : mean frames per second of the file; 0.0 where one frame leaves it unknown.
    source_size : (height, width) in pixels as the file is shown, before any reduction.
    warning : a sentence each where the file is damaged, its times are made up, the picture
        changes its shape or another decoder than FFmpeg has read it; else None.
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

    @classmethod
    def from_frames(
        cls,
        frames: np.ndarray,
        seconds: np.ndarray | Sequence[float] | None = None,
        *,
        name: str = "frames",
        duration: float | None = None,
    ) -> Video:
        """Make a video of frames that are in memory.

        Parameters
        ----------
        frames : (T, H, W, 3) uint8, RGB, T from 1 to 4096. All of them are used.
        seconds : (T,) strictly increasing times of the frames; default: one a second.
        name : what the video is called in a trace.
        duration : of the whole in seconds; default: up to the last frame, which is shown as long
            as the frames' mean spacing.

        Raises
        ------
        InputError
            Frames or times of another shape or kind.
        """
        frames = np.asarray(frames)
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise InputError(
                f"frames must be an array (T, H, W, 3) of uint8, red first, not "
                f"{frames.shape} of {frames.dtype}"
            )
        count = _whole_number(len(frames), "the number of frames", 1, MAX_FRAMES)
        try:
            times = np.arange(count) if seconds is None else np.asarray(seconds)
            times = times.astype(np.float64)
        except (TypeError, ValueError):
            times = np.full(count, np.nan)
        if times.shape != (count,) or not plausible(times):
            raise InputError(f"seconds must be {count} rising numbers, the time of each frame")
        spacing = float(times[-1] - times[0]) / (count - 1) if count > 1 else 1.0
        return cls(
            frames,
            times - times[0],
            readable(name),
            count * spacing if duration is None else float(duration),
            count,
            1 / spacing,
            frames.shape[1:3],
        )


def read_video(
    path: str | os.PathLike[str],
    frames: int = 32,
    *,
    max_side: int | None = MAX_SIDE,
    track: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    on_progress: Progress | None = None,
) -> Video:
    """Sample a video file uniformly in time.

    Parameters
    ----------
    path : a video file of any container and codec that PyAV's FFmpeg reads (GIF included), or an
        animated WebP, which Pillow decodes.
    frames : T, 1 to 4096. `choose_frames` states which are taken; a file with fewer gives each
        of its frames once.
    max_side : longer side in pixels above which frames are reduced (area average, aspect ratio
        kept) as soon as they are decoded; None keeps the file's size.
    track : number among the file's video tracks, from 0, cover pictures not counted; default: the
        one that the container calls default, else the largest.
    start, end : seconds from the first frame, a stretch of the video to sample; default: all. Of
        `Video`, the times and the duration stay those of the whole file.
    on_progress : called with the share done, 0 to 1. What it raises ends the reading.

    Raises
    ------
    InputError
        No such file, an address, a folder, empty, not a video, no video track or only a cover
        picture, nothing in it that decodes, `frames`/`max_side`/`track` out of range, a stretch
        that is none or lies behind the video's end, or an mp4
        whose index has more than 5,000,000 entries or a quarter of the file's bytes (17 hours at
        30 frames a second with sound); that is read from its header, without taking memory.

    Notes
    -----
    - A still picture that FFmpeg opens (png, jpg) is a video of one frame.
    - Of an interlaced recording each frame shows its upper field, the lines between interpolated;
      where both fields show one moment, the frame is taken as it is.
    - Frames of another shape than the first are fitted into it, with black borders.
    - The colors under a transparent pixel are taken as they are stored; alpha is dropped.
    - A damaged or cut-off file gives what still decodes and says so in `Video.warning`.
    - The chosen frames are reached by seeking where that saves decoding and the container has an
      index (mp4, mov, mkv, webm); each landing is checked against the listed timestamp, and on
      the first that is wrong the file is decoded from its start instead.
    """
    from stc_core.answering.reading import read

    count = _whole_number(frames, "frames", 1, MAX_FRAMES)
    if max_side is not None:
        max_side = _whole_number(max_side, "max_side", 1, 1 << 16)
    if track is not None:
        track = _whole_number(track, "track", 0, 1 << 16)
    stretch = _stretch(start, end)
    file, head = checked_file(path)
    report = on_progress or (lambda share: None)
    report(0.0)
    video = read(file, head, track, count, max_side, stretch, report)
    report(1.0)
    return video


def check_video(path: str | os.PathLike[str]) -> None:
    """Open a video file and decode nothing: refuse at once what `read_video` cannot open.

    Raises
    ------
    InputError
        As `read_video`, but for what shows only when frames are decoded.
    """
    from stc_core.answering.reading import check

    check(*checked_file(path))


def choose_frames(times: np.ndarray, count: int) -> np.ndarray:
    """Choose which of n frames stand for `count` moments spread uniformly over the video.

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
    more = chosen.tolist()
    while len(more) < count:
        index = int(np.argmax(distance))
        more.append(index)
        distance = np.minimum(distance, np.abs(times - times[index]))
    return np.sort(np.asarray(more, dtype=np.int64))


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


def _stretch(start: float, end: float | None) -> tuple[float, float]:
    """Return a stretch of seconds, checked; an open end is infinite."""
    last = np.inf if end is None else end
    numbers = [isinstance(value, (int, float, np.floating)) for value in (start, last)]
    if not all(numbers) or not 0 <= start < last:
        raise InputError(
            f"start and end must be seconds with 0 <= start < end, not {start!r} and {end!r}"
        )
    return float(start), float(last)


def choose_in(times: np.ndarray, count: int, stretch: tuple[float, float]) -> np.ndarray:
    """Choose ``count`` of the frames that are shown in a stretch, the one at its start included."""
    start, end = stretch
    first = max(0, int(np.searchsorted(times, start + TICK, side="right")) - 1)
    last = max(first + 1, int(np.searchsorted(times, end, side="left")))
    return first + choose_frames(times[first:last], count)


def plausible(times: np.ndarray) -> bool:
    """Tell whether these are times: some, rising, within 115 days, as no unset clock's are."""
    return bool(len(times) and np.all(np.abs(times) < 1e7) and np.all(np.diff(times) > 0))


def _whole_number(value: int, name: str, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise InputError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return number
