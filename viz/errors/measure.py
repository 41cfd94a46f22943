"""Measure a comparison of the error table: shares with their intervals, and lost evidence.

The numbers come from here alone; the page draws them (``association.js``). No gradio, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stc_core.errors import InputError
from stc_core.rates import odds_ratio, wilson
from viz.errors.reading import EVIDENCE

# When evidence counts as there, as in results.js: (its merged tokens too, least share of it).
RULES = {"own": (False, 0.0), "half": (False, 0.5), "carried": (True, 0.0)}
KEPT, INSIDE, BEFORE, UNKNOWN = range(4)  # what became of the evidence, as in results.js
COLUMNS = ("case", "method", "right", "why")
MOST_METHODS = 60  # beside the chosen ones
FIELDS = ("table", "reference", "methods", "rule", "kind", "frames", "cases")


class Question(NamedTuple):
    """Hold what of a table is measured, as a browser asks for it.

    Attributes
    ----------
    reference : int
        Method that the others are compared with.
    methods : tuple of int
    rule : str
        A key of ``RULES``.
    kind : str or None
    frames : int or None
        Questions of this kind and number of frames alone.
    cases : tuple of int or None
        Only these questions.
    """

    reference: int
    methods: tuple[int, ...]
    rule: str
    kind: str | None
    frames: int | None
    cases: tuple[int, ...] | None


def checked(table: dict[str, Any], sent: dict[str, Any]) -> Question:
    """Return what is asked; ``InputError`` where a browser sends what the table does not hold."""
    count, questions = len(table["methods"]), len(table["questions"]["id"])
    methods, cases = sent.get("methods"), sent.get("cases")
    good = (
        _places([sent.get("reference")], count)
        and isinstance(methods, list)
        and 1 <= len(methods) <= 2
        and _places(methods, count)
        and sent.get("rule") in RULES
        and isinstance(sent.get("kind"), (str, type(None)))
        and type(sent.get("frames")) in (int, type(None))
        and (cases is None or (isinstance(cases, list) and _places(cases, questions)))
    )
    if not good:
        raise InputError("this table cannot be measured so; load the page again")
    return Question(
        sent["reference"],
        tuple(sent["methods"]),
        sent["rule"],
        sent["kind"],
        sent["frames"],
        None if cases is None else tuple(cases),
    )


def measured(table: dict[str, Any], asked: Question) -> dict[str, Any]:
    """Return the numbers of a comparison as plain values.

    Parameters
    ----------
    table : dict
        As ``store.payload`` made it.
    asked : Question

    Returns
    -------
    dict
        "sides": for each method "before" and "now", shares of right answers; "flips", of those
        right before how many are right and wrong now, and of those wrong before; "why", causes of
        the turned answers; "all", "steps" and "kinds", each a 2 x 2 table of lost evidence and
        turned answers; "sentence", what these say. "methods": such a table for every method at the
        retention of the first. A share is [count, of, share, low, high]; the last three are None
        where there is nothing to count.
    """
    columns = {name: np.array(table["answers"][name]) for name in (*COLUMNS, *EVIDENCE)}
    rows = _Rows(columns, len(table["questions"]["id"]))
    among = _chosen(table, asked)
    kinds = np.array(table["questions"]["kind"])
    sides = [_side(table, columns, rows, asked, method, among, kinds) for method in asked.methods]
    return {"sides": sides, "methods": _others(table, columns, rows, asked, among)}


class _Rows:
    """Find the row of a method's answer to each question; -1 where it was not asked."""

    def __init__(self, columns: dict[str, np.ndarray], count: int) -> None:
        self._case, self._method, self._count = columns["case"], columns["method"], count

    def of(self, method: int) -> np.ndarray:
        found = np.full(self._count, -1)
        here = np.flatnonzero(self._method == method)
        found[self._case[here]] = here
        return found


def _chosen(table: dict[str, Any], asked: Question) -> np.ndarray:
    """Return (questions,) bool: those that count."""
    questions = table["questions"]
    chosen = np.ones(len(questions["id"]), bool)
    if asked.kind is not None:
        chosen &= np.array(questions["kind"]) == asked.kind
    if asked.frames is not None:
        chosen &= np.array(questions["frames"]) == asked.frames
    if asked.cases is not None:
        some = np.zeros(len(chosen), bool)
        some[list(asked.cases)] = True
        chosen &= some
    return chosen


def evidence_of(columns: dict[str, np.ndarray], rows: np.ndarray, rule: str) -> np.ndarray:
    """Return what became of the evidence in each of these answers: KEPT, INSIDE, BEFORE, UNKNOWN.

    Parameters
    ----------
    columns : dict of (answers,) arrays
    rows : (n,) int
        Places in them.
    rule : str
        A key of ``RULES``.
    """
    carried, share = RULES[rule]
    end = "_carried" if carried else ""
    cells = columns["cells"][rows]
    enough = np.maximum(1, share * cells)
    found = np.full(len(rows), KEPT)
    found[columns[f"end{end}"][rows] < enough] = INSIDE
    found[columns[f"door{end}"][rows] < enough] = BEFORE
    found[cells < 1] = UNKNOWN
    return found


