"""Greedy choice by contribution under a redundancy threshold (the global retention pool)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .base import precise

TOLERANCE = 1e-6  # cosines this close to tau count as tau: equal tokens are redundant at tau = 1


def strongest(scores: Tensor, count: int) -> Tensor:
    """(count,) int64, ascending: the tokens of highest score (N,), ties to the earlier token."""
    return torch.sort(scores, descending=True, stable=True).indices[:count].sort().values


class Walk(NamedTuple):
    """A walk through the tokens and the pool that it filled.

    Attributes
    ----------
    pool : (P,) int64
        The tokens taken, in the order of taking, P <= capacity.
    similarity : (N,) float
        ``max cos`` of each token to the pool as it was when the token's turn came: -inf for the
        first, nan for tokens never reached.
    nearest : (N,) int64
        The pool token of that cosine; -1 for the first and for tokens never reached.
    order : (N,) int64
        Whose turn it was: 0 for the first token; -1 for tokens never reached.
    """

    pool: Tensor
    similarity: Tensor
    nearest: Tensor
    order: Tensor


def retention_pool(
    tokens: Tensor, contribution: Tensor, capacity: int, tau: float, block: int = 256
) -> Walk:
    """Walk the tokens by falling contribution; take those unlike all taken before.

    Token c enters iff ``max_{p in pool} cos(c, p) < tau``; the walk stops at capacity (section 1 of
    the specification, "Selection", arXiv 2603.21957). Equal contributions: the earlier token first.

    Parameters
    ----------
    tokens : (N, d)
    contribution : (N,)
    capacity : int
        Most tokens to take; 0 takes none.
    tau : float
        Cosine threshold in [-1, 1].
    block : int
        Tokens looked at together. Cosines come from two matrix products a block; only the yes or no
        within a block is a loop. The result does not depend on it.
    """
    path = torch.sort(contribution, descending=True, stable=True).indices
    unit = F.normalize(precise(tokens), dim=-1)
    similarity = torch.full((len(tokens),), torch.nan, dtype=unit.dtype, device=unit.device)
    nearest, order = (torch.full_like(path, -1) for _ in range(2))
    taken: list[int] = []
    for start in range(0, len(path), block):
        if len(taken) >= capacity:
            break
        batch = path[start : start + block]
        here, names = unit[batch], batch.cpu().numpy()
        between = (here @ here.T).cpu().numpy()
        highest = np.full(len(batch), -np.inf, between.dtype)
        closest = np.full(len(batch), -1)
        if taken:
            before = (here @ unit[taken].T).max(dim=1)
            highest = before.values.cpu().numpy()
            closest = np.array(taken)[before.indices.cpu().numpy()]
        turns = 0
        for place, token in enumerate(names):
            if len(taken) >= capacity:
                break
            turns += 1
            if highest[place] < tau - TOLERANCE or not taken:
                taken.append(int(token))
                ahead = slice(turns, None)  # tokens whose turn is over keep what they had
                closer = between[place, ahead] > highest[ahead]
                highest[ahead][closer] = between[place, ahead][closer]
                closest[ahead][closer] = token
        reached = batch[:turns]
        similarity[reached] = torch.from_numpy(highest[:turns]).to(similarity.device)
        nearest[reached] = torch.from_numpy(closest[:turns]).to(nearest.device)
        order[reached] = torch.arange(start, start + turns, device=order.device)
    pool = torch.tensor(taken, dtype=torch.int64, device=tokens.device)
    return Walk(pool, similarity, nearest, order)
