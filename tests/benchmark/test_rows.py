"""The grid: what is tried, on how many questions, nothing twice."""

import pytest

from stc_core import METHODS, STC, InputError
from stc_core.benchmark.rows import (
    COMPOSED,
    MAIN,
    QUESTIONS,
    RETENTIONS,
    VARIANTS,
    Row,
    grid,
    name_of,
    options_of,
    settings,
    title_of,
)
from stc_core.methods import DyToK, FastV, Frames, SToP, Then, VidCom2, VisionZip
from stc_core.methods.stc import ABLATIONS
from stc_core.rates import wilson
from stc_core.shapes import KINDS

SWEPT = {"tau": 5, "cluster_ratio": 5, "lam": 5, "keep_inside": 5, "heads": 2, "text": 2}


def test_the_other_form_of_a_rival_is_tried_beside_the_published_one():
    rows = grid(8, 32, parts=["main"])
    for name, options in VARIANTS.items():
        both = [row.method for row in rows if type(row.method) is METHODS[name]]
        for retention in RETENTIONS:
            published, other = (m for m in both if m.retention == retention)
            assert published == METHODS[name](retention=retention)
            assert other == METHODS[name](retention=retention, **options) != published
    assert sum("variant" in row.parts for row in rows) == len(RETENTIONS) * len(VARIANTS)


def test_every_method_is_tried_at_every_retention_and_nothing_twice():
    rows = grid(8, 32)
    assert len({row.key for row in rows}) == len(rows)
    main = [row for row in rows if "main" in row.parts and row.method is not None]
    for kind in METHODS.values():
        of_kind = {r.method.retention for r in main if type(r.method) is kind}
        assert of_kind == set(RETENTIONS)
    assert sum(r.method == STC(retention=0.02) for r in rows if r.method and r.frames == 32) == 1
    assert {r.method is None for r in rows[:3]} == {True}  # the reference comes first
    for row in rows:
        same_frames = [r for r in rows if r.method is None and r.frames == row.frames]
        assert same_frames[0].questions >= row.questions


def test_the_parts_hold_the_papers_rows_and_the_sweeps():
    rows = grid(28, 32)
    parts = {part for row in rows for part in row.parts}
    assert {f"ablation {name}" for name in ABLATIONS} <= parts
    layers = [row.method.layer for row in rows if "sweep layer" in row.parts]
    assert layers == [2, 7, 14, 18, 21]
    assert all(row.method.layer <= 3 for row in grid(5, 8) if "sweep layer" in row.parts)
    for option, least in SWEPT.items():
        swept = [getattr(row.method, option) for row in rows if f"sweep {option}" in row.parts]
        assert len(swept) >= least and getattr(STC(), option) in swept
    assert {row.frames for row in rows if "frames" in row.parts} == {16, 32, 64}


def test_fastv_is_also_tried_at_the_papers_share_of_the_depth():
    for depth, layers in ((28, {2}), (8, {0, 2}), (56, {2, 5}), (4, {0, 2})):
        main = [row.method for row in grid(depth, 32, parts=["main"]) if row.method]
        assert {m.layer for m in main if type(m) is METHODS["fastv"]} == layers


def test_settings_of_the_models_own_add_main_rows_and_ablations():
    plain, both = grid(8, 32), grid(8, 32, settings={"tau": 0.9, "cluster_ratio": 0.15})
    assert {row.key for row in plain} <= {row.key for row in both}
    mine = [row for row in both if "own" in row.parts]
    assert [row.method for row in mine] == [
        STC(retention=r, tau=0.9, cluster_ratio=0.15) for r in RETENTIONS
    ]
    assert {row.questions for row in mine} == {QUESTIONS} and not any(
        "own" in part for row in plain for part in row.parts
    )
    ablated = {p: row.method for row in both for p in row.parts if p.startswith("own ablation")}
    assert len(ablated) == len(ABLATIONS)
    assert ablated["own ablation AS"].tau == 0.9 and ablated["own ablation AC"].tau == STC().tau


def test_the_papers_rows_have_enough_questions_for_their_interval():
    low, high = wilson(QUESTIONS // 2, QUESTIONS)
    assert (high - low) / 2 < 0.025
    assert QUESTIONS % (4 * len(KINDS)) == 0
    for row in grid(8, 32, parts=["main"]):
        main = row.method is None or type(row.method) in [METHODS[name] for name in MAIN]
        assert row.questions == (QUESTIONS if main else QUESTIONS // 4)


def test_parts_methods_and_questions_can_be_chosen():
    rows = grid(8, 16, questions=9, retentions=[0.1], methods=["evs"], parts=["main", "sweep"])
    assert [name_of(row.method)[:4] for row in rows] == ["none", "EVS("]
    assert [row.questions for row in rows] == [2, 2]
    even = grid(8, 16, questions=9, methods=["evs", "stc"], even=True)
    assert {row.questions for row in even} == {9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["magic"]}, "no method 'magic'"),
        ({"parts": ["all"]}, "no part 'all'"),
        ({"questions": 0}, "at least one question"),
        ({"retentions": []}, "at least one retention"),
        ({"retentions": [0.02, 1.5]}, "retention must be"),
        ({"retentions": [0.0]}, "retention must be"),
        ({"frames": 0}, "at least one frame"),
    ],
)
def test_what_is_no_grid_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        grid(8, **{"frames": 32, **options})


def test_names_tell_the_options_that_were_changed():
    method = STC(retention=0.1, tau=0.5, positions="compact")
    assert eval(name_of(method), {"STC": STC}) == method
    assert options_of(method) == "positions='compact', tau=0.5"
    assert options_of(STC(retention=0.3)) == options_of(None) == "" and name_of(None) == "none"
    assert Row(None, 8, 1).key == (8, "none")


def test_methods_around_methods_are_rows_at_every_retention():
    main = [row.method for row in grid(8, 32, parts=["main"])]
    for composed in COMPOSED:
        assert all(composed.at(retention) in main for retention in RETENTIONS)
    rows = grid(8, 32, parts=["main"], methods=["evs", "SToP(VisionZip(dominant=1))"])
    found = [row.method for row in rows[1:]]
    assert SToP(VisionZip(retention=0.05, dominant=1)) in found
    assert len(found) == 2 * len(RETENTIONS)
    with pytest.raises(InputError, match="reads no attention"):
        grid(8, 32, methods=["SToP(EVS())"])


def test_names_of_methods_around_methods():
    then = Then(VidCom2(), FastV(retention=0.5))
    assert title_of(then) == "Then(VidCom2, FastV)" and options_of(then) == "inner retention=0.5"
    stop = SToP(VisionZip(retention=0.1, dominant=1.0), 3.0)
    assert title_of(stop) == "SToP(VisionZip)" and options_of(stop) == "strength=3.0, dominant=1.0"
    few = Frames(VisionZip(), keep=8)
    assert title_of(few) == "Frames(VisionZip)" and options_of(few) == "keep=8"
    assert title_of(Frames()) == "Frames" and options_of(Frames(retention=0.1)) == ""
    assert options_of(DyToK(VisionZip(), share=0.25)) == "share=0.25"
    assert title_of(None) == "uncompressed"


def test_defaults_depend_on_the_kind_of_run():
    assert settings(False, False)["questions"] == QUESTIONS
    assert settings(True, False)["frames"] < 32 and settings(False, False)["frames"] is None
    own = settings(False, True, frames=5)
    assert own["even"] and own["questions"] > 1e6 and own["frames"] == 5
    assert settings(True, False, 5, [0.3], ["main"])["retentions"] == (0.3,)
