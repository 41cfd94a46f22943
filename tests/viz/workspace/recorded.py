"""A recorded trace of 48 tokens whose every number is known by heart."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
from handmade import big, build

from stc_core import Trace
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Word

NASTY = ("<img src=x onerror=alert(1)>", "${1+1}", "{{x}}", "`${alert(2)}`")
KEPT = (0, 13, 30)
CENTERS = {5: (6, 7), 40: (41,)}
WALK = {0: (-1, -np.inf), 1: (0, 0.9), 13: (0, 0.3), 14: (13, 0.8), 30: (13, 0.25), 2: (30, 0.75)}
WORDS = (
    Word("what", "question"),
    Word(" is", "question"),
    Word(f" {NASTY[0]}", "question"),
    Word("red", "answer", -0.25),
    Word(f" {NASTY[2]}", "answer", -1.5),
)


def recorded(**fields) -> Trace:
    """4 frames of 3 x 4 tokens, 5 of them in the LLM: 13 merged into 5 there, 40 dropped."""
    grid = TokenGrid(4, 3, 4, 90, 120)
    n = grid.size
    order, nearest = np.full((2, n), -1)
    similarity = np.full(n, np.nan, np.float32)
    for turn, (token, (near, cosine)) in enumerate(WALK.items()):
        order[token], nearest[token], similarity[token] = turn, near, cosine
    contribution = np.linspace(0.01, 0.2, n, dtype=np.float32)
    contribution[list(WALK)] = 1 - 0.1 * np.arange(len(WALK))
    relevance = np.full(n, np.nan, np.float32)
    relevance[[0, 5, 13, 30, 40]] = [0.9, 0.5, 0.1, 0.7, 0.05]
    attention = np.linspace(0, 0.2, 25).reshape(5, 5).astype(np.float16)
    full = np.full((5, n), 0.001, np.float16)
    full[3, 20] = 0.5  # dropped before the LLM
    return build(
        grid, kept=KEPT, centers=CENTERS, ended={13: 5, 40: -1}, order=order, nearest=nearest,
        similarity=similarity, contribution=contribution, relevance=relevance,
        seconds=np.array([0.0, 0.5, 1.0, 1.5]), words=WORDS, attention=attention,
        full_attention=full, attention_layer=2, **{
            "baseline": {"answer": "red", "costs": {}, "words": [asdict(word) for word in WORDS]},
            **fields,
        },
    )  # fmt: skip


def walked(frames: int) -> Trace:
    """``frames`` of 14 x 14 tokens, half of them considered, as large as real ones."""
    trace = big(14, 14, frames)
    n = trace.grid.size
    walk = np.argsort(-trace.contribution, kind="stable")[: n // 2]
    order, nearest = np.full((2, n), -1)
    order[walk], nearest[walk[1:]] = np.arange(len(walk)), walk[0]
    similarity = np.full(n, np.nan, np.float32)
    similarity[walk] = np.where(trace.stages[0].fate[walk] == 0, 0.5, 0.8)
    similarity[walk[0]] = -np.inf
    noise = np.random.default_rng(1).integers(0, 256, (frames, 36, 64, 3), np.uint8)
    return replace(
        trace,
        order=order,
        nearest=nearest,
        similarity=similarity,
        frames=noise.repeat(4, axis=1).repeat(4, axis=2),
    )
