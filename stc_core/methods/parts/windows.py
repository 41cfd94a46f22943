"""Say in how many frames at a time a method looks, where its time grows with the square."""

from __future__ import annotations

from stc_core.record.grid import TokenGrid

LONG = 25_000  # tokens from which windows are the default: 128 frames of 14 x 14 have 25,088
WINDOW_TOKENS = 4096  # of a window: clustered in a tenth of a second on two cores


def frames_at_once(window: int | None, grid: TokenGrid) -> int:
    """Return the frames of a window; all of them where there are none.

    Parameters
    ----------
    window : int or None
        Frames; 0: all at once; None: all below ``LONG`` tokens, from there on as many as have
        ``WINDOW_TOKENS`` tokens.
    grid : TokenGrid
    """
    if window is None:
        window = 0 if grid.size < LONG else max(1, WINDOW_TOKENS // grid.per_frame)
    return min(window or grid.frames, grid.frames)
