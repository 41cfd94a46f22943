"""KiToke: sample by inverse kernel density, merge inside intervals. arXiv 2604.03414."""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Method,
    check_number,
    check_one_of,
    check_outside,
    check_whole,
    precise,
    settled,
)
from stc_core.methods.parts.merging import most_alike
from stc_core.methods.parts.points import SAME
from stc_core.methods.parts.selection import strongest
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

ROWS = 1024  # tokens whose distances to all are taken at a time
SAMPLE = 512  # tokens whose distances stand for all in a median


@dataclass(frozen=True, kw_only=True)
class KiToke(Method):
    """Draw tokens by one over how crowded their surroundings are, merge the rest into them.

    Density of a token over the whole video: ``D_i = sum_j exp(-|x_i - x_j|^2 / alpha)``; its worth
    is ``v = 1 / D``. Exactly B tokens are drawn with chances in proportion to v (at most 1) by
    pivotal sampling. The video is cut where it jumps, and every token that was not drawn joins the
    drawn one of highest cosine within its interval; the token that goes on is the mean, weighted by
    v. No attention, no question.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    alpha : float, optional
        Width of the kernel, in units of the features squared, above 0. Default: ``width`` times
        the median squared distance between tokens. Published 800 for the features of one model.
    width : float
        Above 0.
    cut, rise, relative : float
        A frame begins an interval if its difference to the frame before is above ``cut``, or if it
        exceeds that of a neighboring frame by more than ``rise`` and by more than the share
        ``relative`` of the neighbor's; ``cut`` and ``rise`` in units of the median difference.
        Published 110 and 70 in units of the features, and 0.4. At least 0.
    choose : str
        "pivotal": draw, as published; "top": take the tokens of highest v.
    seed : int
        Of the draw.

    Deviations and choices
    ----------------------
    * There is no official code. This follows an unofficial port and a review of the paper; the
      formulas are tested against a slow reference, not against the authors.
    * ``width``, ``cut`` and ``rise`` are ours, since the published numbers are in raw units of one
      tower: with 0.5, 2.2 and 1.4 nothing depends on the features' scale.
    * The difference of two frames: the mean distance of tokens at one place plus the mean distance
      of a token to its nearest of the frame before. The first and last difference are only compared
      with ``cut``. Of a neighbor on either side the larger rise counts.
    * Pivotal sampling pairs the tokens in their order; the published order is not known.
    * An interval without a drawn token swaps its token of highest v for the one of lowest v in an
      interval that has two or more; where there is none, its tokens are dropped.
    * Medians are those of 512 tokens evenly spread over the video.
    """

    alpha: float | None = None
    width: float = 0.5
    cut: float = 2.2
    rise: float = 1.4
    relative: float = 0.4
    choose: str = "pivotal"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha is not None:
            check_number("alpha", self.alpha, 0, 1e30, above=True)
        check_number("width", self.width, 0, 1e6, above=True)
        for name in ("cut", "rise", "relative"):
            check_number(name, getattr(self, name), 0, 1e6)
        check_one_of("choose", self.choose, ("pivotal", "top"))
        check_whole("seed", self.seed, 0)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        alpha = self.width * median_square(tokens) if self.alpha is None else self.alpha
        worth = 1 / density(tokens, alpha)
        budget = self.budget(grid)
        if self.choose == "top":
            chosen = strongest(settled(worth), budget).tolist()
        else:
            chosen = pivotal(chances(worth.tolist(), budget), random.Random(self.seed))
        starts = self._intervals(tokens, grid)
        interval = torch.zeros(grid.frames, dtype=torch.int64)
        interval[starts] = 1
        interval = (interval.cumsum(0) - 1).repeat_interleave(grid.per_frame)
        chosen = _swapped(chosen, worth.tolist(), interval.tolist(), len(starts))

        drawn = torch.tensor(chosen, device=tokens.device)
        target = joined(tokens, drawn, [start * grid.per_frame for start in starts])
        size = torch.bincount(target[target >= 0], minlength=grid.size)
        fate = torch.full_like(target, int(Fate.MERGED))
        fate[target < 0] = int(Fate.DROPPED)
        fate[drawn] = int(Fate.KEPT)
        fate[drawn[size[drawn] > 1]] = int(Fate.CENTER)
        return Decision.of(fate, target, worth)

    def _intervals(self, tokens: Tensor, grid: TokenGrid) -> list[int]:
        """Return the first frame of each interval, ascending."""
        jump = differences(tokens, grid)
        if not jump:
            return [0]
        unit = median(jump)
        starts = [0]
        for place, here in enumerate(jump):
            sides = jump[max(0, place - 1) : place] + jump[place + 1 : place + 2]
            inner = len(sides) == 2
            before = min(sides, default=here)
            risen = here - before
            if here > self.cut * unit or (
                inner and risen > self.rise * unit and risen > self.relative * before
            ):
                starts.append(place + 1)
        return starts


