"""SToP: take off the attention that a place receives in every frame. arXiv 2604.20937."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import Around, Decision, check_number, check_outside, precise
from stc_core.methods.parts.merging import min_max
from stc_core.record.grid import TokenGrid

POWER = 1.1
# Published 0.03, 0.02 and 0.04 of the attention that 729 patches share, in multiples of its mean.
STRENGTHS = {"VisionZip": 22.0, "FastVID": 15.0, "FlashVID": 15.0, "HoliTom": 29.0}
STRENGTH = 22.0  # for methods that it was not published for


@dataclass(frozen=True)
class SToP(Around):
    """Let another method choose by contribution less what is bright in every frame.

    High attention at one place of the grid in all frames marks a sink, not content. The sink score
    of a place p is ``s_p = minmax((mean over frames of a_tp)^1.1)``; the method sees ``a - mu * s``
    instead of the contribution a (equation of "spatial" pruning, arXiv 2604.20937). ::

        SToP(VisionZip(retention=0.1))

    Parameters
    ----------
    method : Method
        One that reads contributions: STC, VisionZip, FastVID, HoliTom, FlashVID, Tango.
    strength : float, optional
        mu, in multiples of the clip's mean contribution; at least 0, which changes nothing.
        Default: the published one of the method, else 22. Published values are absolute: 0.03 for
        VisionZip, 0.02 for FastVID and FlashVID, 0.04 for HoliTom, where 729 patches share an
        attention of 1.

    Raises
    ------
    InputError
        On construction: the method reads no contribution, so that there is nothing to take off.

    Deviations and choices
    ----------------------
    * The choice by attention alone is changed. The published code also changes VisionZip's targets,
      the centers of clusters and HoliTom's test for static places, and the first two even at mu =
      0, so that its own baselines are not those of the methods.
    * In a clip of one frame nothing is persistent, and nothing is changed.
    * ``s`` equals that of the published code, and so do the tokens chosen by it
      (``tests/methods/test_stop.py``).
    """

    strength: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.method.attentive:
            raise InputError(
                f"{type(self.method).__name__} reads no attention that SToP could change; wrap a "
                f"method that does, such as VisionZip()"
            )
        if self.strength is not None:
            check_number("strength", self.strength, 0, 1e6)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        return self.method.outside(tokens, self.without_sinks(contribution, grid), grid)

    def without_sinks(self, contribution: Tensor, grid: TokenGrid) -> Tensor:
        """Return (N,) float64: ``a - mu * s`` of the contributions a (N,)."""
        strength = self.strength
        if strength is None:
            strength = STRENGTHS.get(type(self.method).__name__, STRENGTH)
        maps = precise(contribution).view(grid.frames, grid.per_frame)
        if grid.frames == 1:
            return maps.flatten()
        return (maps - strength * maps.mean() * sinks(maps)).flatten()


def sinks(maps: Tensor) -> Tensor:
    """Return (n,) in 0..1: how much a place is a sink, from contributions (T, n) of at least 0."""
    return min_max(torch.clamp(maps.mean(dim=0), min=0) ** POWER)
