"""Fit the boundary between pictures of the world of shapes and all others to a trained tower."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stc_core.models.familiarity import FRAMES, Familiarity, seen_by_tower, summaries_of
from stc_core.models.loading import load
from stc_core.shapes.model.opened import open_model
from stc_core.shapes.world.clip import make_clip
from stc_core.shapes.world.foreign import FOREIGN_SEEDS, foreign_clip
from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS
from stc_core.writing import write_whole

WORLD_CLIPS, FOREIGN_CLIPS = 240, 1200
PENALTY = 0.1  # inverse strength of the L2 penalty on standardized summaries
SIZES = ((320, 320), (288, 512), (400, 300), (112, 112), (480, 480))  # of recordings, in pixels


def fit_familiarity(
    source: Any = None, clips: int = WORLD_CLIPS, foreign: int = FOREIGN_CLIPS
) -> Familiarity:
    """Fit the boundary on development clips of the world and generated pictures from outside.

    No real picture is used.

    Parameters
    ----------
    source
        A checkpoint folder, what ``stc_core.load`` returns, or None for the embedded model.
    clips, foreign : int
        How many of the world and from outside.

    Returns
    -------
    Familiarity
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    vlm = open_model(source)
    world = [summary_of(vlm, frames) for frames in recordings(DEVELOPMENT_SEEDS, clips)]
    side = vlm.model.config.vision_config.image_size
    outside = [summary_of(vlm, foreign_clip(s, 1, side)) for s in FOREIGN_SEEDS[:foreign]]
    rows = np.concatenate([*world, *outside])
    labels = np.repeat([0, 1], [sum(map(len, world)), sum(map(len, outside))])
    scaler = StandardScaler().fit(rows)
    found: Any = LogisticRegression(C=PENALTY, max_iter=2000, class_weight="balanced")
    found.fit(scaler.transform(rows), labels)
    weight = found.coef_[0] / scaler.scale_
    bias = float(found.intercept_[0] - weight @ scaler.mean_)
    return Familiarity(tuple(round(float(w), 4) for w in weight), round(bias, 4))


def recordings(seeds: range, count: int) -> Iterator[np.ndarray]:
    """Yield (T, H, W, 3) clips of the world as recordings of several sizes and qualities."""
    for number, seed in enumerate(seeds[:count]):
        dice = np.random.default_rng([seed, 78])
        frames = make_clip(seed, FRAMES, SIZES[number % len(SIZES)]).frames
        yield lossy(frames, int(dice.integers(65, 96))) if number % 2 else frames


def lossy(frames: np.ndarray, quality: int) -> np.ndarray:
    """Return frames as they come out of a lossy coder, here JPEG of this quality."""
    import cv2

    coded = [cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for f in frames]
    decoded: list[Any] = [cv2.imdecode(c, cv2.IMREAD_UNCHANGED) for c in coded]
    return np.stack(decoded)


def seen_of(vlm: Any, frames: np.ndarray) -> Tensor:
    """Return (T, patches, width): what the tower gives for frames (T, H, W, 3)."""
    pixels = vlm.processor.video_processor(frames, return_tensors="pt").pixel_values_videos[0]
    return seen_by_tower(vlm.model, pixels)


def summary_of(vlm: Any, frames: np.ndarray) -> np.ndarray:
    """Return (T, 2 * width): what the tower's patches of each frame are like."""
    return summaries_of(seen_of(vlm, frames)).double().cpu().numpy()


def write_familiarity(folder: Path, **counts: int) -> Familiarity:
    """Fit the boundary of a checkpoint and write it into its config, under ``stc.familiarity``."""
    found = fit_familiarity(load(folder, device="cpu", dtype=torch.float32), **counts)
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["stc"] = {**config.get("stc", {}), "familiarity": found.to_json()}
    write_whole(path, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return found
