"""A trace that the real STC has decided, on made-up features: small, and with all its parts."""

from __future__ import annotations

import numpy as np
import torch

from stc_core import STC, Fate, Stage, Trace
from stc_core.record.grid import TokenGrid

GRID = TokenGrid(8, 7, 7, 112, 112)
SPOT = range(8 * 49)[3 * 49 + 24 : 3 * 49 + 26]  # two cells of frame 3 that show the answer


def decided(retention: float = 0.06, seed: int = 3, **fields) -> Trace:
    """A still background with noise, and a bright spot in frame 3 that the answer hangs on."""
    rng = np.random.default_rng(seed)
    still = rng.normal(size=(4, 16))[rng.integers(0, 4, 49)]
    features = np.tile(still, (GRID.frames, 1)) + 0.25 * rng.normal(size=(GRID.size, 16))
    contribution = rng.random(GRID.size)
    features[list(SPOT)] = 3 * rng.normal(size=(2, 16))
    contribution[list(SPOT)] = (0.2, 0.99)
    frames = rng.integers(60, 120, (GRID.frames, 112, 112, 3)).astype(np.uint8)
    frames[3, 48:64, 48:80] = (230, 60, 40)

    method = STC(retention=retention)
    tokens = torch.from_numpy(features)
    outside = method.outside(tokens, torch.from_numpy(contribution), GRID)
    entered = outside.apply(tokens)
    text = tokens[SPOT[1]][None] + 0.1
    inside = method.inside(entered, text, torch.softmax(text @ entered.T, dim=-1))
    alive = outside.survivors.numpy()
    target = np.full(GRID.size, -1, np.int64)
    target[alive] = alive[inside.target.numpy()]
    fate = outside.fate.numpy().copy()
    gone = np.setdiff1d(np.arange(len(alive)), inside.survivors.numpy())
    fate[alive[gone]] = Fate.MERGED_INSIDE
    relevance = np.full(GRID.size, np.nan, np.float32)
    relevance[alive] = inside.notes["relevance"].numpy()
    stages = (
        Stage("outside", None, outside.target.numpy(), outside.fate.numpy()),
        Stage("inside", 5, target, fate),
    )
    told = {name: values.numpy() for name, values in outside.notes.items()}
    return Trace.from_stages(
        GRID, stages, contribution=contribution, relevance=relevance, frames=frames,
        seconds=np.arange(GRID.frames) * 0.25, method=repr(method), model="embedded",
        **{"question": "what flashed?", "answer": "red bar",
           "baseline": {"answer": "red bar", "costs": {}}, **told, **fields},
    )  # fmt: skip
