"""PruneVid's stage inside the LLM: pruning by the question. Huang et al., arXiv 2412.16117."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Method,
    check_inside,
    check_layer,
    check_one_of,
    check_whole,
    round_half_up,
)
from stc_core.methods.parts.merging import keep_relevant
from stc_core.methods.parts.sharing import round_down
from stc_core.record.grid import TokenGrid


def prune_by_question(attention: Tensor, keep: int) -> Decision:
    """Drop all but the ``keep`` video tokens that some text token attends to most.

    ``relevance_i = max_t A[t, i]`` over the text tokens after the video, scaled to 0..1. Made for
    the ``inside`` of any method: what its own outside stage did does not matter here.

    Parameters
    ----------
    attention : (q, n)
        Weights from the text tokens to the video tokens in layer K, heads joined.
    keep : int
        At least 1 and at most n.
    """
    return keep_relevant(attention.amax(dim=0), keep)


@dataclass(frozen=True, kw_only=True)
class PruneVid(Method):
    """Let all video tokens in; after layer K keep those that the question attends to most.

    The "LLM-guided token selection" of the paper: tokens are ranked by the highest attention that
    any text token after the video pays them in layer K, ``retention`` of them stay and the others
    are dropped (``prune_by_question``, which other methods can use for their own inside stage).

    Parameters
    ----------
    retention : float
        alpha, the share of the video tokens that *remain after layer K*: all of them enter the LLM.
        Published 0.4.
    layer : int, optional
        K: the stage acts after this decoder layer. Default: 10/32 of the depth, the published layer
        10 of a 32-layer LLM.
    heads : str
        How the heads' attention weights are joined: "max", as published, or "mean".

    Deviations and choices
    ----------------------
    * Only this stage. Published, static and dynamic tokens of scenes are merged to about half
      before the LLM; the share is then kept of each scene's static tokens and each frame's dynamic
      ones. Without that stage there are no such groups, and one ranking goes over the whole video.
    * The layers up to K keep their long cache; published, it is shortened to the tokens that stay.
    * ``floor(retention * N)`` tokens remain, as published, and at least one. Ties go to the earlier
      token, weights are compared after scaling to 0..1 and rounding to twelve decimals.
    * Survivors keep their position ids, as published.
    """

    layer: int | None = None
    heads: str = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of("heads", self.heads, ("max", "mean"))
        if self.layer is not None:
            check_whole("layer", self.layer, 0)

    def asked(self, grid: TokenGrid) -> int:
        """Return N: all tokens enter the LLM, ``retention`` is about those that leave layer K."""
        return grid.size

    def inside_layer(self, depth: int) -> int | None:
        """Return K; None where nothing is to be dropped."""
        if self.retention == 1:
            return None
        layer = min(round_half_up(10 / 32 * depth), depth - 2) if self.layer is None else self.layer
        return check_layer(layer, depth)

    @property
    def inside_heads(self) -> str:
        return self.heads

    def inside_budget(self, entered: int) -> int:
        return max(1, round_down(self.retention * entered))

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        check_inside(visual, text, attention)
        return prune_by_question(attention, self.inside_budget(len(visual)))
