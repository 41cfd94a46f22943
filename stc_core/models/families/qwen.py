"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL: the processor chooses the grid of each video."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stc_core.models.families.family import Card, Cells, Family, FramePixels
from stc_core.models.families.shared import last_layer, mean_in_turn, video_token
from stc_core.models.layout import measured
from stc_core.models.stock import StockConfig, StockModel, StockProcessor
from stc_core.record.flops import VisionShape

FRAME_TOKENS = 768  # of qwen-vl-utils, with which the models are evaluated, for each frame


def _cap(video_processor: StockProcessor) -> None:
    """Let many frames share a budget, as in qwen-vl-utils.

    transformers announces that this will be the default of ``cap_pixels_per_frame``.
    """
    if hasattr(video_processor, "cap_pixels_per_frame"):
        video_processor.cap_pixels_per_frame = True


def _limit_size(video_processor: StockProcessor, pixels: int | None) -> None:
    """Limit a frame by ``size``, which the hub's files set for single pictures."""
    size = dict(video_processor.size)
    usual = min(size["longest_edge"], FRAME_TOKENS * 28 * 28)
    size["longest_edge"] = usual if pixels is None else pixels
    size["shortest_edge"] = min(size["shortest_edge"], size["longest_edge"])
    video_processor.size = type(video_processor.size)(**size)
    _cap(video_processor)


def _limit_tokens(video_processor: StockProcessor, pixels: int | None) -> None:
    """Limit the tokens of a frame: ``size`` is that of a whole video, and stays its limit."""
    video_processor.max_video_tokens = (pixels or FRAME_TOKENS * 32 * 32) // (32 * 32)
    _cap(video_processor)


BY_SIZE = FramePixels(
    FRAME_TOKENS * 28 * 28, 28 * 28, _limit_size, lambda made: made.size["longest_edge"]
)
BY_TOKENS = FramePixels(
    FRAME_TOKENS * 32 * 32, 32 * 32, _limit_tokens, lambda made: made.max_video_tokens * 32 * 32
)


def _merge(config: StockConfig) -> int:
    return config.vision_config.spatial_merge_size


def _qwen_step(config: StockConfig) -> int:
    return config.vision_config.temporal_patch_size


def blocks_of_tower(tower: StockModel) -> list[nn.Module]:
    return [block.attn for block in tower.blocks]


def _mergers(config: StockConfig) -> dict:
    """Blocks of patches side by side through two layers; one more of them a deepstack level."""
    vision = config.vision_config
    block = vision.spatial_merge_size**2
    wide = VisionShape.from_config(config).hidden * block
    levels = getattr(vision, "deepstack_visual_indexes", None) or ()
    out = config.get_text_config().hidden_size
    return {"projector": (wide, wide, out), "merged": block, "projectors": 1 + len(levels)}


def _windows_pool(body: StockModel, scores: Tensor, cells: Cells) -> Tensor:
    """Qwen2.5-VL sorts the blocks of patches by attention window, the same way in every frame."""
    from transformers.vision_utils import get_vision_window_index

    vision, (rows, cols) = body.config.vision_config, cells
    merge = vision.spatial_merge_size
    grid = torch.tensor([[1, rows * merge, cols * merge]])
    order, _ = get_vision_window_index(grid, merge, vision.window_size, vision.patch_size)
    sorted_tokens = mean_in_turn(body, scores, cells)
    return torch.empty_like(sorted_tokens).index_copy_(1, order.to(scores.device), sorted_tokens)


QWEN2_VL = Family(
    name="Qwen2-VL",
    architectures=("Qwen2VLForConditionalGeneration",),
    placeholder=video_token,
    layout=measured(video_token, _merge),
    pool=mean_in_turn,
    attentions=blocks_of_tower,
    feature_layer=last_layer,
    step=_qwen_step,
    projector=_mergers,
    frame_pixels=BY_SIZE,
    card=Card(
        hub=(
            "Qwen/Qwen2-VL-2B-Instruct",
            "Qwen/Qwen2-VL-7B-Instruct",
            "Qwen/Qwen2-VL-72B-Instruct",
        ),
        tokens="one for 28 x 28 pixels of two frames",
    ),
)
QWEN2_5_VL = Family(
    name="Qwen2.5-VL",
    architectures=("Qwen2_5_VLForConditionalGeneration",),
    placeholder=video_token,
    layout=measured(video_token, _merge),
    pool=_windows_pool,
    attentions=blocks_of_tower,
    whole_frames=lambda config, layer: layer in config.vision_config.fullatt_block_indexes,
    feature_layer=lambda config: max(config.vision_config.fullatt_block_indexes),
    step=_qwen_step,
    projector=_mergers,
    frame_pixels=BY_SIZE,
    card=Card(
        hub=(
            "Qwen/Qwen2.5-VL-3B-Instruct",
            "Qwen/Qwen2.5-VL-7B-Instruct",
            "Qwen/Qwen2.5-VL-32B-Instruct",
            "Qwen/Qwen2.5-VL-72B-Instruct",
        ),
        tokens="one for 28 x 28 pixels of two frames",
        about="contribution from the last layer that sees whole frames; the others see windows",
    ),
)
QWEN3_VL = Family(
    name="Qwen3-VL",
    architectures=("Qwen3VLForConditionalGeneration",),
    placeholder=video_token,
    layout=measured(video_token, _merge, split=True),
    pool=mean_in_turn,
    attentions=blocks_of_tower,
    feature_layer=last_layer,
    step=_qwen_step,
    projector=_mergers,
    frame_pixels=BY_TOKENS,
    card=Card(
        hub=(
            "Qwen/Qwen3-VL-2B-Instruct",
            "Qwen/Qwen3-VL-4B-Instruct",
            "Qwen/Qwen3-VL-8B-Instruct",
            "Qwen/Qwen3-VL-32B-Instruct",
        ),
        tokens="one for 32 x 32 pixels of two frames",
        about="deepstack features are merged as their tokens are; K >= 2",
    ),
)
