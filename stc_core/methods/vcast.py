"""V-CAST: budgets by how sharply the video turns. arXiv 2603.27650."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Method,
    check_number,
    check_one_of,
    check_outside,
    precise,
    settled,
)
from stc_core.methods.parts.sharing import apportion, leading, round_down
from stc_core.record.grid import TokenGrid


@dataclass(frozen=True, kw_only=True)
class VCast(Method):
    """Keep outliers and long tokens, more of them in frames where the video changes its course.

    The curvature of frame t is ``1 - cos(f_t - f_(t-1), f_(t+1) - f_t)``, f the mean token of a
    frame at length 1; of the first and the last frame it is 1. One token goes to every frame, the
    rest by ``softmax(curvature / temperature)``. In each frame the tokens of highest ``1 - cos(x,
    f_t)`` plus length, min-max scaled over the frame, stay; all others are dropped. No attention.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    temperature : float
        Of the softmax over frames, above 0 and at most 1000.
    leftover : str
        Where the tokens go that are lost when quotas are rounded down: "one", as published: all to
        the frame with the largest remainder; "each": one each to those of largest remainder.

    Deviations and choices
    ----------------------
    * At least one token a frame, as published, so that the budget can exceed what was asked.
    * What a full frame cannot take goes to the frames of next largest remainder (published: not
      said). Published, the method is for a retention of 25 %: below 10 % this is our extrapolation.
    * Step sizes do not count, as published: jitter of a still scene bends more than a clean cut.
    * Frames that do not move have no direction; the cosine with such a step is 0.
    * Scores are compared after rounding to twelve decimals, ties go to the earlier token.
    * The default gives the counts and tokens of the published code at equal budgets
      (``tests/methods/test_vcast.py``).
    """

    temperature: float = 0.7
    leftover: str = "one"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("temperature", self.temperature, 0, 1000, above=True)
        check_one_of("leftover", self.leftover, ("one", "each"))

    def budget(self, grid: TokenGrid) -> int:
        """Return B: what was asked, and at least one token a frame."""
        return max(self.asked(grid), grid.frames)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        frames = precise(tokens).view(grid.frames, grid.per_frame, -1)
        middle = F.normalize(frames.mean(dim=1), dim=-1)
        share = torch.softmax(curvature(middle) / self.temperature, dim=0)
        odd = 1 - (F.normalize(frames, dim=-1) * middle[:, None]).sum(dim=-1)
        length = frames.norm(dim=-1)
        low, high = length.amin(1, keepdim=True), length.amax(1, keepdim=True)
        span = high - low
        long = torch.where(span > 1e-6 * high, (length - low) / span, 0.0)
        chosen = leading(settled(odd + long), self._places(settled(share).tolist(), grid))
        return Decision.keeping(chosen.flatten().nonzero().flatten(), grid.size)

    def _places(self, share: list[float], grid: TokenGrid) -> list[int]:
        """Count the tokens of each frame."""
        more, room = self.budget(grid) - grid.frames, grid.per_frame - 1
        if self.leftover == "each":
            return [1 + count for count in apportion(more, share, [room] * grid.frames)]
        quotas = [part * more for part in share]
        places = [min(round_down(quota), room) for quota in quotas]
        left = more - sum(places)
        for frame in sorted(range(grid.frames), key=lambda f: (-round(quotas[f] % 1, 9), f)):
            added = min(left, room - places[frame])
            places[frame] += added
            left -= added
        return [1 + count for count in places]


def curvature(middle: Tensor) -> Tensor:
    """Return (T,): ``1 - cos`` between the steps (T, d) into and out of each frame; 1 at the ends.

    In [0, 2], over frame means (T, d).
    """
    step = F.normalize(middle.diff(dim=0), dim=-1)
    bend = torch.ones_like(middle[:, 0])
    bend[1:-1] = 1 - (step[:-1] * step[1:]).sum(dim=-1)
    return bend
