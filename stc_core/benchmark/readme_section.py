"""Write the section of a README that reports a benchmark, from its summary."""

from __future__ import annotations

import os
from pathlib import Path

from stc_core.benchmark.equal_flops import CLOSE
from stc_core.benchmark.tables import (
    OURS,
    PAPER_MODULES,
    Summary,
    ablation_rows,
    ablation_table,
    about,
    interval,
    main_rows,
    percent,
    shown,
    uncompressed,
)
from stc_core.errors import InputError
from stc_core.readme_sections import check_section, markdown, write_section

SECTION = "benchmark"
PAPER_SHARE = 0.901  # of the uncompressed accuracy, STC at 2 %, LLaVA-OneVision-7B


def readme_section(summary: Summary, pictures: str) -> str:
    """Return the section.

    Parameters
    ----------
    summary : Summary
    pictures : str
        Relative path from the README to the folder of the results.
    """
    stock, rows = uncompressed(summary), main_rows(summary)
    if stock is None or not rows:
        raise InputError("a README section needs the main part of the benchmark; run that too")
    retentions = sorted({row["retention"] for row in rows}, reverse=True)
    methods = {shown(row): None for row in rows}
    by = {(shown(row), row["retention"]): row for row in rows}
    lines = [
        [name]
        + [
            percent(by[name, r]["of_full"]) + interval(by[name, r]["of_full_interval95"])
            if (name, r) in by
            else "-"
            for r in retentions
        ]
        for name in methods
    ]
    table = markdown(["% of the uncompressed accuracy at", *_heads(retentions)], lines)
    found = [
        about(summary),
        f"Uncompressed: {percent(stock['accuracy'])} %{interval(stock['interval95'])} of "
        f"{stock['questions']:,} questions at {stock['frames']} frames.",
        table,
        *_claims(summary),
        f"![Accuracy against retention, with 95 % intervals]({pictures}/retention.svg)",
        f"![Accuracy against FLOPs, with the Pareto front]({pictures}/flops.svg)",
    ]
    if ablation_rows(summary):
        found += [
            ablation_table(summary),
            f"![Which part of STC pays how much]({pictures}/ablation.svg)",
        ]
    if summary["recall"]:
        found.append(f"![Surviving evidence and right answers]({pictures}/recall.svg)")
    found.append(
        f"All rows, kinds of question, evidence, flips, sweeps: [{pictures}/table.md]"
        f"({pictures}/table.md), from "
        f"`python -m stc_core benchmark --write-readme docs/benchmark.md`."
    )
    return "\n\n".join(found)


def _heads(retentions: list[float]) -> list[str]:
    return [f"{100 * retention:g} %" for retention in retentions]


def _claims(summary: Summary) -> list[str]:
    """Return what the paper promises and what is found here, as a list in Markdown."""
    rows = main_rows(summary)
    said = []
    for retention in (0.02, 0.01):
        here = [row for row in rows if row["retention"] == retention]
        stc = [row for row in here if row["name"] == "STC" and not row["options"]]
        rivals = [r for r in here if r["name"] != "STC" and "variant" not in r["parts"]]
        others = [row for row in rivals if row.get("behind_stc")]
        if not stc or stc[0]["of_full"] is None:
            continue
        sentence = (
            f"At {100 * retention:g} % STC keeps {percent(stc[0]['of_full'])} %"
            f"{interval(stc[0]['of_full_interval95'])} of the uncompressed accuracy"
        )
        if retention == 0.02:
            sentence += f" (the paper reports {percent(PAPER_SHARE)} % on real benchmarks)"
        own = [row for row in here if "own" in row["parts"]]
        ahead = [row for row in others if row["behind_stc"]["points"] < 0]
        clear = [row for row in others if row["behind_stc"]["interval95"][0] > 0]
        if ahead:
            names = ", ".join(f"{shown(r)} by {percent(-r['behind_stc']['points'])}" for r in ahead)
            sentence += f"; ahead of it, in points: {names}"
        elif others:
            sentence += "; no other method is ahead of it"
        if others:
            sentence += f"; it is ahead beyond doubt of {len(clear)} of {len(others)}."
        sentence = sentence.rstrip(".") + "."
        for row in own:
            better = [r["of_full"] or 0 for r in others if r["questions"] == row["questions"]]
            place = "ahead of" if row["of_full"] > max(better, default=0) else "not ahead of"
            sentence += (
                f" With {row['options']}, chosen for this model on development clips, it keeps "
                f"{percent(row['of_full'])} %{interval(row['of_full_interval95'])}, {place} all "
                f"rivals asked as many questions."
            )
        said.append(sentence)
    for retention in (0.05, 0.02, 0.01):
        said += _ours([row for row in rows if row["retention"] == retention])
    theirs = sorted(PAPER_MODULES, key=PAPER_MODULES.__getitem__)
    for words, with_own in (("Modules", False), ("With the model's own settings", True)):
        modules = {n: r["of_full"] for n, r in ablation_rows(summary, with_own).items()}
        if len(modules) == len(PAPER_MODULES) and None not in modules.values():
            ours = sorted(modules, key=modules.__getitem__)
            same = "as in the paper" if ours == theirs else f"in the paper {' < '.join(theirs)}"
            letters = "" if with_own else " (A attention, S similarity, C clusters)"
            said.append(f"{words}{letters}: {' < '.join(ours)}; {same}.")
    return ["\n".join(f"- {sentence}" for sentence in said)] if said else []


def _ours(rows: list[Summary]) -> list[str]:
    """Return how our method compares with all of at most its FLOPs; ``rows``: of one retention."""
    ours = [row for row in rows if row["name"] == OURS and not row["options"]]
    if not ours or ours[0]["of_full"] is None or not ours[0]["flops"]["paper"]["of_full"]:
        return []
    most = (1 + CLOSE) * ours[0]["flops"]["paper"]["of_full"]
    others = [
        row
        for row in rows
        if row is not ours[0] and row["behind_stdpp"] and row["flops"]["paper"]["of_full"] <= most
    ]
    doubtful = [row for row in others if row["behind_stdpp"]["interval95"][0] <= 0]
    sentence = (
        f"At {100 * ours[0]['retention']:g} % {OURS}, of this project, keeps "
        f"{percent(ours[0]['of_full'])} %{interval(ours[0]['of_full_interval95'])}; of "
        f"{len(others)} methods and variants of at most its FLOPs ({100 * CLOSE:g} % more at most) "
        f"it is ahead beyond doubt of {len(others) - len(doubtful)}"
    )
    if doubtful:
        names = (
            f"{shown(row)} ({100 * row['behind_stdpp']['points']:+.1f} points, "
            f"{row['behind_stdpp']['questions']:,} questions)"
            for row in doubtful
        )
        sentence += f"; not of {', '.join(names)}"
    return [f"{sentence}."]


def write_readme(readme: Path, summary: Summary, folder: Path) -> None:
    """Replace the text between the two marks of a README; nothing else changes."""
    pictures = os.path.relpath(folder.resolve(), readme.resolve().parent).replace(os.sep, "/")
    write_section(readme, SECTION, readme_section(summary, pictures))


def check_readme(readme: Path) -> None:
    """Raise ``InputError`` unless the README has a place for the section."""
    check_section(readme, SECTION)
