"""DyToK: share the budget out over frames as the LLM attends to them. arXiv 2512.06866."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import (
    Around,
    Decision,
    Method,
    acts_outside,
    check_number,
    check_outside,
    round_half_up,
    text_without,
)
from stc_core.methods.parts.joining import frames_of, joined
from stc_core.methods.stop import SToP
from stc_core.record.grid import TokenGrid

TRIED = (1, 3, 10, 30)  # tokens of a frame of a hundred that a method must be able to meet


@dataclass(frozen=True, repr=False)
class DyToK(Around):
    """Give each frame a share of the budget by the prompt's attention; thin it as ``method`` does.

    A first pass runs the first layers of the LLM on the whole prompt. In the last third of them the
    prompt's last token attends to the video tokens; the weight ``w_t`` of a frame is the softmax
    over the video tokens alone, mean over heads, tokens of the frame and layers, scaled to a sum of
    1. Of the budget B frame t gets ``floor(w_t B)`` tokens, what is left goes one each to the
    largest remainders, and what exceeds a frame's size one each to the frames that have room, by
    falling weight, again and again. Then ``method`` thins each frame alone. ::

        DyToK(VisionZip(retention=0.1, dominant=6 / 7))

    Parameters
    ----------
    method : Method
        One that meets any budget in a single frame: STC, VisionZip, FastVID, HoliTom, VidCom2,
        KiToke, FlashVID, Tango, STTM, InfoMerge, Uniform, Random. Its stage inside the LLM stays.
    share : float
        How much of the LLM's depth the first pass takes; above 0 and at most 1. Published, it is
        all of it, layers 16 to 23 of 24 of a smaller assistant; 1 is that with the model itself.
    weights : tuple of float, optional
        One of each frame, at least 0, for bare tensors, or from elsewhere; no first pass then.

    Raises
    ------
    InputError
        On construction: a method that cannot thin single frames, or compares frames as ``SToP``
        does (write ``SToP(DyToK(...))``). When the clip is there: no weights, or of another number
        of frames.

    Deviations and choices
    ----------------------
    * No assistant: the weights are the model's own, of its first layers, which spends ``share`` of
      an uncompressed prefill once more. FLOPs and times of layers do not hold it; the trace says
      so.
    * With all weights 0 the frames share equally. Equal remainders go to the earlier frame.
    * The published code loops forever where the budget exceeds the video; here it cannot.
    * The published ratios called 20 and 10 % are 17.9 and 7.1 %; here ``retention`` is what enters.
    * Within a frame, what ``method`` says; published is VisionZip with ``dominant=6 / 7``, whose
      dominant tokens come before the contextual ones in a frame.
    * The shares of the published examples come out (``tests/methods/test_dytok.py``).
    """

    share: float = 0.5
    weights: tuple[float, ...] | None = None

    def __repr__(self) -> str:
        return text_without(self, ("weights",))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("share", self.share, 0, 1, above=True)
        _check_thins_frames(self.method)
        if self.weights is not None:
            weights = tuple(self.weights)
            for weight in weights:
                check_number("each of the weights", weight, 0, 1e30)
            object.__setattr__(self, "weights", weights)

    def remarks(self, grid: TokenGrid, entered: int) -> tuple[str, ...]:
        found = self.method.remarks(grid, entered)
        if self.weights is not None:
            return found
        return (
            *found,
            f"DyToK runs the first {self.share:g} of the LLM's layers on the whole prompt before "
            f"it compresses; that work is in no count of FLOPs.",
        )

    @property
    def divisible(self) -> bool:
        return False

    def first_pass(self, depth: int) -> range | None:
        if self.weights is not None:
            return None
        last = max(1, round_half_up(self.share * depth))
        return range(last - max(1, last // 3), last)

    def informed(self, weights: Sequence[float]) -> Method:
        return replace(self, weights=tuple(weights))

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        if self.weights is None:
            raise InputError(
                "DyToK needs what the LLM attends to; use it inside compress(), or give weights=, "
                "one of each frame"
            )
        if len(self.weights) != grid.frames:
            raise InputError(
                f"{len(self.weights)} weights were given for {grid.frames} frames; give one each"
            )
        n, parts = grid.per_frame, []
        every = torch.arange(grid.size, device=tokens.device)
        for frame, count in enumerate(shared(self.weights, self.budget(grid), n)):
            if count:
                part = slice(frame * n, (frame + 1) * n)
                here = self.method.at(count / n)
                found = here.outside(tokens[part], contribution[part], frames_of(grid, 1))
                parts.append((every[part], found))
        return joined(parts, grid.size)


def shared(weights: Sequence[float], total: int, most: int) -> list[int]:
    """Share ``total`` tokens out over frames by weight, at most ``most`` each, as DyToK does."""
    whole = sum(weights)
    quotas = [round(total * w / whole if whole else total / len(weights), 9) for w in weights]
    counts = [math.floor(quota) for quota in quotas]
    by_rest = sorted(range(len(quotas)), key=lambda f: (-round(quotas[f] % 1, 9), f))
    for frame in by_rest[: total - sum(counts)]:
        counts[frame] += 1
    excess = sum(max(0, count - most) for count in counts)
    counts = [min(count, most) for count in counts]
    by_weight = sorted(range(len(weights)), key=lambda f: (-weights[f], f))
    while excess:
        for frame in by_weight:
            if excess and counts[frame] < most:
                counts[frame] += 1
                excess -= 1
    return counts


def _check_thins_frames(method: Method) -> None:
    """Raise ``InputError`` for a method that cannot meet a frame's share of the budget."""
    name, frame, inner = type(method).__name__, TokenGrid(1, 10, 10), method
    while isinstance(inner, Around):
        if isinstance(inner, SToP):
            raise InputError(
                "SToP compares frames, and DyToK thins each alone; write SToP(DyToK(...))"
            )
        inner = inner.method
    if not acts_outside(method):
        raise InputError(
            f"{name} drops nothing before the LLM that DyToK could share out; give a method that "
            f"does, such as VisionZip()"
        )
    if not method.divisible or any(
        method.at(count / 100).budget(frame) != count for count in TRIED
    ):
        raise InputError(
            f"{name} cannot meet any budget in a single frame; give DyToK a method that can, such "
            f"as VisionZip()"
        )
