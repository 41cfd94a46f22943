"""FastV: pruning by attention after an early layer of the LLM. Chen et al., ECCV 2024."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Late,
    check_inside,
    round_half_up,
)
from stc_core.methods.parts.merging import keep_relevant


@dataclass(frozen=True, kw_only=True)
class FastV(Late):
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
      to 0..1 and rounding to twelve decimals, ties go to the earlier token.
    * Pruned once, at prefill, rows and cache entries taken away: neither the published variant that
      only masks nor the one that prunes anew at each step.
    * Survivors keep their position ids, as published.
    """

    def inside_budget(self, entered: int) -> int:
        return max(1, round_half_up(self.retention * entered))

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        check_inside(visual, text, attention)
        return keep_relevant(attention[-1], self.inside_budget(len(visual)))
