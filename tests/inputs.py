"""What tests feed to models: sizes of tiny ones, a clip, a prompt."""

from __future__ import annotations

import numpy as np
from tiny.llava_onevision import SIZE

from stc_core import STC
from stc_core.shapes.model.sizes import Size

# Five decoder layers; "odd" has 27 x 27 patches a frame, as the published checkpoints have.
SIZES = {
    "even": SIZE,
    "odd": Size(
        frame=54,
        patch=2,
        vision_width=16,
        vision_layers=2,
        vision_heads=2,
        vision_ffn=16,
        width=32,
        layers=5,
        heads=4,
        kv_heads=2,
        ffn=48,
    ),
}
# The stages alone and together, for decoders of five layers.
# deepstack adds features after the first two layers of Qwen3-VL: K is 1 at the earliest
METHODS = {
    "outside": STC(retention=0.3, keep_inside=1.0),
    "inside": STC(retention=1.0, keep_inside=0.4, layer=1),
    "both": STC(retention=0.4, keep_inside=0.5, layer=2, tau=0.99),
    "both, compact": STC(retention=0.4, keep_inside=0.5, layer=2, positions="compact"),
}


def clip_frames(frames: int = 4, side: int = 40, seed: int = 0) -> np.ndarray:
    """(T, side, side, 3) uint8: noise that repeats in part from frame to frame."""
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 256, (1, side, side, 3))
    moving = rng.integers(0, 256, (frames, side, side, 3))
    moving[:, : side // 2] = still[:, : side // 2]
    return moving.astype(np.uint8)


def prompt(processor, frames: np.ndarray, question: str = "what color is the star ?") -> dict:
    """Inputs for ``generate``, by the stock processor alone."""
    content = [{"type": "video"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return dict(processor(text=text, videos=[list(frames)], return_tensors="pt"))
