"""Space-time determinantal selection: this project's own method."""

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
    check_whole,
    precise,
    text_without,
)
from stc_core.methods.parts.selection import strongest
from stc_core.methods.parts.sharing import apportion
from stc_core.methods.parts.volume import largest_volume
from stc_core.methods.parts.windows import frames_at_once
from stc_core.record.grid import TokenGrid


@dataclass(frozen=True, kw_only=True)
class SpaceTimeDPP(Method):
    """Keep attended tokens that together span the most; likeness fades over space and time.

    Two tokens are alike as far as their features are, their places and their times::

        S_ij = cos(x_i, x_j) * exp(-|t_i - t_j|^2 / 2 s_t^2) * exp(-|p_i - p_j|^2 / 2 s_p^2)

    t in clip lengths, p in heights of the frame (width in its own). A token weighs ``q_i = (a_i /
    max a) ** power``, a its contribution. The tokens kept are a greedy maximum of the determinant
    of ``q_i q_j S_ij`` over sets of the budget's size: a determinantal point process's most likely
    set (Chen et al. 2018, arXiv 1709.05135). All others are dropped; nothing is merged.

    Against ``STC`` there is no threshold: what one token shows lowers the worth of others as much
    as they are like it, and a thing that moves on, or shows again later, is not redundant to
    itself. CDPruner (2506.10967) chooses an image's tokens by a determinantal process; the factors
    over space and time are ours. Found on development clips of the world of shapes
    (docs/experiments.md).

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    power : float
        How much the contribution counts, at least 0; 0: not at all.
    time : float
        s_t, a share of the clip, above 0; over this distance likeness falls to 0.61.
    space : float
        s_p, a share of the frame, above 0.
    window : int, optional
        Frames. Tokens are chosen among so many frames at a time, each with its share of the budget,
        as if there were no others: memory for the budget times a window instead of the video. 0: in
        the whole video at once. Default: 0 below 25,000 video tokens, from there on the frames that
        have 4,096 tokens.

    Deviations and choices
    ----------------------
    * Contributions that are not positive weigh nothing; such tokens come last, in their order.
    * What is left off the span is compared after rounding to nine decimals, ties go to the
      earlier token. Where nothing is left, the most attended of the others fill the budget.
    * Time is the place in the clip, not seconds: a clip that is twice as long is looked at twice
      as coarsely. A clip of one frame has no time.
    """

    power: float = 0.5
    time: float = 0.125
    space: float = 0.29
    window: int | None = None

    def __repr__(self) -> str:
        return text_without(self, ("window",))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("power", self.power, 0, 16)
        check_number("time", self.time, 0, 1e6, above=True)
        check_number("space", self.space, 0, 1e6, above=True)
        if self.window is not None:
            check_whole("window", self.window, 0)

    @property
    def attentive(self) -> bool:
        return self.power > 0

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        budget = self.budget(grid)
        unit = F.normalize(precise(tokens), dim=-1)
        where = self._places(grid, unit)
        quality = self._quality(precise(contribution))

        each = frames_at_once(self.window, grid) * grid.per_frame
        starts = range(0, grid.size, each)
        sizes = [min(each, grid.size - first) for first in starts]
        chosen = []
        for first, share in zip(starts, apportion(budget, sizes, sizes), strict=True):
            few = slice(first, first + each)
            chosen.append(first + self._chosen(unit[few], where[few], quality[few], share))
        return Decision.keeping(torch.cat(chosen), grid.size)

    def _chosen(self, unit: Tensor, where: Tensor, quality: Tensor, count: int) -> Tensor:
        """Return (count,) int64: the tokens chosen among these (n, ...)."""

        def likeness(place: int) -> Tensor:
            apart = (where - where[place]).square().sum(dim=1)
            return (unit @ unit[place]) * torch.exp(-apart / 2)

        chosen, _ = largest_volume(likeness, quality, count)
        if len(chosen) == count:
            return chosen
        rest = torch.ones(len(unit), dtype=torch.bool, device=unit.device)
        rest[chosen] = False
        others = rest.nonzero().flatten()
        return torch.cat([chosen, others[strongest(quality[others], count - len(chosen))]])

    def _quality(self, contribution: Tensor) -> Tensor:
        """Return (N,) weights in 0..1."""
        highest = contribution.max()
        if self.power == 0:
            return torch.ones_like(contribution)
        if highest <= 0:
            return torch.zeros_like(contribution)
        return (contribution / highest).clamp(min=0.0) ** self.power

    def _places(self, grid: TokenGrid, like: Tensor) -> Tensor:
        """Return (N, 3): time, row and column of each token in units of s_t and s_p."""
        index = torch.arange(grid.size, device=like.device)
        cell = index % grid.per_frame
        axes = (
            (index // grid.per_frame, grid.frames, self.time),
            (cell // grid.cols, grid.rows, self.space),
            (cell % grid.cols, grid.cols, self.space),
        )
        return torch.stack([at.to(like.dtype) / (size * unit) for at, size, unit in axes], dim=1)
