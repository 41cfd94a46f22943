"""LLaVA-OneVision: the embedded model's own builder, smaller."""

from __future__ import annotations

from stc_core.shapes.model.sizes import Size
from stc_core.shapes.model.sizes import build as build_shapes

from .weights import sharpened

SIZE = Size(
    frame=32,
    patch=4,
    vision_width=32,
    vision_layers=3,
    vision_heads=4,
    vision_ffn=48,
    width=32,
    layers=5,
    heads=4,
    kv_heads=2,
    ffn=48,
)


def build(seed: int = 0):
    """8 x 8 patches and 4 x 4 tokens a frame."""
    model, processor = build_shapes(SIZE, seed=seed)
    return sharpened(model.eval()), processor
