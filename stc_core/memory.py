"""What fits on a GPU: one sentence after it ran out of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .flops import LLMShape, VisionShape

if TYPE_CHECKING:
    from .loading import VLM


def working_bytes(vlm: VLM, frames: int) -> int:
    """Rough peak of a run beside the weights, in bytes: the larger of vision tower and prefill.

    The tower holds about eight vectors of its width and two of its FFN for every patch of every
    frame, the LLM as many for every token, and its KV cache beside them. An estimate for a
    sentence, not a measurement.
    """
    config = vlm.model.config
    llm, vision = LLMShape.from_config(config), VisionShape.from_config(config)
    rows, cols = vlm.family.cell_shape(config)
    size = torch.empty((), dtype=vlm.model.dtype).element_size()
    tower = frames * vision.patches * (8 * vision.hidden + 2 * vision.ffn) * size
    tokens = frames * rows * cols
    cache = 2 * llm.layers * llm.kv_heads * llm.head_dim * tokens * size
    prefill = tokens * (8 * llm.hidden + 3 * llm.ffn) * size + cache
    return max(tower, prefill)


def frames_that_fit(vlm: VLM, frames: int) -> str:
    """The sentence for a run of ``frames`` frames that did not fit."""
    total = torch.cuda.get_device_properties(vlm.device).total_memory
    free = total - vlm.model.get_memory_footprint()
    # what failed needed more than was free, whatever the estimate says: scale to that
    scale = max(1.0, free / working_bytes(vlm, frames))
    fit = next(
        (count for count in range(frames - 1, 0, -1) if scale * working_bytes(vlm, count) < free),
        0,
    )
    advice = f"about {fit} frames would fit" if fit else "use a smaller model or the device 'cpu'"
    return (
        f"the GPU's {total / 2**30:.0f} GiB are too little for {frames} frames with "
        f"{vlm.name!r}; {advice}"
    )
