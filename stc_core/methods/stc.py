"""Unified spatiotemporal token compression (STC). Du et al., CVPR 2026, arXiv 2603.21957."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import (
    Decision,
    Method,
    check_inside,
    check_layer,
    check_number,
    check_one_of,
    check_outside,
    check_whole,
    round_half_up,
    settled,
    text_without,
)
from stc_core.methods.parts.clustering import Points, density_peaks, nearest_center
from stc_core.methods.parts.merging import most_alike, text_relevance
from stc_core.methods.parts.progress import part_of_progress, report
from stc_core.methods.parts.selection import retention_pool, strongest
from stc_core.methods.parts.sharing import apportion
from stc_core.methods.parts.windows import frames_at_once
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

# The seven rows of the paper's table of modules: which parts of the outside stage are on.
ABLATIONS: dict[str, dict[str, Any]] = {
    row: {"contribution": "A" in row, "similarity": "S" in row, "clusters": "C" in row}
    for row in ("A", "S", "C", "AS", "AC", "SC", "ASC")
}


@dataclass(frozen=True, kw_only=True)
class STC(Method):
    """Fill one global pool with contributing, unlike tokens; cluster the rest; merge by question.

    Outside the LLM (section 3.1 and 3.2 of the paper) tokens enter a retention pool by falling
    contribution as long as they are unlike what is in it; the others are recycled by clustering.
    After layer K of the LLM (section 3.3) the tokens that matter least to the question are averaged
    into the most similar ones that stay.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    tau : float
        A candidate with a cosine of tau or more to a pool token is redundant; in [-1, 1].
    cluster_ratio : float
        Share of the budget that goes to cluster centers; in [0, 1].
    layer : int, optional
        K: the inside stage acts after this decoder layer. Default: 18/28 of the depth.
    keep_inside : float
        R: share of the video tokens that leave layer K; 1 switches the inside stage off.
    lam : float
        Weight of similarity against attention in the relevance; in [0, 1].
    neighbors : int
        k of DPC-KNN, the token itself counted.
    contribution, similarity, clusters : bool
        Parts of the outside stage, for ablations (``ABLATIONS`` holds the paper's seven rows); at
        least one must be on. What stands in for a part that is off is said below.
    walk : str
        The order in which tokens are visited without ``contribution``: "raster", first frame first;
        "spread", the order that halves the largest gap again and again (bit reversal), so that a
        pool that fills early has seen the whole video.
    window : int, optional
        Frames. Centers are looked for in so many frames at a time, each with its share of them, and
        the time for it grows with the length of the video instead of its square. 0: in the whole
        video at once, which is the paper's method. Default: 0 below 25,000 video tokens, from there
        on the frames that have 4,096 tokens.
    heads : str
        How the heads' attention from text to video tokens is joined after layer K: "mean", or
        "max", another reading of the paper.
    text : str
        What of the text tokens is compared with the video tokens' hidden states after layer K:
        their "hidden" states there, or, another reading, their "embeddings".

    Deviations and choices
    ----------------------
    The paper leaves these open; each is what the code does.

    * Budget: the paper's rounding per frame on grids of 100 tokens a frame or more, one rounding
      for the whole video on coarser ones (``paper_budget``). Halves are rounded up everywhere.
    * Contribution: mean over heads of the attention received (the sources disagree between mean and
      maximum), from the layer whose output is the feature unless the checkpoint records a better
      one.
    * Cosines within 1e-6 of tau count as tau, so that equal tokens are redundant at tau = 1. The
      first token of the walk always enters: the pool is empty and nothing is redundant to it.
    * A pool left short by tau passes its places on to clusters, so the budget is met exactly, with
      cluster_ratio 0 as well. With no cluster at all the recycled tokens are dropped.
    * DPC-KNN: Euclidean distance / sqrt(width), k = 7 with the token itself counted (as the
      published codes of HoliTom and FlashVID), ties to the earlier token, no random term.
    * In windows the centers of each are as many as its share of the recycled tokens, by largest
      remainder; a token joins its nearest center, be it in another window. From 25,000 tokens on
      windows are the default; docs/long-video.md has the difference from the whole video at once.
    * A cluster's token is the plain mean of its members, center included, at the center's place.
    * Text tokens of the inside stage are all tokens after the video (the question and what the chat
      template adds); tokens before it cannot attend to it.
    * Hidden states are those that leave layer K, attention weights those within it. Equal values
      everywhere normalize to zero.
    * A token merged inside counts once in the mean, however many tokens it carries already.
    * Without ``contribution`` tokens are visited in the order of ``walk``.
    * Without ``similarity`` nothing is redundant. With neither of the two there is nothing to
      choose a pool by, and the whole budget goes to clusters.
    * Without ``clusters`` the pool takes the whole budget and the rest is dropped. Places that tau
      leaves empty go to the visited tokens that were least similar to the pool, earlier visits
      first: the threshold gives way as little as it can.
    * Newline tokens that a model adds to its video are neither counted nor compressed.
    """

    tau: float = 0.7
    cluster_ratio: float = 0.3
    layer: int | None = None
    keep_inside: float = 0.5
    lam: float = 0.5
    neighbors: int = 7
    contribution: bool = True
    similarity: bool = True
    clusters: bool = True
    walk: str = "raster"
    window: int | None = None
    heads: str = "mean"
    text: str = "hidden"

    def __repr__(self) -> str:
        return text_without(self, ("window", "heads", "text"))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("tau", self.tau, -1, 1)
        check_number("cluster_ratio", self.cluster_ratio, 0, 1)
        check_number("keep_inside", self.keep_inside, 0, 1, above=True)
        check_number("lam", self.lam, 0, 1)
        if self.layer is not None:
            check_whole("layer", self.layer, 0)
        check_whole("neighbors", self.neighbors, 1)
        for part in ("contribution", "similarity", "clusters"):
            if not isinstance(getattr(self, part), bool):
                raise InputError(f"{part} must be True or False, not {getattr(self, part)!r}")
        if not (self.contribution or self.similarity or self.clusters):
            raise InputError("contribution, similarity and clusters are all off; leave one on")
        check_one_of("walk", self.walk, ("raster", "spread"))
        check_one_of("heads", self.heads, ("mean", "max"))
        check_one_of("text", self.text, ("hidden", "embeddings"))
        if self.window is not None:
            check_whole("window", self.window, 0)

    @property
    def attentive(self) -> bool:
        return self.contribution

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        budget = self.budget(grid)
        capacity = budget - (round_half_up(self.cluster_ratio * budget) if self.clusters else 0)
        if not self.contribution:
            capacity = capacity if self.similarity else 0
            contribution = self._uninformed(contribution)
        tau = self.tau if self.similarity else math.inf
        pool, *reached = retention_pool(tokens, contribution, capacity, tau)
        notes = dict(zip(("similarity", "nearest", "order"), reached, strict=True))
        if not self.clusters:
            pool = _filled(pool, notes["similarity"], contribution, budget)
            return Decision.keeping(pool, len(tokens), Fate.DROPPED, **notes)
        n, device = len(tokens), tokens.device
        fate = torch.full((n,), int(Fate.DROPPED), dtype=torch.uint8, device=device)
        target = torch.full((n,), -1, dtype=torch.int64, device=device)
        fate[pool], target[pool] = int(Fate.KEPT), pool
        if len(pool) < budget:
            recycled = (fate == int(Fate.DROPPED)).nonzero().flatten()
            points = Points(tokens, recycled)
            centers = self._centers(points, budget - len(pool), grid)
            nearest = nearest_center(points, centers)
            fate[recycled] = int(Fate.MERGED)
            fate[recycled[centers]] = int(Fate.CENTER)
            target[recycled] = recycled[nearest]
        return Decision.of(fate, target, **notes)

    def _centers(self, points: Points, count: int, grid: TokenGrid) -> Tensor:
        """Return (count,) int64, ascending: the density peaks among the recycled tokens."""
        window = frames_at_once(self.window, grid)
        if window == grid.frames:
            return density_peaks(points, count, self.neighbors)
        sizes = torch.bincount(points.among // (window * grid.per_frame)).tolist()
        first, centers = 0, []
        for size, share in zip(sizes, apportion(count, sizes, sizes), strict=True):
            last = first + size
            if share:
                mine = Points(points.tokens, points.among[first:last])
                with part_of_progress(first / points.size, last / points.size):
                    centers.append(first + density_peaks(mine, share, self.neighbors))
                report(last / points.size)
            first = last
        return torch.cat(centers)

    def _uninformed(self, contribution: Tensor) -> Tensor:
        """Return (N,) numbers that fall along the walk of an ablation without contribution."""
        n = len(contribution)
        places = torch.arange(n, device=contribution.device)
        if self.walk == "spread":
            bits = range(max(1, (n - 1).bit_length()))
            moved = ((places >> bit & 1) << (bits[-1] - bit) for bit in bits)
            places = sum(moved, start=torch.zeros_like(places))
        return -places

    def inside_layer(self, depth: int) -> int | None:
        """Return K; ``InputError`` where the model has no layer after it."""
        if self.keep_inside == 1:
            return None
        return check_layer(paper_layer(depth) if self.layer is None else self.layer, depth)

    @property
    def inside_heads(self) -> str:
        return self.heads

    @property
    def inside_text(self) -> str:
        return self.text

    def inside_budget(self, entered: int) -> int:
        if self.keep_inside == 1:
            return entered
        return max(1, round_half_up(self.keep_inside * entered))

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        check_inside(visual, text, attention)
        relevance = text_relevance(visual, text, attention, self.lam)
        survivors = strongest(relevance, self.inside_budget(len(visual)))
        fate = torch.full(
            (len(visual),), int(Fate.MERGED_INSIDE), dtype=torch.uint8, device=visual.device
        )
        fate[survivors] = int(Fate.KEPT)
        return Decision.of(fate, most_alike(visual, survivors), relevance=relevance)


def paper_layer(depth: int) -> int:
    """Return K for a model of this depth: 18 of 28 layers, 0..K at full length (section 4)."""
    return max(0, min(round_half_up(18 / 28 * depth), depth - 2))


def _filled(pool: Tensor, similarity: Tensor, contribution: Tensor, budget: int) -> Tensor:
    """Return the pool and, up to the budget, the rejected tokens least similar to it."""
    if len(pool) == budget:
        return pool
    order = torch.sort(contribution, descending=True, stable=True).indices
    rejected = order[~torch.isin(order, pool)]
    closest = torch.sort(settled(similarity[rejected]), stable=True).indices
    return torch.cat([pool, rejected[closest[: budget - len(pool)]]])
