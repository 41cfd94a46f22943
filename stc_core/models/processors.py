"""Open the processor of a checkpoint, with what published files leave out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        _limit_pixels(processor.video_processor, family.frame_pixels, frame_pixels)
    return processor


def _limit_pixels(video_processor: StockProcessor, usual: int, asked: int | None) -> None:
    """Set the most pixels of a frame, as qwen-vl-utils does it.

    transformers announces that its default for ``cap_pixels_per_frame`` will change: with it, many
    frames share a budget, as in qwen-vl-utils.
    """
    size = dict(video_processor.size)
    size["longest_edge"] = min(size["longest_edge"], usual) if asked is None else asked
    size["shortest_edge"] = min(size["shortest_edge"], size["longest_edge"])
    video_processor.size = type(video_processor.size)(**size)
    if hasattr(video_processor, "cap_pixels_per_frame"):
        video_processor.cap_pixels_per_frame = True


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
