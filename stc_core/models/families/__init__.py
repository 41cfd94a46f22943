"""Hold one record for each model family, and find the record of a given model.

What differs between stock Video-LLMs stands in these records, and nothing else does. A new family
is one more record in a file here, its line in ``FAMILIES``, and a builder of a tiny model in
``tests/tiny``.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from stc_core.errors import InputError
from stc_core.models.families.family import Card, Family
from stc_core.models.families.frames_as_images import INTERNVL, SMOLVLM
from stc_core.models.families.llava import (
    LLAVA_NEXT_VIDEO,
    LLAVA_ONEVISION,
    LLAVA_VIDEO,
    VIDEO_LLAVA,
)
from stc_core.models.families.qwen import QWEN2_5_VL, QWEN2_VL, QWEN3_VL
from stc_core.models.families.shared import patch_grid
from stc_core.models.families.video_llama import VIDEO_LLAMA_3
from stc_core.models.layout import Layout
from stc_core.models.stock import StockConfig
from stc_core.record.flops import VisionShape

__all__ = ["FAMILIES", "Card", "Family", "family_of", "layout_of", "patch_grid", "vision_shape"]

# by ``config.model_type``
FAMILIES: dict[str, Family] = {
    "llava_onevision": LLAVA_ONEVISION,
    "llava_video": LLAVA_VIDEO,
    "llava_next_video": LLAVA_NEXT_VIDEO,
    "qwen2_vl": QWEN2_VL,
    "qwen2_5_vl": QWEN2_5_VL,
    "qwen3_vl": QWEN3_VL,
    "internvl": INTERNVL,
    "smolvlm": SMOLVLM,
    "video_llama_3": VIDEO_LLAMA_3,
    "video_llava": VIDEO_LLAVA,
}


def family_of(config: StockConfig) -> Family:
    """Return the record for a config; ``InputError`` names the known ones where there is none."""
    family = FAMILIES.get(getattr(config, "model_type", ""))
    if family is None:
        known = ", ".join(record.name for record in FAMILIES.values())
        raise InputError(
            f"{getattr(config, 'model_type', type(config).__name__)!r} is not a Video-LLM this "
            f"program knows; use one of {known}, or add a record to stc_core/models/families"
        )
    return family


def vision_shape(config: StockConfig) -> VisionShape:
    """Return the sizes that the arithmetic of a vision tower and its projector depends on."""
    family = family_of(config)
    return replace(
        VisionShape.from_config(config),
        class_tokens=int(family.class_token(config)),
        **family.projector(config),
    )


def layout_of(config: StockConfig, ids: Tensor, grid_thw: Tensor | None) -> Layout | None:
    """Find where the one video of a prompt stands; None where it holds none.

    Parameters
    ----------
    ids : Tensor (L,) int64
        Tokens of the prompt.
    grid_thw : Tensor (videos, 3) or None
        Time steps, rows and columns of patches, where the processor chooses them.

    Raises
    ------
    InputError
        Several videos, or ordinary images beside the video.
    """
    family = family_of(config)
    if not (ids == family.placeholder(config)).any():
        return None
    image = family.image_token(config)
    if image is not None and (ids == image).any():
        raise InputError(
            "this prompt holds images beside the video; compress a prompt with one video alone"
        )
    return family.layout(config, ids, grid_thw)