def joined(tokens: Tensor, drawn: Tensor, starts: list[int]) -> Tensor:
    """Return (N,) int64: the drawn token of highest cosine in a token's interval; -1 without one.

    drawn (B,) and starts, the first token of each interval, are ascending; a drawn token's is
    itself.
    """
    target = torch.full((len(tokens),), -1, dtype=torch.int64, device=tokens.device)
    for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
        mine = drawn[(drawn >= start) & (drawn < stop)]
        if len(mine):
            target[start:stop] = start + most_alike(tokens[start:stop], mine - start)
    return target


def density(tokens: Tensor, alpha: float) -> Tensor:
    """Return (N,) float64: ``sum_j exp(-|x_i - x_j|^2 / alpha)`` of tokens (N, d), itself counted.

    alpha 0 counts the tokens that are equal.
    """
    x = precise(tokens)
    x = x - x.mean(dim=0)
    norms = x.square().sum(dim=1)
    found = []
    for part, here in zip(x.split(ROWS), norms.split(ROWS), strict=True):
        square = torch.addmm(norms, part, x.T, alpha=-2).add_(here[:, None]).clamp_(min=0)
        square.masked_fill_(square <= SAME[torch.float64] * here[:, None], 0.0)
        kernel = square.div_(-alpha).exp_() if alpha > 0 else (square == 0).to(square.dtype)
        found.append(kernel.sum(dim=1))
    return torch.cat(found)


def median_square(tokens: Tensor) -> float:
    """Return the median squared distance between different ones of ``SAMPLE`` tokens (N, d)."""
    some = precise(tokens[:: -(-len(tokens) // SAMPLE)])
    return float(torch.pdist(some).square().median()) if len(some) > 1 else 0.0


def differences(tokens: Tensor, grid: TokenGrid) -> list[float]:
    """Return T - 1 numbers: how unlike each frame of tokens (N, d) is to the one before it."""
    found = []
    frames = tokens.split(grid.per_frame)
    for before, after in zip(frames[:-1], frames[1:], strict=True):
        apart = torch.cdist(precise(after), precise(before))
        nearest = apart.amin(dim=0)
        found.append(float(apart.diagonal().mean() + nearest.mean()))
    return found


def chances(worth: list[float], count: int) -> list[float]:
    """Return the chance of each token to be among ``count`` drawn ones: by worth, at most 1."""
    sure: set[int] = set()
    while True:
        rest = sum(value for token, value in enumerate(worth) if token not in sure)
        scale = (count - len(sure)) / rest if rest else 0.0
        more = {t for t, value in enumerate(worth) if t not in sure and scale * value >= 1}
        if not more or len(sure) + len(more) > count:
            break
        sure |= more
    return [1.0 if token in sure else scale * value for token, value in enumerate(worth)]


def pivotal(chance: list[float], draw: random.Random) -> list[int]:
    """Draw tokens, ascending, with these chances, as many as the chances sum to.

    Two tokens fight at a time until one of them is in or out for certain (Deville and Tille,
    Biometrika 1998).
    """
    count, taken, open_token, p = round(sum(chance)), [], None, 0.0
    for token, q in enumerate(chance):
        if q >= 1:
            taken.append(token)
        elif open_token is None:
            open_token, p = token, q
        elif p + q < 1:
            if draw.random() * (p + q) >= p:
                open_token = token
            p += q
        else:
            if draw.random() * (2 - p - q) < 1 - q:
                taken.append(open_token)
                open_token = token
            else:
                taken.append(token)
            p += q - 1
    if open_token is not None and len(taken) < count:  # rounding left it just below 1
        taken.append(open_token)
    return sorted(taken)


def _swapped(chosen: list[int], worth: list[float], interval: list[int], parts: int) -> list[int]:
    """Return the drawn tokens, ascending, after every interval that can has got one."""
    chosen = list(chosen)
    for part in range(parts):
        if any(interval[token] == part for token in chosen):
            continue
        held = [interval[token] for token in chosen]
        spare = [token for token in chosen if held.count(interval[token]) > 1]
        if spare:
            mine = [token for token, where in enumerate(interval) if where == part]
            chosen.remove(min(spare, key=lambda token: (worth[token], token)))
            chosen.append(max(mine, key=lambda token: (worth[token], -token)))
    return sorted(chosen)
