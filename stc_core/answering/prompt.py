"""Turn a question and a clip into the model's inputs; the question stays mere text."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex

import jinja2
import numpy as np
import torch
import transformers

from stc_core.answering.question_reader import QuestionReader
from stc_core.errors import InputError
from stc_core.models.families import layout_of, patch_grid
from stc_core.models.layout import Layout
from stc_core.models.memory import context_of
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid
from stc_core.text import checked_text, readable
from stc_core.versions import TESTED


@dataclass(frozen=True)
class Prompt:
    """Hold what ``generate`` takes, and what is in it.

    Attributes
    ----------
    inputs : dict of tensors on the model's device
    frames : frames of the clip
    layout : where the N video tokens stand, and on which grid
    patches : (rows, columns) of them in one time step of the grid, in the vision tower
    text_tokens : tokens of the prompt that are not on the video's grid
    text_after : those of them that come after the video
    asked : places of the question's tokens in the prompt
    notes : sentences for the reader
    """

    inputs: dict[str, torch.Tensor]
    frames: int
    layout: Layout
    patches: tuple[int, int]
    text_tokens: int
    text_after: int
    asked: range
    notes: tuple[str, ...]

    @property
    def video_tokens(self) -> int:
        """Return N, the number of video tokens."""
        return len(self.layout.tokens)

    @property
    def steps(self) -> int:
        """Return T, the time steps of the video's grid."""
        return self.layout.frames

    def entered(self, survivors: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return (B,) int64 and L': places of these survivors in the L' tokens that the LLM reads.

        survivors: (B,) int64 among the N video tokens.
        """
        going = self.layout.going(self.inputs["input_ids"].shape[1], survivors).nonzero().flatten()
        return self.layout.after(going, survivors).tokens, len(going)


def build_prompt(
    vlm: VLM,
    frames: np.ndarray,
    question: str,
    max_new_tokens: int,
    *,
    seconds: np.ndarray | None = None,
    duration: float | None = None,
    system: str = "",
    history: Sequence[tuple[str, str]] = (),
    strict: bool = True,
) -> Prompt:
    """Put the chat template around a question about frames (T, H, W, 3) uint8.

    seconds (T,): the times of the frames, for families that read them; default: one a second.
    duration: of the whole video in seconds, likewise; default: T times the frames' mean spacing.

    system: what stands before everything, where the template has a place for it. history: earlier
    (question, answer) pairs; the video stands with the first of these questions.

    The template is rendered around markers, in whose places the texts are tokenized together with
    what is around them. The tokens are those of the stock processor, except that "<video>" or
    "<|im_end|>" in a text are characters, whatever the tokenizer holds.

    Raises ``InputError`` as ``checked_question`` does, for a question of which the tokenizer knows
    no word (with ``strict``), for a template without a place for a system prompt or earlier turns,
    and for a prompt longer than the model's context.
    """
    tokenizer, config = vlm.processor.tokenizer, vlm.model.config
    texts = checked_turns(question, system, history)
    metadata = _metadata(frames, seconds, duration)
    told = ""
    if vlm.times and vlm.family.times and seconds is not None:
        told = vlm.family.times(seconds, metadata.duration) + "\n"
    secret = token_hex(8)  # nobody can write a marker
    marked = {f"text{secret}n{place}n": text.strip() for place, text in enumerate(texts)}
    rendered = _rendered(vlm, list(marked), told, bool(system.strip()))
    processor, reader = QuestionReader.of(vlm.processor, marked)
    made = processor(
        text=rendered,
        videos=[[_pictures(frames, vlm.family.step(config))]],  # one prompt, one video
        return_tensors="pt",
        **_sampled(vlm.processor, metadata),
        **vlm.family.options,
    )
    inputs = {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}
    ids, asked = inputs["input_ids"], reader.asked
    notes = _unknown_words(tokenizer, ids[0, list(asked)].tolist(), vlm) if strict else ()
    if vlm.family.frame_pixels:
        most = vlm.family.frame_pixels.limited(vlm.processor.video_processor)
        notes = (*notes, f"The processor makes a frame at most {most:,} pixels large.")
    grid_thw = inputs.get("video_grid_thw")
    layout = _layout(vlm, ids[0], grid_thw, -(-len(frames) // vlm.family.step(config)))
    first, end = int(layout.tokens[0]), layout.last + 1
    room = context_of(config) - max_new_tokens
    if ids.shape[1] > room:
        per_frame = (end - first) // len(frames)
        text = ids.shape[1] - len(layout.tokens) - len(layout.extras)
        fit = max(0, (room - ids.shape[1]) // per_frame + len(frames))
        raise InputError(
            f"the prompt has {ids.shape[1]} tokens ({ids.shape[1] - text} video, {text} text) and "
            f"the model reads {room}; "
            + (f"use at most {fit} frames" if fit else "ask a shorter question")
        )
    for name, value in inputs.items():
        if name.startswith("pixel_values"):  # and not the times, which are floats too
            value = value.to(vlm.model.dtype)
        inputs[name] = value.to(vlm.device)
    return Prompt(
        inputs,
        frames=len(frames),
        layout=layout,
        patches=patch_grid(config, grid_thw),
        text_tokens=ids.shape[1] - len(layout.tokens),
        text_after=ids.shape[1] - end,
        asked=asked,
        notes=notes,
    )


def following_turn(
    vlm: VLM, system: str, history: Sequence[tuple[str, str]], question: str
) -> tuple[list[int], range]:
    """Return the tokens between the last answer and the next, and the question's places in them.

    That is what the chat template writes after an answer: the end of its turn, the next question,
    the beginning of the next answer. Raises ``InputError`` as ``build_prompt``.
    """
    texts = checked_turns(question, system, history)
    secret = token_hex(8)
    markers = [f"text{secret}n{place}n" for place in range(len(texts))]
    whole = _rendered(vlm, markers, "", bool(system.strip()))
    marked = {marker: text.strip() for marker, text in zip(markers, texts, strict=True)}
    last = {marker: marked[marker] for marker in markers[-2:]}
    reader = QuestionReader(vlm.processor.tokenizer, last)
    found = reader(whole[whole.index(markers[-2]) :], add_special_tokens=False)
    ids = [int(token) for token in found["input_ids"][0]][reader.behind :]
    asked = range(reader.asked.start - reader.behind, reader.asked.stop - reader.behind)
    return ids, asked


def checked_turns(question: object, system: object, history: object) -> list[str]:
    """Return the texts of a prompt in their order, the question last; refuse what is none."""
    asked = checked_question(question)
    if not isinstance(system, str) or not isinstance(history, (list, tuple)):
        raise InputError("system is a text and history a list of (question, answer) pairs")
    texts = [checked_text(system, "the system prompt")] if system.strip() else []
    for turn in history:
        if not isinstance(turn, (list, tuple)) or len(turn) != 2:
            raise InputError(f"history is a list of (question, answer) pairs, not of {turn!r:.60}")
        texts.append(checked_question(turn[0]))
        texts.append(checked_text(turn[1], "an earlier answer", controls=True))
    return [*texts, asked]


def _rendered(vlm: VLM, markers: list[str], told: str, system: bool) -> str:
    """Return the chat template around the markers: system, question, answer, ..., question."""
    turns = markers[system:]
    messages: list[dict] = []
    for place, marker in enumerate(turns):
        content = [{"type": "text", "text": marker if place else told + marker}]
        video = [] if place else [{"type": "video"}]
        messages.append({"role": ("user", "assistant")[place % 2], "content": video + content})
    if system:
        words = [{"type": "text", "text": markers[0]}]
        messages.insert(0, {"role": "system", "content": words})
    reason = "does not show each of them once"
    try:
        text = vlm.processor.apply_chat_template(messages, add_generation_prompt=True)
    except jinja2.TemplateError as error:
        text, reason = "", f"says {readable(str(error))!r:.120}"
    if [text.count(marker) for marker in markers] != [1] * len(markers):
        what = "a system prompt" if system else "earlier turns"
        raise InputError(
            f"the chat template of {vlm.name!r} has no place for {what}: it {reason}; "
            f"leave them out"
        )
    return text


def checked_question(question: object) -> str:
    """Return a question unchanged; ``InputError`` for an empty one and as ``checked_text``."""
    if not isinstance(question, str) or not question.strip():
        raise InputError("the question is empty; ask something about the video")
    return checked_text(question, "the question")


def grid_of(vlm: VLM, frames: np.ndarray, size: tuple[int, int] | None = None) -> TokenGrid:
    """Return the grid of the video tokens that a model makes of frames (T, H, W, 3) uint8.

    size: (height, width) of the source in pixels; default: that of the frames. Raises
    ``InputError`` where the frames are more than the model reads.
    """
    family, config = vlm.family, vlm.model.config
    height, width = size or frames.shape[1:3]
    if family.cell_shape is None:  # the processor chooses it and says so in the prompt
        layout = build_prompt(vlm, frames, "what is this", 1, strict=False).layout
        steps, rows, cols = layout.frames, layout.rows, layout.cols
    else:
        steps, (rows, cols) = -(-len(frames) // family.step(config)), family.cell_shape(config)
    seen = family.seen(vlm.processor, height, width)
    return TokenGrid(steps, rows, cols, height, width, seen)


def _sampled(processor, metadata) -> dict[str, object]:
    """Return the arguments that tell a processor which frames were chosen, and their times."""
    takes = inspect.signature(processor.__call__).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
        return {}  # Video-LLaVA's in transformers 5.10, which samples nothing and reads no times
    return {"video_metadata": [metadata], "do_sample_frames": False}


def _layout(vlm: VLM, ids: torch.Tensor, grid_thw: torch.Tensor | None, steps: int) -> Layout:
    """Find where ``steps`` time steps of video stand in a prompt of the processor."""
    try:
        layout, why = layout_of(vlm.model.config, ids, grid_thw), ""
    except InputError as error:
        layout, why = None, f": {error}"
    if layout is None or layout.frames != steps:
        found = layout.frames if layout else "no"
        tested = " to ".join(TESTED["transformers"])
        raise InputError(
            f"the processor of {vlm.name!r} wrote {found} whole time steps of video where {steps} "
            f"belong{why}; either it belongs to another model, or this transformers "
            f"{transformers.__version__} differs from the tested {tested}"
        )
    return layout


def _metadata(frames: np.ndarray, seconds: np.ndarray | None, duration: float | None):
    """Return frame times as the processors want them: numbers of frames in a clip of 1000 a second.

    The frames sampled in a second come out as T over the duration, as published code has it.
    """
    from transformers.video_utils import VideoMetadata

    times = np.arange(len(frames)) if seconds is None else seconds
    if duration is None:
        duration = len(frames) * (float(np.diff(times).mean()) if len(frames) > 1 else 1.0)
    return VideoMetadata(
        total_num_frames=max(1, round(1000 * duration)),
        fps=1000.0,
        height=frames.shape[1],
        width=frames.shape[2],
        duration=duration,
        frames_indices=[round(1000 * float(time)) for time in times],
    )


def encode_text(tokenizer, text: str) -> list[int]:
    """Return the token ids of a person's text; nothing in it is special."""
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)


