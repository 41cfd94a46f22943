"""Efficient video sampling (EVS): keep what changes. Bagrov et al., arXiv 2510.14624."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import Decision, Method, check_outside, precise, settled
from stc_core.methods.parts.selection import strongest
from stc_core.record.grid import TokenGrid


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
    * Changes are compared after rounding to nine decimals; among equals the earlier token stays.
    """

    def budget(self, grid: TokenGrid) -> int:
        """Return B: what was asked, and at least the first frame."""
        return max(self.asked(grid), grid.per_frame)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        unit = F.normalize(precise(tokens), dim=-1)
        first = torch.full_like(unit[: grid.per_frame, 0], torch.inf)
        likeness = (unit[grid.per_frame :] * unit[: -grid.per_frame]).sum(dim=-1)
        change = torch.cat([first, settled(1 - likeness)])
        return Decision.keeping(strongest(change, self.budget(grid)), len(tokens))
