"""Draw each picture of a trace as a finished sheet: title, picture, legend, caption.

``render(trace, name)`` gives PNG and SVG bytes, and a sentence that describes the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from stc_core.record.stages import Fate
from stc_core.record.trace import Trace
from viz.pictures import budget, caption, fates, heatmap, marks, palette, timeline
from viz.pictures.canvas import DPI, Canvas, to_png, to_svg
from viz.pictures.strip import Strip
from viz.pictures.words import TEXTS, Text, alt, counted


@dataclass(frozen=True)
class SheetLayout:
    """Describe how a sheet is laid out.

    Attributes
    ----------
    width : int
        Pixels of the whole sheet.
    words : bool
        With title, explanation and caption: a figure that stands alone. Without: for a page that
        shows these itself.
    """

    width: int = 1200
    words: bool = True

    @property
    def margin(self) -> int:
        return 24 if self.words else 4

    @property
    def inner(self) -> int:
        return self.width - 2 * self.margin


@dataclass(frozen=True)
class Kind:
    """Describe one kind of picture: its words, and (trace, kind, layout) -> Figure."""

    text: Text
    draw: Callable[[Trace, Kind, SheetLayout], Figure]


@dataclass(frozen=True, eq=False)
class Picture:
    """Hold a drawn sheet; bytes are made when first asked for."""

    name: str
    title: str
    explanation: str
    alt: str
    figure: Figure

    @cached_property
    def png(self) -> bytes:
        return to_png(self.figure)

    @cached_property
    def svg(self) -> bytes:
        return to_svg(self.figure)

    def _repr_png_(self) -> tuple[bytes, dict[str, str | int]]:
        wide = round(self.figure.get_figwidth() * DPI)  # the PNG has more dots than that
        return self.png, {"width": wide, "alt": self.alt}


def render(trace: Trace, name: str, width: int = 1200, words: bool = True) -> Picture:
    """Draw one of ``PICTURES``; ``words=False`` leaves title, explanation and caption out."""
    text = TEXTS[name]
    sheet = figure(trace, name, width, words)
    return Picture(name, text.title, text.explanation, alt(trace, name), sheet)


def figure(trace: Trace, name: str, width: int = 1200, words: bool = True) -> Figure:
    """Return the matplotlib figure of one of ``PICTURES``, to change or to place in another."""
    return PICTURES[name].draw(trace, PICTURES[name], SheetLayout(width, words))


def _sheet(trace: Trace, kind: Kind, page: SheetLayout, body: float) -> tuple[Canvas, float]:
    """Return a canvas with head and foot around ``body`` pixels, and the y of the body."""
    if not page.words:
        return Canvas(page.width, body + 2 * page.margin), page.margin
    lines = caption.foot_lines(trace, page.inner)
    top = page.margin + caption.head_height(kind.text.explanation, page.inner)
    below = top + body + 18
    canvas = Canvas(page.width, below + len(lines) * caption.LINE + page.margin - 6)
    caption.head(canvas, page.margin, page.margin - 4, kind.text, page.inner)
    caption.foot(canvas, page.margin, below, lines)
    return canvas, top


def _budget(trace: Trace, kind: Kind, page: SheetLayout) -> Figure:
    canvas, top = _sheet(trace, kind, page, budget.height(trace))
    budget.draw(canvas, page.margin, top, page.inner, trace)
    return canvas.figure


def _timeline(trace: Trace, kind: Kind, page: SheetLayout) -> Figure:
    tall = timeline.height(trace, page.inner)
    words = counted(trace.fate)
    canvas, top = _sheet(trace, kind, page, tall + 8 + _legend_height(page, words))
    timeline.draw(canvas, page.margin, top, page.inner, trace)
    marks.legend(canvas, page.margin, top + tall + 8, page.inner, words, bars=True)
    return canvas.figure


def _scores(trace: Trace, kind: Kind, page: SheetLayout, name: str, unit: str) -> Figure:
    strip = Strip.fit(trace.grid, page.margin, 0, page.inner)
    values = getattr(trace, name)
    scale = heatmap.Scale.of(palette.SCALES[name], values)
    canvas, top = _sheet(trace, kind, page, strip.height + 12 + 34)
    strip = replace(strip, y=top)
    below = top + strip.height + 12
    if scale is None:
        heatmap.paint(canvas, strip, trace, np.full(trace.grid.size, 0.25))
        canvas.text(page.margin, below, "Not measured in this run.", 13, weight="bold")
        return canvas.figure
    heatmap.scores(canvas, strip, trace, values, scale)
    heatmap.color_bar(canvas, page.margin, below, scale, unit)
    return canvas.figure


def _fates(
    trace: Trace, kind: Kind, page: SheetLayout, fate: np.ndarray, target: np.ndarray
) -> Figure:
    strip = Strip.fit(trace.grid, page.margin, 0, page.inner)
    words = counted(fate)
    covered = strip.hidden[np.arange(trace.grid.size) % trace.grid.per_frame]
    away = int((covered & (fate != Fate.DROPPED)).sum())
    body = strip.height + 12 + _legend_height(page, words) + (22 if away else 0)
    canvas, top = _sheet(trace, kind, page, body)
    strip = replace(strip, y=top)
    heatmap.fates(canvas, strip, trace, fate, target)
    below = top + strip.height + 12
    below += marks.legend(canvas, page.margin, below, page.inner, words)
    if away:
        note = f"{away} marked tokens lie in the letterbox around the picture and are not drawn."
        canvas.text(page.margin, below + 6, note, 12)
    return canvas.figure


def _legend_height(page: SheetLayout, words: dict[Fate, str]) -> float:
    """Return the height that ``marks.legend`` will use, measured on a sheet that is thrown away."""
    return marks.legend(Canvas(page.width, 100), page.margin, 0, page.inner, words, bars=True)


def _contribution(trace: Trace, kind: Kind, page: SheetLayout) -> Figure:
    unit = "attention received per token (mean over queries)"
    return _scores(trace, kind, page, "contribution", unit)


def _relevance(trace: Trace, kind: Kind, page: SheetLayout) -> Figure:
    return _scores(trace, kind, page, "relevance", "text relevance I, no unit")


def _outside(trace: Trace, kind: Kind, page: SheetLayout) -> Figure:
    return _fates(trace, kind, page, *fates.outside(trace))


def _seen(trace: Trace, kind: Kind, page: SheetLayout) -> Figure:
    strip = Strip.fit(trace.grid, page.margin, 0, page.inner)
    found = counted(fates.outside(trace)[0])  # without numbers in the cells: these are pictures
    words = {code: text.replace(" (number: its members)", "") for code, text in found.items()}
    body = strip.height + 12 + _legend_height(page, words)
    canvas, top = _sheet(trace, kind, page, body)
    strip = replace(strip, y=top)
    heatmap.survivors(canvas, strip, trace, "outside")
    below = top + strip.height + 12
    marks.legend(canvas, page.margin, below, page.inner, words, frames=True)
    return canvas.figure


def _end(trace: Trace, kind: Kind, page: SheetLayout) -> Figure:
    return _fates(trace, kind, page, trace.fate, trace.target)


PICTURES: dict[str, Kind] = {
    "budget": Kind(TEXTS["budget"], _budget),
    "contribution": Kind(TEXTS["contribution"], _contribution),
    "seen": Kind(TEXTS["seen"], _seen),
    "outside": Kind(TEXTS["outside"], _outside),
    "relevance": Kind(TEXTS["relevance"], _relevance),
    "inside": Kind(TEXTS["inside"], _end),
    "timeline": Kind(TEXTS["timeline"], _timeline),
}
