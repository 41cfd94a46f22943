"""Unified spatiotemporal token compression (STC). Du et al., CVPR 2026, arXiv 2603.21957."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..grid import TokenGrid
from ..trace import Fate
from .base import Decision, Method, check_features, check_number, round_half_up
from .clustering import dpc_knn
from .merging import most_alike, text_relevance
from .selection import retention_pool


@dataclass(frozen=True, kw_only=True)
class STC(Method):
    """One global pool of contributing, unlike tokens; the rest clustered; then merged by question.

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
    * A cluster's token is the plain mean of its members, center included, at the center's place.
    * Text tokens of the inside stage are all tokens after the video (the question and what the chat
      template adds); tokens before it cannot attend to it.
    * Hidden states are those that leave layer K, attention weights those within it, mean over
      heads. Equal values everywhere normalise to zero.
    * A token merged inside counts once in the mean, however many tokens it carries already.
    * Newline tokens that a model adds to its video are neither counted nor compressed.
    """

    tau: float = 0.7
    cluster_ratio: float = 0.3
    layer: int | None = None
    keep_inside: float = 0.5
    lam: float = 0.5
    neighbors: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("tau", self.tau, -1, 1)
        check_number("cluster_ratio", self.cluster_ratio, 0, 1)
        check_number("keep_inside", self.keep_inside, 0, 1, above=True)
        check_number("lam", self.lam, 0, 1)
        for name, value, low in (("layer", self.layer, 0), ("neighbors", self.neighbors, 1)):
            if value is None and name == "layer":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise InputError(f"{name} must be a whole number from {low}, not {value!r}")

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_features("video tokens", tokens, 2)
        check_features("contributions", contribution, 1)
        n = len(tokens)
        if not n == len(contribution) == grid.size:
            raise InputError(
                f"{n} tokens, {len(contribution)} contributions and a grid of {grid.size} "
                f"do not belong together"
            )
        budget = self.budget(grid)
        capacity = budget - round_half_up(self.cluster_ratio * budget)
        pool, similarity = retention_pool(tokens, contribution, capacity, self.tau)
        kinds = {"dtype": torch.uint8, "device": tokens.device}
        fate = torch.full((n,), int(Fate.DROPPED), **kinds)
        target = torch.full((n,), -1, dtype=torch.int64, device=tokens.device)
        fate[pool], target[pool] = int(Fate.KEPT), pool
        if len(pool) < budget:
            recycled = (fate == int(Fate.DROPPED)).nonzero().flatten()
            centers, nearest = dpc_knn(tokens[recycled], budget - len(pool), self.neighbors)
            fate[recycled] = int(Fate.MERGED)
            fate[recycled[centers]] = int(Fate.CENTER)
            target[recycled] = recycled[nearest]
        return Decision.of(fate, target, similarity=similarity)

    def inside_layer(self, depth: int) -> int | None:
        """K. ``InputError`` where the model has no layer after it.

        Paper, section 4: K = 18 of 28 layers, layers 0..K at full length.
        """
        if self.keep_inside == 1:
            return None
        layer = round_half_up(18 / 28 * depth) if self.layer is None else self.layer
        layer = min(layer, depth - 2) if self.layer is None else layer
        if not 0 <= layer <= depth - 2:
            raise InputError(
                f"layer {layer} is outside this model: its {depth} layers allow 0 to {depth - 2}, "
                f"so that at least one layer follows"
            )
        return layer

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        for name, tensor in (
            ("hidden states of video tokens", visual),
            ("hidden states of text tokens", text),
            ("attention weights", attention),
        ):
            check_features(name, tensor, 2)
        if attention.shape != (len(text), len(visual)) or not len(text):
            raise InputError(
                f"attention of shape {tuple(attention.shape)} does not join {len(text)} text to "
                f"{len(visual)} video tokens"
            )
        relevance = text_relevance(visual, text, attention, self.lam)
        keep = max(1, round_half_up(self.keep_inside * len(visual)))
        order = torch.sort(relevance, descending=True, stable=True).indices
        survivors = order[:keep].sort().values
        fate = torch.full(
            (len(visual),), int(Fate.MERGED_INSIDE), dtype=torch.uint8, device=visual.device
        )
        fate[survivors] = int(Fate.KEPT)
        return Decision.of(fate, most_alike(visual, survivors), relevance=relevance)
