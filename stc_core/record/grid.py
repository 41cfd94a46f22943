"""Locate video tokens: flat index <-> (frame, row, column) <-> box of source pixels.

Geometry belongs to the trace, never to the viewer: whatever crop or letterbox the image processor
made is recorded here once, so that a picture drawn from a trace cannot be off by a cell.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class TokenGrid:
    """Describe how the video tokens of one clip lie in time and space.

    Parameters
    ----------
    frames, rows, cols : int
        T, rows and columns of tokens; token ``i`` is ``(t * rows + row) * cols + col``.
    height, width : int
        Size of a source frame in pixels (after rotation). Default: one pixel per cell.
    seen : tuple of float, optional
        (top, left, bottom, right) of the part of the source frame that the encoder saw, in source
        pixels: smaller than the frame after a center crop, larger after a letterbox. Default: all.
    """

    frames: int
    rows: int
    cols: int
    height: int = 0
    width: int = 0
    seen: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if min(self.frames, self.rows, self.cols) < 1:
            raise ValueError(
                f"a token grid needs at least one frame, row and column, not "
                f"{self.frames} x {self.rows} x {self.cols}"
            )
        height, width = self.height or self.rows, self.width or self.cols
        if min(height, width) < 1:
            raise ValueError(f"a frame of {height} x {width} pixels holds no token")
        top, left, bottom, right = self.seen or (0.0, 0.0, float(height), float(width))
        if not (-math.inf < top < bottom < math.inf and -math.inf < left < right < math.inf):
            raise ValueError(f"the region {self.seen} that the encoder saw is empty")
        for name, value in (
            ("height", height),
            ("width", width),
            ("seen", (float(top), float(left), float(bottom), float(right))),
        ):
            object.__setattr__(self, name, value)

    @property
    def region(self) -> tuple[float, float, float, float]:
        """Return (top, left, bottom, right) that the encoder saw: ``seen``, by now never None."""
        if self.seen is None:
            raise ValueError("a token grid always has the region that the encoder saw")
        return self.seen

    @property
    def per_frame(self) -> int:
        """Return the number of tokens in one frame."""
        return self.rows * self.cols

    @property
    def size(self) -> int:
        """Return N, the number of tokens of the whole video."""
        return self.frames * self.per_frame

    def index(self, frame: int, row: int, col: int) -> int:
        """Return the flat index of the token at (frame, row, col)."""
        for value, limit, name in (
            (frame, self.frames, "frame"),
            (row, self.rows, "row"),
            (col, self.cols, "column"),
        ):
            if not 0 <= value < limit:
                raise ValueError(f"{name} {value} is outside this grid's 0..{limit - 1}")
        return (frame * self.rows + row) * self.cols + col

    def indices(self, cells: np.ndarray) -> np.ndarray:
        """Return the flat indices (E,) of the tokens at cells (E, 3), each (frame, row, col)."""
        shape = (self.frames, self.rows, self.cols)
        return np.ravel_multi_index(tuple(np.asarray(cells, dtype=int).T), shape)

    def locate(self, index: int) -> tuple[int, int, int]:
        """Return (frame, row, col) of the token with this flat index."""
        if not 0 <= index < self.size:
            raise ValueError(f"token {index} is outside this grid's 0..{self.size - 1}")
        frame, cell = divmod(int(index), self.per_frame)
        return frame, *divmod(cell, self.cols)

    def box(self, row: int, col: int) -> tuple[float, float, float, float]:
        """Return (top, left, bottom, right) of a cell in source pixels, cut to the frame."""
        self.index(0, row, col)
        top, left, bottom, right = self.region
        tall, wide = (bottom - top) / self.rows, (right - left) / self.cols

        def inside(value: float, limit: int) -> float:
            return min(max(value, 0.0), float(limit))

        return (
            inside(top + row * tall, self.height),
            inside(left + col * wide, self.width),
            inside(top + (row + 1) * tall, self.height),
            inside(left + (col + 1) * wide, self.width),
        )

    def cell_at(self, y: float, x: float) -> tuple[int, int] | None:
        """Return (row, col) of the cell that shows the source pixel (y, x), else None."""
        top, left, bottom, right = self.region
        inside_frame = 0 <= y < self.height and 0 <= x < self.width
        if not (inside_frame and top <= y < bottom and left <= x < right):
            return None
        row = int((y - top) / (bottom - top) * self.rows)
        col = int((x - left) / (right - left) * self.cols)
        return min(row, self.rows - 1), min(col, self.cols - 1)

    def to_json(self) -> dict:
        """Return a dict of plain numbers; ``TokenGrid.from_json`` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> TokenGrid:
        seen = data.get("seen")
        return cls(**{**data, "seen": tuple(seen) if seen else None})
