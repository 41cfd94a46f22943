"""Choose the layer of the vision tower that attends to things rather than to background.

The contribution of a patch is the attention it receives. In a tower as small as this one the layers
disagree about what deserves it, so the layer is chosen on development clips and kept in the config.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stc_core.hooks.attention import attention_received
from stc_core.hooks.probes import probe
from stc_core.models.families import family_of
from stc_core.models.stock import StockModel
from stc_core.shapes.model.opened import open_model
from stc_core.shapes.world.clip import make_clip
from stc_core.shapes.world.drawing import coverage
from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS, frame_times


@torch.no_grad()
def layer_auc(
    source: Any = None, clips: int = 60, frames: int = 32, seeds: range = DEVELOPMENT_SEEDS
) -> list[float]:
    """Measure for each vision layer how well received attention separates things from background.

    Parameters
    ----------
    source
        As for ``evaluate``.
    clips : int
        Number of clips.
    frames : int
        Frames T of every clip.
    seeds : range
        Seeds of the clips.

    Returns
    -------
    list of float
        One area under the curve per layer, the mean over clips that show both things and
        background. 0.5 is chance; 1 puts every patch that a thing covers by half or more above
        every patch without any thing, over all frames of a clip at once.
    """
    vlm = open_model(source)
    config = vlm.model.config.vision_config
    side = config.image_size // config.patch_size
    scores: list[list[float]] = []
    for seed in seeds[:clips]:
        clip = make_clip(seed, frames, config.image_size)
        share = coverage([clip.scene], frame_times(frames), side, side)[0].numpy().max(axis=0)
        pixels = vlm.processor.video_processor(clip.frames, return_tensors="pt")
        received = received_per_layer(vlm.model, pixels.pixel_values_videos[0])
        thing, empty = (share >= 0.5).ravel(), (share == 0).ravel()
        if thing.any() and empty.any():
            scores.append([auc(r.ravel()[thing], r.ravel()[empty]) for r in received])
    return np.mean(scores, axis=0).tolist()


@torch.no_grad()
def received_per_layer(model: StockModel, pixels: Tensor) -> np.ndarray:
    """Return the attention that each patch receives in each vision layer.

    Parameters
    ----------
    model : StockModel
    pixels : (T, 3, H, W) float

    Returns
    -------
    (layers, T, patches) float
    """
    tower = model.get_encoder(modality="image")
    received: list[Tensor] = []
    with ExitStack() as stack:
        for module in family_of(model.config).attentions(tower):
            stack.enter_context(
                probe(module, lambda *seen: received.append(attention_received(*seen)))
            )
        tower(pixels.to(model.device))
    return torch.stack(received).cpu().numpy()


def auc(above: np.ndarray, below: np.ndarray) -> float:
    """Return the probability that a value of ``above`` exceeds one of ``below``.

    Ties count half.
    """
    ordered = np.sort(below)
    less = np.searchsorted(ordered, above, side="left")
    at_most = np.searchsorted(ordered, above, side="right")
    return float((less + at_most).mean() / (2 * len(below)))
