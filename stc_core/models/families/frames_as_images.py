"""InternVL3 and SmolVLM2: frames are images with words between them."""

from __future__ import annotations

from stc_core.models.families.family import Card, Cells, Family
from stc_core.models.families.shared import (
    hidden_state_layer,
    image_token,
    last_layer,
    mean_of_blocks,
    patch_grid,
)
from stc_core.models.layout import fixed
from stc_core.models.stock import StockConfig


def _internvl_cells(config: StockConfig) -> Cells:
    rows, cols = patch_grid(config)
    return int(rows * config.downsample_ratio), int(cols * config.downsample_ratio)


def _internvl_projector(config: StockConfig) -> dict:
    block, wide = round(1 / config.downsample_ratio) ** 2, config.get_text_config().hidden_size
    return {"projector": (block * config.vision_config.hidden_size, wide, wide), "merged": block}


def _smolvlm_projector(config: StockConfig) -> dict:
    block, wide = config.scale_factor**2, config.get_text_config().hidden_size
    return {"projector": (block * config.vision_config.hidden_size, wide), "merged": block}


def _smolvlm_cells(config: StockConfig) -> Cells:
    rows, cols = patch_grid(config)
    return rows // config.scale_factor, cols // config.scale_factor


INTERNVL = Family(
    name="InternVL3",
    architectures=("InternVLForConditionalGeneration",),
    placeholder=image_token,
    cell_shape=_internvl_cells,
    layout=fixed(image_token, _internvl_cells, split=True),
    projector=_internvl_projector,
    pool=mean_of_blocks,
    attentions=lambda tower: [layer.attention for layer in tower.encoder.layer],
    class_token=lambda config: True,
    feature_layer=hidden_state_layer,
    image_token=lambda config: None,
    card=Card(
        hub=(
            "OpenGVLab/InternVL3-1B-hf",
            "OpenGVLab/InternVL3-2B-hf",
            "OpenGVLab/InternVL3-8B-hf",
            "OpenGVLab/InternVL3-14B-hf",
            "OpenGVLab/InternVL3-38B-hf",
            "OpenGVLab/InternVL3-78B-hf",
        ),
        tokens="16 x 16",
        about="frames are images with their number before them; an image of one tile beside the "
        "video is taken for one more frame, larger ones are refused",
    ),
)
SMOLVLM = Family(
    name="SmolVLM2",
    architectures=("SmolVLMForConditionalGeneration",),
    placeholder=image_token,
    cell_shape=_smolvlm_cells,
    layout=fixed(image_token, _smolvlm_cells, split=True),
    projector=_smolvlm_projector,
    pool=mean_of_blocks,
    feature_layer=last_layer,
    image_token=lambda config: None,
    card=Card(
        hub=(
            "HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
            "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
            "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        ),
        tokens="8 x 8; 9 x 9 in the 2.2B",
        about="frames are images with their time before them, squeezed to a square",
    ),
)
