"""Check what is fed to a stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stc_core.answering.video import plausible
from stc_core.errors import InputError


def checked_chunk(frames: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Return frames (T, H, W, 3) uint8 of this (H, W), None for any; ``InputError`` for others."""
    try:
        frames = np.asarray(frames)
    except (TypeError, ValueError):  # a list of frames of several sizes, or what is no array
        raise InputError(
            "frames must be an array (T, H, W, 3) of uint8, red first; frames of other sizes must "
            "be resized"
        ) from None
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise InputError(
            f"frames must be an array (T, H, W, 3) of uint8, red first, not "
            f"{frames.shape} of {frames.dtype}"
        )
    if not frames.size:
        raise InputError("this chunk holds no frame; feed at least one")
    if size is not None and frames.shape[1:3] != size:
        raise InputError(
            f"the frames of a stream have one size, here {size[1]} x {size[0]} "
            f"pixels, not {frames.shape[2]} x {frames.shape[1]}; resize them"
        )
    return frames


def checked_times(
    count: int, seconds: np.ndarray | Sequence[float] | None, before: float | None
) -> np.ndarray:
    """Return the times (count,) of a chunk in seconds; ``InputError`` for what is none.

    Parameters
    ----------
    count
        Frames.
    seconds
        Their times; None: one a second, from the last frame before on, or from 0.
    before
        The time of that frame, None where there is none.
    """
    if seconds is None:
        return (0.0 if before is None else before + 1) + np.arange(count)
    try:
        times = np.asarray(seconds, np.float64)
    except (TypeError, ValueError):
        times = np.full(count, np.nan)
    if (
        times.shape != (count,)
        or not plausible(times)
        or (before is not None and times[0] <= before)
    ):
        raise InputError(
            f"seconds must be {count} rising numbers, the time of each frame, later than those "
            f"of the frames before"
        )
    return times
