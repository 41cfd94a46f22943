"""Hand the results of a benchmark to an experiment tracker: trackio or Weights & Biases.

Both are optional packages with the same functions. Nothing leaves this machine unless the user has
told the tracker so itself; W&B runs offline unless ``WANDB_MODE`` says otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from stc_core.errors import InputError
from stc_core.text import checked_text, readable

__all__ = ["TRACKERS", "check_tracker", "columns", "table_of", "track"]

TRACKERS = {"trackio": "trackio", "wandb": "wandb"}  # name: package of the registry
LONGEST = 128  # characters of a project's name, as W&B allows
TABLE = "benchmark"


def check_tracker(text: str) -> tuple[str, str]:
    """Return (tracker, project) of a text such as ``trackio:tokens``; the package is imported.

    Raises
    ------
    InputError
        Another form, an unknown tracker, a project's name that it would refuse, or a package that
        is not installed.
    """
    tracker, colon, project = text.partition(":")
    if not colon or tracker not in TRACKERS:
        raise InputError(
            f"a tracker is written {' or '.join(f'{name}:PROJECT' for name in TRACKERS)}, not "
            f"{readable(text)!r}"
        )
    _check_project(project)
    _library(tracker)
    return tracker, project


def track(summary: dict[str, Any], tracker: str, *, project: str, name: str | None = None) -> None:
    """Record one run: its configuration, a table with a row for each method, and their numbers.

    Parameters
    ----------
    summary : dict
        What ``score.summarize`` returns, or ``summary.json`` holds.
    tracker : str
        "trackio" or "wandb".
    project : str
        In which the run appears.
    name : str, optional
        Of the run; default: the tracker's own choice.

    Raises
    ------
    InputError
        An unknown tracker, a project's name that it would refuse, or a package that is not
        installed.
    """
    if tracker not in TRACKERS:
        raise InputError(f"a tracker is one of {', '.join(TRACKERS)}, not {tracker!r}")
    _check_project(project)
    library = _library(tracker)
    head, rows = table_of(summary)
    run = library.init(
        project=project, name=name, config=summary["configuration"], **_offline(tracker)
    )
    try:
        run.log({TABLE: library.Table(columns=head, data=rows)})
        for row in summary["rows"]:
            run.log(dict(_metrics(row)))
    finally:
        run.finish()


def columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a table shows of one row of a summary; shares are of 1, times in seconds."""
    low, high = row["interval95"]
    evidence = row["evidence"]
    return {
        "method": row["method"],
        "name": row["name"],
        "parts": ", ".join(row["parts"]),
        "retention": row["retention"],
        "frames": row["frames"],
        "questions": row["questions"],
        "accuracy": row["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
        "of_full": row["of_full"],
        "lost": row["lost"],
        "gained": row["gained"],
        "tokens_all": row["tokens"]["all"],
        "tokens_door": row["tokens"]["door"],
        "tokens_end": row["tokens"]["end"],
        "flops_of_full": row["flops"]["real"]["of_full"],
        "evidence_end": None if evidence is None else evidence["end"]["cells"],
        "compression_seconds": row["seconds"]["compression"],
        "prefill_seconds": row["seconds"]["prefill"],
    }


def table_of(summary: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Return names of columns and rows of the table."""
    rows = [columns(row) for row in summary["rows"]]
    if not rows:
        raise InputError("this benchmark has no results; run it before they are tracked")
    return list(rows[0]), [list(row.values()) for row in rows]


def _metrics(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row as series, one for each method: points over the steps of a run."""
    shown = columns(row)
    where = f"{row['name']}/{row['retention']:g}/{row['frames']} frames"
    for key in ("accuracy", "of_full", "flops_of_full", "compression_seconds"):
        if shown[key] is not None:
            yield f"{where}/{key}", float(shown[key])


def _offline(tracker: str) -> dict[str, Any]:
    if tracker == "wandb":
        return {} if os.environ.get("WANDB_MODE") else {"mode": "offline"}
    return {"embed": False}  # it would show its page in a notebook


def _check_project(project: str) -> None:
    checked_text(project, "the project's name", LONGEST)
    if not project.strip() or re.search(r"[/\\#?%:\n\t]", project):
        raise InputError(
            "a project needs a name without any of / \\ # ? % : and line ends, not "
            f"{readable(project)!r}"
        )


def _library(tracker: str) -> ModuleType:
    try:
        return import_module(tracker)
    except ModuleNotFoundError as error:
        if error.name != tracker:
            raise
        raise InputError(
            f"tracking with {tracker} needs its package; install it with "
            f"pip install {TRACKERS[tracker]}"
        ) from error
