"""Define the steps of a compression and the fates that they lead to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Fate(IntEnum):
    """Name what became of a video token; each token has exactly one fate."""

    KEPT = 0  # in the retention pool: reaches the LLM as itself, and its end
    CENTER = 1  # a cluster's place: the mean of the cluster reaches the LLM, and its end
    MERGED = 2  # outside the LLM, averaged into a center
    DROPPED = 3  # outside the LLM, thrown away
    MERGED_INSIDE = 4  # reached the LLM, averaged into another token after layer K
    DROPPED_INSIDE = 5  # reached the LLM, thrown away after layer K


SURVIVORS = (Fate.KEPT, Fate.CENTER)


@dataclass(frozen=True)
class Stage:
    """Hold one compression step, in indices of the original N tokens.

    Attributes
    ----------
    name : str
        "outside" (before the LLM) or "inside".
    layer : int or None
        Index of the decoder layer after which an inside step acts.
    target : (N,) int64
        The token that carries token i after this step, itself where it goes on; -1 where i is
        thrown away by this step or did not reach it.
    fate : (N,) uint8
        ``Fate`` of token i as of this step: what a picture of this step shows.
    """

    name: str
    layer: int | None
    target: np.ndarray
    fate: np.ndarray

    @property
    def survivors(self) -> np.ndarray:
        """Return (B,) int64, ascending: the tokens that go on."""
        return np.flatnonzero(np.isin(self.fate, SURVIVORS))


@dataclass(frozen=True)
class Word:
    """Hold one token of the text around a video.

    Attributes
    ----------
    text : str
        The token as it stands in the text, its leading space included. Untrusted.
    kind : str
        "question": the user's; "answer": the model's.
    logprob : float or None
        Natural logarithm of the probability with which the model said it; None for a question's.
    """

    text: str
    kind: str
    logprob: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or self.kind not in ("question", "answer"):
            raise ValueError("a word is a text of the kind 'question' or 'answer'")
        if self.logprob is not None and not math.isfinite(self.logprob):
            raise ValueError("a word's logprob must be a finite number or None")


ORDERS = (("outside",), ("inside",), ("outside", "inside"))


def replay(stages: tuple[Stage, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Compose the steps: (fate (N,) uint8, target (N,) int64) at the end.

    Raises ``ValueError`` where a step contradicts itself or the one before it.
    """
    fate = np.full(n, Fate.KEPT, np.uint8)
    target = np.arange(n, dtype=np.int64)
    for stage in stages:
        _check_stage(stage, n, reached=np.isin(fate, SURVIVORS))
        inside = stage.name == "inside"
        ended = (Fate.MERGED_INSIDE, Fate.DROPPED_INSIDE) if inside else (Fate.MERGED, Fate.DROPPED)
        changed = np.isin(fate, SURVIVORS) & (np.isin(stage.fate, ended) | (not inside))
        fate = np.where(changed, stage.fate, fate).astype(np.uint8)
        carried = target >= 0
        target[carried] = stage.target[target[carried]]
    return fate, target


def weights(stages: tuple[Stage, ...], n: int) -> np.ndarray:
    """Return (N,) float32: the share of each token in its final target if all steps take means."""
    weight = np.ones(n, np.float64)
    place = np.arange(n)
    for stage in stages:
        taking_part = stage.target >= 0
        size = np.bincount(stage.target[taking_part], minlength=n)
        carried = place >= 0
        after = np.where(carried, stage.target[place], -1)
        weight = np.where(after >= 0, weight / np.maximum(size[after], 1), 0.0)
        place = after
    return weight.astype(np.float32)


def _check_stage(stage: Stage, n: int, reached: np.ndarray) -> None:
    if stage.name not in ("outside", "inside"):
        raise ValueError(f"a stage is named 'outside' or 'inside', not {stage.name!r}")
    if stage.target.shape != (n,) or stage.target.dtype != np.int64:
        raise ValueError(f"stage {stage.name}: target must be {n} numbers of type int64")
    if stage.fate.shape != (n,) or stage.fate.dtype != np.uint8 or stage.fate.max() >= len(Fate):
        raise ValueError(f"stage {stage.name}: fate must be {n} numbers of type uint8 below 6")
    survives = np.isin(stage.fate, SURVIVORS)
    inside = stage.name == "inside"
    merged = stage.fate == (Fate.MERGED_INSIDE if inside else Fate.MERGED)
    dropped = stage.fate == (Fate.DROPPED_INSIDE if inside else Fate.DROPPED)
    itself = np.arange(n)
    if not survives.any():
        raise ValueError(f"stage {stage.name} leaves no token")
    if (survives & ~reached).any() or ((merged | dropped) & ~reached).any():
        raise ValueError(f"stage {stage.name} decides about tokens that did not reach it")
    if not (survives | merged | dropped | ~reached).all():
        raise ValueError(f"stage {stage.name} leaves tokens without a fate of its own")
    if not (stage.target[survives] == itself[survives]).all():
        raise ValueError(f"stage {stage.name}: a survivor must be its own target")
    if not (stage.target[dropped | ~reached] == -1).all():
        raise ValueError(f"stage {stage.name}: a token that is thrown away has no target")
    goal = stage.target[merged]
    if merged.any() and (goal.min() < 0 or goal.max() >= n or not survives[goal].all()):
        raise ValueError(f"stage {stage.name}: a merged token's target must survive")
