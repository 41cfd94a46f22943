"""Keep fewer frames with all their tokens: save in time alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stc_core.methods.base import Decision, Method, check_outside, round_half_up
from stc_core.record.grid import TokenGrid


@dataclass(frozen=True, kw_only=True)
class Frames(Method):
    """Keep every token of f evenly spread frames. A baseline, not a publication.

    f = B / (tokens per frame), rounded, at least 1. The video is cut into f intervals of T / f
    frames; the frame in the middle of each stays whole, all others are dropped.

    Deviations and choices
    ----------------------
    * The count is a whole number of frames and at least one frame: ``budget(grid)`` says it, and a
      trace notes where it is not what was asked. Halves are rounded up.
    * The frames have passed through the vision tower as part of the whole clip, which in a tower
      that sees one frame at a time is what sampling fewer frames would give.
    """

    def budget(self, grid: TokenGrid) -> int:
        """Return B, the tokens of f whole frames."""
        return self._count(grid) * grid.per_frame

    def _count(self, grid: TokenGrid) -> int:
        return max(1, round_half_up(self.asked(grid) / grid.per_frame))

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        count = self._count(grid)
        chosen = [(2 * i + 1) * grid.frames // (2 * count) for i in range(count)]
        every = torch.arange(grid.size, device=tokens.device).view(grid.frames, -1)
        return Decision.keeping(every[chosen].flatten(), grid.size)
