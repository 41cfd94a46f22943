"""Coarsen the grid: average blocks of tokens in space and, where that is not enough, in time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stc_core.methods.base import Decision, Method, check_outside
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

LONGEST = 2.0  # the sides of a block, in cells, differ by this factor at most


@dataclass(frozen=True, kw_only=True)
class Downsample(Method):
    """Pool the token grid by averaging. A baseline, not a publication.

    T x rows x cols tokens become t x r x c blocks, each axis cut into parts that differ by one
    token at most; a block is carried, as the plain mean of its tokens, by the token in its middle
    (the earlier one of two). Looks at no number.

    Deviations and choices
    ----------------------
    * Space first: t = T as long as the budget allows one token a frame, with r x c the shape whose
      count is nearest to the budget (then the squarer, then the smaller one) among those with
      blocks at most twice as long as wide. Below that each frame is one block and t = B.
    * The count is therefore T * r * c or, below one token a frame, exact; it can lie above what was
      asked. ``budget(grid)`` says it, and a trace notes where it is not what was asked.
    * A block of one token is that token, copied bit for bit.
    """

    def shape(self, grid: TokenGrid) -> tuple[int, int, int]:
        """Return (t, r, c): the numbers of blocks along time, rows and columns."""
        asked = self.asked(grid)
        if asked < grid.frames:
            return asked, 1, 1

        def fit(shape: tuple[int, int]) -> tuple[int, float, int]:
            count = grid.frames * shape[0] * shape[1]
            return abs(count - asked), _stretch(grid, *shape), count

        every = [(r, c) for r in range(1, grid.rows + 1) for c in range(1, grid.cols + 1)]
        allowed = [shape for shape in every if _stretch(grid, *shape) <= LONGEST or shape == (1, 1)]
        return grid.frames, *min(allowed, key=fit)

    def budget(self, grid: TokenGrid) -> int:
        """Return B, the number of blocks."""
        frames, rows, cols = self.shape(grid)
        return frames * rows * cols

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        sizes = grid.frames, grid.rows, grid.cols
        time, row, col = (
            _middles(size, parts) for size, parts in zip(sizes, self.shape(grid), strict=True)
        )
        places = (time[:, None, None] * grid.rows + row[:, None]) * grid.cols + col
        target = places.flatten().to(tokens.device)
        every = torch.arange(len(target), device=tokens.device)
        carries = torch.bincount(target, minlength=len(target))
        fate = torch.full_like(target, int(Fate.MERGED))
        fate[target == every] = int(Fate.CENTER)
        fate[carries == 1] = int(Fate.KEPT)
        return Decision.of(fate, target)


def _stretch(grid: TokenGrid, rows: int, cols: int) -> float:
    """Return how many times longer than wide a block is, in cells; 1 for frames of one line."""
    if min(grid.rows, grid.cols) == 1:
        return 1.0
    ratio = (grid.rows / rows) / (grid.cols / cols)
    return max(ratio, 1 / ratio)


def _middles(size: int, parts: int) -> Tensor:
    """Return (size,) int64: for each place on an axis the middle of its part."""
    start = torch.tensor([i * size // parts for i in range(parts + 1)])
    middle = (start[:-1] + start[1:] - 1) // 2
    return middle.repeat_interleave(start.diff())
