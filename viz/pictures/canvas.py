"""Draw on a sheet measured in pixels with y down, and convert it to PNG and SVG.

Matplotlib's figure classes without pyplot: no global figure list, so threads cannot meet there.
"""

from __future__ import annotations

import io
import threading
import warnings
from functools import lru_cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.patches import PathPatch, Polygon, Rectangle
from matplotlib.path import Path

from viz.pictures import palette

DPI = 100  # one unit of the sheet is one pixel at this resolution
SCALE = 1.6  # of the PNG: 1200 units become 1920 pixels
_CHUNK = 400  # shapes per path: the rasteriser refuses a path of too many cells
_SAVING = threading.Lock()  # rc_context changes the whole process for its duration

# Scripts that DejaVu lacks. Only what is installed is asked for: matplotlib warns about the rest.
_FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "PingFang SC",
    "Hiragino Sans", "Microsoft YaHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei",
    "Arial Unicode MS", "Droid Sans Fallback", "Noto Sans Arabic", "Noto Sans Devanagari",
)  # fmt: skip


@lru_cache(maxsize=1)
def fonts() -> list[str]:
    """Return font families in order of preference; DejaVu Sans comes with matplotlib."""
    installed = {font.name for font in fontManager.ttflist}
    fallbacks = [name for name in _FALLBACKS if name in installed]
    return ["DejaVu Sans", *fallbacks, "sans-serif"]  # the last for readers of an SVG


class Sheet(Figure):
    """Show itself in a notebook, where matplotlib's own figures need pyplot for it."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


class Canvas:
    """Draw on a sheet of ``width`` x ``height`` pixels.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    axes : matplotlib.axes.Axes
        Covers the sheet; data units are pixels from the top left corner.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Sheet(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=palette.PAPER)
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = 12, **style) -> None:
        """Write one line with its top left corner at (x, y), sizes in pixels, no math markup."""
        style = {"color": palette.INK, "ha": "left", "va": "top", **style}
        self.axes.text(
            x, y, text, fontsize=size * 72 / DPI, family=fonts(), parse_math=False, **style
        )

    def image(self, picture: np.ndarray, x: float, y: float, width: float, height: float) -> None:
        """Place an (h, w, 3) array; its pixels stay squares, nothing is smoothed."""
        self.axes.imshow(
            picture, extent=(x, x + width, y + height, y), interpolation="nearest", aspect="auto"
        )
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))  # imshow moved them

    def rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str | None = None,
        edge: str | None = None,
        line: float = 1.0,
        alpha: float = 1.0,
    ) -> None:
        self.axes.add_patch(
            Rectangle(
                (x, y),
                width,
                height,
                facecolor=fill or "none",
                edgecolor=edge or "none",
                linewidth=line * 72 / DPI,
                alpha=alpha,
            )
        )

    def polygon(self, points: np.ndarray, fill: str, alpha: float = 1.0) -> None:
        """Fill the (m, 2) corners."""
        self.axes.add_patch(Polygon(points, closed=True, facecolor=fill, alpha=alpha, linewidth=0))

    def strokes(
        self, lines: np.ndarray, color: str, width: float, alpha: float = 1.0, closed: bool = False
    ) -> None:
        """Draw m lines of k points each, (m, k, 2), in few compound paths: quick and small."""
        for start in range(0, len(lines), _CHUNK):
            part = np.asarray(lines[start : start + _CHUNK], float)
            m, k = part.shape[:2]
            codes = np.full((m, k + closed), Path.LINETO, np.uint8)
            codes[:, 0] = Path.MOVETO
            if closed:
                codes[:, -1] = Path.CLOSEPOLY
                part = np.concatenate([part, part[:, :1]], axis=1)
            path = Path(part.reshape(-1, 2), codes.reshape(-1))
            path.should_simplify = False
            patch = PathPatch(
                path,
                facecolor="none",
                edgecolor=color,
                linewidth=width * 72 / DPI,
                alpha=alpha,
                joinstyle="miter",
                capstyle="butt",
            )
            patch.set_snap(closed)  # boxes on whole pixels: their lines stay bright and sharp
            self.axes.add_patch(patch)


def to_png(figure: Figure, scale: float = SCALE) -> bytes:
    """Return PNG bytes with ``scale`` dots a pixel; the same figure gives the same bytes."""
    return _save(
        figure,
        format="png",
        dpi=DPI * scale,
        metadata={"Software": None},
        pil_kwargs={"compress_level": 4},
    )


def to_svg(figure: Figure) -> bytes:
    """Return SVG bytes with text kept as text; the same figure gives the same bytes."""
    svg = _save(figure, format="svg", dpi=DPI * SCALE, metadata={"Date": None})
    # Cells stay squares at any zoom: browsers smooth images that do not forbid it.
    return svg.replace(b"*{stroke", b"image{image-rendering: pixelated}\n*{stroke", 1)


def _save(figure: Figure, **options) -> bytes:
    out = io.BytesIO()
    fixed: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "trace",
        "image.composite_image": False,
    }
    with _SAVING, matplotlib.rc_context(fixed), warnings.catch_warnings():
        # A script that no installed font holds shows as boxes in a PNG, rightly in an SVG.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(out, **options)
    return out.getvalue()
