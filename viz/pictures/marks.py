"""Draw the second channel of fates on cells (outlines, hatches, crosses), and their legend."""

from __future__ import annotations

import numpy as np

from stc_core.record.stages import Fate
from viz.pictures import palette
from viz.pictures.bars import bar
from viz.pictures.canvas import Canvas

NET = 24  # pixels: frames around nearly all cells would hide smaller ones
BADGE = 15  # pixels: cells at least this big show how many tokens a center stands for


def draw(
    canvas: Canvas,
    boxes: np.ndarray,
    fate: np.ndarray,
    sizes: np.ndarray | None = None,
    faint: bool = False,
) -> None:
    """Draw each cell's mark.

    Parameters
    ----------
    canvas : Canvas
    boxes : (m, 4) float
        x0, y0, x1, y1 in pixels; empty ones are skipped.
    fate : (m,) uint8
        ``Fate`` of each.
    sizes : (m,) int, optional
        Members of a center, written into its cell where they fit.
    faint : bool
        Hatch what was merged before the LLM more lightly: it is the background here.
    """
    visible = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) > 1e-6
    boxes, fate = boxes[visible], fate[visible]
    small = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    line = float(np.clip(np.median(small) / 7, 1.25, 2.0)) if len(small) else 2.0
    for code, mark in ((code, spec.mark) for code, spec in palette.CODES.items()):
        chosen = boxes[fate == code]
        if len(chosen) and mark in _HATCHED:
            alpha = 1.0 if mark == "hatch outline" else 0.4 if faint else 0.75
            _hatch(canvas, chosen, palette.CODES[code].color, line, alpha)
    for code, mark in ((code, spec.mark) for code, spec in palette.CODES.items()):
        chosen = boxes[fate == code]
        if len(chosen) and mark in _OUTLINED:
            _OUTLINED[mark](canvas, chosen, palette.CODES[code].color, line)
    if sizes is not None:
        centers = fate == Fate.CENTER
        _badges(canvas, boxes[centers], sizes[visible][centers])


def thin(
    canvas: Canvas,
    boxes: np.ndarray,
    fate: np.ndarray,
    sizes: np.ndarray | None = None,
    net: float = NET,
) -> None:
    """Draw each cell's frame in the color of its fate: dashed where merged, none where dropped.

    For pictures of what the LLM has, which must stay visible; parameters as of ``draw``. Cells
    that were merged before the LLM, nearly all of them, get no frame below ``net`` pixels.
    """
    small = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    boxes, fate, small = boxes[small > 1e-6], fate[small > 1e-6], small[small > 1e-6]
    for code, spec in palette.CODES.items():
        faint = spec.mark == "hatch"
        chosen = boxes[(fate == code) & (small >= (net if faint else 0))]
        if not len(chosen) or spec.mark == "dim":
            continue
        corners = rings(chosen, 0.75)
        if not faint:
            rim = palette.LIGHT if spec.mark == "double" else palette.HALO
            canvas.strokes(corners, rim, 2.6, closed=True)
        if spec.mark in _HATCHED:
            canvas.strokes(_dashes(corners), spec.color, 0.8 if faint else 1.4, 0.5 if faint else 1)
        else:
            canvas.strokes(corners, spec.color, 1.4, closed=True)
    if sizes is not None:
        centers = fate == Fate.CENTER
        _badges(canvas, boxes[centers], sizes[centers])


def legend(
    canvas: Canvas,
    x: float,
    y: float,
    width: float,
    entries: dict[Fate, str],
    bars: bool = False,
    frames: bool = False,
) -> float:
    """Draw a swatch and its words for each entry, line by line; return the height used.

    ``bars`` says that the picture is a chart: the swatches look like its bars, not like cells;
    ``frames`` that its cells are marked by ``thin``.
    """
    size, left, top = 16.0, x, y
    for fate, words in entries.items():
        needed = size + 8 + 6.7 * len(words) + 18
        if left > x and left + needed > x + width:
            left, top = x, top + size + 10
        if bars:
            bar(canvas, left, top, size, size, fate)
        else:
            gone = fate in (Fate.DROPPED, Fate.DROPPED_INSIDE)
            light = (palette.BLANK if gone else 220) if frames else 190 * palette.CODES[fate].light
            level = round(light)
            canvas.rectangle(left, top, size, size, fill=f"#{level:02x}{level:02x}{level:02x}")
            box = np.array([[left, top, left + size, top + size]])
            if frames:
                thin(canvas, box, np.array([fate], np.uint8), net=0)
            else:
                draw(canvas, box, np.array([fate], np.uint8))
        canvas.text(left + size + 8, top + size / 2, words, 12, va="center")
        left += needed
    return top + size - y


def rings(boxes: np.ndarray, inset: float) -> np.ndarray:
    """Return (m, 4, 2): the corners of boxes that are smaller by ``inset`` pixels on each side."""
    x0, y0, x1, y1 = (boxes + inset * np.array([1, 1, -1, -1])).T
    return np.stack([np.stack(p, 1) for p in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))], axis=1)


def _dashes(corners: np.ndarray) -> np.ndarray:
    """Return (8 m, 2, 2): two dashes on each side of the rectangles with corners (m, 4, 2)."""
    ends = np.roll(corners, -1, axis=1)
    parts = [
        np.stack([corners + low * (ends - corners), corners + high * (ends - corners)], axis=2)
        for low, high in ((0.1, 0.4), (0.6, 0.9))
    ]
    return np.concatenate(parts).reshape(-1, 2, 2)


def _outline(canvas: Canvas, boxes: np.ndarray, color: str, line: float) -> None:
    # The dark rim under the line shows a pixel on both sides: yellow holds on bright video.
    # On a small cell the line runs on the border, not within it: the cell stays visible.
    corners = rings(boxes, line / 2 + 0.5 if line > 1.3 else 0.0)
    canvas.strokes(corners, palette.HALO, line + 2, closed=True)
    canvas.strokes(corners, color, line, closed=True)


def _double(canvas: Canvas, boxes: np.ndarray, color: str, line: float) -> None:
    canvas.strokes(rings(boxes, 0.75 * line + 0.5), palette.LIGHT, 2.1 * line + 1.2, closed=True)
    canvas.strokes(rings(boxes, line / 2), color, line, closed=True)
    canvas.strokes(rings(boxes, 1.9 * line + 0.3), color, 0.8 * line, closed=True)


def _cross(canvas: Canvas, boxes: np.ndarray, color: str, line: float) -> None:
    x0, y0, x1, y1 = (boxes + 1.2 * line * np.array([1, 1, -1, -1])).T
    down = np.stack([np.stack([x0, y0], 1), np.stack([x1, y1], 1)], axis=1)
    up = np.stack([np.stack([x0, y1], 1), np.stack([x1, y0], 1)], axis=1)
    lines = np.concatenate([down, up])
    canvas.strokes(lines, palette.LIGHT, line + 1.6)
    canvas.strokes(lines, color, line)


def _hatch(canvas: Canvas, boxes: np.ndarray, color: str, line: float, alpha: float) -> None:
    """Return diagonals from lower left to upper right, three or one a cell, cut at its border."""
    x0, y0, x1, y1 = boxes.T
    wide, tall = x1 - x0, y1 - y0
    steps = (0.5, 1.0, 1.5) if np.median(np.minimum(wide, tall)) >= 8 else (1.0,)
    lines = []
    for step in steps:  # the line on which (x - x0) / wide + (y - y0) / tall == step
        low, high = max(0.0, step - 1), min(1.0, step)
        start = np.stack([x0 + low * wide, y0 + (step - low) * tall], 1)
        end = np.stack([x0 + high * wide, y0 + (step - high) * tall], 1)
        lines.append(np.stack([start, end], axis=1))
    width = line if alpha == 1.0 else 0.5 * line
    canvas.strokes(np.concatenate(lines), color, width, alpha)


def _badges(canvas: Canvas, boxes: np.ndarray, sizes: np.ndarray) -> None:
    for (x0, y0, x1, y1), members in zip(boxes, sizes, strict=True):
        room = min(x1 - x0, y1 - y0)
        words = str(int(members))
        size = min(12.0, room * 0.45, (room - 8) / (0.62 * len(words)))
        if room < BADGE or size < 5.5:
            continue
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        wide, tall = 0.66 * size * len(words) + 3, size + 3
        canvas.rectangle(
            x - wide / 2, y - tall / 2, wide, tall, fill=palette.CODES[Fate.CENTER].color
        )
        canvas.text(x, y + 0.5, words, size, color=palette.LIGHT, ha="center", va="center")


_HATCHED = ("hatch", "hatch outline")
_OUTLINED = {
    "hatch outline": _outline, "cross": _cross, "double": _double, "outline": _outline,
}  # fmt: skip
