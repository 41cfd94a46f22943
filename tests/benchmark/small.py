"""What the tests of the benchmark share: tiny models, made-up answers."""

from __future__ import annotations

from stc_core.benchmark.run import Outcome
from stc_core.models.vlm import VLM


def vlm_of(tiny, frames=4):
    model, processor = tiny
    return VLM(model, processor, "tiny", "cpu", frames)


def answer(case, method="none", right=True, kind="color", frames=8, cells=4, end=2, **more):
    """One line of a result file; ``end`` of the evidence cells survive."""
    evidence = {"cells": cells, "door": end, "door_carried": cells, "end": end}
    return {
        "case": case,
        "clip": case,
        "kind": kind,
        "frames": frames,
        "question": "what color is the star?",
        "expected": "red",
        "method": method,
        "answer": "red" if right else "blue",
        "right": right,
        "log_answer": -0.1,
        "log_right": -0.1 if right else -2.0,
        "tokens": [100, 10, 5],
        "evidence": (evidence | {"end_carried": cells}) if cells else None,
        "flops": {"paper": 1.0 if method != "none" else 10.0, "real": 2.0},
        "seconds": {"compression": 0.01, "prefill": 0.1, "decoding": 0.1},
        **more,
    }


def outcome_of(answers, skipped=()):
    about = {
        "model": "tiny",
        "checkpoint": "0" * 64,
        "dtype": "float32",
        "device": "cpu",
        "source": "shapes",
        "split": "held-out",
        "seeds": [5, 9],
        "versions": {"torch": "2"},
    }
    return Outcome(about, list(answers), list(skipped), 1.0)
