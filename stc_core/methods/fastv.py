"""FastV: pruning by attention after an early layer of the LLM. Chen et al., ECCV 2024."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Method,
    check_inside,
    check_layer,
    check_whole,
    precise,
    round_half_up,
    settled,
)
from stc_core.methods.parts.merging import min_max
from stc_core.methods.parts.selection import strongest
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


@dataclass(frozen=True, kw_only=True)
class FastV(Method):
    """Drop the video tokens that the prompt's last token attends to least. arXiv 2403.06764.

    All tokens enter the LLM. In layer K the attention weights of the prompt's last token, mean over
    heads, rank the video tokens; after it the highest stay and the others are dropped.

    Parameters
    ----------
    retention : float
        Share of the video tokens that *remain after layer K*: all of them enter the LLM.
    layer : int
        K: the last layer at full length, counted from 0. The default is the accounting in which
        arXiv 2603.21957 reports "K = 2": three full layers, the attention of the third. The
        authors' own code with its K = 2 runs two: ``layer=1``.

    Deviations and choices
    ----------------------
    * ``round(retention * N)`` tokens remain, at least one: the rounding under which the FLOPs of
      FastV come out in arXiv 2603.21957. Halves are rounded up. Weights are compared after scaling
      to 0..1 and rounding to nine decimals, ties go to the earlier token.
    * Pruned once, at prefill, rows and cache entries taken away: neither the published variant that
      only masks nor the one that prunes anew at each step.
    * Survivors keep their position ids, as published.
    """

    layer: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("layer", self.layer, 0)

    def asked(self, grid: TokenGrid) -> int:
        """Return N: all tokens enter the LLM, ``retention`` is about those that leave layer K."""
        return grid.size

    def inside_layer(self, depth: int) -> int | None:
        """Return K; None where nothing is to be dropped."""
        return None if self.retention == 1 else check_layer(self.layer, depth)

    def inside_budget(self, entered: int) -> int:
        return max(1, round_half_up(self.retention * entered))

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        check_inside(visual, text, attention)
        relevance = settled(min_max(precise(attention[-1])))
        survivors = strongest(relevance, self.inside_budget(len(visual)))
        return Decision.keeping(survivors, len(visual), Fate.DROPPED_INSIDE, relevance=relevance)
