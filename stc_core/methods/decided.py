"""Repeat a decision before the LLM that was made earlier on the same clip."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from stc_core.methods.base import Around, Decision
from stc_core.record.grid import TokenGrid


@dataclass(frozen=True)
class Decided(Around):
    """Apply a known ``decision`` before the LLM, and ``method`` after layer K.

    Nothing of the vision tower is read, since the decision needs it no more.

    Parameters
    ----------
    method : Method
    decision : Decision
        On the N tokens of the clip.
    contribution : (N,) float
        What it was made by, for the trace.
    """

    decision: Decision = field(compare=False, repr=False)
    contribution: Tensor = field(compare=False, repr=False)

    @property
    def divisible(self) -> bool:
        return False

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        return self.decision
