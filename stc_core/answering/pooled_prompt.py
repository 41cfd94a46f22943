"""Write a prompt about what is left of a long video, which as a whole no prompt would hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stc_core.answering.prompt import Prompt, build_prompt
from stc_core.answering.teaching import taught_frames
from stc_core.errors import InputError
from stc_core.hooks.pooled import Whole
from stc_core.models.memory import context_of
from stc_core.models.vlm import VLM

TEXT_TOKENS = 96  # of a question, the template around it and its neighbors, where it is not known


@dataclass(frozen=True)
class PooledPrompt:
    """Hold what ``generate`` takes: a prompt with a placeholder for each token that is left.

    Attributes
    ----------
    inputs : dict of tensors on the model's device
    frames : int
        T of the whole video.
    video_tokens : int
        N of the whole video.
    places : (B,) int64
        Where those stand that are left.
    patches : (rows, columns) of them in one frame, in the vision tower
    text_tokens : tokens of the prompt beside the B
    text_after : those of them that come after the video
    asked : places of the question's tokens in the prompt
    notes : sentences for the reader
    """

    inputs: dict[str, Tensor]
    frames: int
    video_tokens: int
    places: Tensor
    patches: tuple[int, int]
    text_tokens: int
    text_after: int
    asked: range
    notes: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Return T, the time steps of the video's grid."""
        return self.frames

    def entered(self, survivors: Tensor) -> tuple[Tensor, int]:
        """Return the places (B,) of what is left, and how many tokens the LLM reads."""
        return self.places.to(survivors.device), self.inputs["input_ids"].shape[1]


def frames_that_fit(vlm: VLM, frames: int, per_frame: int, room: int) -> int:
    """Return how many frames long the video is whose positions a video of ``frames`` frames gets.

    ``frames`` where the model reads that many tokens and ``room`` more. A longer video gets the
    positions of a video with as many frames as the checkpoint records, for which it was trained;
    where it records none, of one with as many as it reads. A video of more frames than
    ``taught_frames`` is treated as longer too: at positions that it was never trained on a model is
    lost, also within its context.
    """
    config = vlm.model.config
    most = (context_of(config) - room) // per_frame
    recorded = (getattr(config, "stc", None) or {}).get("frames")
    if frames <= min(most, taught_frames(vlm) or most):
        return frames
    return max(1, min(most, frames, recorded or most))


def is_longer_than_read(vlm: VLM, frames: int, room: int) -> bool:
    """Tell whether all tokens of a video and ``room`` more are too many for one prompt.

    False for families whose videos are not encoded in parts.
    """
    if not vlm.family.parts or vlm.family.cell_shape is None:
        return False
    rows, cols = vlm.family.cell_shape(vlm.model.config)
    return frames * rows * cols + TEXT_TOKENS + room > context_of(vlm.model.config)


def one_frame_prompt(
    vlm: VLM,
    question: str,
    room: int,
    size: tuple[int, int],
    *,
    system: str = "",
    history: Sequence[tuple[str, str]] = (),
) -> Prompt:
    """Return the prompt about one black frame of this (height, width), with all texts checked."""
    black = np.zeros((1, *size, 3), np.uint8)
    return build_prompt(vlm, black, question, room, system=system, history=history)


def pooled_prompt(vlm: VLM, short: Prompt, whole: Whole, room: int) -> PooledPrompt:
    """Return a prompt about ``whole`` with the texts of a prompt about one frame.

    Parameters
    ----------
    vlm
    short
        From ``one_frame_prompt``.
    whole
        What is left of the video.
    room
        Tokens that may follow.

    Raises
    ------
    InputError
        What is left and the texts are more than the model reads.
    """
    ids = short.inputs["input_ids"][0]
    first, end = int(short.layout.tokens[0]), short.layout.last + 1
    count, extras = len(whole.tokens), len(whole.newline)
    video = ids[first].expand(count + extras)
    ids = torch.cat([ids[:first], video, ids[end:]])[None]
    text, most = ids.shape[1] - count, context_of(vlm.model.config) - room
    if ids.shape[1] > most:
        raise InputError(
            f"{count} tokens of the video and {text} of text would enter the LLM, which reads "
            f"{most}; use a lower retention, fewer frames, or a method that chooses before the LLM"
        )
    moved = count + extras - (end - first)
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return PooledPrompt(
        inputs,
        frames=whole.grid.frames,
        video_tokens=whole.grid.size,
        places=first + torch.arange(count),
        patches=short.patches,
        text_tokens=text,
        text_after=ids.shape[1] - first - count - extras,
        asked=range(short.asked.start + moved, short.asked.stop + moved),
        notes=short.notes,
    )


def with_positions(vlm: VLM, whole: Whole, per_frame: int, room: int) -> tuple[Whole, str | None]:
    """Return ``whole`` at positions that the model reads, and a sentence where these are others."""
    total = whole.grid.frames
    frames = frames_that_fit(vlm, total, per_frame, room)
    if frames == total:
        return whole, None
    note = (
        f"{total} frames are more than the model reads or was trained on; the tokens that entered "
        f"the LLM have the positions of a video of {frames} frames."
    )
    return replace(whole, frames=frames), note
