"""Let a loaded model generate."""

from __future__ import annotations

import numpy as np
import torch

from stc_core.answering.prompt import build_prompt
from stc_core.models.vlm import VLM


def warm_up(vlm: VLM) -> None:
    """Run once on a black frame, so that a timed run does not pay for first-time work."""
    if vlm.warm:
        return
    black = np.zeros((1, 64, 64, 3), np.uint8)
    inputs = build_prompt(vlm, black, "what is this", 2, strict=False).inputs
    with torch.no_grad():
        vlm.model.generate(**inputs, do_sample=False, max_new_tokens=2, top_k=None)
    vlm.warm = True