def _side(
    table: dict[str, Any],
    columns: dict[str, np.ndarray],
    rows: _Rows,
    asked: Question,
    method: int,
    among: np.ndarray,
    kinds: np.ndarray,
) -> dict[str, Any]:
    full, ours = rows.of(asked.reference), rows.of(method)
    both = np.flatnonzero(among & (full >= 0) & (ours >= 0))
    right, now = columns["right"][full[both]] > 0, columns["right"][ours[both]] > 0
    lost = evidence_of(columns, ours[both], asked.rule)
    turned = right & ~now
    count = len(both)
    every = _compared(lost[right], turned[right])
    return {
        "before": share(int(right.sum()), count),
        "now": share(int(now.sum()), count),
        "flips": [
            share(int((before & after).sum()), int(before.sum()))
            for before in (right, ~right)
            for after in (now, ~now)
        ],
        "why": _causes(table, columns["why"][ours[both]][turned]),
        "all": every,
        "sentence": sentence(every),
        "steps": [
            {"label": "lost before the LLM"} | _compared(lost[right], turned[right], (BEFORE,)),
            {"label": "lost inside the LLM"}
            | _compared(lost[right], turned[right], (INSIDE,), (KEPT,)),
        ],
        "kinds": [
            {"label": kind} | _compared(lost[here], turned[here])
            for kind in sorted(set(kinds[both].tolist()) - {""})
            for here in [right & (kinds[both] == kind)]
        ],
    }


def _others(
    table: dict[str, Any],
    columns: dict[str, np.ndarray],
    rows: _Rows,
    asked: Question,
    among: np.ndarray,
) -> list[dict[str, Any]]:
    """Compare every method at the retention of the first one."""
    share_of = [one["retention"] for one in table["methods"]]
    same = [
        number
        for number, one in enumerate(table["methods"])
        if one["retention"] == share_of[asked.methods[0]] and number != asked.reference
    ]
    full, found = rows.of(asked.reference), []
    for method in same[:MOST_METHODS]:
        ours = rows.of(method)
        both = np.flatnonzero(among & (full >= 0) & (ours >= 0))
        right = both[columns["right"][full[both]] > 0]
        lost = evidence_of(columns, ours[right], asked.rule)
        turned = columns["right"][ours[right]] == 0
        found.append({"label": table["methods"][method]["label"]} | _compared(lost, turned))
    return found


def _compared(
    lost: np.ndarray,
    turned: np.ndarray,
    first: Sequence[int] = (BEFORE, INSIDE),
    second: Sequence[int] = (KEPT, INSIDE),
) -> dict[str, Any]:
    """Return a 2 x 2 table: ``first`` of what became of the evidence against ``second``."""
    gone = np.isin(lost, first)
    there = np.isin(lost, second) & ~gone
    a, c = int(turned[gone].sum()), int(turned[there].sum())
    b, d = int(gone.sum()) - a, int(there.sum()) - c
    odds = odds_ratio(a, b, c, d)
    return {
        "gone": share(a, a + b),
        "there": share(c, c + d),
        "odds": None if odds is None else list(odds),
        "half": min(a, b, c, d) == 0,
    }


def _causes(table: dict[str, Any], why: np.ndarray) -> list[dict[str, Any]]:
    """Count the causes of turned answers, as shares of those that have one."""
    known = why[why >= 0]
    return [
        {"cause": number, "share": share(int((known == number).sum()), len(known))}
        for number in range(len(table["whys"]))
        if (known == number).any()
    ]


def share(count: int, of: int) -> list[float | int | None]:
    """Return [count, of, share, low, high] with the 95 % interval; None where ``of`` is 0."""
    if not of:
        return [0, 0, None, None, None]
    return [count, of, count / of, *wilson(count, of)]


def sentence(found: dict[str, Any]) -> str:
    """Say what a 2 x 2 table of lost evidence and turned answers supports."""
    gone, there, odds = found["gone"], found["there"], found["odds"]
    if not gone[1] and not there[1]:
        return "Of no question that was right before is it known where its evidence went."
    if odds is None:
        return (
            "Nothing can be compared: the evidence was lost everywhere or nowhere, or all answers "
            "turned alike."
        )
    ratio, low, high = odds
    rates = (
        f"where it was lost, {_percent(gone)} of {gone[1]:,} answers turned wrong, "
        f"where it was kept {_percent(there)} of {there[1]:,}"
    )
    times = f"{_short(ratio)} ({_short(low)} to {_short(high)})"
    if low > 1:
        return (
            f"Lost evidence goes with turned answers: {rates}; odds ratio {times}. This supports "
            f"that the loss turns them; Why? proves it for single questions."
        )
    if high < 1:
        return (
            f"Here it is the other way round: {rates}; odds ratio {times}. That the loss of "
            f"evidence turns answers is not supported."
        )
    return (
        f"That lost evidence turns answers is not supported here: {rates}; odds ratio {times}, "
        f"and the interval includes 1."
    )


def _percent(found: list[Any]) -> str:
    return f"{100 * found[2]:.1f} % ({100 * found[3]:.1f} to {100 * found[4]:.1f})"


def _short(number: float) -> str:
    return (
        f"{number:.0f}" if number >= 100 else f"{number:.2g}" if number >= 10 else f"{number:.1f}"
    )


def _places(values: Sequence[Any], count: int) -> bool:
    return all(type(value) is int and 0 <= value < count for value in values)
