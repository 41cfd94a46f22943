"""Open the processor of a checkpoint, with what published files leave out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from stc_core.errors import InputError
from stc_core.models.families import Family
from stc_core.models.stock import StockClass, StockConfig, StockProcessor


def open_processor(
    folder: Path,
    family: Family,
    processor_class: StockClass,
    config: StockConfig,
    frame_pixels: int | None = None,
) -> StockProcessor:
    """Return the processor in a folder.

    Where its family names the class of the video processor, that one is opened and none looked for;
    where its files hold no chat template, the family's is used; sizes that it has not come from the
    model's config.

    Parameters
    ----------
    processor_class
        As ``checkpoint.classes_of`` gives it.
    frame_pixels
        Most pixels of a frame, for families whose processor chooses the grid; default: the
        family's, or the processor's own where that is less.
    """
    if family.video_processor:
        processor = _of_named_parts(folder, family.video_processor, config)
    else:
        processor = processor_class.from_pretrained(folder)
    if getattr(processor, "chat_template", None) is None and family.chat_template:
        processor.chat_template = family.chat_template
    for name, value in (
        ("patch_size", getattr(config.vision_config, "patch_size", None)),
        ("vision_feature_select_strategy", getattr(config, "vision_feature_select_strategy", None)),
    ):
        if getattr(processor, name, value) is None:  # older files leave them to the model
            setattr(processor, name, value)
    if family.frame_pixels:
        family.frame_pixels.limit(processor.video_processor, frame_pixels)
    return processor


def check_frame_pixels(family: Family, frame_pixels: int | None) -> None:
    """Raise ``InputError`` for a limit of pixels that a family does not take."""
    if frame_pixels is None:
        return
    if family.frame_pixels is None:
        raise InputError(
            f"frame_pixels is for Qwen2-VL, Qwen2.5-VL and Qwen3-VL; the processor of "
            f"{family.name} decides by itself, so leave it out"
        )
    least = family.frame_pixels.least
    if frame_pixels < least:
        side = math.isqrt(least)
        raise InputError(
            f"frame_pixels must be {least} ({side} x {side}) or more, not {frame_pixels}"
        )


def open_video_processor(
    folder: Path, family: Family, frame_pixels: int | None = None
) -> StockProcessor:
    """Return the video processor in a folder, as ``open_processor`` does, without a tokenizer."""
    import transformers

    opened = (
        getattr(transformers, family.video_processor)
        if family.video_processor
        else transformers.AutoVideoProcessor
    )
    video_processor = opened.from_pretrained(folder)
    if family.frame_pixels:
        family.frame_pixels.limit(video_processor, frame_pixels)
    return video_processor


def grid_of_video(
    video_processor: StockProcessor, family: Family, step: int, frames: int, size: tuple[int, int]
) -> tuple[int, int, int]:
    """Return the (steps, rows, columns) of patches that a processor makes of a video.

    The processor runs on tensors without storage, so nothing is resized.

    Parameters
    ----------
    video_processor
        Of a family without ``cell_shape``.
    step
        Frames of one time step, the least that a prompt gives to a processor.
    size : (height, width) in pixels
    """
    video = torch.empty(max(frames, step), 3, *size, dtype=torch.uint8, device="meta")
    made = video_processor(
        videos=[video], do_sample_frames=False, return_tensors="pt", **family.options
    )
    steps, rows, cols = made["video_grid_thw"][0].tolist()
    return steps, rows, cols


def _of_named_parts(folder: Path, video_processor: str, config: StockConfig) -> StockProcessor:
    """Open the parts one by one and join them, as ``from_pretrained`` does with parts it finds."""
    import transformers

    kind: Any = transformers.PROCESSOR_MAPPING[type(config)]
    openers = {
        "video_processor": getattr(transformers, video_processor),
        "image_processor": transformers.AutoImageProcessor,
        "tokenizer": transformers.AutoTokenizer,
    }
    settings, _ = kind.get_processor_dict(folder)
    parts = [openers[name].from_pretrained(folder) for name in kind.get_attributes()]
    return kind.from_args_and_dict(parts, settings)
