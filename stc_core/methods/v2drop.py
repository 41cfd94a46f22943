"""V2Drop: drop the tokens that a layer of the LLM left unchanged. arXiv 2509.01552."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Late,
    check_inside,
    precise,
)
from stc_core.methods.parts.merging import keep_relevant
from stc_core.methods.parts.sharing import round_down


@dataclass(frozen=True, kw_only=True)
class V2Drop(Late):
    """Let all video tokens in; after layer K keep those that this layer changed most.

    The variation of token i is ``|h_i - g_i|``, the Euclidean distance of the states g that enter
    layer K and h that leave it; ``retention`` of the tokens stay, those of greatest variation, and
    the others are dropped. No attention, no question.

    Parameters
    ----------
    retention : float
        Share of the video tokens that *remain after layer K*: all of them enter the LLM.
    layer : int
        K, counted from 0. Published for LLaVA-1.5 and Qwen2-VL, tokens are first dropped before
        their layer 3: after layer 2.

    Deviations and choices
    ----------------------
    * One stage. Published are three, before layers 3, 17 and 22 of 32 with shares of 0.5, 0.5 and 0
      (LLaVA-1.5; before 3, 16 and 22 with 0.25, 0.05 and 0 for Qwen2-VL), where 0 leaves one token;
      a model is shortened after one layer here. So at equal ``retention`` less is spent here in
      the layers between the published stages, and more after the last.
    * ``max(1, floor(retention * n))`` tokens remain, as published. Variations are compared after
      scaling to 0..1 and rounding to twelve decimals, ties go to the earlier token.
    * In half precision the difference is taken in float32; published, in the model's precision.
    * Survivors keep their position ids, as published.
    """

    def inside_budget(self, entered: int) -> int:
        return max(1, round_down(self.retention * entered))

    @property
    def inside_visual(self) -> str:
        return "change"

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        """Decide by what layer K added to the video tokens, visual (n, d)."""
        check_inside(visual, text, attention)
        return keep_relevant(precise(visual).norm(dim=-1), self.inside_budget(len(visual)))
