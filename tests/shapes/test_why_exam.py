"""The search for what an answer needs, measured where the evidence is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from stc_core import InputError, TokenGrid, load
from stc_core.__main__ import cli
from stc_core.shapes.exam import why_exam as module
from stc_core.shapes.exam.why_exam import WhyCase, WhyReport, around, examine_why
from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS

FRAMES, QUESTIONS = 8, 12
CASE = WhyCase(1, "color", "tau", 4, 100, True, 2, 1, 2, 3, 0.25, 1, 5, 9, 0.5, True)


@pytest.fixture(scope="module")
def vlm():
    return load(device="cpu")


@pytest.fixture(scope="module")
def found(vlm, tmp_path_factory):
    file = tmp_path_factory.mktemp("why") / "cases.jsonl"
    asked = {"seeds": DEVELOPMENT_SEEDS, "seconds": 600, "partial": file}
    return examine_why(vlm, QUESTIONS, FRAMES, **asked), file, asked


def test_cases_hold_together(found):
    report, *_ = found
    assert report.questions == QUESTIONS and len(report.cases) <= report.right <= QUESTIONS
    assert report.cases  # of these seeds some are turned
    for case in report.cases:
        assert 0 <= case.hits <= case.near <= case.found <= case.n
        assert case.ranked <= case.evidence and 0 <= case.chance_near <= 1
        assert case.done and case.restored == (case.found > 0)
        assert case.random <= case.draws
    assert sum(report.causes.values()) == len(report.cases)


def test_a_run_goes_on_from_its_file(found, vlm, monkeypatch):
    report, file, asked = found
    monkeypatch.setattr(module, "examined", None)  # all is known: nothing is asked
    assert examine_why(vlm, QUESTIONS, FRAMES, **asked) == report
    with pytest.raises(InputError, match="another configuration"):
        examine_why(vlm, QUESTIONS, 2 * FRAMES, **asked)
    with pytest.raises(InputError, match="at least one question"):
        examine_why(vlm, 0)
    assert len(file.read_text().splitlines()) == 1 + QUESTIONS


def test_figures_by_hand():
    other = replace(CASE, found=1, hits=0, near=0, evidence=5, ranked=0, random=0, cause="number")
    none = replace(CASE, restored=False, found=0, hits=0, near=0, draws=0, random=0)
    report = WhyReport("m", 8, 9, 7, (CASE, other, none))
    figures = report.figures()
    assert figures["answer brought back"] == pytest.approx((2 / 3, 1 / 10))
    assert figures["found tokens that are evidence"] == pytest.approx((0.25, 0.045))
    assert figures["found tokens that are evidence or touch it"] == pytest.approx((0.5, 0.25))
    recall = figures["lost evidence in the smallest set (recall)"]
    assert recall == pytest.approx((1 / 8, 0.015))
    assert report.causes == {"lost by tau": 2, "too few tokens, whichever": 1}
    assert "smallest set: median 1.5 tokens, most 2" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["turned"] == 3
    assert "turned" in str(WhyReport("m", 8, 9, 7, ()))  # none was


def test_what_touches_a_token():
    grid = TokenGrid(3, 3, 4, 30, 40)
    near = around(np.array([grid.index(1, 1, 1)]), grid).reshape(3, 3, 4)
    assert near[1, :, :3].all() and not near[1, :, 3].any()
    assert near[0].sum() == near[2].sum() == 1 and near[0, 1, 1] and near[2, 1, 1]


def test_on_the_command_line():
    done = CliRunner().invoke(
        cli, ["evaluate", "--why", "--development", "--questions", "2", "--frames", "8", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["questions"] == 2
    for more in (["--evidence"], ["--familiarity"], ["--retention", "0.1"]):
        refused = CliRunner().invoke(cli, ["evaluate", "--why", *more])
        assert refused.exit_code == 2 and "--why" in refused.stderr
