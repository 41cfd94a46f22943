"""Build LLaVA-Video on stock classes: the few lines that differ from LLaVA-OneVision."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionModel,
)

from stc_core.errors import InputError
from stc_core.models.llava_video.processor import NO_IMAGES, LlavaVideoProcessor
from stc_core.models.stock import StockClass, StockConfig


def checked_pool(mode: str) -> str:
    """Return how patches are pooled; ``InputError`` where it is neither way of LLaVA-Video."""
    if mode not in ("average", "bilinear"):
        raise InputError(
            f"LLaVA-Video pools its patches by 'average' or 'bilinear', not by {mode!r}"
        )
    return mode


class LlavaVideoConfig(LlavaOnevisionConfig):
    """Extend LLaVA-OneVision's config by how patches are pooled.

    Parameters
    ----------
    spatial_pool_mode : "average" (27 -> 13 tokens a side) or "bilinear" (27 -> 14)
    spatial_pool_stride : int
    """

    model_type = "llava_video"

    if TYPE_CHECKING:  # the parent's fields may be dicts or None, until it has made configs of them
        vision_config: StockConfig
        text_config: StockConfig

    spatial_pool_mode: str = "average"
    spatial_pool_stride: int = 2

    def __post_init__(self, **kwargs) -> None:
        super().__post_init__(**kwargs)
        checked_pool(self.spatial_pool_mode)
        if not 1 <= self.spatial_pool_stride <= self.patches_per_side:
            raise InputError(
                f"{self.patches_per_side} x {self.patches_per_side} patches cannot be pooled by "
                f"{self.spatial_pool_stride}"
            )

    @property
    def patches_per_side(self) -> int:
        return self.vision_config.image_size // self.vision_config.patch_size

    @property
    def tokens_per_side(self) -> int:
        """Return the rows, and columns without the newline, of one frame's tokens."""
        patches, stride = self.patches_per_side, self.spatial_pool_stride
        return patches // stride if self.spatial_pool_mode == "average" else -(-patches // stride)

    @property
    def covered(self) -> float:
        """Return the share of a frame's side, from its upper left corner, that lies in tokens."""
        patches = self.patches_per_side
        if self.spatial_pool_mode == "average":
            patches = self.tokens_per_side * self.spatial_pool_stride
        return patches * self.vision_config.patch_size / self.vision_config.image_size


class LlavaVideoModel(LlavaOnevisionModel):
    """Extend LLaVA-OneVision's body by LLaVA-Video's pooling and a newline after every row."""

    config_class = LlavaVideoConfig

    def apply_pooling(self, image_features: Tensor) -> Tensor:
        """Pool (T, patches, d) to (T, rows * cols, d); leave out patches that fill no window."""
        side, stride = self.config.patches_per_side, self.config.spatial_pool_stride
        maps = image_features.transpose(1, 2).unflatten(2, (side, side))
        if self.config.spatial_pool_mode == "average":
            maps = F.avg_pool2d(maps, stride)
        else:
            maps = F.interpolate(maps, size=(self.config.tokens_per_side,) * 2, mode="bilinear")
        return maps.flatten(2).transpose(1, 2)

    @wraps(LlavaOnevisionModel.get_video_features, assigned=())  # generate() reads the signature
    def get_video_features(self, *args, **kwargs):
        """Return (B, T * rows * (cols + 1), d): each row ends in a newline.

        The stock classes put one newline behind the whole video, in this method or (transformers
        5.10) in ``forward``. The last row's newline is that one.
        """
        outputs = super().get_video_features(*args, **{**kwargs, "return_dict": True})
        features, side = outputs.pooler_output, self.config.tokens_per_side
        frames = len(outputs.last_hidden_state) // len(features)
        tokens = frames * side * side
        rows = features[:, :tokens].unflatten(1, (frames * side, side))
        newline = self.image_newline.to(rows).expand(*rows.shape[:2], 1, -1)
        lines = torch.cat([rows, newline], dim=2).flatten(1, 2)
        outputs.pooler_output = lines if features.shape[1] > tokens else lines[:, :-1]
        return outputs

    def get_image_features(self, *args, **kwargs):
        raise InputError(NO_IMAGES)


class LlavaVideoForConditionalGeneration(LlavaOnevisionForConditionalGeneration):
    """Build LLaVA-Video of SigLIP, a two-layer projector and Qwen2."""

    config_class = LlavaVideoConfig

    def __init__(self, config: LlavaVideoConfig) -> None:
        # past the parent's, which would build a body of its own first
        super(LlavaOnevisionForConditionalGeneration, self).__init__(config)
        text = config.text_config
        self.model = LlavaVideoModel(config)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()


def classes() -> tuple[StockClass, StockClass, StockClass]:
    """Return config, model and processor; ``AutoConfig`` knows the first from then on.

    The library's loader of tokenizers asks it what kind of model a folder holds.
    """
    AutoConfig.register(LlavaVideoConfig.model_type, LlavaVideoConfig, exist_ok=True)
    return LlavaVideoConfig, LlavaVideoForConditionalGeneration, LlavaVideoProcessor
