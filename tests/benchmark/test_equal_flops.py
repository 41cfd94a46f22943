"""Methods at the retention at which they cost as much as another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import answer, outcome_of, vlm_of
from typer.testing import CliRunner

from stc_core import METHODS, STC, Video
from stc_core.__main__ import cli
from stc_core.benchmark.cases import Shapes
from stc_core.benchmark.equal_flops import cost_on, costing_as
from stc_core.benchmark.plots import _apart, pareto
from stc_core.benchmark.rows import EQUAL, grid, name_of
from stc_core.benchmark.score import summarize
from stc_core.benchmark.tables import tables
from stc_core.methods.fastv import FastV
from stc_core.methods.prunevid import PruneVid
from stc_core.record.costs import paper_flops
from stc_core.record.flops import LLMShape
from stc_core.record.grid import TokenGrid

SHAPE = LLMShape(8, 256, 4, 2, 64, 704, 500)
COST = cost_on(SHAPE, TokenGrid(32, 7, 7))
LATE = [FastV(retention=0.02, layer=0), FastV(retention=0.02), PruneVid(retention=0.02)]


@pytest.mark.parametrize("method", [FastV(retention=0.3, layer=1), STC(retention=0.3, layer=1)])
def test_the_cost_is_that_of_a_run(tiny, method):
    from stc_core.answering.answer import answer as ask

    vlm = vlm_of(tiny)
    source = Shapes(vlm)
    (case,) = source.cases(1, 4)
    video = Video.from_frames(case.frames, np.arange(4.0))
    costs = ask(vlm, video, case.question, method, baseline=False).trace.costs
    shape = LLMShape.from_config(vlm.model.config)
    assert cost_on(shape, source.grid(4))(method) == costs["paper_flops"]


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("name", EQUAL)
def test_the_retention_is_the_least_that_costs_as_much(late, name):
    found = costing_as(METHODS[name](), late, COST)
    costs = [COST(METHODS[name](retention=n / 1000)) for n in range(1, 1001)]
    least = next(n for n, cost in enumerate(costs, 1) if cost >= COST(late))
    assert found == METHODS[name](retention=least / 1000)
    assert COST(found) == pytest.approx(COST(late), rel=0.05)


def test_what_cannot_cost_as_much_is_left_out():
    assert costing_as(FastV(), STC(retention=0.02), COST) is None
    same = paper_flops([1568] * 8, 256, 704)
    assert COST(METHODS["uniform"](retention=1.0)) == same


def test_the_grid_has_a_part_for_each_method_that_is_late():
    rows = grid(8, 32, questions=40, parts=["flops"], retentions=[0.1, 0.02], cost=COST)
    parts = {part for row in rows for part in row.parts if part.startswith("flops ")}
    assert parts == {f"flops {name_of(late)}" for late in LATE}
    for late in LATE:
        of_part = [row for row in rows if f"flops {name_of(late)}" in row.parts]
        assert of_part[0].method == late and len(of_part) == 1 + len(EQUAL)
        assert {row.questions for row in of_part} == {20}
    assert len(grid(8, 32, parts=["flops"])) == 0  # no cost, nothing to compare
    only = grid(8, 32, methods=["stc", "fastv"], parts=["flops"], cost=COST)
    assert {type(row.method) for row in only} == {type(None), STC, FastV}


def test_what_costs_as_much_is_compared_with_it():
    rows = grid(8, 8, questions=40, parts=["flops"], methods=["stc", "fastv"], cost=COST)
    rng = np.random.default_rng(0)
    lines = [
        answer(str(case), name_of(row.method), bool(rng.random() < 0.7))
        for row in rows
        for case in range(20)
    ]
    summary = summarize(outcome_of(lines), rows)
    for row in summary["rows"]:
        for name, behind in row.get("behind_equal", {}).items():
            (other,) = (one for one in summary["rows"] if one["method"] == name)
            assert behind["points"] == pytest.approx(other["accuracy"] - row["accuracy"])
    section = tables(summary).split("## At equal FLOPs\n")[1].split("\n## ")[0]
    assert section.count("| FastV") == 2 and section.count("| STC |") == 2
    assert "behind FastV (layer=0), points" in section


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_cheaper_equals(pairs):
    rows = [
        {"flops": {"paper": {"of_full": cost / 10}}, "accuracy": right / 10}
        for cost, right in pairs
    ]
    wanted = {
        (cost, right)
        for cost, right in pairs
        if not any(c <= cost and r >= right and (c, r) != (cost, right) for c, r in pairs)
    }
    front = [
        (round(10 * row["flops"]["paper"]["of_full"]), round(10 * row["accuracy"]))
        for row in pareto(rows)
    ]
    assert front == sorted(wanted)


def test_videos_of_ones_own_have_no_equal_flops(tmp_path):
    arguments = ["--videos", str(tmp_path), "--questions-file", str(tmp_path / "q.jsonl")]
    done = CliRunner().invoke(cli, ["benchmark", *arguments, "--part", "flops"])
    assert done.exit_code == 2 and "leave out --videos" in done.stderr


def test_costs_far_apart_get_axes_of_their_own():
    def rows(*costs):
        return [{"flops": {"paper": {"of_full": cost}}, "accuracy": 0.5} for cost in costs]

    assert [len(part) for part in _apart(rows(0.5, 0.02, 0.03, 0.4, 0.025))] == [3, 2]
    assert [len(part) for part in _apart(rows(0.1, 0.12, 0.14))] == [3]
    assert [len(part) for part in _apart(rows(0.1))] == [1]
