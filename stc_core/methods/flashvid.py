"""FlashVID: diverse tokens of each frame, trees over time of the rest. arXiv 2602.08024."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Method,
    check_inside,
    check_layer,
    check_number,
    check_outside,
    check_whole,
    frame_means,
    grain_of,
    precise,
    round_half_up,
    settled,
)
from stc_core.methods.fastvid import segment
from stc_core.methods.parts.clustering import dpc_knn
from stc_core.methods.parts.merging import keep_relevant
from stc_core.methods.parts.sharing import apportion, round_up
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

BITS = 40  # binary digits to which calibrated distances are compared: beyond is rounding


@dataclass(frozen=True, kw_only=True)
class FlashVID(Method):
    """Keep attended, unlike tokens of each frame; join the rest into trees over time; prune inside.

    The video is cut into segments as by FastVID: at the ``segments - 1`` lowest cosines of
    consecutive frames and wherever the cosine is below tau. Frames share the budget equally.

    "Attention and diversity-based token selection" (ADTS) takes ``diverse`` of a frame's budget.
    The distance from token i to token j of a frame is ``D_ij = (1 - cos(x_i, x_j)) * c_j * e_j``,
    c the contribution and ``e_j`` the event relevance, the mean of ``<x_j, m>`` over the mean
    tokens m of the segment's frames. First comes the token that is farthest from its nearest
    neighbor, ``argmax_j min_i D_ij`` (i other than j), then again and again the one that is
    farthest from those taken, ``argmax_j min_(i taken) D_ij``.

    "Tree-based spatiotemporal token merging" (TSTM): each other token of a frame points to the
    token of highest cosine, at whatever place, among the others of the frame before it in its
    segment; above ``alike`` it is joined to it. Every tree becomes the mean of its tokens, at its
    root. Then the roots of each frame are clustered (DPC-KNN); the plain mean of a cluster's trees
    goes on at its center's place.

    Inside the LLM the video tokens that the prompt's last token attends to least are dropped.

    Parameters
    ----------
    retention : float
        Share of the video tokens that *enter the LLM*, as everywhere in this package. The published
        R is an average over layers: ``1.25 R`` enters, since ``1.25 * (20 + 0.3 * 8) / 28 = 1``. So
        "R = 10 %" is ``retention=0.125``.
    segments : int
        At least so many segments, where there are frames enough.
    tau : float
        Consecutive frames whose mean tokens have a cosine below it are cut apart; in [-1, 1].
    diverse : float
        Share of a frame's budget that ADTS selects, rounded up; in [0, 1].
    event_relevance : bool
        Scale distances by e, too ("ADTS v2", published for LLaVA). Without it: the published form
        for Qwen.
    alike : float
        Tokens of consecutive frames are joined above this cosine; in [-1, 1].
    neighbors : int
        k of DPC-KNN, the token itself counted.
    few_neighbors : bool
        k is at most the number of centers, as published. One center then is the frame's first root,
        whatever it shows: with k = 1 all densities are equal. With False k is ``neighbors`` for any
        number of centers.
    layer : int, optional
        K: the inside stage acts after this decoder layer. Default: the last of the first 20/28 of
        the layers, after which the published code prunes ("before layer 20").
    keep_inside : float
        Share of the video tokens that leave layer K, rounded up; 1 switches the inside stage off.

    Deviations and choices
    ----------------------
    * The budget is met exactly: frames get theirs by largest remainder, evenly spread over time,
      and so do the frames of a segment for their clusters, in proportion to their roots. Published,
      each of these numbers is rounded up: more tokens than asked, by a number that depends on the
      clip. A frame left without a cluster drops its roots, as a segment without any does.
    * Trees are true means. The published code passes the *sum* of a branch up but counts the branch
      as one token: the root of a thing that stands still for F frames is F / 2 times too long, and
      the clusters see these lengths. Shares here sum to 1, so that no ``Decision`` can hold that.
    * There are at least as many roots as clusters: where the threshold leaves fewer, it is raised
      to the cosine at which they would be as many, and only what is above it is joined (published).
    * A token that ADTS took is not clustered again; the published code clusters all tokens of a
      segment of one frame.
    * A token is taken once. Where the relevance is negative, so are the distances, as published.
    * DPC-KNN as in ``dpc_knn``: Euclidean distance / sqrt(width), no random term.
    * Contribution is what every method here gets; published for SigLIP: the attention received in
      the tower's last layer, the default signal.
    * Survivors keep their position ids unless ``positions="compact"``; published for LLaVA, they
      are numbered anew.
    * Distances are compared to forty binary digits of a frame's largest, cosines after rounding to
      twelve decimals; ties go to the earlier token.
    * Tested against a slow reference; no results of the published code are at hand.
    """

    segments: int = 8
    tau: float = 0.9
    diverse: float = 0.7
    event_relevance: bool = True
    alike: float = 0.8
    neighbors: int = 7
    few_neighbors: bool = True
    layer: int | None = None
    keep_inside: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("segments", "neighbors"):
            check_whole(name, getattr(self, name), 1)
        for name in ("tau", "alike"):
            check_number(name, getattr(self, name), -1, 1)
        check_number("diverse", self.diverse, 0, 1)
        if self.layer is not None:
            check_whole("layer", self.layer, 0)
        check_number("keep_inside", self.keep_inside, 0, 1, above=True)

    @property
    def attentive(self) -> bool:
        return True

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        n, total, device = grid.per_frame, grid.size, tokens.device
        features = frame_means(tokens, n)
        kept = apportion(self.budget(grid), [1] * grid.frames, [n] * grid.frames)
        taken = [round_up(self.diverse * count) for count in kept]

        fate = torch.full((total,), int(Fate.DROPPED), dtype=torch.uint8, device=device)
        target = torch.full((total,), -1, dtype=torch.int64, device=device)
        weight = precise(torch.ones(total, device=device))
        for start, stop in segment(features, self.segments, self.tau):
            part = slice(start * n, stop * n)
            here, given = tokens[part], contribution[part]
            chosen = self._diverse(here, given, features[start:stop].mean(dim=0), taken[start:stop])
            pool = sum(kept[start:stop]) - sum(taken[start:stop])
            goal, size = self._clustered(here, chosen.view(stop - start, n), pool)
            every = torch.arange(len(goal), device=device)
            goal = torch.where(chosen, every, goal)
            kind = torch.where(goal == every, int(Fate.CENTER), int(Fate.MERGED))
            kind[goal < 0], kind[chosen] = int(Fate.DROPPED), int(Fate.KEPT)
            fate[part], weight[part] = kind.to(torch.uint8), 1 / precise(size)
            target[part] = torch.where(goal < 0, -1, goal + part.start)
        return Decision.of(fate, target, weight)

    def _diverse(
        self, tokens: Tensor, contribution: Tensor, event: Tensor, counts: list[int]
    ) -> Tensor:
        """Return (M,) bool: what ADTS takes of a segment's tokens (M, d), so many of each frame.

        event (d,) is the mean token of the segment.
        """
        found = []
        n = len(tokens) // len(counts)
        for frame, given, count in zip(tokens.split(n), contribution.split(n), counts, strict=True):
            worth = precise(given)
            if self.event_relevance:
                worth = worth * (precise(frame) @ event)
            found.append(farthest(frame, worth, count))
        return torch.cat(found)

    def _clustered(self, tokens: Tensor, chosen: Tensor, pool: int) -> tuple[Tensor, Tensor]:
        """Return where each of a segment's tokens (L * n, d) goes (-1: dropped), and its tree size.

        chosen (L, n) bool are not to be joined; ``pool`` clusters are to be made of the others.
        """
        frames, n = chosen.shape
        goal = torch.full((frames * n,), -1, dtype=torch.int64, device=tokens.device)
        if not pool:
            return goal, torch.ones_like(goal)
        root = grown(tokens, ~chosen, self.alike, pool)
        every = torch.arange(len(goal), device=tokens.device)
        fate = torch.where(root == every, int(Fate.CENTER), int(Fate.MERGED))
        fate[chosen.flatten()] = int(Fate.DROPPED)
        target = torch.where(chosen.flatten(), -1, root)
        trees = Decision.of(fate, target)
        means, roots = trees.apply(precise(tokens)), trees.survivors
        sizes = torch.bincount(roots // n, minlength=frames).tolist()
        places = apportion(pool, sizes, sizes)
        for mine, mean, count in zip(roots.split(sizes), means.split(sizes), places, strict=True):
            if count:
                k = min(self.neighbors, count) if self.few_neighbors else self.neighbors
                goal[mine] = mine[dpc_knn(mean, count, k)[1]]
        return goal[root], torch.bincount(root, minlength=len(root))[root]

    def inside_layer(self, depth: int) -> int | None:
        """Return K; ``InputError`` where the model has no layer after it."""
        if self.keep_inside == 1:
            return None
        full = max(1, round_half_up(20 / 28 * depth))
        return check_layer(min(full - 1, depth - 2) if self.layer is None else self.layer, depth)

    def inside_budget(self, entered: int) -> int:
        return max(1, round_up(self.keep_inside * entered))

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        check_inside(visual, text, attention)
        return keep_relevant(attention[-1], self.inside_budget(len(visual)))


def farthest(tokens: Tensor, worth: Tensor, count: int) -> Tensor:
    """Return (n,) bool: ``count`` tokens far from each other, ``(1 - cos(x_i, x_j)) * worth_j``.

    Greedy: first the token of tokens (n, d) that is farthest from its nearest other, then the one
    farthest from all taken before; ties to the earlier.
    """
    unit = F.normalize(precise(tokens), dim=-1)
    apart = (1 - settled(unit @ unit.T)) * worth
    apart = settled(apart, grain_of(apart.abs().max(), BITS))
    score = apart.topk(min(2, len(apart)), dim=0, largest=False).values[-1]  # the lowest: itself
    least = torch.full_like(score, torch.inf)
    taken = torch.zeros_like(score, dtype=torch.bool)
    for _ in range(count):
        pick = score.argmax()
        taken[pick] = True
        least = torch.minimum(least, apart[pick])
        score = least.masked_fill(taken, -torch.inf)
    return taken


def grown(tokens: Tensor, free: Tensor, alike: float, least: int) -> Tensor:
    """Return (L * n,) int64: the root of each token's tree; a token that joins nothing is its own.

    Parameters
    ----------
    tokens : (L * n, d)
    free : (L, n) bool
        Which tokens may join and be joined.
    alike : float
        They do where the highest cosine to a free token of the frame before is above it.
    least : int
        So many of the free tokens stay roots, at least.
    """
    frames, n = free.shape
    cell = torch.arange(frames * n, device=tokens.device).view(frames, n)
    parent, highest = cell.clone(), precise(torch.full_like(cell, -2, dtype=torch.float32))
    before = F.normalize(precise(tokens[:n]), dim=-1)
    for t in range(1, frames):
        unit = F.normalize(precise(tokens[cell[t]]), dim=-1)
        cosine = settled(unit @ before.T).masked_fill(~free[t - 1], -2.0)
        best = cosine.argmax(dim=1)
        highest[t] = cosine.gather(1, best[:, None]).flatten().masked_fill(~free[t], -2.0)
        parent[t], before = cell[t - 1, best], unit
    joins, most = highest > alike, int(free.sum()) - least
    if int(joins.sum()) > most:
        joins = highest > (highest.flatten().topk(most).values[-1] if most else torch.inf)
    root = cell.clone()
    for t in range(1, frames):
        root[t] = torch.where(joins[t], root.flatten()[parent[t]], cell[t])
    return root.flatten()
