"""Tables, pictures and the README section, from made-up answers."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from small import answer, outcome_of

from stc_core import METHODS, STC, InputError
from stc_core.benchmark.readme_section import check_readme, write_readme
from stc_core.benchmark.result_files import write
from stc_core.benchmark.rows import COMPOSED, VARIANTS, grid, name_of
from stc_core.benchmark.score import summarize
from stc_core.benchmark.tables import tables

PICTURES = {
    f"{n}.{e}" for n in ("retention", "flops", "ablation", "recall") for e in ("svg", "png")
}


@pytest.fixture(scope="module")
def summary():
    """Every row of a full grid, better the more is kept, 39 questions of three kinds."""
    return made(grid(8, 32, questions=39, even=True))


def made(rows):
    """The summary of made-up answers to these rows."""
    rng, lines = np.random.default_rng(0), []
    for row in rows:
        kept = 1.0 if row.method is None else row.method.retention
        for i in range(39):
            right = bool(rng.random() < 0.95 * kept**0.1)
            end = int(rng.integers(0, 5)) if row.method else 4
            tokens = [1568, round(1568 * kept), round(784 * kept)]
            kind = ("color", "count", "order")[i % 3]
            more = {"tokens": tokens, "cells": 4 * (i % 4 > 0), "end": end}
            lines.append(answer(str(i), name_of(row.method), right, kind, row.frames, **more))
    return summarize(outcome_of(lines), rows)


def test_all_files_are_written_and_repeat_themselves(summary, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        write(summary, tmp_path / name)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"summary.json", "table.md"} | PICTURES
    for name in names:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in "ab")
        assert first == second
    written = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert written.keys() == summary.keys() and len(written["rows"]) == len(summary["rows"])
    for one, row in zip(written["rows"], summary["rows"], strict=True):
        assert one["method"] == row["method"] and one["kinds"].keys() == row["kinds"].keys()
        assert one["interval95"] == pytest.approx(row["interval95"])
    svg = (tmp_path / "a" / "retention.svg").read_text()
    assert "SpaceTimeDPP" in svg and "STC, no inner merging" in svg
    named = {kind.__name__ for kind in METHODS.values()} - {"STC"}
    others = len(named) - 1 + len(COMPOSED) + 1 - 6  # FastV twice; six in color
    assert f"{others} others: " in svg and 3 < sum(f">{name}<" in svg for name in named) <= 7
    assert "right answers" in svg and "logarithmic" in svg


def test_the_table_has_the_papers_layout(summary):
    text = tables(summary)
    for heading in ("Methods", "By kind of question", "Ablations", "Sweeps", "Frames", "Evidence"):
        assert f"## {heading}" in text
    main = text.split("## Methods")[1].split("## By")[0]
    lines = [line for line in main.splitlines() if line.startswith("| ")][1:]
    names = [line.split(" | ")[1] for line in lines if "---" not in line]
    assert names[0] == "uncompressed"
    # and STC without its inner stage, FastV with an earlier K
    group = len(METHODS) + len(VARIANTS) + len(COMPOSED) + 2
    assert len(names) == 1 + 4 * group
    assert names[group - 1 : group + 1] == ["STC, no inner merging", "STC"]
    widths = {line.count("|") for line in main.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    assert "attention + similarity + clusters" in text and "89.5" in text
    assert "0.7 (default)" in text
    assert not re.search(r"\bnan\b", text.lower())


def test_a_run_of_one_part_leaves_out_what_it_does_not_have(summary, tmp_path):
    few = summary | {"rows": summary["rows"][:1], "recall": []}
    assert "## Ablations" not in tables(few) and "## Methods" in tables(few)
    write(few, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"summary.json", "table.md"}


def test_the_section_replaces_what_is_between_the_marks_alone(summary, tmp_path):
    readme = tmp_path / "README.md"
    before, after = "# Title\n\nü text\n\n<!-- benchmark -->", "<!-- /benchmark -->\n\nmore\n"
    readme.write_text(f"{before}\nold\n{after}")
    folder = tmp_path / "assets" / "results"
    folder.mkdir(parents=True)
    for _ in range(2):
        write_readme(readme, summary, folder)
        text = readme.read_text()
        assert text.startswith(before) and text.endswith(after) and "old" not in text
    assert text.count("assets/results/retention.svg") == 1
    assert (
        "| STC, no inner merging |" in text and "of the uncompressed accuracy at 10 %" not in text
    )
    assert "At 2 % STC keeps" in text and "the paper reports 90.1 %" in text
    assert "Modules (A attention" in text
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["README.md"]


def test_claims_name_who_is_ahead(summary, tmp_path):
    (tmp_path / "r.md").write_text("<!-- benchmark --><!-- /benchmark -->")
    rows = []
    for row in summary["rows"]:
        behind = row.get("behind_stc")
        if behind and row["name"] == "EVS" and row["retention"] == 0.02:
            row = row | {"behind_stc": behind | {"points": -0.05, "interval95": [-0.1, 0.0]}}
        elif behind and row["name"] != "STC":
            row = row | {"behind_stc": behind | {"points": 0.1, "interval95": [0.05, 0.15]}}
        rows.append(row)
    write_readme(tmp_path / "r.md", summary | {"rows": rows}, tmp_path)
    text = (tmp_path / "r.md").read_text()
    rivals = len(METHODS) + len(COMPOSED)
    assert "ahead of it, in points: EVS by 5.0" in text
    assert f"ahead beyond doubt of {rivals - 1} of {rivals}" in text
    assert "no other method is ahead of it" in text  # at 1 %


def test_claims_say_of_whom_our_method_is_ahead(summary, tmp_path):
    (tmp_path / "r.md").write_text("<!-- benchmark --><!-- /benchmark -->")
    rows, counted = [], 0
    for row in summary["rows"]:
        behind = row.get("behind_stdpp")
        if behind and row["retention"] == 0.02 and "main" in row["parts"]:
            ends = [-0.01, 0.09] if row["name"] == "EVS" else [0.01, 0.09]
            row = row | {"behind_stdpp": behind | {"points": 0.04, "interval95": ends}}
            counted += row["name"] not in ("SpaceTimeDPP", "FastV")
            if row["name"] == "FastV":
                row = row | {"flops": {"paper": {"of_full": 0.106}, "real": {"of_full": 0.2}}}
        rows.append(row)
    write_readme(tmp_path / "r.md", summary | {"rows": rows}, tmp_path)
    text = (tmp_path / "r.md").read_text()
    said = text.split("- At 2 % SpaceTimeDPP, of this project, keeps ")[1].split("\n")[0]
    assert f"of {counted} methods and variants of at most its FLOPs" in said
    assert f"ahead beyond doubt of {counted - 1}; not of EVS (+4.0 points, 39 questions)" in said
    assert "At 1 % SpaceTimeDPP" in text and "At 10 % SpaceTimeDPP" not in text


def test_settings_of_the_models_own_are_shown_beside_the_papers(tmp_path):
    rows = grid(8, 32, questions=39, even=True, settings={"tau": 0.9})
    summary = made(rows)
    (tmp_path / "r.md").write_text("<!-- benchmark --><!-- /benchmark -->")
    write_readme(tmp_path / "r.md", summary, tmp_path)
    text = (tmp_path / "r.md").read_text()
    assert text.count("With tau=0.9, chosen for this model on development clips, it keeps") == 2
    assert "| STC (tau=0.9) |" in text and "% of full with tau=0.9 |" in text
    assert "With the model's own settings: " in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| attention")}
    assert len(widths) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<!-- benchmark -->",
        "<!-- /benchmark --> <!-- benchmark -->",
        "<!-- benchmark --><!-- benchmark --><!-- /benchmark -->",
        None,
    ],
)
def test_a_readme_without_a_place_is_refused(tmp_path, content):
    path = tmp_path / "README.md"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="must hold" if content is not None else "no text file"):
        check_readme(path)


def test_a_folder_that_cannot_be_written_is_one_sentence(summary, tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        write(summary, tmp_path / "none")


def test_a_row_of_another_configuration_of_stc_is_named_by_its_options():
    rows = [*grid(8, 8, questions=2, methods=["uniform"], parts=["main"], retentions=[0.1])]
    rows.append(replace(rows[-1], method=STC(retention=0.1, tau=0.5)))
    lines = [answer(c, name_of(r.method), frames=8) for r in rows for c in "12"]
    assert "STC (tau=0.5)" in tables(summarize(outcome_of(lines), rows))
