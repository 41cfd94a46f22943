"""Hold the embedded Video-LLM and its world of shapes.

world/  scenes, their pictures, questions with known evidence
model/  the model's sizes and its training
exam/   accuracy, calibration, example clips
"""

from stc_core.shapes.world.clip import Clip, make_clip
from stc_core.shapes.world.questions import KINDS, Question
from stc_core.shapes.world.scenes import (
    DEVELOPMENT_SEEDS,
    HELD_OUT_SEEDS,
    TRAIN_SEEDS,
    WORLD,
    World,
)

__all__ = [
    "DEVELOPMENT_SEEDS",
    "HELD_OUT_SEEDS",
    "KINDS",
    "TRAIN_SEEDS",
    "WORLD",
    "Clip",
    "Question",
    "World",
    "make_clip",
]
