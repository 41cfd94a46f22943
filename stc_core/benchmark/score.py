"""Turn answers into numbers: accuracies, intervals, flips, what became of the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stc_core.benchmark.rows import Row, name_of, names_after, options_of, title_of
from stc_core.benchmark.run import Outcome
from stc_core.methods import METHODS, Method
from stc_core.rates import wilson

DRAWS = 10_000  # of the bootstrap
SEED = 20260321
RECALL_EDGES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
REFERENCES = ("stc", "stdpp")  # names in ``METHODS``
MEASURES = ("door", "door_carried", "end", "end_carried")


def summarize(outcome: Outcome, rows: Sequence[Row]) -> dict[str, Any]:
    """Return everything that tables and plots show, as plain values; shares of 1, times in seconds.

    Every row is compared with the uncompressed model, with STC and with SpaceTimeDPP at the same
    retention, and with the method whose FLOPs it was given, on the cases that both answered.
    """
    by_row: dict[tuple[int, str], dict[str, dict]] = {}
    for answer in outcome.answers:
        by_row.setdefault((answer["frames"], answer["method"]), {})[answer["case"]] = answer
    references = {name: _reference(METHODS[name], rows, by_row) for name in REFERENCES}
    made, pooled = [], []
    for row in rows:
        answers, stock = by_row.get(row.key, {}), by_row.get((row.frames, name_of(None)), {})
        if not answers:
            continue
        record = _row(row, answers, stock)
        if row.method is not None:
            for name, of_kind in references.items():
                reference = of_kind.get((row.frames, row.method.retention), {})
                record[f"behind_{name}"] = _difference(reference, answers)
            record["behind_equal"] = {
                name: _difference(by_row.get((row.frames, name), {}), answers)
                for name in names_after("flops ", row.parts)
                if name != name_of(row.method)
            }
            if "main" in row.parts:
                pooled += [(answer, stock.get(case)) for case, answer in answers.items()]
        made.append(record)
    return {
        "configuration": outcome.configuration,
        "seconds": outcome.seconds,
        "cases": len({(a["case"], a["frames"]) for a in outcome.answers}),
        "answers": len(outcome.answers),
        "skipped": [{"case": s.id, "why": s.why} for s in outcome.skipped],
        "rows": made,
        "recall": recall_bands(pooled),
    }


def _reference(
    kind: type[Method], rows: Sequence[Row], by_row: dict[tuple[int, str], dict[str, dict]]
) -> dict[tuple[int, float], dict[str, dict]]:
    """Return {(frames, retention): answers} of a method with its default settings."""
    return {
        (row.frames, row.method.retention): by_row.get(row.key, {})
        for row in rows
        if isinstance(row.method, kind) and not options_of(row.method)
    }


def share_of_full(
    right: np.ndarray, full: np.ndarray, draws: int = DRAWS, seed: int = SEED
) -> tuple[float, tuple[float, float]] | None:
    """Return right answers as a share of those of the uncompressed model, with the 95 % interval.

    The interval is a paired bootstrap over cases, by percentiles. A resample of n pairs of outcomes
    is a multinomial draw of how many of each of the four kinds of pair it holds, so all draws are
    made at once.

    Parameters
    ----------
    right, full : (n,) bool
        Compressed and uncompressed outcomes of the same cases.
    draws : int
        Number of resamples.
    seed : int
        Of the resamples.

    Returns
    -------
    (share, (low, high)), or None where the uncompressed model has no right answer.
    """
    counts = _pairs(right, full)
    if not full.sum():
        return None
    drawn = np.random.default_rng(seed).multinomial(len(right), counts / len(right), draws)
    hit, base = drawn[:, 1] + drawn[:, 3], drawn[:, 2] + drawn[:, 3]
    shares = hit[base > 0] / base[base > 0]
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(right.sum() / full.sum()), (float(low), float(high))


def _pairs(right: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Return (4,): neither right, only the first, only the second, both."""
    return np.bincount(right.astype(int) + 2 * full.astype(int), minlength=4)


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return how many more right answers the first has, as a share, with the 95 % interval.

    The interval is a paired bootstrap over cases, as in ``share_of_full``.

    Parameters
    ----------
    ours, theirs : (n,) bool
        Outcomes of the same cases.

    Returns
    -------
    (share, (low, high))
    """
    counts = _pairs(ours, theirs)
    drawn = np.random.default_rng(SEED).multinomial(len(ours), counts / len(ours), DRAWS)
    low, high = np.quantile((drawn[:, 1] - drawn[:, 2]) / len(ours), [0.025, 0.975])
    return float((counts[1] - counts[2]) / len(ours)), (float(low), float(high))


def _difference(ours: dict[str, dict], theirs: dict[str, dict]) -> dict[str, Any] | None:
    """Return how many points the second is behind the first, on the cases of both."""
    both = [case for case in theirs if case in ours]
    if not both:
        return None
    points, (low, high) = difference(_right(ours, both), _right(theirs, both))
    return {"questions": len(both), "points": points, "interval95": [low, high]}


def _right(answers: dict[str, dict], cases: Iterable[str]) -> np.ndarray:
    return np.array([answers[case]["right"] for case in cases], bool)


def _row(row: Row, answers: dict[str, dict], stock: dict[str, dict]) -> dict[str, Any]:
    kinds = dict.fromkeys(answer["kind"] for answer in answers.values())
    every = list(answers.values())
    full = list(stock.values())
    return {
        "method": name_of(row.method),
        "name": title_of(row.method),
        "options": options_of(row.method),
        "retention": 1.0 if row.method is None else row.method.retention,
        "frames": row.frames,
        "parts": list(row.parts),
        **_group(every, stock),
        "tokens": dict(
            zip(("all", "door", "end"), _means([a["tokens"] for a in every]), strict=True)
        ),
        "flops": {
            kind: {
                "mean": float(np.mean([a["flops"][kind] for a in every])),
                "of_full": _ratio(every, full, kind),
            }
            for kind in ("paper", "real")
        },
        "seconds": {
            stage: float(np.mean([a["seconds"][stage] for a in every]))
            for stage in ("compression", "prefill", "decoding")
        },
        "kinds": {
            kind: _group([a for a in every if a["kind"] == kind], stock) for kind in kinds if kind
        },
    }


def _group(answers: list[dict], stock: dict[str, dict]) -> dict[str, Any]:
    """Return accuracy, flips and evidence of some answers of one row."""
    count, right = len(answers), sum(a["right"] for a in answers)
    both = [a for a in answers if a["case"] in stock]
    ours = np.array([a["right"] for a in both], bool)
    full = np.array([stock[a["case"]]["right"] for a in both], bool)
    share = share_of_full(ours, full) if both else None
    return {
        "questions": count,
        "right": right,
        "accuracy": right / count,
        "interval95": list(wilson(right, count)),
        "of_full": None if share is None else share[0],
        "of_full_interval95": None if share is None else list(share[1]),
        "lost": int((full & ~ours).sum()),  # right before, wrong now
        "gained": int((~full & ours).sum()),
        "log_right": float(np.mean([a["log_right"] for a in answers])),
        "evidence": _evidence(answers),
    }


def _evidence(answers: list[dict]) -> dict[str, Any] | None:
    """Return the surviving evidence, over the questions that have some.

    For "door" and "end", with "_carried" counting also tokens that live on in another's mean:
    ``cells``, the share of a question's evidence cells, mean over questions; ``any``, the share of
    questions with at least one; ``budget``, the share of the surviving tokens that are evidence.
    """
    known = [a for a in answers if a["evidence"]]
    if not known:
        return None
    cells = np.array([a["evidence"]["cells"] for a in known], float)
    result: dict[str, Any] = {"questions": len(known)}
    for measure in MEASURES:
        found = np.array([a["evidence"][measure] for a in known], float)
        result[measure] = {
            "cells": float((found / cells).mean()),
            "any": float((found > 0).mean()),
        }
        if not measure.endswith("carried"):
            place = 1 if measure == "door" else 2
            alive = np.array([a["tokens"][place] for a in known], float)
            result[measure]["budget"] = float((found / alive).mean())
    return result


def recall_bands(pairs: Iterable[tuple[dict, dict | None]]) -> list[dict[str, Any]]:
    """Return accuracy by the share of evidence cells in the LLM's last layers.

    Parameters
    ----------
    pairs : iterable of (dict, dict or None)
        Answers of any rows, each with the uncompressed model's. Only questions that the latter
        answers right count: the others do not show what compression does.
    """
    found = [
        (a["evidence"]["end"] / a["evidence"]["cells"], a["right"])
        for a, stock in pairs
        if a["evidence"] and stock is not None and stock["right"]
    ]
    bands = []
    for number, high in enumerate(RECALL_EDGES):
        low = RECALL_EDGES[number - 1] if number else -1.0
        hit = [right for recall, right in found if low < recall <= high]
        if hit:
            bands.append(
                {
                    "above": max(low, 0.0),
                    "to": high,
                    "answers": len(hit),
                    "right": sum(hit),
                    "accuracy": sum(hit) / len(hit),
                    "interval95": list(wilson(sum(hit), len(hit))),
                }
            )
    return bands


def _means(lists: list[list[float]]) -> list[float]:
    return np.mean(np.array(lists, float), axis=0).tolist()


def _ratio(answers: list[dict], full: list[dict], kind: str) -> float | None:
    """Return mean FLOPs as a share of the uncompressed model's, on the cases of both."""
    stock = {a["case"]: a["flops"][kind] for a in full}
    both = [(a["flops"][kind], stock[a["case"]]) for a in answers if a["case"] in stock]
    return sum(x for x, _ in both) / sum(y for _, y in both) if both else None
