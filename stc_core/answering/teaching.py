"""Say what the embedded model's limits are, for the page and the command line."""

from __future__ import annotations

import math

__all__ = ["FRAMES_PER_SECOND", "REAL_MODEL", "TEACHING", "outside_its_world"]

TEACHING = (
    "The built-in model is a small teaching model of a world of colored shapes. Real videos want "
    "a real model"
)
FRAMES_PER_SECOND = 4.0  # of every clip of its world
REAL_MODEL = "llava-hf/llava-onevision-qwen2-7b-ov-hf"


def outside_its_world(rate: float) -> str | None:
    """Say that the embedded model was not taught such videos, by their frames per second.

    Every clip of its world has 4; hardly any recording has.
    """
    if math.isclose(rate, FRAMES_PER_SECOND, rel_tol=1e-3):
        return None
    return f"{TEACHING}, such as {REAL_MODEL}."
