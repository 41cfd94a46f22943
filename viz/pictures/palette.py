"""Define every color of the project; each fate has a second channel, so that none needs hue alone.

The five hues are 20 apart or more (CIEDE2000) in normal, protan, deutan and tritan vision. The two
inner fates share vermillion ("ended inside the LLM") and differ by their mark.
"""

from __future__ import annotations

from dataclasses import dataclass

from stc_core.record.stages import Fate


@dataclass(frozen=True)
class Code:
    """Say how one fate looks in pictures, charts and tables.

    Attributes
    ----------
    color : str
        "#rrggbb".
    mark : str
        Second channel: "outline", "double", "hatch", "dim", "hatch outline" or "cross".
    light : float
        Brightness of the frame under the cell, 1 for unchanged.
    label : str
        Words of the legend.
    glyph : str
        One character for tables and running text.
    """

    color: str
    mark: str
    light: float
    label: str
    glyph: str


CODES: dict[Fate, Code] = {
    Fate.KEPT: Code("#F0E442", "outline", 1.0, "kept as itself", "□"),
    Fate.CENTER: Code("#0072B2", "double", 1.0, "cluster center (number: its members)", "○"),
    Fate.MERGED: Code("#56B4E9", "hatch", 0.45, "merged into a center before the LLM", "◐"),
    Fate.DROPPED: Code("#333333", "dim", 0.25, "dropped before the LLM", "·"),
    Fate.MERGED_INSIDE: Code("#D55E00", "hatch outline", 0.8, "merged inside the LLM", "⧄"),
    Fate.DROPPED_INSIDE: Code("#D55E00", "cross", 0.8, "dropped inside the LLM", "×"),
}

SCALES = {"contribution": "viridis", "relevance": "cividis"}  # perceptually uniform, never jet

PAPER = "#FFFFFF"
INK = "#1B1F24"
QUIET = "#59636E"  # secondary text: 6:1 on paper
RULE = "#D1D9E0"
HALO = "#10151B"  # dark rim that keeps yellow readable on bright video
LIGHT = "#FFFFFF"  # light rim that keeps blue readable on dark video
BLANK = 150  # gray level of a frame whose picture the trace does not hold
UNSEEN = 0.12  # brightness of what the encoder never saw (cropped away)


def rgb(color: str) -> tuple[float, float, float]:
    """Return (red, green, blue) in 0..1 for "#rrggbb"."""
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue
