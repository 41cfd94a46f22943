"""Share a budget among frames or groups, and weigh tokens in the mean that carries them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stc_core.methods.base import precise


def apportion(total: int, weights: Sequence[float], limits: Sequence[int]) -> list[int]:
    """Share ``total`` out in whole numbers in proportion to the weights, by largest remainder.

    Every part gets the floor of its quota ``total * weight / sum(weights)``; what the floors leave
    goes, one each, to the parts of largest remainder. Where equal remainders compete, the winners
    are spread evenly over the list: 16 tokens for 32 frames are one for every other frame, not one
    for each frame of the first half.

    Parameters
    ----------
    total : int
    weights : sequence of float
        At least 0 each; parts in their order in time. Quotas are rounded to nine decimals, so that
        equal ones tie.
    limits : sequence of int
        Most that each part can take. What a full part cannot take goes to the others.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        The limits leave no room for ``total``.
    """
    whole = sum(weights) or 1
    quotas = [round(total * weight / whole, 9) for weight in weights]
    shares = [min(math.floor(quota), most) for quota, most in zip(quotas, limits, strict=True)]
    left = total - sum(shares)
    while left:
        room = [part for part, most in enumerate(limits) if shares[part] < most]
        if not room:
            raise ValueError(f"{sum(limits)} places cannot hold {total} tokens")
        groups: dict[float, list[int]] = {}
        for part in room:
            groups.setdefault(round(quotas[part] % 1, 9), []).append(part)
        for remainder in sorted(groups, reverse=True):
            tied = groups[remainder]
            wins = min(left, len(tied))
            for win in range(wins):
                shares[tied[(2 * win + 1) * len(tied) // (2 * wins)]] += 1
            left -= wins
    return shares


def leading(scores: Tensor, counts: Sequence[int]) -> Tensor:
    """Return (F, n) bool: the ``counts[f]`` highest scores (F, n) of row f, ties to the earlier."""
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    places = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    return rank < torch.tensor(counts, device=scores.device)[:, None]


def center_weights(target: Tensor, center_share: Callable[[Tensor], Tensor]) -> Tensor:
    """Return (N,): the weight of a center among the m others that join it; they share the rest.

    Parameters
    ----------
    target : (N,) int64
        As in a ``Decision``; dropped tokens get 1, which nobody reads.
    center_share : function
        Of m (N,) float, at least 0, to the weight in [0, 1] of a center that m others join.
    """
    carried = target >= 0
    joined = precise(torch.bincount(target[carried], minlength=len(target)) - 1)[target]
    center = torch.where(joined > 0, center_share(joined), 1.0)
    itself = target == torch.arange(len(target), device=target.device)
    weight = torch.where(itself, center, (1 - center) / joined.clamp(min=1))
    return torch.where(carried, weight, 1.0)


def round_down(value: float) -> int:
    """Return the largest integer not above the value, up to rounding errors."""
    return math.floor(value + 1e-9)


def round_up(value: float) -> int:
    """Return the smallest integer not below the value, up to rounding errors."""
    return math.ceil(value - 1e-9)
