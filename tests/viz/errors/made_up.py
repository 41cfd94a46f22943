"""Result files as large as wanted, with the proportions of real ones, from a seed."""

from __future__ import annotations

import json
import random
from pathlib import Path

KINDS = ("color", "shape", "count", "direction", "order", "place", "flash")
SAID = ("red", "blue", "green", "circle", "star", "two", "three", "left", "right", "yes", "no")
ABOUT = {
    "benchmark": "0.1.0",
    "model": "embedded",
    "checkpoint": "c0ffee" * 10,
    "source": "shapes",
    "split": "held-out",
    "seeds": [100, 200],
}
NAMES = ("STC", "FastV", "VisionZip", "FastVID", "HoliTom", "EVS", "Uniform", "Random")


def methods(count: int) -> list[str]:
    """The uncompressed model and so many settings, retentions in turn."""
    made = []
    for number in range(count):
        name = NAMES[number // 4 % len(NAMES)]
        retention = (0.1, 0.05, 0.02, 0.01)[number % 4]
        made.append(f"{name}(retention={retention}, layer={5 + number // 32})")
    return ["none", *made]


def lines(questions: int, settings: int, seed: int = 0) -> list[dict]:
    """Answers to questions under every setting; evidence lost before, inside or not at all."""
    draw, made = random.Random(seed), []
    for number in range(questions):
        cells, kind = draw.choice((0, 1, 4, 9, 20)), KINDS[number % len(KINDS)]
        expected = draw.choice(SAID)
        for method in methods(settings):
            stock = method == "none"
            door = cells if stock else draw.choice((0, 0, cells // 3, cells))
            end = door if stock else draw.choice((0, door // 2, door))
            right = draw.random() < (0.85 if stock else 0.75 if end else 0.4)
            share = 1.0 if stock else float(method.split("retention=")[1].split(",")[0].strip(")"))
            made.append(
                {
                    "case": str(100 + number), "clip": str(100 + number), "kind": kind,
                    "frames": 32, "question": f"what is the {kind} of thing {number}?",
                    "expected": expected, "method": method,
                    "answer": expected if right else draw.choice(SAID) + "ish", "right": right,
                    "log_answer": -0.2, "log_right": round(-draw.expovariate(2), 5),
                    "tokens": [1568, round(1568 * share), round(784 * (1 + stock) * share)],
                    "evidence": {
                        "cells": cells, "door": door, "door_carried": cells, "end": end,
                        "end_carried": max(end, cells - 1),
                    } if cells else None,
                    "flops": {"paper": 1e9, "real": 2e9},
                    "seconds": {"compression": 0.01, "prefill": 0.02, "decoding": 0.03},
                }
            )  # fmt: skip
    return made


def write(path: Path, answers: list[dict], about: dict | None = ABOUT) -> Path:
    """A result file of these lines."""
    every = answers if about is None else [about, *answers]
    path.write_text("".join(json.dumps(one) + "\n" for one in every))
    return path
