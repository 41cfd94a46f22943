"""Choose greedily by contribution under a redundancy threshold (the global retention pool)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import precise

TOLERANCE = 1e-6  # cosines this close to tau count as tau: equal tokens are redundant at tau = 1
LONGEST = 2048  # tokens looked at together, at most


def strongest(scores: Tensor, count: int) -> Tensor:
    """Return (count,) int64, ascending: the tokens of highest score (N,), ties to the earlier."""
    return torch.sort(scores, descending=True, stable=True).indices[:count].sort().values


class Walk(NamedTuple):
    """Hold a walk through the tokens and the pool that it filled.

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

    Token c enters iff ``max_{p in pool} cos(c, p) < tau``; the walk stops at capacity
    (docs/method.md, section 2.3, arXiv 2603.21957). Equal contributions: the earlier token first.

    Parameters
    ----------
    tokens : (N, d)
    contribution : (N,)
    capacity : int
        Most tokens to take; 0 takes none.
    tau : float
        Cosine threshold in [-1, 1].
    block : int
        Tokens looked at together at first; each block is twice as long as the one before, up to
        ``LONGEST``. The result does not depend on it.
    """
    path = torch.sort(contribution, descending=True, stable=True).indices
    directions = precise(tokens[:0])  # (P, d) unit vectors of the pool
    pool, nearest, order = path[:0], torch.full_like(path, -1), torch.full_like(path, -1)
    similarity = torch.full_like(path, torch.nan, dtype=directions.dtype)
    start = 0
    while start < len(path) and len(pool) < capacity:
        batch = path[start : start + block]
        unit = F.normalize(precise(tokens[batch]), dim=-1)
        cosine = unit @ directions.T
        unlike = (cosine < tau - TOLERANCE).all(dim=1).nonzero().flatten()
        taken = unlike[_first_unlike(unit[unlike], tau - TOLERANCE)][: capacity - len(pool)]
        pool = torch.cat([pool, batch[taken]])
        directions = torch.cat([directions, unit[taken]])
        turns = len(batch) if len(pool) < capacity else int(taken[-1]) + 1

        reached, turn = batch[:turns], torch.arange(turns, device=path.device)
        later = turn[:, None] <= taken  # what was taken after a token's turn is not yet there
        among = (unit[:turns] @ unit[taken].T).masked_fill(later, -torch.inf)
        highest = torch.cat([cosine[:turns], among], dim=1).max(dim=1)
        similarity[reached], nearest[reached] = highest.values, pool[highest.indices]
        order[reached] = start + turn
        start, block = start + turns, min(2 * block, LONGEST)
    nearest[similarity == -torch.inf] = -1
    return Walk(pool, similarity, nearest, order)


def _first_unlike(unit: Tensor, limit: float) -> Tensor:
    """Return (b,) bool: which unit vectors (b, d) are taken when earlier ones are taken first.

    The greedy choice without a loop over tokens. Those whom nobody before them can hinder are
    taken, those like them are out, and so on with the rest; how often is the length of the longest
    chain of tokens that hinder each other, a few.
    """
    alike = (unit @ unit.T >= limit).tril(-1)  # [i, j]: j comes before i and is like it
    left = torch.ones(len(unit), dtype=torch.bool, device=unit.device)
    while True:
        taken = left & ~(alike & left).any(dim=1)
        remaining = left & ~(alike & taken).any(dim=1)
        if torch.equal(remaining, taken):
            return taken
        left = remaining
