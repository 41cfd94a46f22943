"""VisionZip: dominant tokens by attention, contextual tokens for the rest. arXiv 2412.04467."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Method,
    check_number,
    check_outside,
    precise,
    round_half_up,
    settled,
)
from stc_core.methods.parts.sharing import apportion, leading, round_down
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


@dataclass(frozen=True, kw_only=True)
class VisionZip(Method):
    """Keep, frame by frame, the tokens of highest contribution and means of similar ones.

    "Dominant token selection": of the S tokens that a frame may keep, ``floor(dominant * S)`` are
    those that receive most attention. "Contextual tokens merging": of the frame's other tokens
    every s-th becomes a target, ``s = floor(others / targets)``; each of the remaining ones joins
    the target of highest cosine, and a target goes on as the mean of what it carries.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    dominant : float
        Share of a frame's tokens that are chosen by attention; published 54 of 64; in [0, 1].
    equal_halves : bool
        The target weighs as much as the mean of all that joined it. The published code adds these
        two vectors; this is that sum at half its length.
    published_rounding : bool
        Every frame keeps the same number of tokens, the retention rounded but at least one, and the
        floor above holds for a single token too, which then is a contextual one. ``budget`` says
        how many tokens that makes.

    Deviations and choices
    ----------------------
    The method is for images; what the code does where video or this package asks for more:

    * Frames share the budget equally. Tokens that whole numbers per frame would lose or add go to
      frames by largest remainder, evenly spread over time, so that the budget is met exactly; below
      one token a frame some frames keep none.
    * The only token of a frame is a dominant one for ``dominant`` of a half or more.
    * Similarity is the cosine of the projected features; the published one is that of the vision
      tower's keys, averaged over heads, which a method does not see here.
    * Attention is the contribution that every method here gets. Published, it is the class token's
      (``signal="cls"``); ports to towers without one take the attention received.
    * A sum of two vectors (published) is no mean; the weights of a ``Decision`` sum to 1, so the
      sum itself is left out. ``equal_halves`` has its direction, which is what an LLM's first
      normalization sees.
    * With no target in a frame its other tokens are dropped.
    * Survivors stay in their original order; published, dominant tokens come before contextual.
    * Equal contributions and equal cosines: the earlier token.
    """

    dominant: float = 54 / 64
    equal_halves: bool = False
    published_rounding: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("dominant", self.dominant, 0, 1)

    @property
    def attentive(self) -> bool:
        return True

    def budget(self, grid: TokenGrid) -> int:
        if self.published_rounding:
            return grid.frames * max(1, round_half_up(self.retention * grid.per_frame))
        return super().budget(grid)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        frames, n, device = grid.frames, grid.per_frame, tokens.device
        kept = apportion(self.budget(grid), [1] * frames, [n] * frames)
        dominant = [self._dominant(count) for count in kept]
        targets = torch.tensor(kept, device=device) - torch.tensor(dominant, device=device)
        others = n - torch.tensor(dominant, device=device)
        step = (others // targets.clamp(min=1)).clamp(min=1)[:, None]
        targets = targets[:, None]

        is_dominant = leading(contribution.view(frames, n), dominant)
        place = (~is_dominant).cumsum(1) - 1  # of a token among the others of its frame
        is_target = ~is_dominant & (place % step == 0) & (place // step < targets)
        unit = F.normalize(precise(tokens), dim=-1).view(frames, n, -1)
        cosine = settled(unit @ unit.mT).masked_fill(~is_target[:, None], -torch.inf)

        fate = torch.full((frames, n), int(Fate.MERGED), dtype=torch.uint8, device=device)
        fate[(targets == 0).expand(-1, n)] = int(Fate.DROPPED)
        fate[is_dominant] = int(Fate.KEPT)
        fate[is_target] = int(Fate.CENTER)
        fate = fate.flatten()
        target = torch.arange(grid.size, device=device)
        merged = fate == int(Fate.MERGED)
        first = target.view(frames, n)[:, :1]  # of its frame
        target[merged] = (first + cosine.argmax(2)).flatten()[merged]
        target[fate == int(Fate.DROPPED)] = -1
        if not self.equal_halves:
            return Decision.of(fate, target)
        joined = precise(target[merged].bincount(minlength=grid.size))
        return Decision.of(fate, target, torch.where(merged, 1 / joined[target], 1.0))

    def _dominant(self, kept: int) -> int:
        """Count how many of the tokens of one frame are chosen by attention."""
        if kept == 1 and not self.published_rounding:
            return round_half_up(self.dominant)
        return round_down(self.dominant * kept)
