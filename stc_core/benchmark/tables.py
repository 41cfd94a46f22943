"""Write tables in Markdown, in the layout of arXiv 2603.21957."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from stc_core.benchmark.rows import names_after
from stc_core.readme_sections import markdown

# "% of full" at 2 % on LLaVA-OneVision-7B, arXiv 2603.21957
PAPER_MODULES = {
    "A": 74.2, "S": 87.5, "C": 86.4, "AS": 88.2, "AC": 81.3, "SC": 87.9, "ASC": 89.5,
}  # fmt: skip
PARTS_OF = {"A": "attention", "S": "similarity", "C": "clusters"}

OURS = "SpaceTimeDPP"  # the method of this project

Summary = dict[str, Any]


def tables(summary: Summary) -> str:
    """Return all tables, for ``table.md``."""
    parts = [
        "# Benchmark",
        about(summary),
        "## Methods",
        _main(summary),
        _legend(summary),
        "## At equal FLOPs",
        *_equal_flops(summary),
        "## By kind of question",
        _kinds(summary),
        "## Ablations",
        ablation_table(summary),
        "## Sweeps",
        *_sweeps(summary),
        "## Frames",
        _frames(summary),
        "## Evidence and answers",
        _recall(summary),
    ]
    kept = [part for part in parts if part]
    # a heading without anything below it says nothing
    texts = [
        part
        for part, after in zip(kept, [*kept[1:], "#"], strict=True)
        if not (part.startswith("## ") and after.startswith("#"))
    ]
    return "\n\n".join(texts) + "\n"


def main_rows(summary: Summary) -> list[Summary]:
    """Return the compressed rows of the main part, by falling retention, STC last."""
    rows = [r for r in summary["rows"] if "main" in r["parts"] and r["method"] != "none"]
    return sorted(rows, key=lambda r: (-r["retention"], r["name"] == "STC", r["options"] == ""))


def uncompressed(summary: Summary) -> Summary | None:
    """Return the row of the stock model at the main number of frames."""
    stock = [r for r in summary["rows"] if r["method"] == "none" and "main" in r["parts"]]
    return stock[0] if stock else None


def shown(row: Summary) -> str:
    """Return the name of a method as tables show it."""
    if row["name"] == "STC" and row["options"] == "keep_inside=1.0":
        return "STC, no inner merging"
    options = re.sub(r"\d+\.\d{4,}", lambda found: f"{float(found[0]):.3g}", row["options"])
    return row["name"] + (f" ({options})" if options else "")


def percent(share: float | None, digits: int = 1) -> str:
    """Format 0.123 as "12.3", None as a dash."""
    return "-" if share is None else f"{100 * share:.{digits}f}"


def interval(ends: Iterable[float] | None) -> str:
    """Format (0.1, 0.2) as " (10.0 - 20.0)"."""
    return "" if ends is None else " ({} - {})".format(*(percent(end) for end in ends))


def about(summary: Summary) -> str:
    """Describe model, clips and versions in one sentence, skipped clips in another."""
    run = summary["configuration"]
    of = {"held-out": "held-out clips", "development": "development clips"}
    where = f"{of.get(run['split'], run['source'])}"
    if run["source"] == "shapes":
        where += f" of the world of shapes, seeds {run['seeds'][0]:,} on"
    versions = ", ".join(f"{name} {value}" for name, value in run["versions"].items())
    text = (
        f"Model {run['model']} ({run['checkpoint'][:12]}), {run['dtype']} on "
        f"{run['device']}; {where}; {summary['cases']:,} cases, {summary['answers']:,} answers; "
        f"{versions}."
    )
    if summary["skipped"]:
        text += f" **{len(summary['skipped'])} cases were skipped**; `summary.json` says why."
    return text


def _main(summary: Summary) -> str:
    head = [
        "kept at door / end, %",
        "method",
        "questions",
        "FLOPs, % (paper / real)",
        "accuracy, %",
        "% of full",
        "lost / gained",
        "behind STC, points",
        "behind SpaceTimeDPP, points",
        "evidence cells, %",
        "any evidence, %",
        "budget on evidence, %",
        "compression, ms",
    ]
    lines = []
    stock = uncompressed(summary)
    for row in [*([stock] if stock else []), *main_rows(summary)]:
        tokens = row["tokens"]
        itself = None if row["options"] else row["name"]
        lines.append(
            [
                " / ".join(percent(tokens[k] / tokens["all"]) for k in ("door", "end")),
                shown(row),
                f"{row['questions']:,}",
                f"{percent(row['flops']['paper']['of_full'])} / "
                f"{percent(row['flops']['real']['of_full'])}",
                percent(row["accuracy"]) + interval(row["interval95"]),
                percent(row["of_full"]) + interval(row["of_full_interval95"]),
                f"{row['lost']} / {row['gained']}",
                "" if itself == "STC" else _points(row.get("behind_stc")),
                "" if itself == OURS else _points(row.get("behind_stdpp")),
                *(_evidence(row, measure) for measure in ("cells", "any", "budget")),
                f"{1000 * row['seconds']['compression']:.0f}",
            ]
        )
    return markdown(head, lines) if lines else ""


def _equal_flops(summary: Summary) -> list[str]:
    """Return a table for each method that lets all tokens into the first layers."""
    groups: dict[str, list[Summary]] = {}
    for row in summary["rows"]:
        for name in names_after("flops ", row["parts"]):
            groups.setdefault(name, []).append(row)
    made = []
    for name, rows in groups.items():
        rows = sorted(rows, key=lambda row: row["method"] != name)
        lines = [
            [
                shown(row),
                percent(row["retention"]),
                percent(row["flops"]["paper"]["of_full"]),
                f"{row['questions']:,}",
                percent(row["accuracy"]) + interval(row["interval95"]),
                percent(row["of_full"]) + interval(row["of_full_interval95"]),
                _points(row["behind_equal"].get(name)),
            ]
            for row in rows
        ]
        behind = f"behind {shown(rows[0])}, points"
        head = ["method", "retention, %", "FLOPs, %", "questions", "accuracy, %", "% of full"]
        made.append(markdown([*head, behind], lines))
    return made


def _points(difference: Summary | None) -> str:
    if difference is None:
        return ""
    return percent(difference["points"]) + interval(difference["interval95"])


def _evidence(row: Summary, measure: str) -> str:
    found = row["evidence"]
    if found is None:
        return "-"
    return " / ".join(percent(found[place][measure]) for place in ("door", "end"))


def _legend(summary: Summary) -> str:
    return (
        "Accuracy: exact match with Wilson's 95 % interval. % of full: share of the uncompressed "
        "model's right answers, on the same questions, with a paired bootstrap interval. Lost: "
        "right before, wrong now; gained: the other way. Behind STC and SpaceTimeDPP: at the same "
        "retention, on the questions both answered, paired. Evidence at the LLM's door / in its "
        "last layer, over the questions that have some: share of their evidence cells whose own "
        "token survives (what lives on in another token's mean is counted apart, `*_carried` in "
        "`summary.json`), share of questions with any such token, share of the surviving tokens "
        "that are evidence. FLOPs in the paper's convention and real ones (vision tower and text "
        "included, the compression itself not: its time is in the last column)."
    )


def _kinds(summary: Summary) -> str:
    stock = uncompressed(summary)
    rows = [*([stock] if stock else []), *main_rows(summary)]
    kinds = list(dict.fromkeys(kind for row in rows for kind in row["kinds"]))
    if not kinds:
        return ""
    lines = [
        [f"{percent(row['retention'], 0)} %", shown(row)]
        + [percent(row["kinds"].get(kind, {}).get("accuracy")) for kind in kinds]
        for row in rows
    ]
    return markdown(["retention", "method", *kinds], lines)


def ablation_rows(summary: Summary, own: bool = False) -> dict[str, Summary]:
    """Return {names of the modules that are on: row}, in the paper's order.

    Parameters
    ----------
    summary : Summary
    own : bool
        Rows with the settings that suit the model, instead of the paper's.
    """
    begin = "own ablation " if own else "ablation "
    found = {
        part.removeprefix(begin): row
        for row in summary["rows"]
        for part in row["parts"]
        if part.startswith(begin)
    }
    return {name: found[name] for name in PAPER_MODULES if name in found}


def ablation_table(summary: Summary) -> str:
    """Return the seven ablation rows, beside the paper's and the model's own settings."""
    rows, own = ablation_rows(summary), ablation_rows(summary, own=True)
    head = ["modules", "questions", "accuracy, %", "% of full", "paper, % of full"]
    head += ["evidence cells, %", "any evidence, %"]
    if own:
        settings = own["ASC"]["options"]
        head += [f"% of full with {settings}"]
    lines = [
        [
            " + ".join(PARTS_OF[letter] for letter in name),
            f"{row['questions']:,}",
            percent(row["accuracy"]) + interval(row["interval95"]),
            percent(row["of_full"]) + interval(row["of_full_interval95"]),
            f"{PAPER_MODULES[name]}",
            _evidence(row, "cells"),
            _evidence(row, "any"),
            *(
                [percent(own[name]["of_full"]) + interval(own[name]["of_full_interval95"])]
                if name in own
                else []
            ),
        ]
        for name, row in rows.items()
    ]
    return markdown(head, lines) if lines else ""


def _sweeps(summary: Summary) -> list[str]:
    by_option: dict[str, list[Summary]] = {}
    for row in summary["rows"]:
        for part in row["parts"]:
            if part.startswith("sweep "):
                by_option.setdefault(part.removeprefix("sweep "), []).append(row)
    made = []
    for option, rows in by_option.items():
        lines = [
            [
                _value(row, option),
                f"{row['questions']:,}",
                percent(row["accuracy"]) + interval(row["interval95"]),
                percent(row["of_full"]) + interval(row["of_full_interval95"]),
            ]
            for row in rows
        ]
        made.append(markdown([f"`{option}`", "questions", "accuracy, %", "% of full"], lines))
    return made


def _value(row: Summary, option: str) -> str:
    for part in row["method"].partition("(")[2].rstrip(")").split(", "):
        name, _, value = part.partition("=")
        if name == option:
            return value + ("" if option in row["options"] else " (default)")
    return "default"


def _frames(summary: Summary) -> str:
    rows = [r for r in summary["rows"] if "frames" in r["parts"]]
    stock = {r["frames"]: r for r in summary["rows"] if r["method"] == "none"}
    lines = [
        [
            str(row["frames"]),
            f"{row['questions']:,}",
            percent(stock[row["frames"]]["accuracy"]),
            percent(row["accuracy"]) + interval(row["interval95"]),
            percent(row["of_full"]) + interval(row["of_full_interval95"]),
        ]
        for row in sorted(rows, key=lambda r: r["frames"])
        if row["method"] != "none" and row["frames"] in stock
    ]
    head = ["frames", "questions", "uncompressed, %", "STC, %", "% of full"]
    return markdown(head, lines) if lines else ""


def _recall(summary: Summary) -> str:
    lines = [
        [
            "none" if not band["to"] else f"{percent(band['above'], 0)} - {percent(band['to'], 0)}",
            f"{band['answers']:,}",
            percent(band["accuracy"]) + interval(band["interval95"]),
        ]
        for band in summary["recall"]
    ]
    head = ["evidence cells in the last layer, %", "answers", "right, %"]
    return markdown(head, lines) if lines else ""
