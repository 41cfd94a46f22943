"""Greedy choice by contribution under a redundancy threshold (the global retention pool)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import precise

TOLERANCE = 1e-6  # cosines this close to tau count as tau: equal tokens are redundant at tau = 1


def strongest(scores: Tensor, count: int) -> Tensor:
    """(count,) int64, ascending: the tokens of highest score (N,), ties to the earlier token."""
    return torch.sort(scores, descending=True, stable=True).indices[:count].sort().values


def retention_pool(
    tokens: Tensor, contribution: Tensor, capacity: int, tau: float, block: int = 256
) -> tuple[Tensor, Tensor]:
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

    Returns
    -------
    pool : (P,) int64
        The tokens taken, in the order of taking, P <= capacity.
    similarity : (N,) float
        ``max cos`` of each token to the pool as it was when the token's turn came: -inf for the
        first, nan for tokens never reached.
    """
    order = torch.sort(contribution, descending=True, stable=True).indices
    unit = F.normalize(precise(tokens), dim=-1)
    similarity = torch.full((len(tokens),), torch.nan, dtype=unit.dtype)
    taken: list[int] = []
    for start in range(0, len(order), block):
        if len(taken) >= capacity:
            break
        batch = order[start : start + block]
        here = unit[batch]
        between = (here @ here.T).cpu()
        nearest = torch.full((len(batch),), -torch.inf, dtype=unit.dtype)
        if taken:
            nearest = (here @ unit[taken].T).amax(dim=1).cpu()
        for place, token in enumerate(batch.tolist()):
            if len(taken) >= capacity:
                break
            similarity[token] = nearest[place]
            if nearest[place] < tau - TOLERANCE or not taken:
                taken.append(token)
                nearest = torch.maximum(nearest, between[place])
    pool = torch.tensor(taken, dtype=torch.int64, device=tokens.device)
    return pool, similarity.to(tokens.device)
