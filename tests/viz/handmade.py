"""Hand-made traces: small enough to know every token's fate by heart."""

from __future__ import annotations

import numpy as np

from stc_core import Fate, Stage, Trace
from stc_core.record.grid import TokenGrid


def build(
    grid: TokenGrid,
    kept=(0,),
    centers: dict[int, tuple[int, ...]] | None = None,
    ended: dict[int, int] | None = None,
    frames: int | None = 120,
    **fields,
) -> Trace:
    """A trace from lists of tokens.

    Parameters
    ----------
    kept : tokens in the retention pool.
    centers : members of each center, itself left out.
    ended : {token: where it is merged inside the LLM, -1 where it is dropped there}; None: no
        inside stage.
    frames : gray level of the frames; None: the trace holds no pictures.
    """
    n = grid.size
    fate, target = np.full(n, Fate.DROPPED, np.uint8), np.full(n, -1, np.int64)
    for token in kept:
        fate[token], target[token] = Fate.KEPT, token
    for center, members in (centers or {}).items():
        fate[center], target[center] = Fate.CENTER, center
        fate[list(members)], target[list(members)] = Fate.MERGED, center
    stages = [Stage("outside", None, target, fate)]
    if ended is not None:
        fate, target = fate.copy(), np.full(n, -1, np.int64)
        survivors = stages[0].survivors
        target[survivors] = survivors
        for token, goal in ended.items():
            fate[token] = Fate.MERGED_INSIDE if goal >= 0 else Fate.DROPPED_INSIDE
            target[token] = goal
        stages.append(Stage("inside", 2, target, fate))
    if frames is not None:
        tall = max(1, round(64 * grid.height / max(grid.height, grid.width)))
        wide = max(1, round(64 * grid.width / max(grid.height, grid.width)))
        fields.setdefault("frames", np.full((grid.frames, tall, wide, 3), frames, np.uint8))
    fields.setdefault("question", "what color is the star?")
    fields.setdefault("answer", "red")
    fields.setdefault("method", "STC(retention=0.02)")
    return Trace.from_stages(grid, tuple(stages), **fields)


def big(rows: int, cols: int, frames: int = 32, share: float = 0.02) -> Trace:
    """A trace of the size of real ones: random fates from a fixed seed, noisy frames."""
    rng = np.random.default_rng(7)
    grid = TokenGrid(frames, rows, cols, 360, 640)
    order = rng.permutation(grid.size)
    budget = max(4, round(share * grid.size))
    kept, centers = order[: budget * 7 // 10], order[budget * 7 // 10 : budget]
    rest = order[budget:]
    members = {
        int(c): tuple(part)
        for c, part in zip(centers, np.array_split(rest, len(centers)), strict=True)
    }
    ended = {int(token): int(centers[0]) for token in kept[: len(kept) // 2]}
    relevance = np.full(grid.size, np.nan, np.float32)
    relevance[order[:budget]] = rng.random(budget)
    return build(
        grid,
        kept=kept,
        centers=members,
        ended=ended,
        relevance=relevance,
        contribution=rng.random(grid.size).astype(np.float32),
        frames=None,
        seconds=np.arange(frames) * 0.5,
    )


def pixels(data: bytes) -> np.ndarray:
    """(h, w, 3) uint8 of PNG bytes."""
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def near(color, other, tolerance: int = 12) -> np.ndarray:
    """Whether colors (..., 3) in 0..255 agree within ``tolerance`` in every channel."""
    gap = np.abs(np.asarray(color, int) - np.asarray(other, int))
    return (gap <= tolerance).all(axis=-1)
