"""Sweeps made by hand, whose every number is known."""

from __future__ import annotations

import math

import numpy as np
from handmade import build

from stc_core.record.costs import Costs
from stc_core.record.grid import TokenGrid
from stc_core.record.sweep import Stop, Sweep

VALUES = (0.01, 0.05, 0.2, 1.0)


def made_sweep(
    grid: TokenGrid,
    said: dict[float, str] | None = None,
    chances: dict[str, tuple[float, ...]] | None = None,
    **fields,
) -> Sweep:
    """A sweep over the retention ratio whose stops keep the first tokens of one fixed order.

    Half of what enters, but the first, is dropped inside; all else is dropped before. ``said`` are
    the answers by value, ``chances`` the probabilities of each answer, by stop.
    """
    said = said or {0.01: "blue", 0.05: "blue", 0.2: "red", 1.0: "red"}
    chances = chances or {"red": (0.1, 0.3, 0.8, 0.9), "blue": (0.7, 0.6, 0.1, 0.05)}
    order = np.random.default_rng(5).permutation(grid.size)
    stops = []
    for number, (value, text) in enumerate(sorted(said.items())):
        kept = order[: max(1, round(value * grid.size))]
        ended = dict.fromkeys(kept[(len(kept) + 1) // 2 :].tolist(), -1)
        trace = build(grid, kept=kept, ended=ended, frames=None)
        costs = Costs(
            grid.size, len(kept), len(kept) - len(ended), tokens_per_layer=(len(kept),) * 3,
            real_flops={"llm": 1e9 * len(kept)}, seconds={"vision": 1.0, "prefill": 0.25},
        )  # fmt: skip
        scores = {answer: math.log(each[number]) for answer, each in chances.items()}
        stops.append(Stop(value, text, scores.get(text, -1.0), scores, trace.stages,
                          costs.to_json()))  # fmt: skip
    return Sweep(
        grid,
        **{
            "over": "retention", "present": 0.2, "planned": tuple(sorted(said)),
            "method": "STC(retention=0.2, tau=0.7)", "model": "made", "question": "what color?",
            "stops": tuple(stops), "baseline": {"answer": "red"}, "expected": "red", **fields,
        },
    )  # fmt: skip
