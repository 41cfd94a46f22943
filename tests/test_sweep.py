"""A sweep: every stop is an independent run; the order, cancelling, going on, files, bad input."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stc_core import STC, Edited, InputError, RunCache, Stage, Sweep, TokenGrid, answer, load, sweep
from stc_core.answering.generation import warm_up
from stc_core.answering.sweep import Plan, default_stops
from stc_core.methods import FastV, HoliTom, Random, Uniform
from stc_core.record.costs import Costs
from stc_core.record.stages import Fate
from stc_core.record.sweep import Stop
from stc_core.record.trace import Trace

CLIP = Path(__file__).resolve().parents[1] / "assets" / "clips" / "behind-a-triangle.mp4"
QUESTION = "which shape does the small object have?"
RIGHT = "star"
FEW = (0.005, 0.05, 0.3, 1.0)


@pytest.fixture(scope="module")
def vlm():
    return load(device="cpu")


@pytest.fixture(scope="module")
def cache():
    return RunCache()


def run(vlm, cache, method, **options) -> list[Sweep]:
    options = {"frames": 8, "cache": cache, **options}
    return list(sweep(vlm, CLIP, QUESTION, method, **options))


def hooks_of(vlm) -> int:
    modules = list(vlm.model.modules())
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in modules)


@pytest.mark.parametrize(("method", "over", "stops"), [
    (STC(retention=0.1), "retention", FEW),
    (STC(retention=0.1), "tau", (-1.0, 0.3, 1.0)),
    (STC(retention=0.1), "layer", (0, 3, 6)),
    (Uniform(retention=0.1), "retention", FEW),
    (FastV(retention=0.5), "retention", FEW),
    (HoliTom(retention=0.2), "tau", (0.4, 0.9)),
])  # fmt: skip
def test_each_stop_is_an_independent_run(vlm, cache, method, over, stops):
    *_, found = run(vlm, cache, method, over=over, stops=stops, expected=RIGHT)
    assert found.planned == tuple(sorted({*stops, found.present})) and not found.refused
    assert [stop.value for stop in found.stops] == list(found.planned)
    assert found.answers[0] == found.baseline["answer"] and RIGHT in found.answers
    for stop in found.stops:
        alone = answer(
            vlm, CLIP, QUESTION, replace(method, **{over: stop.value}), frames=8,
            score=found.answers, baseline=True,
        )  # fmt: skip
        trace = alone.trace
        assert stop.answer == alone.text
        assert np.array_equal(stop.fate, trace.fate) and np.array_equal(stop.target, trace.target)
        assert [stage.layer for stage in stop.stages] == [stage.layer for stage in trace.stages]
        for one, other in zip(stop.stages, trace.stages, strict=True):
            assert np.array_equal(one.fate, other.fate)
        assert [trace.grid.size, stop.entered, stop.left] in (
            trace.alive(), [*trace.alive(), trace.alive()[-1]])  # fmt: skip
        assert {*stop.scores, stop.answer} == set(found.answers) | {stop.answer}
        for text in found.answers:
            chance = stop.probability(text)
            assert chance == pytest.approx(math.exp(alone.scores[text]), abs=1e-5)
        for text, logprob in found.baseline["scores"].items():
            assert logprob == pytest.approx(trace.baseline["scores"][text], abs=1e-5)
        assert stop.logprob == pytest.approx(alone.logprob, abs=1e-5)
        assert stop.flops == pytest.approx(sum(alone.costs.real_flops.values()))
        assert stop.seconds == pytest.approx(sum(stop.costs["seconds"].values()))


def test_the_first_three_stops_are_the_present_one_and_both_ends(vlm, cache):
    found = run(vlm, cache, STC(retention=0.1), stops=(0.005, 0.05, 0.3, 0.6, 1.0))
    order = [each.latest.value for each in found]
    assert order[:3] == [0.1, 0.005, 1.0]
    assert sorted(dict.fromkeys(order)) == [0.005, 0.05, 0.1, 0.3, 0.6, 1.0]
    assert found[0].baseline["answer"] and len(found[0].stops) == 1
    assert [len(each.waiting) for each in found[:6]] == [5, 4, 3, 2, 1, 0]


def test_tower_frames_and_the_uncompressed_prefill_run_once(vlm):
    warm_up(vlm)  # runs on a frame of its own
    lengths, towers = [], []
    first = vlm.model.get_decoder().layers[0]
    embeddings = vlm.model.get_encoder(modality="image").embeddings
    hooks = [
        first.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1])),
        embeddings.register_forward_hook(lambda _, __, out: towers.append(len(out))),
    ]
    *_, found = run(vlm, RunCache(), STC(retention=0.05), stops=(0.01, 0.05, 0.1, 0.2))
    for hook in hooks:
        hook.remove()
    assert sum(towers) == 8  # frames
    whole = found.grid.size + found.stop(0.05).costs["text_tokens"]
    assert max(lengths) == whole
    assert lengths.count(whole) == 1


def test_tipping_points_are_where_neighbors_differ_and_are_refined(vlm, cache):
    *_, coarse = run(vlm, cache, STC(retention=0.02), frames=32)
    assert coarse.planned == default_stops("retention", 8)
    assert coarse.turns  # this question hangs on the small object
    for one, other in itertools.pairwise(coarse.stops):
        told = [turn for turn in coarse.turns if (turn.low, turn.high) == (one.value, other.value)]
        assert bool(told) == (one.answer != other.answer)
        assert [(turn.before, turn.after) for turn in told] in ([], [(one.answer, other.answer)])
    *_, fine = run(vlm, cache, STC(retention=0.02), frames=32, refine=1, known=coarse)
    widths = [math.log(turn.high / turn.low) for turn in fine.turns]
    before = [math.log(turn.high / turn.low) for turn in coarse.turns]
    assert max(widths) == pytest.approx(max(before) / 2, rel=0.05)
    assert {stop.value for stop in coarse.stops} < {stop.value for stop in fine.stops}


def test_a_cancelled_sweep_keeps_what_it_has_and_goes_on_from_its_file(vlm, cache, tmp_path):
    method, stops = STC(retention=0.1), (0.01, 0.05, 0.3, 1.0)
    answer(vlm, CLIP, QUESTION, method, frames=8, cache=cache)  # the library adds hooks of its own
    before, stage = hooks_of(vlm), []

    def progress(name: str, share: float) -> None:
        assert 0 <= share <= 1
        stage.append(name)

    seen = []
    steps = sweep(
        vlm, CLIP, QUESTION, method, frames=8, stops=stops, cache=cache, progress=progress,
        cancelled=lambda: len(seen) == 2,
    )  # fmt: skip
    for each in steps:
        seen.append(each)
    assert len(seen) == 2 and "answer" in stage
    path = seen[-1].save(tmp_path / "half.npz")
    half = Sweep.load(path)
    assert half.waiting == seen[-1].waiting and len(half.waiting) == 3
    rest = run(vlm, cache, method, stops=stops, known=half)
    assert {each.latest.value for each in rest[:3]} == set(half.waiting)
    *_, whole = run(vlm, cache, method, stops=stops)
    assert [s.answer for s in rest[-1].stops] == [s.answer for s in whole.stops]
    for one, other in zip(rest[-1].stops, whole.stops, strict=True):
        assert np.array_equal(one.fate, other.fate)
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
    assert run(vlm, cache, method, stops=stops, known=rest[-1]) == []
    assert hooks_of(vlm) == before


def test_cancelling_in_the_middle_of_a_run_ends_it(vlm, cache):
    told = []

    def cancelled() -> bool:
        told.append(1)
        return len(told) > 3

    assert list(sweep(vlm, CLIP, QUESTION, STC(), frames=8, cancelled=cancelled)) == []


def test_one_frame_at_half_a_percent_keeps_one_token(vlm, cache):
    *_, found = run(vlm, cache, STC(retention=0.005), frames=1, stops=(0.005, 0.01, 1.0))
    assert [stop.entered for stop in found.stops] == [1, 1, found.grid.size]
    assert all(stop.left >= 1 for stop in found.stops)


@pytest.mark.parametrize(("method", "options", "sentence"), [
    (Uniform(), {"over": "tau"}, "Uniform has no tau, so there is nothing to sweep"),
    (Random(), {"over": "layer"}, "Random has no layer K"),
    (STC(keep_inside=1), {"over": "layer"}, "changes nothing inside the LLM"),
    (Edited(STC(), remove=(0,)), {}, "an edited method cannot be swept"),
    (STC(), {"over": "lam"}, "a sweep goes over retention, tau or layer"),
    ("stc", {}, "a compression method is needed"),
    (STC(), {"stops": ()}, "a sweep takes 1 to 64 stops, not 0"),
    (STC(), {"stops": [0.1] * 65}, "a sweep takes 1 to 64 stops, not 65"),
    (STC(), {"stops": (0.1, 0.0)}, "retention"),
    (STC(), {"stops": (1.5,)}, "retention"),
    (STC(), {"stops": (float("nan"),)}, "retention"),
    (STC(), {"stops": ("0.1",)}, "must be a number, not '0.1'"),
    (STC(), {"stops": (True,)}, "must be a number, not True"),
    (STC(), {"over": "layer", "stops": (7,)}, "outside this model: its 8 layers allow 0 to 6"),
    (STC(), {"over": "layer", "stops": (1.5,)}, "must be a whole number, not 1.5"),
    (STC(), {"over": "tau", "stops": (2.0,)}, "tau"),
])  # fmt: skip
def test_what_cannot_be_swept_is_said_before_any_run(vlm, method, options, sentence):
    with pytest.raises(InputError, match=sentence):
        sweep(vlm, CLIP, QUESTION, method, **options)


def test_a_stop_that_is_there_twice_counts_once(vlm, cache):
    found = run(vlm, cache, STC(retention=0.1), stops=(0.1, 0.1, 0.3, 0.3))
    assert found[-1].planned == (0.1, 0.3)
    assert [each.latest.value for each in found][:2] == [0.1, 0.3]


def test_an_earlier_pass_of_another_method_is_refused(vlm, cache):
    *_, found = run(vlm, cache, STC(retention=0.1), stops=(0.1,))
    with pytest.raises(InputError, match="start a new one, or give that method"):
        sweep(vlm, CLIP, QUESTION, STC(retention=0.2), known=found)
    with pytest.raises(InputError, match="on another clip or question"):
        list(sweep(vlm, CLIP, "what flashed?", STC(retention=0.1), frames=8, known=found))


# --- the plan alone ------------------------------------------------------------------------------


GRID = TokenGrid(2, 3, 4)


def trace_at(value: float, text: str, n: int = GRID.size) -> Trace:
    kept = max(1, round(value * n))
    fate = np.full(n, Fate.DROPPED, np.uint8)
    target = np.full(n, -1, np.int64)
    fate[:kept], target[:kept] = Fate.KEPT, np.arange(kept)
    return Trace.from_stages(
        GRID, (Stage("outside", None, target, fate),), answer=text, question=QUESTION, model="m",
        logprob=-0.5, costs=Costs(n, kept, kept).to_json(),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    stops=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20),
    present=st.floats(0.001, 1.0), refine=st.integers(0, 2), tips=st.lists(st.floats(0.001, 1.0)),
)  # fmt: skip
def test_a_plan_computes_every_value_once_and_scores_every_answer(stops, present, refine, tips):
    plan = Plan(STC(retention=present), 28, stops=stops, refine=refine)
    times: dict[float, int] = {}
    while (task := plan.next()) is not None:
        times[task.value] = times.get(task.value, 0) + 1
        assert task.method == STC(retention=task.value)
        said = trace_at(task.value, f"answer {sum(task.value > tip for tip in tips)}")
        scores = dict.fromkeys(task.score, -1.0)
        baseline = {"answer": "answer 0", "costs": {}, "logprob": -1.0, "scores": scores}
        plan.take(task, replace(said, scores=scores, baseline=baseline if task.baseline else {}))
        assert 0 <= plan.share <= 1
    found = plan.sweep
    assert set(times) == set(found.planned) >= {*stops, present} and found.waiting == ()
    assert max(times.values()) <= 2  # once more for answers that came up later
    first = list(times)[:3]
    ends = [present, min(*stops, present), max(*stops, present)]
    assert first[: len(set(ends))] == list(dict.fromkeys(ends))
    wanted = set(found.answers[:24])
    assert all(wanted <= {*stop.scores, stop.answer} for stop in found.stops)
    assert "answer 0" not in found.baseline["scores"]  # the uncompressed run is never run again


def test_a_value_that_the_clip_refuses_is_noted_and_the_rest_goes_on():
    plan = Plan(STC(retention=0.1), 28, stops=(0.01, 0.1, 1.0))
    first = plan.next()
    with pytest.raises(InputError, match="no memory"):
        plan.refuse(first, InputError("no memory"))
    plan.take(first, trace_at(0.1, "red"))
    plan.refuse(plan.next(), InputError("no memory"))
    assert plan.sweep.refused == {0.01: "no memory"} and plan.sweep.waiting == (1.0,)


# --- files ---------------------------------------------------------------------------------------


def made(answers: dict[float, str], **fields) -> Sweep:
    stops = tuple(
        Stop(value, text, -0.5, {"red": -1.0, "blue": -2.0}, trace_at(value, text).stages,
             Costs(24, 1, 1, seconds={"vision": 1.0}).to_json())
        for value, text in sorted(answers.items())
    )  # fmt: skip
    return Sweep(GRID, "retention", 0.1, tuple(sorted(answers)), "STC(retention=0.1)", "m",
                 QUESTION, stops, **fields)  # fmt: skip


def test_a_file_holds_all_of_a_sweep(tmp_path):
    kept = made({0.1: "red", 0.5: "blue"}, expected="blue", refused={0.5: "why"},
                baseline={"answer": "red", "logprob": -1.0, "scores": {"red": -1.0}})  # fmt: skip
    path = kept.save(tmp_path / "sweep.npz")
    found = Sweep.load(path)
    for name in ("grid", "over", "present", "planned", "method", "model", "question", "baseline",
                 "expected", "refused", "answers", "turns"):  # fmt: skip
        assert getattr(found, name) == getattr(kept, name), name
    for one, other in zip(found.stops, kept.stops, strict=True):
        assert np.array_equal(one.fate, other.fate) and np.array_equal(one.target, other.target)
        assert one.scores == other.scores and one.costs == other.costs
    assert list(found.curve("blue")) == [(0.1, math.exp(-2.0)), (0.5, math.exp(-2.0))]
    assert found.save(tmp_path / "again.npz").read_bytes() == path.read_bytes()
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_damaged_files_are_refused_in_one_sentence(tmp_path):
    path = made({0.1: "red", 0.5: "blue"}).save(tmp_path / "sweep.npz")
    whole = path.read_bytes()
    with pytest.raises(InputError, match="there is no file"):
        Sweep.load(tmp_path / "none.npz")
    rng = np.random.default_rng(3)
    for place in [*range(0, len(whole), 97), *rng.integers(0, len(whole), 40)]:
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            found = Sweep.load(path)
        except InputError as error:
            assert "not the file of a sweep or is damaged" in str(error)
        else:  # a byte that means nothing, such as a date
            assert found.turns[0].after == "blue"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not the file of a sweep"):
        Sweep.load(path)
    trace_at(0.5, "red").save(path)
    with pytest.raises(InputError, match="not the file of a sweep"):
        Sweep.load(path)


def test_a_sweep_is_saved_whole_or_not_at_all(tmp_path):
    with pytest.raises(InputError, match="does not exist; create it"):
        made({0.1: "red"}).save(tmp_path / "none" / "sweep.npz")
    bad = made({0.1: "red"}, expected="\ud800")
    with pytest.raises(InputError, match="cannot be saved"):
        bad.save(tmp_path / "sweep.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("method", "value", "text"), [
    ("STC(retention=0.1, tau=0.7)", 0.05, "STC(retention=0.05, tau=0.7)"),
    ("Uniform(retention=0.1)", 1.0, "Uniform(retention=1.0)"),
])  # fmt: skip
def test_the_method_at_another_value(method, value, text):
    assert replace(made({0.1: "red"}), method=method).method_at(value) == text


def test_contradicting_sweeps_are_refused():
    with pytest.raises(ValueError, match="rise"):
        replace(made({0.1: "red"}), planned=(0.2, 0.1))
    with pytest.raises(ValueError, match="24 tokens|fates of 6"):
        replace(made({0.1: "red"}), grid=TokenGrid(1, 2, 3))
    with pytest.raises(ValueError, match="goes over one of"):
        replace(made({0.1: "red"}), over="lam")
