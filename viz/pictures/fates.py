"""Read from a trace what several pictures need, with numpy only."""

from __future__ import annotations

import numpy as np

from stc_core.record.stages import SURVIVORS, Fate
from stc_core.record.trace import Trace


def outside(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """Return (fate, target), each (N,), after the stage before the LLM."""
    stage = trace.stage("outside")
    if stage is None:  # a method that only works inside: everything enters
        return np.full(trace.grid.size, Fate.KEPT, np.uint8), np.arange(trace.grid.size)
    return stage.fate, stage.target


def entered(trace: Trace) -> np.ndarray:
    """Return (N,) bool: the tokens that entered the LLM."""
    return np.isin(outside(trace)[0], SURVIVORS)


def received(trace: Trace) -> np.ndarray:
    """Return (T,) int: how many tokens of each frame entered the LLM."""
    return entered(trace).reshape(trace.grid.frames, -1).sum(axis=1)


def count(fate: np.ndarray) -> dict[Fate, int]:
    """Count the tokens of each fate that occurs in ``fate`` (m,), in the order of ``Fate``."""
    found = np.bincount(fate, minlength=len(Fate))
    return {code: int(found[code]) for code in Fate if found[code]}
