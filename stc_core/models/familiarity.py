"""Tell a clip of the world that a model was trained on from any other.

A model that knows one world answers about every picture in the words of that world. The features
of its vision tower tell pictures of that world from others: a linear boundary, fitted to pictures
of the world and to generated ones from outside (outlier exposure, arXiv:1812.04606), is kept in the
checkpoint's config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stc_core.models.families import family_of
from stc_core.models.stock import StockModel

FRAMES = 8  # of a clip that are looked at


@dataclass(frozen=True)
class Familiarity:
    """Hold a linear boundary between the pictures of a model's world and all others.

    Attributes
    ----------
    weight : (2 * width,) tuple of float
        For mean and standard deviation, over the patches, of the tower's last layer.
    bias : float
        The score is ``weight @ summary + bias``, averaged over frames: above 0 is foreign.
    """

    weight: tuple[float, ...]
    bias: float

    @classmethod
    def of(cls, recorded: Mapping[str, Any] | None) -> Familiarity | None:
        """Return what a config records under ``stc.familiarity``; None where it records none."""
        if not recorded:
            return None
        return cls(tuple(map(float, recorded["weight"])), float(recorded["bias"]))

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a config."""
        return {"weight": list(self.weight), "bias": self.bias}

    def score(self, seen: Tensor) -> float:
        """Return the score of a clip; above 0 it is not of the model's world.

        Parameters
        ----------
        seen : (T, patches, width) tensor
            What the tower's last layer gives for each frame; at most 8 of them are looked at.
        """
        some = torch.linspace(0, len(seen) - 1, min(len(seen), FRAMES)).round().long()
        found = summaries_of(seen[some.to(seen.device)])
        weight = torch.tensor(self.weight, dtype=found.dtype, device=found.device)
        return float((found @ weight).mean()) + self.bias


def summaries_of(seen: Tensor) -> Tensor:
    """Return (T, 2 * width) float32: mean and deviation of each frame's patch features.

    Parameters
    ----------
    seen : (T, patches, width) tensor
    """
    seen = seen.float()
    return torch.cat([seen.mean(dim=1), seen.std(dim=1)], dim=1)


@torch.no_grad()
def seen_by_tower(model: StockModel, pixels: Tensor) -> Tensor:
    """Return (T, patches, width): what the tower's last layer gives for frames.

    Parameters
    ----------
    model
        A stock Video-LLM with a tower that sees frames one by one.
    pixels : (T, 3, H, W) tensor
    """
    tower = family_of(model.config).tower(model)
    weight: Tensor = next(tower.parameters())
    return tower(pixels.to(weight.device, weight.dtype)).last_hidden_state
