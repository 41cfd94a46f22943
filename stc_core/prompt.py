"""A question and a clip into the model's inputs, the question staying mere text."""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING

import numpy as np
import torch

from .errors import InputError

if TYPE_CHECKING:
    from .loading import VLM


@dataclass(frozen=True)
class Prompt:
    """What ``generate`` takes, and what is in it.

    Attributes
    ----------
    inputs : dict of tensors on the model's device
    frames, video_tokens : T and N
    text_tokens : tokens of the prompt that are not on the video's grid
    text_after : those of them that come after the video
    asked : places of the question's tokens in the prompt
    notes : sentences for the reader
    """

    inputs: dict[str, torch.Tensor]
    frames: int
    video_tokens: int
    text_tokens: int
    text_after: int
    asked: range
    notes: tuple[str, ...]


def build_prompt(
    vlm: VLM, frames: np.ndarray, question: str, max_new_tokens: int, *, strict: bool = True
) -> Prompt:
    """The chat template around a question about frames (T, H, W, 3) uint8.

    The template is rendered around a marker; what stands before and after it is tokenized as the
    template wants it, the question in between without special tokens. So "<video>" or "<|im_end|>"
    in a question are characters, whatever the tokenizer holds.

    Raises ``InputError`` for an empty question, one of which the tokenizer knows no word (with
    ``strict``), and a prompt longer than the model's context.
    """
    tokenizer, config = vlm.processor.tokenizer, vlm.model.config
    if not isinstance(question, str) or not question.strip():
        raise InputError("the question is empty; ask something about the video")
    marker = f"question{token_hex(8)}"
    content = [{"type": "video"}, {"type": "text", "text": marker}]
    rendered = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    before, _, after = rendered.partition(marker)
    asked = encode_text(tokenizer, question.strip())
    notes = _unknown_words(tokenizer, asked, vlm) if strict else ()
    inputs = dict(vlm.processor(text=before, videos=[_pictures(frames)], return_tensors="pt"))
    tail = [*asked, *tokenizer(after, add_special_tokens=False)["input_ids"]]
    ids = torch.cat([inputs["input_ids"], torch.tensor([tail], dtype=torch.long)], dim=1)
    inputs["input_ids"], inputs["attention_mask"] = ids, torch.ones_like(ids)
    placeholders = (ids[0] == vlm.family.placeholder(config)).nonzero().flatten()
    rows, cols = vlm.family.cell_shape(config)
    video_tokens = len(frames) * rows * cols
    if len(placeholders) != video_tokens + vlm.family.extra:
        raise InputError(
            f"the processor made {len(placeholders)} placeholders for {len(frames)} frames of "
            f"{rows} x {cols} tokens; processor and model do not belong together"
        )
    context = config.text_config.max_position_embeddings
    room = context - max_new_tokens
    if ids.shape[1] > room:
        text = ids.shape[1] - len(placeholders)
        fit = max(0, (room - text - vlm.family.extra) // (rows * cols))
        raise InputError(
            f"the prompt has {ids.shape[1]} tokens ({len(placeholders)} video, {text} text) and "
            f"the model reads {room}; "
            + (f"use at most {fit} frames" if fit else "ask a shorter question")
        )
    for name, value in inputs.items():
        if value.is_floating_point():
            value = value.to(vlm.model.dtype)
        inputs[name] = value.to(vlm.device)
    return Prompt(
        inputs,
        frames=len(frames),
        video_tokens=video_tokens,
        text_tokens=ids.shape[1] - video_tokens,
        text_after=ids.shape[1] - 1 - int(placeholders[-1]),
        asked=range(ids.shape[1] - len(tail), ids.shape[1] - len(tail) + len(asked)),
        notes=notes,
    )


def encode_text(tokenizer, text: str) -> list[int]:
    """Token ids of a person's text in which nothing is special."""
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)


def _pictures(frames: np.ndarray) -> torch.Tensor:
    """(T, 3, H, W) uint8; frames of fewer than 4 pixels a side are enlarged, for the processor
    tells channels from rows by their number."""
    video = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    height, width = video.shape[2:]
    if min(height, width) < 4:
        factors = [max(1, -(-4 // side)) for side in (height, width)]
        video = video.repeat_interleave(factors[0], dim=2).repeat_interleave(factors[1], dim=3)
    return video


def _unknown_words(tokenizer, asked: list[int], vlm: VLM) -> tuple[str, ...]:
    """A sentence where a word-level tokenizer misses words; refuses where it misses all."""
    unknown = sum(token == tokenizer.unk_token_id for token in asked)
    if tokenizer.unk_token_id is None or not unknown:
        return ()
    if unknown == len(asked):
        raise InputError(
            f"the model {vlm.name!r} knows no word of this question; it was taught English "
            f"questions about coloured shapes, such as 'what color is the star?'"
        )
    return (
        f"The model does not know {unknown} of the question's {len(asked)} words and "
        f"read them as unknown.",
    )
