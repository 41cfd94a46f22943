"""Choose greedily the items that span the largest volume (MAP of a determinantal point process)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DIGITS = 9  # to which squared lengths are compared: beyond is rounding
NOTHING = 1e-6  # a squared length below this is none: what follows would rest on rounding


def largest_volume(
    likeness: Callable[[int], Tensor], quality: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return (c,) int64, in the order of choosing, and (c,): what each added, c <= count.

    Item i has a vector of length ``quality[i]``; two of them meet at an angle whose cosine is
    their likeness. Each step takes the item whose vector is longest off the span of those taken
    before, ties to the earlier: the greedy maximum of the determinant of the chosen items'
    ``q_i q_j S_ij`` (Chen et al. 2018, arXiv 1709.05135, algorithm 1). It stops where nothing is
    left off that span.

    Time: one row of likenesses a step, and count^2 * N. Memory: count * N.

    Parameters
    ----------
    likeness : i -> (N,)
        Row i of a positive semidefinite matrix S with ones on its diagonal, in the dtype of
        ``quality``.
    quality : (N,) float
        At least 0, the largest near 1: squared lengths are rounded to nine decimals.
    count : int
        Items to choose.
    """
    left = quality.square()  # squared lengths off the span
    off = torch.zeros(count, len(quality), dtype=quality.dtype, device=quality.device)
    chosen: list[int] = []
    added = []
    for step in range(min(count, len(quality))):
        place = int(left.round(decimals=DIGITS).argmax())  # the first of the largest
        if left[place] < NOTHING:
            break
        row = quality[place] * quality * likeness(place)
        along = (row - off[:step, place] @ off[:step]) / left[place].sqrt()
        off[step] = along
        chosen.append(place)
        added.append(left[place])
        left = (left - along.square()).clamp(min=0.0)
        left[place] = 0.0
    if not chosen:
        return torch.empty(0, dtype=torch.int64, device=quality.device), quality[:0]
    return torch.tensor(chosen, device=quality.device), torch.stack(added)
