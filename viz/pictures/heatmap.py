"""Draw maps over the film strip: contribution, relevance, fates before the LLM and at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps

from stc_core.record.stages import Fate
from stc_core.record.trace import Trace
from viz.pictures import fates as fates_of
from viz.pictures import marks, palette, seen
from viz.pictures.canvas import Canvas
from viz.pictures.strip import Strip, pictures, raster_size

COVER = 0.78  # of a cell's color over the frame beneath it
CLIP = 99.5  # percentile where the colors end when a few tokens tower above the rest


@dataclass(frozen=True)
class Scale:
    """Map scores to colors, in the same way for the whole video.

    Attributes
    ----------
    name : str
        Of the color map.
    low, high : float
        Values of the first and the last color.
    top : float
        Largest value of all; above ``high`` colors no longer tell values apart.
    """

    name: str
    low: float
    high: float
    top: float

    @classmethod
    def of(cls, name: str, values: np.ndarray) -> Scale | None:
        """Fit a scale to the finite ``values``; return None where there are none."""
        finite = values[np.isfinite(values)].astype(np.float64)
        if not len(finite):
            return None
        low, top = float(finite.min()), float(finite.max())
        high = float(np.percentile(finite, CLIP))
        # Clip only for real outliers, such as attention sinks, and never to nothing.
        if not (high > low and top - low > 2 * (high - low)):
            high = top
        return cls(name, low, high, top)

    def colors(self, values: np.ndarray) -> np.ndarray:
        """Return (..., 3) float in 0..1; the lowest color where all values are equal."""
        span = self.high - self.low
        share = (values.astype(np.float64) - self.low) / span if span > 0 else values * 0.0
        return colormaps[self.name](np.clip(np.nan_to_num(share), 0, 1))[..., :3]


def scores(canvas: Canvas, strip: Strip, trace: Trace, values: np.ndarray, scale: Scale) -> None:
    """Color every cell by its score; dim cells without one.

    Parameters
    ----------
    values : (N,) float32
        nan where not defined.
    """
    defined = np.isfinite(values)
    paint(canvas, strip, trace, np.full(len(values), 0.25), scale.colors(values), defined)
    few = np.flatnonzero(defined)
    if len(few) < len(values):  # single cells on a dark frame: rim them, so that none is missed
        boxes = strip.boxes(few)
        rings = marks.rings(boxes[boxes[:, 2] > boxes[:, 0]], 0.5)
        canvas.strokes(rings, palette.LIGHT, 1.0, 0.9, closed=True)


def fates(canvas: Canvas, strip: Strip, trace: Trace, fate: np.ndarray, target: np.ndarray) -> None:
    """Dim the tokens that are gone and mark every cell by its fate.

    Parameters
    ----------
    fate : (N,) uint8
    target : (N,) int64
        Gives the number of members of each center.
    """
    light = np.array([palette.CODES[code].light for code in Fate])[fate]
    ended_inside = bool(np.isin(fate, (Fate.MERGED_INSIDE, Fate.DROPPED_INSIDE)).any())
    if ended_inside:  # here what went before the LLM is the background of what went inside it
        light = np.where(fate == Fate.MERGED, palette.CODES[Fate.DROPPED].light, light)
    paint(canvas, strip, trace, light)
    sizes = np.bincount(target[target >= 0], minlength=len(fate))
    marked = np.flatnonzero(fate != Fate.DROPPED)
    marks.draw(canvas, strip.boxes(marked), fate[marked], sizes[marked], faint=ended_inside)


def paint(
    canvas: Canvas,
    strip: Strip,
    trace: Trace,
    light: np.ndarray,
    color: np.ndarray | None = None,
    colored: np.ndarray | None = None,
) -> None:
    """Draw the frames, each cell darkened or covered, and the times below them.

    Parameters
    ----------
    light : (N,) float
        Brightness of the frame under each token.
    color : (N, 3) float in 0..1, optional
        Color over each token, where ``colored`` (N,) bool says so.
    """
    size = raster_size(strip.wide, strip.tall)
    frames = pictures(trace.frames, trace.grid.frames, size)
    cell = strip.cells
    seen = cell >= 0
    for number, frame in enumerate(frames):
        token = np.where(seen, cell, 0) + number * trace.grid.per_frame
        shade = np.where(seen, light[token], palette.UNSEEN)[..., None]
        out = frame / 255 * shade
        if color is not None and colored is not None:
            gray = 0.25 + 0.6 * (frame / 255).mean(axis=2, keepdims=True)
            over = (1 - COVER) * gray + COVER * color[token]
            out = np.where((colored[token] & seen)[..., None], over, out)
        _tile(canvas, strip, trace, number, (out * 255 + 0.5).astype(np.uint8))


def survivors(canvas: Canvas, strip: Strip, trace: Trace, stage: str) -> None:
    """Draw the frames as the LLM has them at a stage of ``seen``, each cell in a thin frame."""
    size = raster_size(strip.wide, strip.tall)
    frames = pictures(trace.frames, trace.grid.frames, size)
    for number, frame in enumerate(seen.seen(trace, frames, stage)):
        _tile(canvas, strip, trace, number, frame)
    fate = fates_of.outside(trace)[0] if stage == "outside" else trace.fate
    marks.thin(canvas, strip.boxes(np.arange(len(fate))), fate)


def _tile(canvas: Canvas, strip: Strip, trace: Trace, number: int, picture: np.ndarray) -> None:
    """Draw the picture of a frame, (h, w, 3) uint8, with its time below."""
    x, y = strip.corner(number)
    canvas.image(picture, x, y, strip.wide, strip.tall)
    canvas.text(
        x + strip.wide / 2,
        y + strip.tall + 3,
        f"{trace.seconds[number]:.2f} s",
        11,
        color=palette.QUIET,
        ha="center",
    )


def color_bar(canvas: Canvas, x: float, y: float, scale: Scale, unit: str) -> float:
    """Draw the scale with its ends, range and unit; return the height used."""
    width, tall = 260, 14
    ramp = np.linspace(scale.low, scale.high, 256)[None, :]
    # As on the frames: over middle gray, so that bar and cells show the same color.
    over = (1 - COVER) * (0.25 + 0.6 * 0.5) + COVER * scale.colors(ramp)
    canvas.image((over * 255 + 0.5).astype(np.uint8), x, y, width, tall)
    canvas.rectangle(x, y, width, tall, edge=palette.QUIET, line=0.8)
    clipped = scale.high < scale.top
    ends = (scale.low, (scale.low + scale.high) / 2, scale.high)
    for share, value in zip((0, 0.5, 1), ends, strict=True):
        sign = "≥ " if clipped and share == 1 else ""
        canvas.text(
            x + share * width,
            y + tall + 4,
            sign + number(value, scale.top),
            11,
            color=palette.QUIET,
            ha=("left", "center", "right")[int(share * 2)],
        )
    canvas.text(x + width + 16, y + tall / 2, unit, 12, va="center")
    line = f"range over this video: {number(scale.low, scale.top)} to {number(scale.top)}"
    if clipped:
        line += f"; colors end at the {CLIP:g}th percentile"
    canvas.text(x + width + 16, y + tall + 4, line, 11, color=palette.QUIET)
    return tall + 18


def number(value: float, beside: float = 0.0) -> str:
    """Format a number with three digits; "0" where it is negligible ``beside`` a larger number."""
    return "0" if abs(value) < 1e-4 * abs(beside) else f"{value:.3g}"
