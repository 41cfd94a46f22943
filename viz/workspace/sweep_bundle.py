"""Write the stops of a sweep for the browser, so that dragging through them needs no server.

``summary`` is what the chart needs, as plain numbers and texts; ``pack_sweep`` adds the fates and
carriers of stops, a byte a token and stage and an index, in a file as ``bundle.py`` writes it.
``scrub.js`` is the reader.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from stc_core.record.sweep import Stop, Sweep
from viz.workspace.bundle import assembled, indices

LLM = ("compression", "prefill", "decoding")  # what of the time depends on the stop


def summary(sweep: Sweep) -> dict[str, Any]:
    """Return what a chart of the sweep needs, for JSON; unknown numbers are None."""
    answers = sweep.answers
    return {
        "over": sweep.over,
        "present": sweep.present,
        "planned": list(sweep.planned),
        "waiting": list(sweep.waiting),
        "refused": [[value, words] for value, words in sweep.refused.items()],
        "n": sweep.grid.size,
        "answers": [{"text": text, "roles": _roles(sweep, text)} for text in answers],
        "stops": [_stop(stop, answers) for stop in sweep.stops],
        "turns": [[turn.low, turn.high, turn.before, turn.after] for turn in sweep.turns],
    }


def pack_sweep(sweep: Sweep, stops: Iterable[Stop] | None = None) -> bytes:
    """Return the summary and the tokens of some stops, by default of all, as one file."""
    arrays: dict[str, np.ndarray] = {}
    packed = []
    for number, stop in enumerate(sweep.stops if stops is None else stops):
        packed.append(
            {
                "value": stop.value,
                "stages": [{"name": stage.name, "layer": stage.layer} for stage in stop.stages],
                "layers": stop.costs.get("tokens_per_layer") or [],
            }
        )
        arrays[f"stop{number}_fate"] = stop.fate
        arrays[f"stop{number}_target"] = indices(stop.target)
        for place, stage in enumerate(stop.stages):
            arrays[f"stop{number}_stage{place}_fate"] = stage.fate
            arrays[f"stop{number}_stage{place}_target"] = indices(stage.target)
    header = {"sweep": summary(sweep), "packed": packed, "method": sweep.method}
    return assembled(header, arrays)


def _roles(sweep: Sweep, text: str) -> list[str]:
    named = {
        "right": sweep.expected,
        "uncompressed": sweep.baseline.get("answer"),
        "run": sweep.present_answer,
    }
    return [role for role, answer in named.items() if answer == text]


def _stop(stop: Stop, answers: tuple[str, ...]) -> dict[str, Any]:
    seconds = stop.costs.get("seconds") or {}
    return {
        "value": stop.value,
        "answer": stop.answer,
        "logprob": stop.logprob,
        "entered": stop.entered,
        "left": stop.left,
        "flops": stop.flops,
        "seconds": stop.seconds,
        "llm_seconds": sum(seconds.get(part, 0.0) for part in LLM) if seconds else None,
        "p": [stop.probability(text) for text in answers],
    }
