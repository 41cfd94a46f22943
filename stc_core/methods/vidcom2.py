"""VidCom2: budgets by how unlike the video a frame is. Liu et al., EMNLP 2025."""

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
    grain_of,
    precise,
    settled,
    text_without,
)
from stc_core.methods.parts.selection import strongest
from stc_core.methods.parts.sharing import apportion, leading, round_down
from stc_core.record.grid import TokenGrid

DIGITS = 40  # binary ones to which variances are compared: beyond is rounding
WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)  # of the Gaussian kernels that are added up


@dataclass(frozen=True, kw_only=True)
class VidCom2(Method):
    """Keep the tokens least like their frame and their video. arXiv 2505.14454.

    Only the half of the channels with the lowest variance over the video is looked at; tokens are
    scaled to length 1 there. Likeness to a mean m is ``sum_a exp(-|x - m|^2 / 2a)`` over five
    widths a from 1/8 to 2. A frame's uniqueness u is minus the mean likeness of its tokens to the
    mean of the video; frame f gets ``(B / T) * (1 + softmax(u / temperature)_f - 1 / T)`` places.
    In each frame the tokens with the lowest sum of likeness to the video's and to their own frame's
    mean stay, all others are dropped. No attention.

    Parameters
    ----------
    temperature : float
        Of the softmax over frames, above 0 and at most 1000.
    counting : str
        How frames get whole numbers of tokens. "exact": by largest remainder. "vllm", as vLLM does:
        the total is ``floor(retention * N)`` and at least one a frame; each frame's share is
        rounded to the nearest even number at halves, at least 1; then the surplus leaves where the
        scores over the whole video are highest, or the deficit is filled where they are lowest.
        The surplus may take a frame's only token.

    Deviations and choices
    ----------------------
    * In float32 and wider the result equals that of the published code at equal counts. In bfloat16
      the published code decides in bfloat16 and departs from its own float32 result (Jaccard
      indices of 0.63 to 0.99 of the tokens kept); here the decision is always made in float64.
    * Exact count: the places of all frames are rounded down and those left over go to the largest
      remainders (equal ones spread over time), never more to a frame than it has tokens. The
      published code rounds each frame by itself and gives each at least one token, so that its
      total is not what was asked; below one token a frame some frames get none here.
    * By construction no frame gets more than twice the mean of all.
    * Means are of the unit vectors and are not scaled to length 1 again. Of channels of equal
      variance the earlier one is looked at; one channel at least. Scores are compared after
      rounding to twelve decimals, ties go to the earlier token.
    * Newline tokens that a model adds to its video are neither counted nor compressed.
    """

    temperature: float = 0.01
    counting: str = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("temperature", self.temperature, 0, 1000, above=True)
        check_one_of("counting", self.counting, ("exact", "vllm"))

    def __repr__(self) -> str:
        return text_without(self, ("counting",))

    def budget(self, grid: TokenGrid) -> int:
        if self.counting == "vllm":
            return max(grid.frames, round_down(self.retention * grid.size))
        return super().budget(grid)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        unit = F.normalize(_steady(precise(tokens)), dim=-1)
        frames = unit.view(grid.frames, grid.per_frame, -1)
        to_video = _likeness(frames, frames.mean(dim=(0, 1)))
        to_frame = _likeness(frames, frames.mean(dim=1, keepdim=True))
        unique = torch.softmax(-to_video.mean(dim=1) / self.temperature, dim=0)
        share = 1 + settled(unique) - 1 / grid.frames
        score = settled(to_video + to_frame)
        if self.counting == "vllm":
            chosen = _reconciled(score, self.retention * share * grid.per_frame, self.budget(grid))
        else:
            places = apportion(self.budget(grid), share.tolist(), [grid.per_frame] * grid.frames)
            chosen = leading(-score, places)
        return Decision.keeping(chosen.flatten().nonzero().flatten(), grid.size)


def _reconciled(score: Tensor, share: Tensor, budget: int) -> Tensor:
    """Return (T, n) bool: the lowest scores by frame, then made as many as the budget."""
    places = share.round().clamp(1, score.shape[1]).long().tolist()
    chosen, whole = leading(-score, places), score.flatten()
    surplus = sum(places) - budget
    if surplus > 0:
        candidates = whole.masked_fill(~chosen.flatten(), -torch.inf)
    else:
        candidates = -whole.masked_fill(chosen.flatten(), torch.inf)
    changed = strongest(candidates, abs(surplus))
    return chosen.flatten().index_fill(0, changed, surplus < 0).view_as(score)


def _steady(x: Tensor) -> Tensor:
    """Return (N, d / 2) of (N, d): the channels of lowest variance, in their order."""
    variance = x.var(dim=0, correction=0)
    variance = settled(variance, grain_of(variance, DIGITS))
    half = max(1, x.shape[1] // 2)
    return x[:, torch.sort(variance, stable=True).indices[:half].sort().values]


def _likeness(x: Tensor, mean: Tensor) -> Tensor:
    """Return (T, n): how like a mean the tokens (T, n, d) are."""
    square = (x - mean).square().sum(dim=-1)
    none = torch.zeros_like(square)
    return sum((torch.exp(-square / (2 * width)) for width in WIDTHS), start=none)
