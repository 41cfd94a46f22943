"""The clip on which the published functions of several methods were run: 6 frames of 3 x 3 x 8."""

import numpy as np
import torch

from stc_core.record.grid import TokenGrid


def published_clip():
    """(tokens (54, 8), contribution (54,), grid), float32: two still scenes of three frames."""
    rng = np.random.default_rng(0)
    scenes = rng.standard_normal((2, 9, 8))
    tokens = np.repeat(scenes, 3, axis=0) + 0.3 * rng.standard_normal((6, 9, 8))
    contribution = rng.random((6, 9))
    return (
        torch.from_numpy(tokens).float().flatten(0, 1),
        torch.from_numpy(contribution).float().flatten(),
        TokenGrid(6, 3, 3),
    )
