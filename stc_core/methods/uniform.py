"""Keep every n-th video token: the baseline without any knowledge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import Decision, Method, check_outside
from stc_core.record.grid import TokenGrid

GOLDEN = 0.6180339887498949  # its multiples, modulo 1, fill an interval evenly


@dataclass(frozen=True, kw_only=True)
class Uniform(Method):
    """Keep B tokens at equal distances in the flattened video. A baseline, not a publication.

    The N tokens in raster order are cut into B intervals of length N / B; the token in the middle
    of each stays, all others are dropped. Looks at no number.

    Parameters
    ----------
    place : str
        Which token of its interval stays: "middle", or "golden", the i-th at the fraction
        ``i * 0.618... mod 1``.

    Deviations and choices
    ----------------------
    * The budget is met exactly for every ratio: intervals differ in length by at most one token.
    * Where B is a multiple of T or T of B, "middle" hits the same cells in every frame it visits:
      16 of 32 x 5 x 5 tokens are the corner of every second frame. That is what "every n-th token"
      means and a handicap to know of; "golden" is as even and has no such rhythm.
    """

    place: str = "middle"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.place not in ("middle", "golden"):
            raise InputError(f"place must be 'middle' or 'golden', not {self.place!r}")

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        n, budget = len(tokens), self.budget(grid)
        start = [i * n // budget for i in range(budget + 1)]
        if self.place == "middle":
            chosen = [(2 * i + 1) * n // (2 * budget) for i in range(budget)]
        else:
            chosen = [
                start[i] + int(i * GOLDEN % 1 * (start[i + 1] - start[i])) for i in range(budget)
            ]
        return Decision.keeping(torch.tensor(chosen, device=tokens.device), n)
