"""Define all that decides the trained weights: sizes, stages, rates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from stc_core.errors import InputError
from stc_core.shapes.model.batches import TrainingStage
from stc_core.shapes.model.sizes import Size
from stc_core.shapes.world.scenes import WORLD


@dataclass(frozen=True)
class Recipe:
    """Hold all that decides the trained weights."""

    size: Size
    stages: tuple[TrainingStage, ...]
    seed: int = 0
    decay: float = 0.01  # AdamW weight decay
    clip: float = 1.0  # gradient norm
    warmup: int = 50  # steps, at the start of every stage
    middle: int = 4  # decoder layer after which events are read

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a recipe needs at least one stage")
        if not 0 <= self.middle < self.size.layers:
            raise ValueError(f"there is no decoder layer {self.middle} to read events from")

    def scaled(self, scale: float) -> Recipe:
        """Return the same recipe with `scale` times the steps of every stage."""
        if not 0 < scale < math.inf:
            raise InputError(f"the scale of the steps must be above 0, not {scale}")
        stages = (replace(s, steps=max(1, round(s.steps * scale))) for s in self.stages)
        return replace(self, stages=tuple(stages))


# Worlds of the curriculum, each a little further from "one thing in one picture".
SEEN = replace(WORLD, always=0.85, flashing=0.0)
PLAIN = replace(WORLD, always=0.9, flashing=0.0, crossing=0.0, panning=0.0, entering=0.0)
EVENTS = replace(WORLD, crossing=0.5, flashing=0.5)  # more of what is rare
# The whole world, told by the decoder's middle, too.
WHOLE = TrainingStage(
    "language",
    1150,
    20,
    (8, 16, 8, 32, 8, 16),
    (1e-3, 4e-4),
    EVENTS,
    events=1.0,
    hard_first=True,
)
# The same, of which most batches show a random part (`random_parts.py`); some clips are long.
PARTS = replace(WHOLE, frames=(8, 16, 32, 8, 16, 32, 8, 64), parts=True)
RECIPE = Recipe(
    size=Size(),
    stages=(
        TrainingStage("vision", 1500, 96, (2,), (1.5e-3, 2e-5), SEEN),
        TrainingStage("vision", 450, 96, (2,), (7e-4, 1e-5), SEEN),
        TrainingStage("language", 160, 96, (1,), (1e-3, 1e-3), replace(PLAIN, objects=(1, 1))),
        TrainingStage("language", 260, 64, (2, 4), (1e-3, 1e-3), replace(WORLD, objects=(1, 2))),
        TrainingStage("language", 320, 32, (4, 8), (1e-3, 1e-3), replace(EVENTS, objects=(1, 4))),
        TrainingStage("language", 420, 24, (8, 16), (1e-3, 6e-4), EVENTS, hard_first=True),
        replace(WHOLE, steps=430, rate=(9e-4, 1e-5)),
        WHOLE,
        replace(WHOLE, steps=200, frames=(8, 16, 32, 8, 16), rate=(4e-4, 1e-5)),
        replace(PARTS, steps=600, rate=(1e-3, 9e-4)),
        replace(PARTS, steps=170, rate=(9e-4, 1e-5)),
    ),
)
# A GPU wants larger batches and has the memory for them.
GPU_RECIPE = replace(RECIPE, stages=tuple(replace(s, clips=4 * s.clips) for s in RECIPE.stages))


def recipe_for(device: str | torch.device) -> Recipe:
    """Return the recipe that suits a device."""
    return GPU_RECIPE if torch.device(device).type == "cuda" else RECIPE
