"""Lay out the film strip: where every frame and every token lies on the sheet.

All geometry comes from ``trace.grid``; a crop or a letterbox of the image processor is applied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from stc_core.record.grid import TokenGrid
from viz.pictures import palette
from viz.pictures.canvas import SCALE

GAP = 6  # pixels between tiles, at least
LABEL = 18  # pixels under a tile for its time
TALLEST = 4  # of a strip, in widths; tiles of clips as narrow as a thread are cut short for it


@dataclass(frozen=True)
class Strip:
    """Lay out tiles of equal size, row by row, left to right, in the order of time.

    Parameters
    ----------
    grid : TokenGrid
    x, y : float
        Top left corner of the first tile, in pixels of the sheet.
    columns : int
    wide, tall : int
        Size of a tile in pixels, in the aspect ratio of the source frames.
    gap : float
        Pixels between tiles, so that the strip fills the width it was given.
    """

    grid: TokenGrid
    x: float
    y: float
    columns: int
    wide: int
    tall: int
    gap: float = GAP

    @classmethod
    def fit(cls, grid: TokenGrid, x: float, y: float, width: float) -> Strip:
        """Return the mosaic of all frames, ``width`` pixels wide and about half as tall."""
        aspect = grid.width / grid.height
        most = max(1, min(grid.frames, int(width // 24)))  # tiles of 18 pixels
        least = math.ceil(grid.frames * (LABEL + GAP + 1) / (TALLEST * width))
        columns = range(min(least, most), most + 1)
        best = min(columns, key=lambda n: (_misfit(grid, n, width), n))
        tile = (width - (best - 1) * GAP) / best
        wide = _whole_cells(min(tile, 300 * max(1.0, aspect)), grid.cols)
        room = TALLEST * width / math.ceil(grid.frames / best) - LABEL - GAP
        tall = max(1, round(min(wide / aspect, max(room, 4 * wide))))
        gap = (width - best * wide) / (best - 1) if best > 1 and wide > tile - 20 else GAP
        return cls(grid, x, y, best, wide, tall, gap)

    @property
    def rows(self) -> int:
        return math.ceil(self.grid.frames / self.columns)

    @property
    def height(self) -> float:
        """Return the height in pixels, with the times under the tiles."""
        return self.rows * (self.tall + LABEL + GAP) - GAP

    def corner(self, frame: int) -> tuple[float, float]:
        """Return (x, y) of the top left corner of a frame's tile."""
        row, column = divmod(frame, self.columns)
        return (
            self.x + column * (self.wide + self.gap),
            self.y + row * (self.tall + LABEL + GAP),
        )

    @cached_property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the borders of cells in a tile, in pixels: (rows, 2) top and bottom, (cols, 2)."""
        grid = self.grid
        rows = [grid.box(row, 0) for row in range(grid.rows)]
        cols = [grid.box(0, col) for col in range(grid.cols)]
        down, across = self.tall / grid.height, self.wide / grid.width
        return (
            np.array([(top * down, bottom * down) for top, _, bottom, _ in rows]),
            np.array([(left * across, right * across) for _, left, _, right in cols]),
        )

    def boxes(self, tokens: np.ndarray) -> np.ndarray:
        """Return (m, 4): x0, y0, x1, y1 on the sheet of the cells of tokens (m,).

        A token of the letterbox, outside the picture, has an empty box.
        """
        tokens = np.asarray(tokens, np.int64)
        frame, cell = np.divmod(tokens, self.grid.per_frame)
        row, col = np.divmod(cell, self.grid.cols)
        high, long = self.edges
        x, y = np.array([self.corner(t) for t in range(self.grid.frames)])[frame].T
        return np.stack(
            [x + long[col, 0], y + high[row, 0], x + long[col, 1], y + high[row, 1]], axis=1
        )

    @property
    def hidden(self) -> np.ndarray:
        """Return (rows * cols,) bool: cells that lie in the letterbox and cannot be seen."""
        high, long = self.edges
        return (
            (high[:, 1] - high[:, 0] < 1e-6)[:, None] | (long[:, 1] - long[:, 0] < 1e-6)[None, :]
        ).reshape(-1)

    @cached_property
    def cells(self) -> np.ndarray:
        """Return (h, w) int64: the cell under each pixel of a tile, -1 where there is none."""
        shape = raster_size(self.wide, self.tall)
        middle = [
            (np.arange(n) + 0.5) * size / n
            for n, size in zip(shape, (self.tall, self.wide), strict=True)
        ]
        row, col = (_place(edge, at) for edge, at in zip(self.edges, middle, strict=True))
        cell = row[:, None] * self.grid.cols + col[None, :]
        return np.where((row[:, None] < 0) | (col[None, :] < 0), -1, cell)


def raster_size(wide: float, tall: float) -> tuple[int, int]:
    """Return (h, w) in pixels of the PNG for something of this size on the sheet."""
    return max(1, round(tall * SCALE)), max(1, round(wide * SCALE))


def pictures(frames: np.ndarray | None, count: int, size: tuple[int, int]) -> np.ndarray:
    """Return (count, h, w, 3) uint8: the frames at this size, gray where the trace holds none."""
    if frames is None:
        return np.full((count, *size, 3), palette.BLANK, np.uint8)
    turned = size[::-1]
    return np.stack(
        [np.asarray(Image.fromarray(f).resize(turned, Image.Resampling.BILINEAR)) for f in frames]
    )


def _misfit(grid: TokenGrid, columns: int, width: float) -> float:
    """Return how far this many columns are from a good mosaic.

    Good is 0.42 as tall as wide, no holes in the last row, and cells of 7 pixels or more: an
    outline on a smaller one would hide it.
    """
    rows = math.ceil(grid.frames / columns)
    wide = (width - (columns - 1) * GAP) / columns
    tall = wide * grid.height / grid.width
    shape = rows * (tall + LABEL + GAP) / width
    holes = (rows * columns - grid.frames) / (rows * columns)
    cell = min(wide / grid.cols, tall / grid.rows)
    return abs(math.log(shape / 0.42)) + 3 * holes + 2 * max(0.0, math.log(7 / cell))


def _whole_cells(wide: float, cols: int) -> int:
    """Return the largest width of whole cells of whole pixels, so that equal cells look equal."""
    return int(wide // cols * cols) if wide >= 2 * cols else max(1, int(wide))


def _place(edges: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the index of the interval of ``edges`` (k, 2) that holds each value, else -1."""
    index = np.searchsorted(edges[:, 1], at, side="right")
    found = np.minimum(index, len(edges) - 1)
    return np.where((index < len(edges)) & (at >= edges[found, 0]), found, -1)
