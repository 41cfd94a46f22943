"""One record per model family: what differs between stock Video-LLMs, and nothing else does.

A new family is one more ``Family`` here and one more builder of a tiny model in tests/conftest.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .errors import InputError


@dataclass(frozen=True)
class Family:
    """How one family of Hugging Face models lays out its video.

    Attributes
    ----------
    name : str
    architectures : tuple of str
        Class names, as in a checkpoint's ``config.architectures``.
    placeholder : callable
        config -> id of the token that stands for one video token in ``input_ids``.
    extra : int
        Placeholders after a video's last token that are not on the grid (newline embeddings).
    cell_shape : callable
        config -> (rows, cols) of the token grid of one frame.
    attentions : callable
        vision tower -> its self-attention modules, first layer first.
    class_token : callable
        config -> whether the tower puts a class token before the patches.
    head : callable
        vision tower -> the ``torch.nn.MultiheadAttention`` of its pooling head, None without one.
    feature_layer : callable
        config -> list index of the attention module in the layer whose output is the feature.
    pool : callable
        (model without head, (T, patches) float) -> (T, rows * cols): a map over patches brought to
        the token grid by the model's own pooling.
    """

    name: str
    architectures: tuple[str, ...]
    placeholder: Callable[[object], int]
    extra: int
    cell_shape: Callable[[object], tuple[int, int]]
    attentions: Callable[[nn.Module], list[nn.Module]]
    class_token: Callable[[object], bool]
    head: Callable[[nn.Module], nn.Module | None]
    feature_layer: Callable[[object], int]
    pool: Callable[[nn.Module, Tensor], Tensor]


def _llava_onevision_cells(config) -> tuple[int, int]:
    """27 x 27 patches become 14 x 14 tokens: half, rounded up, as ``apply_pooling`` does."""
    side = config.vision_config.image_size // config.vision_config.patch_size
    return (side + 1) // 2, (side + 1) // 2


def _hidden_state_layer(config) -> int:
    """``hidden_states[v]`` is the output of layer v - 1 (v >= 0) or of layer v (v < 0)."""
    layer = config.vision_feature_layer
    if not isinstance(layer, int):  # several layers side by side: the deepest speaks for all
        depth = config.vision_config.num_hidden_layers
        layer = max(value % (depth + 1) for value in layer)
    return layer - 1 if layer >= 0 else layer


def _llava_onevision_pool(body: nn.Module, scores: Tensor) -> Tensor:
    # channels-last with one channel, through the very function that pools the features
    return body.apply_pooling(scores[..., None])[..., 0]


FAMILIES: dict[str, Family] = {
    "llava_onevision": Family(
        name="LLaVA-OneVision",
        architectures=("LlavaOnevisionForConditionalGeneration",),
        placeholder=lambda config: config.video_token_id,
        extra=1,
        cell_shape=_llava_onevision_cells,
        attentions=lambda tower: [layer.self_attn for layer in tower.encoder.layers],
        class_token=lambda config: config.vision_config.model_type == "clip_vision_model",
        head=lambda tower: getattr(getattr(tower, "head", None), "attention", None),
        feature_layer=_hidden_state_layer,
        pool=_llava_onevision_pool,
    ),
}


def family_of(config) -> Family:
    """The record for a model's config. ``InputError`` names the known ones where there is none."""
    family = FAMILIES.get(getattr(config, "model_type", ""))
    if family is None:
        known = ", ".join(record.name for record in FAMILIES.values())
        raise InputError(
            f"{getattr(config, 'model_type', type(config).__name__)!r} is not a Video-LLM this "
            f"program knows; use one of {known}, or add a record to stc_core/families.py"
        )
    return family


def contribution_module(model: nn.Module, family: Family, layer: int | None) -> nn.Module:
    """The vision attention whose weights are the contribution.

    layer: a list index; None for what the checkpoint records in ``config.stc`` or, where it records
    nothing, the layer whose output is the feature.
    """
    modules = family.attentions(model.get_encoder(modality="image"))
    if layer is None:
        recorded = (getattr(model.config, "stc", None) or {}).get("contribution_layer")
        layer = family.feature_layer(model.config) if recorded is None else recorded
    if not -len(modules) <= layer < len(modules):
        raise InputError(
            f"contribution layer {layer} is outside this vision tower of {len(modules)} layers"
        )
    return modules[layer]


def class_token(model: nn.Module, family: Family) -> None:
    """Raise ``InputError`` where the vision tower has no class token."""
    if not family.class_token(model.config):
        raise InputError(
            f"the vision tower of this {family.name} has no class token; use signal='received'"
        )


def pooling_head(model: nn.Module, family: Family) -> nn.Module:
    """The attention of the vision tower's pooling head; ``InputError`` where there is none."""
    head = family.head(model.get_encoder(modality="image"))
    if head is None:
        raise InputError(
            f"the vision tower of this {family.name} has no pooling head; use signal='received'"
        )
    return head


def to_grid(model: nn.Module, family: Family, scores: Tensor) -> Tensor:
    """(T, patches) scores -> (T, rows * cols) on the token grid, in float32."""
    with torch.no_grad():
        return family.pool(model.base_model, scores.float())
