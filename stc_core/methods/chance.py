"""Keep random video tokens: the baseline that a method must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import Decision, Method, check_outside, check_whole
from stc_core.record.grid import TokenGrid


@dataclass(frozen=True, kw_only=True)
class Random(Method):
    """Keep B tokens drawn without replacement from the whole video. A baseline, no publication.

    Every set of B tokens is equally likely; all others are dropped. Looks at no number.

    Parameters
    ----------
    seed : int
        Of the draw, from 0. The same seed, N and B give the same tokens on every device and for
        every clip: vary the seed to average over draws.

    Deviations and choices
    ----------------------
    * Drawn on the CPU, whatever the device of the tokens. With one seed a larger budget holds all
      tokens of a smaller one.
    * The module is not named after the class, to stay clear of the standard library's ``random``.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("seed", self.seed, 0)
        if self.seed >= 1 << 63:
            raise InputError(f"seed must be below 2**63, not {self.seed}")

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        drawn = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(self.seed))
        chosen = drawn[: self.budget(grid)].sort().values
        return Decision.keeping(chosen.to(tokens.device), len(tokens))
