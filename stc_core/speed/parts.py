"""Measure the parts of STC, its rivals, and the obvious way to write it."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods import METHODS, STC
from stc_core.methods.base import Method, check_outside
from stc_core.methods.parts.clustering import density_peaks, nearest_center
from stc_core.methods.parts.points import Points, float64_only
from stc_core.methods.parts.selection import retention_pool
from stc_core.record.grid import TokenGrid
from stc_core.speed.clocks import seconds_of

RIVALS = ("stc", "fastvid", "holitom", "visionzip", "vidcom2", "evs")
ROWS = 2048  # of the floor's product at a time


def product(tokens: Tensor, dtype: torch.dtype = torch.float32) -> None:
    """Compute x x^T of all tokens (N, d), some rows at a time: the least that STC could cost."""
    x = tokens.to(dtype)
    for rows in x.split(ROWS):
        rows @ x.T


def stages(tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> dict[str, float]:
    """Measure the parts of ``STC()`` and its two stages.

    Parameters
    ----------
    tokens : (N, d)
    contribution : (N,)
    grid : TokenGrid

    Returns
    -------
    dict
        Name of the part -> seconds.
    """
    method, device = STC(), tokens.device
    budget = method.budget(grid)
    capacity = budget - round(method.cluster_ratio * budget)
    pool = retention_pool(tokens, contribution, capacity, method.tau).pool
    rest = torch.ones(grid.size, dtype=torch.bool, device=device)
    rest[pool] = False
    recycled, points = rest.nonzero().flatten(), None

    def placed() -> Points:
        made = Points(tokens, recycled)
        if made.rough is None:
            made.keep()
        return made

    def in_float64() -> None:
        with float64_only():
            method.outside(tokens, contribution, grid).apply(tokens)

    points = placed()
    count = budget - len(pool)
    centers = density_peaks(points, count)
    decision = method.outside(tokens, contribution, grid)
    visual = decision.apply(tokens)
    text, attention = visual[:16], torch.rand(16, len(visual), device=device)
    inside = method.inside(visual, text, attention)
    work = {
        "the product in float64": lambda: product(tokens, torch.float64),
        "checks": lambda: check_outside(tokens, contribution, grid),
        "selection": lambda: retention_pool(tokens, contribution, capacity, method.tau),
        "points": placed,
        "density peaks": lambda: density_peaks(points, count),
        "nearest centers": lambda: nearest_center(points, centers),
        "means": lambda: decision.apply(tokens),
        "outside": lambda: method.outside(tokens, contribution, grid).apply(tokens),
        "outside, all in float64": in_float64,
        "inside": lambda: method.inside(visual, text, attention),
        "means inside": lambda: inside.apply(visual),
    }
    return {name: seconds_of(do, device) for name, do in work.items()}


def _outside(method: Method, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Tensor:
    """Return the stage before the LLM, decision and means."""
    return method.outside(tokens, contribution, grid).apply(tokens)


def rivals(tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> dict[str, float]:
    """Return the seconds of the stage before the LLM: methods of this package, and ``obvious``."""
    spent = {}
    for name in RIVALS:
        spent[name] = seconds_of(
            partial(_outside, METHODS[name](), tokens, contribution, grid),
            tokens.device,
        )
    budget = STC().budget(grid)
    spent["STC, obvious"] = seconds_of(
        lambda: obvious(tokens, contribution, budget), tokens.device, times=1
    )
    return spent


def obvious(
    tokens: Tensor,
    contribution: Tensor,
    budget: int,
    tau: float = 0.7,
    cluster_ratio: float = 0.3,
    k: int = 7,
) -> Tensor:
    """Return (B, d): STC's outside stage as one would first write it, for comparison.

    It makes a round trip to the host for each candidate, several N x N matrices, and a loop over
    clusters.
    """
    x = tokens.float()
    unit = F.normalize(x, dim=-1)
    similarity = unit @ unit.T
    capacity = budget - round(cluster_ratio * budget)
    pool: list[int] = []
    for candidate in contribution.argsort(descending=True).tolist():
        if len(pool) == capacity:
            break
        if not pool or similarity[candidate, pool].max().item() < tau:
            pool.append(candidate)
    recycled = torch.ones(len(x), dtype=torch.bool, device=x.device)
    recycled[pool] = False
    rest = x[recycled]
    distance = torch.cdist(rest, rest) / rest.shape[1] ** 0.5
    density = (-distance.topk(k, largest=False).values.square().mean(dim=1)).exp()
    denser = density[None] > density[:, None]
    separation = torch.where(denser, distance, distance.max()).amin(dim=1)
    centers = (density * separation).topk(budget - len(pool)).indices
    owner = distance[:, centers].argmin(dim=1)
    means = [rest[owner == cluster].mean(dim=0) for cluster in range(len(centers))]
    return torch.cat([x[pool], torch.stack(means)]).to(tokens.dtype)
