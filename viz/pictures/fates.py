"""What a trace says about its tokens, in the form that several pictures need. numpy only."""

from __future__ import annotations

import numpy as np

from stc_core.record.stages import SURVIVORS, Fate
from stc_core.record.trace import Trace


def outside(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """(fate, target), each (N,), of what entered the LLM."""
    stage = trace.stage("outside")
    if stage is None:  # a method that only works inside: everything enters
        return np.full(trace.grid.size, Fate.KEPT, np.uint8), np.arange(trace.grid.size)
    return stage.fate, stage.target


def entered(trace: Trace) -> np.ndarray:
    """(N,) bool: the tokens that the LLM received."""
    return np.isin(outside(trace)[0], SURVIVORS)


def received(trace: Trace) -> np.ndarray:
    """(T,) int: how many tokens of each frame the LLM received."""
    return entered(trace).reshape(trace.grid.frames, -1).sum(axis=1)


def count(fate: np.ndarray) -> dict[Fate, int]:
    """Tokens of each fate that occurs in ``fate`` (m,), in the order of ``Fate``."""
    found = np.bincount(fate, minlength=len(Fate))
    return {code: int(found[code]) for code in Fate if found[code]}
