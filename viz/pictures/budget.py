"""Draw the budget bar: tokens from the projector, those that enter the LLM, those after layer K."""

from __future__ import annotations

import numpy as np

from stc_core.record.stages import Fate
from stc_core.record.trace import Trace
from viz.pictures import palette
from viz.pictures.bars import bar
from viz.pictures.canvas import Canvas
from viz.pictures.fates import count, entered, outside
from viz.pictures.words import percent

LABELS = 210  # pixels left of the bars
TALL = 34  # of a bar
STEP = 72  # from bar to bar: what lies between shows how the next bar enlarges this one

_SHORT = {
    Fate.KEPT: "kept", Fate.CENTER: "cluster centers", Fate.MERGED: "merged into centers",
    Fate.DROPPED: "dropped", Fate.MERGED_INSIDE: "merged inside",
    Fate.DROPPED_INSIDE: "dropped inside",
}  # fmt: skip


def rows(trace: Trace) -> list[tuple[str, str, dict[Fate, int]]]:
    """Return (count and share, words, tokens by fate) of each bar, from the top.

    The last bar holds all tokens that entered the LLM, so that what ended inside can be seen.
    """
    n = trace.grid.size
    before = outside(trace)[0]
    came = entered(trace)
    arrived = int(came.sum())
    table = [
        (f"{n}", "video tokens from the projector", count(before)),
        (f"{arrived} = {percent(arrived, n)}", "enter the LLM", count(before[came])),
    ]
    inside = trace.stage("inside")
    if inside is not None:
        left = len(inside.survivors)
        words = f"go on after layer {inside.layer}"
        table.append((f"{left} = {percent(left, n)}", words, count(trace.fate[came])))
    return table


def height(trace: Trace) -> float:
    return STEP * (len(rows(trace)) - 1) + TALL


def draw(canvas: Canvas, x: float, y: float, width: float, trace: Trace) -> None:
    """Draw the bars, ``width`` pixels wide in all."""
    left, long = x + LABELS, width - LABELS
    table = rows(trace)
    arrived = sum(table[1][2].values()) / trace.grid.size * long
    for number, (figures, words, fates) in enumerate(table):
        top = y + number * STEP
        total = sum(fates.values())
        canvas.text(x, top + 1, figures, 15, weight="bold")
        canvas.text(x, top + 19, words, 11.5, color=palette.QUIET)
        place = left
        for fate, tokens in fates.items():
            wide = tokens / total * long
            bar(canvas, place, top, wide, TALL, fate)
            _label(canvas, place, top, wide, fate, tokens)
            place += wide
        canvas.rectangle(left, top, long, TALL, edge=palette.INK, line=0.8)
        if number + 1 < len(table):
            share = arrived if number == 0 else long
            corners = [
                (left, top + TALL),
                (left + share, top + TALL),
                (left + long, top + STEP),
                (left, top + STEP),
            ]
            canvas.polygon(np.array(corners), palette.RULE, 0.45)


def _label(canvas: Canvas, x: float, y: float, wide: float, fate: Fate, tokens: int) -> None:
    words = f"{_SHORT[fate]} {tokens}"
    if wide < 7.0 * len(words) + 10:
        words = str(tokens)
    needed = 7.6 * len(words) + 8
    if wide < needed:
        return
    code = palette.CODES[fate]
    dark = fate in (Fate.KEPT, Fate.MERGED)
    canvas.rectangle(x + wide / 2 - needed / 2, y + 7, needed, TALL - 14, fill=code.color)
    canvas.text(
        x + wide / 2,
        y + TALL / 2 + 0.5,
        words,
        12,
        ha="center",
        va="center",
        color=palette.INK if dark else palette.LIGHT,
    )
