"""Draw pieces of bar charts: each fate has a color and a second channel."""

from __future__ import annotations

import numpy as np

from stc_core.record.stages import Fate
from viz.pictures import palette
from viz.pictures.canvas import Canvas

PITCH = 7.0  # pixels between hatch lines


def bar(canvas: Canvas, x: float, y: float, width: float, height: float, fate: Fate) -> None:
    """Fill a rectangle in the style of a fate; draw nothing where it is empty."""
    if width <= 0 or height <= 0:
        return
    code = palette.CODES[fate]
    canvas.rectangle(x, y, width, height, fill=code.color)
    if code.mark == "hatch":
        canvas.strokes(diagonals(x, y, width, height), palette.INK, 1.0, 0.45)
    elif code.mark == "hatch outline":
        canvas.strokes(diagonals(x, y, width, height), palette.LIGHT, 1.6)
    elif code.mark == "cross":
        lines = diagonals(x, y, width, height)
        mirrored = lines * np.array([-1, 1]) + np.array([2 * x + width, 0])
        canvas.strokes(np.concatenate([lines, mirrored]), palette.LIGHT, 1.2)
    elif code.mark == "double" and min(width, height) >= 8:
        canvas.rectangle(x + 2.5, y + 2.5, width - 5, height - 5, edge=palette.LIGHT, line=1.2)
    if code.mark == "outline":
        canvas.rectangle(x, y, width, height, edge=palette.HALO, line=1.0)


def diagonals(x: float, y: float, width: float, height: float) -> np.ndarray:
    """Return (m, 2, 2): lines u + v = const in a rectangle, u right and v down from its corner."""
    steps = np.arange(PITCH / 2, width + height, PITCH)
    start = np.stack([np.maximum(0, steps - height), np.minimum(steps, height)], 1)
    end = np.stack([np.minimum(steps, width), np.maximum(0, steps - width)], 1)
    return np.stack([start, end], axis=1) + np.array([x, y])
