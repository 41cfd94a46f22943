"""Efficient video sampling (EVS): keep what changes. Bagrov et al., arXiv 2510.14624."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stc_core.methods.base import Decision, Method, check_outside, precise, settled
from stc_core.methods.parts.selection import strongest
from stc_core.record.grid import TokenGrid

SHORTEST = 1e-12  # a token shorter than this has no direction


@dataclass(frozen=True, kw_only=True)
class EVS(Method):
    """Drop the tokens that look as their place did one frame earlier. arXiv 2510.14624.

    The change of a token is ``1 - cos`` to the token at the same row and column of the frame
    before. The first frame stays whole; of the rest the tokens of greatest change stay, over the
    whole video at once, all others are dropped. No attention, no threshold.

    Deviations and choices
    ----------------------
    * The first frame counts against the budget, as in the implementation of vLLM. So there is a
      floor of one frame (1/32 = 3.1 % of 32 frames): ``budget(grid)`` says the true count, and a
      trace notes where it is not what was asked.
    * The asked count is rounded as for every method here (``paper_budget``).
    * Changes are compared after rounding to twelve decimals; among equals the earlier token stays.
    """

    def budget(self, grid: TokenGrid) -> int:
        """Return B: what was asked, and at least the first frame."""
        return max(self.asked(grid), grid.per_frame)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        found: list[Tensor] = []  # (rows * cols,) changes, frame by frame
        before, length = precise(tokens[:0]), precise(tokens[:0, 0])
        for frame in tokens.split(grid.per_frame):  # a frame in float64 stays in a cache
            x = precise(frame)
            norm = torch.linalg.vector_norm(x, dim=-1).clamp(min=SHORTEST)
            if found:
                likeness = torch.linalg.vecdot(x, before) / (norm * length)
                found.append(settled(1 - likeness))
            else:
                found.append(torch.full_like(norm, torch.inf))
            before, length = x, norm
        return Decision.keeping(strongest(torch.cat(found), self.budget(grid)), len(tokens))
