"""Re-render the clip from what survives: what the LLM has of it, as pictures.

Each cell shows the pixels of the token that carries it, or the mean of all that this token carries;
what nothing carries fades to grey. ``workspace/js/seen.js`` makes the same in the browser.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stc_core.errors import InputError
from stc_core.record.grid import TokenGrid
from stc_core.record.trace import Trace
from viz.pictures import fates, palette

STAGES = ("outside", "end")
FILLS = ("carrier", "mean")
LEFT = 0.35  # of the luminance of a dropped cell; the rest is the gray of no picture


def seen(
    trace: Trace, frames: np.ndarray | None = None, stage: str = "end", fill: str = "carrier"
) -> np.ndarray:
    """Draw the frames of a trace again, as the LLM has them.

    Parameters
    ----------
    trace : Trace
    frames : (T, H, W, 3) uint8, optional
        The frames of the clip in any size; those of the trace by default.
    stage : str
        "outside" for what enters the LLM, "end" for what is left of that after all.
    fill : str
        What a merged cell shows: "carrier", the cell of the token that carries it, or "mean", the
        mean of the pixels of all cells that share this token, place by place.

    Returns
    -------
    (T, H, W, 3) uint8
        Cells that nothing carries, and what the encoder never saw, are faded luminance. A cell
        whose carrier lies in a letterbox, outside the picture, is gray.

    Raises
    ------
    InputError
        For frames that are not those of the trace, a trace without any, another stage or fill.
    """
    frames = _checked(trace, trace.frames if frames is None else frames, stage, fill)
    carrier = fates.outside(trace)[1] if stage == "outside" else trace.target
    places = _Places.of(trace.grid, *frames.shape[1:3])
    out = _faded(frames)
    patches = places.means(frames, carrier) if fill == "mean" else None
    for number in range(len(frames)):
        cell = places.cells + number * trace.grid.per_frame
        mine = np.where(places.cells >= 0, carrier[cell], -1)
        y, x = np.nonzero(mine >= 0)
        out[number, y, x] = (
            places.crops(frames, mine[y, x], y, x)
            if patches is None
            else places.patched(*patches, mine[y, x], y, x)
        )
    return out


def _checked(trace: Trace, frames: np.ndarray | None, stage: str, fill: str) -> np.ndarray:
    if stage not in STAGES:
        raise InputError(f"the stage must be one of {', '.join(STAGES)}, not {stage!r}")
    if fill not in FILLS:
        raise InputError(f"the fill must be one of {', '.join(FILLS)}, not {fill!r}")
    if frames is None:
        raise InputError("the trace holds no frames; give those of its clip")
    wanted = f"({trace.grid.frames}, height, width, 3)"
    if frames.ndim != 4 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise InputError(f"the frames must be uint8 of shape {wanted}, not {frames.dtype} of "
                         f"{frames.shape}")  # fmt: skip
    if len(frames) != trace.grid.frames or frames.shape[3] != 3:
        raise InputError(f"the frames of this trace have the shape {wanted}, not {frames.shape}")
    return frames


def _faded(frames: np.ndarray) -> np.ndarray:
    """Return frames (T, H, W, 3) as luminance, faded into the gray of no picture."""
    gray = np.floor(LEFT * np.arange(256) + (1 - LEFT) * palette.BLANK + 0.5).astype(np.uint8)
    light = (frames.astype(np.uint16) @ np.array([77, 150, 29], np.uint16)) >> 8  # BT.601
    return np.repeat(gray[light][..., None], 3, axis=3)


@dataclass(frozen=True)
class _Places:
    """Say which pixels each cell has in a frame of a certain size, in whole pixels.

    ``rows`` (2, rows) and ``cols`` (2, cols) are first pixel and count of each; ``cells`` (H, W)
    is the cell under each pixel, -1 where there is none.
    """

    grid: TokenGrid
    rows: np.ndarray
    cols: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, grid: TokenGrid, tall: int, wide: int) -> _Places:
        """Return the places in frames of ``tall`` x ``wide`` pixels."""
        top, left, bottom, right = grid.region
        rows = _edges(grid.rows, top, bottom, grid.height, tall)
        cols = _edges(grid.cols, left, right, grid.width, wide)
        row, col = _under(rows, tall)[:, None], _under(cols, wide)[None, :]
        return cls(grid, rows, cols, np.where((row < 0) | (col < 0), -1, row * grid.cols + col))

    def crops(
        self, frames: np.ndarray, carrier: np.ndarray, y: np.ndarray, x: np.ndarray
    ) -> np.ndarray:
        """Return (m, 3): the pixels of the carriers' cells (m,) that fill the pixels y, x (m,)."""
        row, col = np.divmod(self.cells[y, x], self.grid.cols)
        frame, cell = np.divmod(carrier, self.grid.per_frame)
        theirs, those = np.divmod(cell, self.grid.cols)
        down = _nearest(y - self.rows[0, row], self.rows[1, row], self.rows[1, theirs])
        across = _nearest(x - self.cols[0, col], self.cols[1, col], self.cols[1, those])
        there = (self.rows[1, theirs] > 0) & (self.cols[1, those] > 0)
        found = np.full((len(y), 3), palette.BLANK, np.uint8)
        at = (frame, self.rows[0, theirs] + down, self.cols[0, those] + across)
        found[there] = frames[tuple(place[there] for place in at)]
        return found

    def means(self, frames: np.ndarray, carrier: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean cell of each cluster, (g, p, q, 3) uint8, and its place by token (N,).

        The last one is gray: for clusters of which nothing lies within the picture.
        """
        tall, wide = int(self.rows[1].max()), int(self.cols[1].max())
        y, x = (
            edges[0][:, None] + _nearest(np.arange(size), size, edges[1][:, None])
            for edges, size in ((self.rows, tall), (self.cols, wide))
        )
        visible = ((self.rows[1] > 0)[:, None] & (self.cols[1] > 0)[None, :]).reshape(-1)
        members = np.flatnonzero((carrier >= 0) & np.tile(visible, self.grid.frames))
        members = members[np.argsort(carrier[members], kind="stable")]
        tokens, starts, counts = np.unique(carrier[members], return_index=True, return_counts=True)
        frame, cell = np.divmod(members, self.grid.per_frame)
        row, col = np.divmod(cell, self.grid.cols)
        crops = frames[frame[:, None, None], y[row][:, :, None], x[col][:, None, :]]
        patches = np.full((len(tokens) + 1, tall, wide, 3), palette.BLANK, np.uint8)
        if len(tokens):
            sums = np.add.reduceat(crops, starts, axis=0, dtype=np.int64)
            counts = counts[:, None, None, None]
            patches[:-1] = (2 * sums + counts) // (2 * counts)
        place = np.full(self.grid.size, len(tokens))
        place[tokens] = np.arange(len(tokens))
        return patches, place

    def patched(
        self,
        patches: np.ndarray,
        place: np.ndarray,
        carrier: np.ndarray,
        y: np.ndarray,
        x: np.ndarray,
    ) -> np.ndarray:
        """Return (m, 3): the pixels of the clusters' means that fill the pixels y, x (m,)."""
        row, col = np.divmod(self.cells[y, x], self.grid.cols)
        down = _nearest(y - self.rows[0, row], self.rows[1, row], patches.shape[1])
        across = _nearest(x - self.cols[0, col], self.cols[1, col], patches.shape[2])
        return patches[place[carrier], down, across]


def _edges(count: int, low: float, high: float, whole: int, pixels: int) -> np.ndarray:
    """Return (2, count) int: first pixel and number of pixels of each of ``count`` cells."""
    share = np.clip((low + np.arange(count + 1) * (high - low) / count) / whole, 0, 1)
    edge = np.floor(share * pixels + 0.5).astype(np.int64)
    return np.stack([edge[:-1], np.diff(edge)])


def _under(edges: np.ndarray, pixels: int) -> np.ndarray:
    """Return (pixels,) int: the cell over each pixel, -1 where there is none."""
    under = np.full(pixels, -1)
    for cell, (start, size) in enumerate(edges.T):
        under[start : start + size] = cell
    return under


def _nearest(at: np.ndarray, count: np.ndarray | int, size: np.ndarray | int) -> np.ndarray:
    """Return which of ``size`` pixels is under pixel ``at`` of ``count`` after stretching."""
    return (2 * at + 1) * size // (2 * count)
