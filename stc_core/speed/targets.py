"""Hold measured speed against what is wanted of it, and tell so in the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stc_core.errors import InputError
from stc_core.readme_sections import markdown
from stc_core.speed.report import SpeedReport

FULL = 3584  # the width at which the targets hold
LONG = 200_704  # tokens
Row = tuple[str, str, str, str]


def read_reports(folder: Path) -> list[SpeedReport]:
    """Read what ``speed --json`` printed into files of a folder.

    Parameters
    ----------
    folder : Path
        Holds files "speed-*.json".

    Returns
    -------
    list of SpeedReport
        By number of tokens.

    Raises
    ------
    InputError
        No such file in the folder, or one that holds something else.
    """
    paths = sorted(folder.glob("speed-*.json"))
    if not paths:
        raise InputError(
            f"{str(folder)!r} holds no speed-*.json; `python -m stc_core speed --json` prints them"
        )
    found = []
    for path in paths:
        try:
            found.append(SpeedReport(**json.loads(path.read_text(encoding="utf-8"))))
            found[-1].about["tokens"], found[-1].stages["outside"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{str(path)!r} is not what `python -m stc_core speed --json` prints; measure again"
            ) from error
    return sorted(found, key=lambda report: report.about["tokens"])


def section(reports: list[SpeedReport]) -> str:
    """Return a Markdown section: each figure, what is wanted, and whether it is met."""
    parts = [told(reports[0].about)]
    rows = [row for report in reports for row in judged(report)]
    if reports[0].about["width"] != FULL:
        rows = [(*row[:3], "-") for row in rows]
    parts.append(markdown(("figure", "target", "measured", "verdict"), rows))
    lengths = {row["tokens"]: row for report in reports for row in report.lengths}
    cells = [
        (
            f"{tokens:,}",
            f"{row['floor']:.4g}",
            f"{row['outside']:.4g}",
            f"{row['outside'] / row['floor']:.2f}",
            f"{row['extra_bytes'] / 2**20:,.0f}",
        )
        for tokens, row in sorted(lengths.items())
    ]
    head = ("tokens", "the product, s", "before the LLM, s", "ratio", "extra memory, MiB")
    parts.append(markdown(head, cells))
    for report in reports:
        spent = {"the product": report.floor} | report.stages | report.rivals
        what = f"{report.about['tokens']:,} tokens: stage or method, before the LLM"
        rows_of = [(name, f"{1e3 * value:.2f}") for name, value in spent.items()]
        parts.append(markdown((what, "ms"), rows_of))
    return "\n\n".join(parts)


def told(about: dict[str, Any]) -> str:
    """Return what was measured where, in one sentence."""
    said = f"{about['device']}, {about['dtype']}, width {about['width']}, torch {about['torch']}"
    if about["width"] != FULL:
        said += ": not the full width, so that the targets say nothing here"
    return f"{said} (`python -m stc_core speed`)."


def judged(report: SpeedReport) -> list[Row]:
    """Return (figure, target, measured, verdict) of one report.

    Milliseconds are wanted at 6,272 tokens, ratios at every length, and seconds and memory of
    200,704 tokens where that length was tried.
    """
    tokens, stages, rivals = report.about["tokens"], report.stages, report.rivals
    at = f"at {tokens:,} x {report.about['width']}"
    outside = stages["outside"]
    stc = rivals.get("stc", outside)
    rows = []
    if tokens <= 6272:
        inside = stages["inside"] + stages["means inside"]
        rows.append(_row(f"before the LLM {at}, ms", "at most 3", 1e3 * outside, lambda x: x <= 3))
        rows.append(_row(f"inside {at}, ms", "at most 1", 1e3 * inside, lambda x: x <= 1))
    rows.append(
        _row(f"of the product {at}", "at most 1.5", outside / report.floor, lambda x: x <= 1.5)
    )
    wanted: list[tuple[str, str, str, Callable[[float], bool]]] = [
        ("STC, obvious", "the obvious way", "at least 10 times STC's", lambda x: x >= 10),
        ("fastvid", "our FastVID", "STC not slower", lambda x: x >= 1),
        ("holitom", "our HoliTom", "at least 5 times STC's", lambda x: x >= 5),
    ]
    for name, words, target, met in wanted:
        if name in rivals:
            rows.append(_row(f"{words} {at}, times STC's", target, rivals[name] / stc, met))
    for row in report.lengths:
        if row["tokens"] == LONG:
            size = row["extra_bytes"] / 2**30
            rows.append(_row("200,704 tokens, s", "under 5", row["outside"], lambda x: x < 5))
            rows.append(_row("200,704 tokens, extra GiB", "under 2", size, lambda x: x < 2))
    return rows


def _row(figure: str, target: str, value: float, met: Callable[[float], bool]) -> Row:
    return figure, target, f"{value:.3g}", "met" if met(value) else "not met"
