"""Draw the allocation over time: how many tokens of each frame met which fate."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from stc_core.record.stages import SURVIVORS, Fate
from stc_core.record.trace import Trace
from viz.pictures import palette
from viz.pictures.bars import bar
from viz.pictures.canvas import Canvas
from viz.pictures.fates import received
from viz.pictures.strip import pictures, raster_size

AXIS = 56  # pixels left of the charts
MOST_WIDE = 600  # pixels of a thumbnail
MAIN, ALL, SPACE = 170, 70, 46  # heights of the two charts and the space under each

IN_LLM = (*SURVIVORS, Fate.MERGED_INSIDE, Fate.DROPPED_INSIDE)
BEFORE = (Fate.MERGED, Fate.DROPPED)


def per_frame(trace: Trace) -> dict[Fate, np.ndarray]:
    """Count the tokens of each frame by fate at the end, (T,) for each fate."""
    fate = trace.fate.reshape(trace.grid.frames, -1)
    return {code: (fate == code).sum(axis=1) for code in Fate}


def spans(seconds: np.ndarray) -> tuple[np.ndarray, float, float, float]:
    """Return (times (T,), width of a bar, start, end) of the time axis, in seconds.

    Bars are as wide as the smallest gap allows, but never hair-thin: sampling may be uneven.
    """
    at = np.asarray(seconds, float)
    gaps = np.diff(np.sort(at))
    gaps = gaps[gaps > 1e-9]
    length = at.max() - at.min()
    wide = max(gaps.min(), length / (3 * len(at))) if len(gaps) else 1.0
    return at, 0.84 * wide, at.min() - wide / 2, at.max() + wide / 2


def strip_height(trace: Trace, width: float) -> float:
    """Return the height of the thumbnails: of all frames where they stay visible, else of some."""
    _, wide, start, end = spans(trace.seconds)
    tile = wide / (end - start) * (width - AXIS)
    return float(np.clip(tile * trace.grid.height / trace.grid.width, 32, 150))


def height(trace: Trace, width: float) -> float:
    return strip_height(trace, width) + 8 + MAIN + SPACE + ALL + SPACE


def draw(canvas: Canvas, x: float, y: float, width: float, trace: Trace) -> None:
    """Draw film strip, tokens that entered the LLM and all tokens over one time axis."""
    at, wide, start, end = spans(trace.seconds)
    left, long = x + AXIS, width - AXIS
    unit = long / (end - start)
    middle = left + (at - start) * unit
    tall = strip_height(trace, width)
    _thumbnails(canvas, trace, middle, wide * unit, y, tall)
    counts = per_frame(trace)
    top = y + tall + 8
    _chart(
        canvas,
        left,
        top,
        long,
        MAIN,
        middle,
        wide * unit,
        {f: counts[f] for f in IN_LLM},
        "tokens entering the LLM",
    )
    _even(canvas, left, top, long, received(trace))
    _time_axis(canvas, left, top + MAIN, start, end, unit)
    top += MAIN + SPACE
    everything = {f: counts[f] for f in (*IN_LLM, *BEFORE)}
    _chart(canvas, left, top, long, ALL, middle, wide * unit, everything, "all tokens")
    _time_axis(canvas, left, top + ALL, start, end, unit)


def _thumbnails(
    canvas: Canvas, trace: Trace, middle: np.ndarray, room: float, y: float, tall: float
) -> None:
    aspect = trace.grid.width / trace.grid.height
    wide = min(tall * aspect, MOST_WIDE)
    if room < wide <= 1.15 * room:  # a little smaller, and every frame has its picture
        wide = room
    height = min(tall, max(1.0, wide / aspect))
    frames = pictures(trace.frames, trace.grid.frames, raster_size(wide, height))
    free = -np.inf
    for number in np.argsort(middle, kind="stable"):
        if middle[number] - wide / 2 < free - 1e-6:
            continue  # no room: its neighbor's picture stands there
        free = middle[number] + wide / 2
        canvas.image(frames[number], middle[number] - wide / 2, y + tall - height, wide, height)


def _chart(
    canvas: Canvas,
    left: float,
    top: float,
    long: float,
    tall: float,
    middle: np.ndarray,
    wide: float,
    counts: dict[Fate, np.ndarray],
    title: str,
) -> None:
    highest = max(1, int(np.sum([*counts.values()], axis=0).max()))
    for tick in MaxNLocator(4 if tall > 100 else 2, integer=True).tick_values(0, highest):
        if 0 <= tick <= highest:
            line = top + tall * (1 - tick / (highest * 1.06))
            canvas.strokes(np.array([[(left, line), (left + long, line)]]), palette.RULE, 0.8)
            canvas.text(
                left - 8, line, f"{tick:g}", 11, color=palette.QUIET, ha="right", va="center"
            )
    unit = tall / (highest * 1.06)
    for number, x in enumerate(middle):
        base = top + tall
        for fate, tokens in counts.items():
            high = tokens[number] * unit
            bar(canvas, x - wide / 2, base - high, wide, high, fate)
            base -= high
    base = top + tall
    canvas.strokes(np.array([[(left, base), (left + long, base)]]), palette.INK, 1.0)
    canvas.text(
        left - 44,
        top + tall / 2,
        title,
        11,
        color=palette.QUIET,
        rotation=90,
        ha="center",
        va="center",
    )


def _even(canvas: Canvas, left: float, top: float, long: float, tokens: np.ndarray) -> None:
    """Draw a dashed line at the number of tokens of a frame if all frames had the same."""
    share = tokens.mean()
    line = top + MAIN * (1 - share / (max(1, tokens.max()) * 1.06))
    starts = np.arange(left, left + long - 6, 12)
    dashes = np.stack([np.stack([starts, starts + 7], 1), np.full((len(starts), 2), line)], axis=2)
    canvas.strokes(dashes, palette.QUIET, 1.2)
    words = f"even share: {share:.1f}"
    wide = 6.4 * len(words)
    canvas.rectangle(left + long - wide, line - 18, wide, 16, fill=palette.PAPER, alpha=0.85)
    canvas.text(left + long - 4, line - 10, words, 11, ha="right", va="center")


def _time_axis(
    canvas: Canvas, left: float, y: float, start: float, end: float, unit: float
) -> None:
    for tick in MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]).tick_values(start, end):
        if max(start, 0) - 1e-9 <= tick <= end:
            x = left + (tick - start) * unit
            canvas.strokes(np.array([[(x, y), (x, y + 5)]]), palette.INK, 1.0)
            canvas.text(x, y + 8, f"{tick:g}", 11, color=palette.QUIET, ha="center")
    canvas.text(
        left + (end - start) * unit,
        y + 22,
        "time in the clip, seconds",
        11,
        color=palette.QUIET,
        ha="right",
    )
