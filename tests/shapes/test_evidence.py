"""Questions asked with their evidence kept, removed and returned."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from stc_core import InputError, load
from stc_core.__main__ import cli
from stc_core.answering.prompt import build_prompt
from stc_core.hooks.compression import compress
from stc_core.methods import Edited, Uniform
from stc_core.shapes.exam import evidence as module
from stc_core.shapes.exam.evidence import (
    FILLER,
    EvidenceCase,
    EvidenceReport,
    answers,
    asked,
    changed_cells,
    chosen_first,
    draw,
    examine,
    only,
    undrawn,
)
from stc_core.shapes.world.clip import make_clip
from stc_core.shapes.world.drawing import coverage, render
from stc_core.shapes.world.questions import Question
from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS, WORLD, frame_times

FRAMES = 8


@pytest.fixture(scope="module")
def vlm():
    return load()


@pytest.fixture(scope="module")
def found(vlm, tmp_path_factory):
    """(report on four questions, the file that it left)."""
    file = tmp_path_factory.mktemp("evidence") / "answers.jsonl"
    return examine(vlm, 4, FRAMES, seeds=DEVELOPMENT_SEEDS, partial=file), file


def case(kind: str, right: dict[str, bool], answer: str = "red", sure: float = 0.5) -> EvidenceCase:
    question = Question(kind, f"what {kind}?", answer, np.zeros((1, 3), np.int64))
    said = {name: (answer if good else "other", sure) for name, good in right.items()}
    return EvidenceCase(1, question, 100, said)


def test_every_question_has_evidence_and_is_asked_under_every_choice(found):
    report, _ = found
    assert len(report.cases) == 4
    for one in report.cases:
        assert len(one.question.evidence) and one.question.things
        asked = {"all", "undrawn", "alone 100", "without 100", "without shown", "stc 10", "stc 2"}
        assert asked <= set(one.said)
        assert all(0 <= sure <= 1 for _, sure in one.said.values())
        turned = one.right("all") and not one.right("stc 2")
        assert ("returned" in one.said) == ("stuffed" in one.said) == bool(turned)


def test_a_run_goes_on_from_its_file_with_the_same_answers(found, vlm, monkeypatch):
    report, file = found
    lines = file.read_text().splitlines()
    torn = file.with_name("torn.jsonl")
    torn.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # two answers, and half of one
    again = examine(vlm, 4, FRAMES, seeds=DEVELOPMENT_SEEDS, partial=torn)
    assert [one.said for one in again.cases] == [one.said for one in report.cases]
    assert torn.read_text() == file.read_text()
    monkeypatch.setattr(module, "answers", None)  # all is known: nothing is asked
    assert examine(vlm, 4, FRAMES, seeds=DEVELOPMENT_SEEDS, partial=torn).cases
    with pytest.raises(InputError, match="another configuration"):
        examine(vlm, 4, 2 * FRAMES, seeds=DEVELOPMENT_SEEDS, partial=torn)


def test_chosen_tokens_are_there_as_themselves_and_no_others(vlm):
    clip = make_clip(DEVELOPMENT_SEEDS[0], FRAMES)
    prompt = build_prompt(vlm, clip.frames, clip.questions[0].text, 4, seconds=clip.seconds)
    tokens = (3, 77, 200)
    with compress(vlm.model, Edited(Uniform(retention=1.0), only=tokens)) as live:
        vlm.model.generate(**prompt.inputs, max_new_tokens=1, do_sample=False)
        trace = live.freeze()
    assert trace.survivors.tolist() == list(tokens)
    assert (trace.target >= 0).sum() == len(tokens)  # nothing is carried
    said, chance = only(vlm, prompt, tokens)
    assert isinstance(said, str) and 0 < chance <= 1


def test_the_filler_is_in_the_order_of_choice(vlm):
    clip = make_clip(DEVELOPMENT_SEEDS[1], FRAMES)
    prompt = build_prompt(vlm, clip.frames, clip.questions[0].text, 4, seconds=clip.seconds)
    _, trace = asked(vlm, prompt, replace(FILLER, retention=0.1))
    evidence = trace.survivors[:2]
    order = chosen_first(trace, evidence)
    assert sorted([*order, *evidence]) == trace.outside.survivors.tolist()
    walked = [trace.order[i] for i in order if trace.outside.fate[i] == 0 and trace.order[i] >= 0]
    assert walked == sorted(walked) and len(walked) > 3


def test_a_thing_that_is_not_drawn_is_gone_and_nothing_else_is(vlm):
    clip = make_clip(DEVELOPMENT_SEEDS[0], FRAMES)
    question = next(q for q in clip.questions if q.kind == "color")
    rest = tuple(t for i, t in enumerate(clip.scene.things) if i not in question.things)
    assert len(rest) == len(clip.scene.things) - 1
    bare = render([replace(clip.scene, things=rest)], frame_times(FRAMES), 112, 112)[0].numpy()
    (thing,) = question.things
    covered = coverage([clip.scene], frame_times(FRAMES), 112, 112)[0, thing].numpy() > 0
    changed = (bare != clip.frames).any(axis=-1)
    beside = covered.copy()  # with the two pixels around it that its smooth edge reaches
    for step in (-2, -1, 1, 2):
        beside |= np.roll(covered, step, 1) | np.roll(covered, step, 2)
    assert changed[covered].mean() > 0.5 and changed[~beside].sum() <= 0.001 * covered.sum()


def test_cells_that_show_a_thing_are_those_with_a_pixel_of_it(vlm):
    clip = make_clip(DEVELOPMENT_SEEDS[0], FRAMES)
    question = next(q for q in clip.questions if q.kind == "color")
    bare = undrawn(clip, question, WORLD)
    slow = {
        (t, row, col)
        for t in range(FRAMES)
        for row in range(7)
        for col in range(7)
        if (clip.frames[t, 16 * row :][:16, 16 * col :][:, :16]
            != bare[t, 16 * row :][:16, 16 * col :][:, :16]).any()
    }  # fmt: skip
    cells = changed_cells(clip.frames, bare, (7, 7))
    assert {tuple(cell) for cell in cells.tolist()} == slow
    assert {tuple(cell) for cell in question.evidence.tolist()} < slow
    rows = changed_cells(clip.frames[:, :50], bare[:, :50], (3, 7))[:, 1]  # 50 / 3 is no number
    assert set(rows.tolist()) <= {0, 1, 2}


def test_every_kind_with_evidence_names_its_things():
    kinds = set()
    for seed in DEVELOPMENT_SEEDS[:60]:
        for question in make_clip(seed, 32, 16).questions:
            assert bool(question.things) == bool(len(question.evidence)), question
            kinds.add(question.kind)
    assert set(module.WITH_EVIDENCE) <= kinds


def test_the_figures_are_counted_by_hand():
    cases = [
        case("color", {"all": True, "kept 10": True, "undrawn": False, "stc 2": True}),
        case("color", {"all": True, "kept 10": False, "undrawn": True, "stc 2": False,
                       "returned": True, "stuffed": False}, answer="blue"),
        case("count", {"all": False, "undrawn": False, "stc 2": False}),
        case("count", {"all": True, "kept 10": True, "undrawn": False, "stc 2": False,
                       "returned": False, "stuffed": False, "swapped": True}),
    ]  # fmt: skip
    report = EvidenceReport("m", 8, tuple(cases))
    assert report.counted("all") == (3, 4) and report.counted("kept 10") == (2, 3)
    assert report.relative("kept 10") == 2 / 3
    assert report.above_guess("undrawn") == {"color": 0.5 - 0.5, "count": 0.0 - 1.0}
    made = {figure.name: figure for figure in report.figures()}
    assert (made["returned"].right, made["returned"].count, made["returned"].met) == (1, 2, False)
    assert made["stuffed"].met is True and made["swapped"].met is True
    assert report.calibration("all") == pytest.approx(abs(3 / 4 - 0.5))
    text = str(report)
    assert "4 questions" in text and "returned" in text
    json.dumps(report.as_dict())


def test_the_figure_is_drawn(found, tmp_path):
    report, _ = found
    draw(report, tmp_path / "a.svg")
    draw(report, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with pytest.raises(InputError, match="png or .svg"):
        draw(report, tmp_path / "a.pdf")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--retention", "0.1"], "leave out --retention"),
        (["--questions", "0"], "at least one question"),
        (["--figure", "nowhere/a.svg"], "does not exist"),
    ],
)
def test_what_cannot_be_examined_is_one_sentence(options, sentence):
    done = CliRunner().invoke(cli, ["evaluate", "--evidence", *options])
    assert done.exit_code == 2 and sentence in done.stderr and done.stderr.count("\n") == 1


def test_a_figure_without_the_instrument_is_refused(tmp_path):
    done = CliRunner().invoke(cli, ["evaluate", "--figure", str(tmp_path / "a.svg")])
    assert done.exit_code == 2 and "belongs to --evidence" in done.stderr


def test_answers_of_a_clip_without_things(vlm):
    """A clip whose only things are those of the question is an empty one when they are gone."""
    world = replace(WORLD, objects=(1, 1))
    clip = make_clip(DEVELOPMENT_SEEDS[3], 4, world=world)
    question = next(q for q in clip.questions if q.kind == "color")
    assert "undrawn" in dict(answers(vlm, clip, question, world))
