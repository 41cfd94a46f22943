"""Write the words around pictures: titles, explanations, counts, alt texts. numpy only."""

from __future__ import annotations

import textwrap
import unicodedata
from dataclasses import dataclass

import numpy as np

from stc_core.record.trace import Trace
from viz.pictures import fates, palette


@dataclass(frozen=True)
class Text:
    """Hold the title of a picture, and what it shows and how to read it."""

    title: str
    explanation: str


TEXTS: dict[str, Text] = {
    "budget": Text(
        "Budget: where the tokens go",
        "Each bar enlarges the part of the one above that goes on. Some tokens are kept as they "
        "are, others averaged into cluster centers; inside the LLM a part of these ends as well.",
    ),
    "contribution": Text(
        "Contribution: what the vision tower looks at",
        "How much attention each token receives in the vision tower, before anyone knows the "
        "question. The method visits tokens from bright to dark. It is attention, not proof of "
        "importance: some bright cells are sinks without content.",
    ),
    "seen": Text(
        "What the LLM sees",
        "The clip from the tokens that enter the LLM: a cell that was merged shows the cell that "
        "carries it, wherever in the video that lies; what was dropped fades to grey. Frames have "
        "the colors of the fates.",
    ),
    "outside": Text(
        "Fate before the LLM",
        "Bright cells with a yellow outline enter the LLM as they are; blue double outlines are "
        "cluster centers, which enter as the mean of their members; hatched cells were averaged "
        "into a center anywhere in the video; dark cells are gone.",
    ),
    "relevance": Text(
        "Relevance to the question at layer K",
        "How much the words of the question attend to, and resemble, each token that is still "
        "there at layer K of the LLM. Dark frames hold tokens that never arrived.",
    ),
    "inside": Text(
        "Fate at the end",
        "As before the LLM, and in vermillion what ended inside it: after layer K a token that "
        "matters little for this question is merged into the most similar one that matters more.",
    ),
    "timeline": Text(
        "Allocation over time",
        "One budget for the whole video, no quota per frame: a frame full of news gets many "
        "tokens, a still one few or none. The dashed line is what a quota would give.",
    ),
}


def alt(trace: Trace, name: str) -> str:
    """Say what a picture shows, in a sentence with its numbers, as plain text."""
    grid = trace.grid
    over = f"{grid.frames} frames of {grid.rows} by {grid.cols} tokens"
    if name in ("contribution", "relevance"):
        values = getattr(trace, name)
        finite = np.isfinite(values)
        if not finite.any():
            return f"{TEXTS[name].title}: not measured in this run."
        at = int(np.nanargmax(values))
        frame, row, col = grid.locate(at)
        return (
            f"{TEXTS[name].title} over {over}: from {np.nanmin(values):.3g} to "
            f"{np.nanmax(values):.3g}, highest at {trace.seconds[frame]:.2f} s in row {row + 1}, "
            f"column {col + 1}; {int(finite.sum())} tokens have a value."
        )
    if name == "timeline":
        received = fates.received(trace)
        most = int(received.argmax())
        return (
            f"{TEXTS[name].title}: of {grid.frames} frames, the one at "
            f"{trace.seconds[most]:.2f} s has the most tokens in the LLM, {received[most]}; "
            f"{int((received == 0).sum())} frames have none."
        )
    fate = fates.outside(trace)[0] if name in ("outside", "seen") else trace.fate
    found = "; ".join(counted(fate).values())
    lead = alive(trace) if name == "budget" else over
    return printable(f"{TEXTS[name].title}, {lead}: {found}.", 600)


def alive(trace: Trace) -> str:
    """Say how many tokens there are after each step.

    As "6272 video tokens in 32 frames of 14 x 14 → 125 enter the LLM (2.0 %) → ...".
    """
    grid, n = trace.grid, trace.grid.size
    many = "frames" if grid.frames > 1 else "frame"
    parts = [f"{n} video tokens in {grid.frames} {many} of {grid.rows} × {grid.cols}"]
    for stage, left in zip(trace.stages, trace.alive()[1:], strict=True):
        where = "enter the LLM" if stage.name == "outside" else f"after layer {stage.layer}"
        parts.append(f"{left} {where} ({percent(left, n)})")
    return " → ".join(parts)


def counted(fate: np.ndarray) -> dict:
    """Return words and count of each fate that occurs in ``fate`` (N,), for a legend."""
    return {
        code: f"{palette.CODES[code].label}: {tokens} ({percent(tokens, len(fate))})"
        for code, tokens in fates.count(fate).items()
    }


def percent(part: float, whole: float) -> str:
    """Format a share in percent with as many digits as it takes: "2.0 %", "0.03 %"."""
    share = 100 * part / whole if whole else 0.0
    return f"{share:.2f} %" if 0 < share < 1 else f"{share:.1f} %"


def printable(text: str, limit: int = 300) -> str:
    """Return one line of visible characters, because typed text may hold anything.

    Controls, direction overrides, surrogates and unassigned code points would break the SVG or
    turn the line around; they are left out. Longer texts end in an ellipsis.
    """
    line = " ".join(str(text)[: 8 * limit].split())
    line = "".join(c for c in line if unicodedata.category(c) not in _UNPRINTABLE)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


def wrap(text: str, width: float, size: float) -> list[str]:
    """Break a line of text so that no part is wider than ``width`` pixels at font ``size``."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    share = wide / max(len(text), 1)
    letters = max(8, int(width / (size * (0.54 + 0.5 * share))))
    return textwrap.wrap(text, letters, break_long_words=True) or [""]
