"""LLaVA-OneVision, LLaVA-Video, LLaVA-NeXT-Video, Video-LLaVA."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from stc_core.models.families.family import Box, Card, Cells, Family
from stc_core.models.families.shared import (
    center_crop,
    has_clip_tower,
    hidden_state_layer,
    patch_grid,
    video_token,
)
from stc_core.models.layout import fixed
from stc_core.models.stock import StockClass, StockConfig, StockModel, StockProcessor


def _llava_onevision_cells(config: StockConfig) -> Cells:
    """27 x 27 patches become 14 x 14 tokens: half, rounded up, as ``apply_pooling`` does."""
    rows, cols = patch_grid(config)
    return (rows + 1) // 2, (cols + 1) // 2


def _llava_onevision_pool(body: StockModel, scores: Tensor, cells: Cells) -> Tensor:
    # channels-last with one channel, through the very function that pools the features
    return body.apply_pooling(scores[..., None])[..., 0]


def _llava_video_cells(config: StockConfig) -> Cells:
    return config.tokens_per_side, config.tokens_per_side


def _upper_left(processor: StockProcessor, height: int, width: int) -> Box:
    """Rows and columns of pixels beyond the last whole pooling window are in no token."""
    return 0.0, 0.0, height * processor.covered, width * processor.covered


def _llava_video_times(seconds: Sequence[float] | np.ndarray, duration: float) -> str:
    from stc_core.models.llava_video.processor import time_instruction

    return time_instruction(seconds, duration)


def _llava_video_classes() -> tuple[StockClass, StockClass, StockClass]:
    from stc_core.models.llava_video.model import classes

    return classes()


def _next_video_cells(config: StockConfig) -> Cells:
    rows, cols = patch_grid(config)
    return rows // config.spatial_pool_stride, cols // config.spatial_pool_stride


def _next_video_projector(config: StockConfig) -> dict:
    return {"merged": config.spatial_pool_stride**2}  # pooled before they are projected


def _next_video_pool(body: StockModel, scores: Tensor, cells: Cells) -> Tensor:
    return nn.functional.avg_pool2d(
        scores.view(len(scores), *patch_grid(body.config)), body.config.spatial_pool_stride
    ).flatten(1)


# Vicuna's way of taking turns, the video on a line of its own before the question
VICUNA_TURNS = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ content(message) + ' ' }}"
    "{% elif message['role'] == 'user' %}{{ 'USER: ' + content(message) + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + content(message) + '</s>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
VICUNA_CONTENT = (
    "{% macro content(message) %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] != 'text' %}"
    "{{ '<' + part['type'] + '>\\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endfor %}"
    "{% endif %}{% endmacro %}"
)

LLAVA_ONEVISION = Family(
    name="LLaVA-OneVision",
    architectures=("LlavaOnevisionForConditionalGeneration",),
    placeholder=video_token,
    cell_shape=_llava_onevision_cells,
    layout=fixed(video_token, _llava_onevision_cells, after=1),
    pool=_llava_onevision_pool,
    class_token=has_clip_tower,
    head=lambda tower: getattr(getattr(tower, "head", None), "attention", None),
    feature_layer=hidden_state_layer,
    parts=True,
    card=Card(
        hub=(
            "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
            "llava-hf/llava-onevision-qwen2-7b-ov-hf",
            "llava-hf/llava-onevision-qwen2-72b-ov-hf",
        ),
        tokens="14 x 14, and a newline after the video",
        checked="the embedded model",
    ),
)
LLAVA_VIDEO = Family(
    name="LLaVA-Video",
    architectures=("LlavaVideoForConditionalGeneration",),
    placeholder=video_token,
    cell_shape=_llava_video_cells,
    layout=fixed(video_token, _llava_video_cells, newline=1),
    pool=_llava_onevision_pool,
    feature_layer=hidden_state_layer,
    seen=_upper_left,
    times=_llava_video_times,
    classes=_llava_video_classes,
    card=Card(
        hub=("lmms-lab/LLaVA-Video-7B-Qwen2", "lmms-lab/LLaVA-Video-72B-Qwen2"),
        tokens="13 x 13, and a newline after each row",
        served=False,
        checked="a converted checkpoint",
        about="no stock class computes its features: first `python -m stc_core convert`; a newline "
        "stays where its row keeps a token",
    ),
)
LLAVA_NEXT_VIDEO = Family(
    name="LLaVA-NeXT-Video",
    architectures=("LlavaNextVideoForConditionalGeneration",),
    placeholder=video_token,
    cell_shape=_next_video_cells,
    layout=fixed(video_token, _next_video_cells),
    pool=_next_video_pool,
    class_token=has_clip_tower,
    feature_layer=hidden_state_layer,
    seen=center_crop,
    # the published preprocessor_config.json leads AutoVideoProcessor to the whole processor
    video_processor="LlavaNextVideoVideoProcessor",
    projector=_next_video_projector,
    parts=True,
    card=Card(
        hub=(
            "llava-hf/LLaVA-NeXT-Video-7B-hf",
            "llava-hf/LLaVA-NeXT-Video-7B-DPO-hf",
            "llava-hf/LLaVA-NeXT-Video-34B-hf",
        ),
        tokens="12 x 12",
        about="sees the middle square of a frame",
    ),
)
VIDEO_LLAVA = Family(
    name="Video-LLaVA",
    architectures=("VideoLlavaForConditionalGeneration",),
    placeholder=video_token,
    cell_shape=patch_grid,
    layout=fixed(video_token, patch_grid, before=1),
    pool=lambda body, scores, cells: scores,
    tower=lambda model: model.base_model.video_tower,
    class_token=lambda config: True,
    feature_layer=hidden_state_layer,
    seen=center_crop,
    chat_template=VICUNA_CONTENT + VICUNA_TURNS,
    projector=lambda config: {"projects_class": True},
    card=Card(
        hub=("LanguageBind/Video-LLaVA-7B-hf",),
        tokens="16 x 16, after a class token",
        about="sees the middle square of a frame; a frame's class token stays where one of its "
        "tokens does",
    ),
)
