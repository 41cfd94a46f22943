"""Small traces made by hand, and trace files with other headers."""

import json

import numpy as np

from stc_core import Fate, Stage, TokenGrid, Trace
from stc_core.record.stages import Word

K, C, M, D, MI, DI = (int(fate) for fate in Fate)


def outside(fate, target):
    return Stage("outside", None, np.array(target, np.int64), np.array(fate, np.uint8))


def inside(fate, target, layer=2):
    return Stage("inside", layer, np.array(target, np.int64), np.array(fate, np.uint8))


# eight tokens: 0 kept; 2 a center of 1, 2, 3; 5 a center of 4, 5; 6 dropped; 7 kept
OUTSIDE = outside([K, M, C, M, M, C, D, K], [0, 2, 2, 2, 5, 5, -1, 7])
# after layer K the center 2 is merged into 0 and 7 is dropped
INSIDE = inside([K, M, MI, M, M, C, D, DI], [0, -1, 0, -1, -1, 5, -1, -1])
GRID = TokenGrid(2, 2, 2, height=20, width=30)


def small(**fields):
    return Trace.from_stages(GRID, (OUTSIDE, INSIDE), **fields)


def full():
    rng = np.random.default_rng(0)
    return small(
        order=[0, 2, -1, 1, -1, -1, -1, -1],
        nearest=[-1, 0, -1, 0, -1, -1, -1, -1],
        words=(Word("what", "question"), Word(" <b>", "answer", -0.25)),
        attention=rng.random((2, 4)).astype(np.float16),
        full_attention=rng.random((1, 8)).astype(np.float16),
        attention_layer=2,
        features=rng.normal(size=(8, 3)).astype(np.float16),
        logprob=-0.5,
        scores={"blue": -2.5},
        contribution=rng.random(8),
        relevance=np.where(rng.random(8) < 0.5, np.nan, 1),
        seconds=np.array([0.5, 2.25]),
        method="STC(retention=0.02)",
        model="embedded",
        question="星星是什么颜色? <video> ${1+1}",
        answer="red",
        positions="compact",
        costs={"tokens_full": 8},
        baseline={
            "answer": "blue",
            "costs": {},
            "logprob": -1.5,
            "scores": {"red": -3.0},
            "words": [{"text": "blue", "kind": "answer", "logprob": -1.0}],
        },
        frames=rng.integers(0, 256, (2, 4, 6, 3)).astype(np.uint8),
        notes=("cut off after 3 s",),
    )


def rewrite(path, **changes):
    """Change entries of a trace's JSON header."""
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(bytes(arrays.pop("header"))) | changes
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
