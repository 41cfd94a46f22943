"""Find the attention in a vision tower that is the contribution; bring it to the token grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stc_core.errors import InputError
from stc_core.models.families.family import Cells, Family
from stc_core.models.stock import StockModel


def contribution_module(model: StockModel, family: Family, layer: int | None) -> nn.Module:
    """Return the vision attention whose weights are the contribution.

    layer: a list index; None for what the checkpoint records in ``config.stc`` or, where it records
    nothing, the layer whose output is the feature.
    """
    modules = family.attentions(family.tower(model))
    if layer is None:
        recorded = (getattr(model.config, "stc", None) or {}).get("contribution_layer")
        layer = family.feature_layer(model.config) if recorded is None else recorded
    if not -len(modules) <= layer < len(modules):
        raise InputError(
            f"contribution layer {layer} is outside this vision tower of {len(modules)} layers"
        )
    if not family.whole_frames(model.config, layer % len(modules)):
        whole = [i for i in range(len(modules)) if family.whole_frames(model.config, i)]
        raise InputError(
            f"contribution layer {layer} of this {family.name} attends within small windows only; "
            f"use one of {', '.join(map(str, whole))}"
        )
    return modules[layer]


def check_class_token(model: StockModel, family: Family) -> None:
    """Raise ``InputError`` where the vision tower has no class token."""
    if not family.class_token(model.config):
        raise InputError(
            f"the vision tower of this {family.name} has no class token; use signal='received'"
        )


def pooling_head(model: StockModel, family: Family) -> nn.Module:
    """Return the attention of the tower's pooling head; ``InputError`` where there is none."""
    head = family.head(family.tower(model))
    if head is None:
        raise InputError(
            f"the vision tower of this {family.name} has no pooling head; use signal='received'"
        )
    return head


def to_grid(model: StockModel, family: Family, scores: Tensor, cells: Cells) -> Tensor:
    """Bring scores (T, patches) to the token grid: (T, rows * cols), in float32."""
    with torch.no_grad():
        return family.pool(model.base_model, scores.float(), cells)