def _pictures(frames: np.ndarray, step: int) -> torch.Tensor:
    """Return (T, 3, H, W) uint8, as every processor takes them.

    Frames of fewer than 4 pixels a side are enlarged, for processors tell channels from rows by
    their number. Too few for one time step of ``step`` are repeated: not all of them do it.
    """
    video = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    if len(video) < step:
        video = torch.cat([video, video[-1:].expand(step - len(video), -1, -1, -1)])
    height, width = video.shape[2:]
    if min(height, width) < 4:
        factors = [max(1, -(-4 // side)) for side in (height, width)]
        video = video.repeat_interleave(factors[0], dim=2).repeat_interleave(factors[1], dim=3)
    return video


def _unknown_words(tokenizer, asked: list[int], vlm: VLM) -> tuple[str, ...]:
    """Return a sentence on words that a word-level tokenizer misses; refuse if it misses all."""
    unknown = sum(token == tokenizer.unk_token_id for token in asked)
    if tokenizer.unk_token_id is None or not unknown:
        return ()
    if unknown == len(asked):
        raise InputError(
            f"the model {vlm.name!r} knows no word of this question; it was taught English "
            f"questions about colored shapes, such as 'what color is the star?'"
        )
    return (
        f"The model does not know {unknown} of the question's {len(asked)} words and "
        f"read them as unknown.",
    )
