"""Hold what several families have in common."""

from __future__ import annotations

from torch import Tensor

from stc_core.models.families.family import Box, Cells
from stc_core.models.stock import StockConfig, StockModel, StockProcessor


def video_token(config: StockConfig) -> int:
    return config.video_token_id


def image_token(config: StockConfig) -> int:
    return config.image_token_id


def patch_grid(config: StockConfig, grid_thw: Tensor | None = None) -> Cells:
    """Return (rows, cols) of the patches of one time step, by the config or by ``grid_thw``."""
    if grid_thw is not None:
        rows, cols = grid_thw[0, 1:].tolist()
        return rows, cols
    vision = config.vision_config
    sides = vision.image_size, vision.patch_size
    (tall, wide), (high, broad) = [(s, s) if isinstance(s, int) else tuple(s) for s in sides]
    return tall // high, wide // broad


def hidden_state_layer(config: StockConfig) -> int:
    """Return the layer whose output the config selects as ``hidden_states[v]``.

    This is layer v - 1 for v >= 0 and layer v for v < 0.
    """
    layer = config.vision_feature_layer
    if not isinstance(layer, int):  # several layers side by side: the deepest speaks for all
        depth = config.vision_config.num_hidden_layers
        layer = max(value % (depth + 1) for value in layer)
    return layer - 1 if layer >= 0 else layer


def last_layer(config: StockConfig) -> int:
    return -1


def has_clip_tower(config: StockConfig) -> bool:
    return config.vision_config.model_type == "clip_vision_model"


def mean_of_blocks(body: StockModel, scores: Tensor, cells: Cells) -> Tensor:
    """Average patches in raster order by blocks, one a token (pixel shuffle)."""
    rows, cols = cells
    side = int((scores.shape[1] / (rows * cols)) ** 0.5)
    return scores.view(len(scores), rows, side, cols, side).mean(dim=(2, 4)).flatten(1)


def mean_in_turn(body: StockModel, scores: Tensor, cells: Cells) -> Tensor:
    """Average patches that lie in the order of their tokens, one block after the other."""
    return scores.view(len(scores), cells[0] * cells[1], -1).mean(dim=2)


def center_crop(processor: StockProcessor, height: int, width: int) -> Box:
    """Return the part of the picture that CLIP's processor shows.

    It resizes the shorter side and cuts the middle out, both in whole pixels.
    """
    video, sides = processor.video_processor, []
    for side, cut in ((height, video.crop_size["height"]), (width, video.crop_size["width"])):
        resized = int(video.size["shortest_edge"] * side / min(height, width))
        first = int((resized - cut) / 2)
        sides.append((first * side / resized, (first + cut) * side / resized))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right
