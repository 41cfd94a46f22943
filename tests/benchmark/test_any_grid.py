"""The benchmark on a model whose processor chooses the grid of each video by itself."""

import json
from functools import partial

import numpy as np
import pytest
from clips import numbered, write_clip
from small import vlm_of
from tiny import BUILDERS
from typer.testing import CliRunner

from stc_core.__main__ import cli
from stc_core.answering.prompt import build_prompt, grid_of
from stc_core.benchmark.answers_file import NAME
from stc_core.benchmark.ask import ask
from stc_core.benchmark.cases import Case, Shapes, Skipped
from stc_core.methods import STC, FastV
from stc_core.shapes.exam import grids

QUESTION = "what color is the star ?"


@pytest.fixture(scope="module")
def qwen():
    """Qwen2.5-VL: two frames a time step, tokens of 8 x 8 pixels."""
    return vlm_of(BUILDERS["qwen2_5_vl"]())


def test_the_grid_of_a_clip_is_that_of_its_prompt(qwen):
    for frames, height, width in ((4, 40, 40), (5, 32, 64), (3, 72, 40)):
        clip = np.zeros((frames, height, width, 3), np.uint8)
        grid, layout = grid_of(qwen, clip), build_prompt(qwen, clip, QUESTION, 1).layout
        assert (grid.frames, grid.rows, grid.cols) == (layout.frames, layout.rows, layout.cols)
        assert grid.frames == -(-frames // 2) and grid.size == len(layout.tokens)
        assert (grid.height, grid.width) == (height, width)


def test_evidence_of_the_world_of_shapes_lies_on_time_steps(qwen, monkeypatch):
    monkeypatch.setattr(grids, "FREE_SIZE", (48, 64))  # which decides the time it takes alone
    for case in Shapes(qwen).cases(3, 5):
        grid = grid_of(qwen, case.frames)
        assert grid.frames == 3 and (case.evidence < [3, grid.rows, grid.cols]).all()
        assert len({tuple(cell) for cell in case.evidence.tolist()}) == len(case.evidence)
        [record] = ask(qwen, case, [STC(retention=0.2)], 2)
        assert record["tokens"][0] == grid.size
        assert record["evidence"] is None or record["evidence"]["cells"] == len(case.evidence)


def test_frames_that_are_too_many_for_the_model_are_one_skipped_case(qwen):
    [skipped] = Shapes(qwen).cases(2, 64)
    assert isinstance(skipped, Skipped) and "use at most" in skipped.why


def test_the_model_is_told_when_the_frames_are_shown(qwen):
    clip = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3)).astype(np.uint8)
    said = []
    for seconds in (None, np.arange(4) * 20.0):
        case = Case("1", "1", "", 4, clip, QUESTION, "red", frozenset(["red"]), None, seconds)
        said += ask(qwen, case, [None], 2)
    assert said[0]["log_right"] != said[1]["log_right"]


@pytest.mark.parametrize("family", BUILDERS)
def test_an_answer_does_not_depend_on_what_was_asked_before(family):
    """Of every family: the vision tower sees a clip once, and each method finds what it would."""
    vlm = vlm_of(BUILDERS[family]())
    clip = np.random.default_rng(0).integers(0, 256, (4, 40, 56, 3)).astype(np.uint8)
    right, cells = frozenset(["red"]), np.array([[0, 0, 1], [1, 2, 2]])
    case = Case("1", "1", "", 4, clip, QUESTION, "red", right, cells, np.arange(4) / 2)
    tried = [None, STC(retention=0.3), FastV(retention=0.3, layer=1), STC(retention=0.2)]
    together = list(ask(vlm, case, tried, 2))
    for method, record in zip(tried, together, strict=True):
        [alone] = ask(vlm, case, [method], 2)
        assert {**record, "seconds": None} == {**alone, "seconds": None}
    assert (
        together[0]["evidence"]["door"] == 2
        and together[0]["tokens"][0] == together[0]["tokens"][2]
    )


def test_a_folder_of_videos_of_any_shape(tmp_path):
    checkpoint, videos, results = (tmp_path / name for name in ("tiny", "videos", "results"))
    model, processor = BUILDERS["qwen2_5_vl"]()
    model.save_pretrained(checkpoint)
    processor.save_pretrained(checkpoint)
    videos.mkdir()
    square, wide = (partial(numbered, height=48, width=width) for width in (48, 96))
    write_clip(videos / "square.mp4", range(0, 2000, 250), picture=square)
    write_clip(videos / "wide.mp4", range(0, 2000, 250), picture=wide)
    questions = tmp_path / "questions.jsonl"
    # left half of the first second: of 8 frames 4, which are two time steps
    evidence = [[0.0, 0.9, 0.0, 0.0, 0.5, 1.0]]
    lines = [
        {"video": name, "question": QUESTION, "answer": "red", "evidence": evidence}
        for name in ("square.mp4", "wide.mp4")
    ]
    questions.write_text("\n".join(map(json.dumps, lines)))
    done = CliRunner().invoke(
        cli,
        [
            "benchmark", "--model", str(checkpoint), "--videos", str(videos), "--questions-file",
            str(questions), "--output", str(results), "--part", "main", "--method", "stc",
            "--retention", "0.25", "--frames", "8", "--device", "cpu",
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    about, *answers = map(json.loads, (results / NAME).read_text().splitlines())
    assert about["cells"] is None and about["model"] == "tiny"
    tokens = {}
    for answer in answers:
        tokens[answer["clip"]], door, end = answer["tokens"]
        assert answer["evidence"]["cells"] == tokens[answer["clip"]] // 4
        if "STC" in answer["method"]:
            assert door == tokens[answer["clip"]] // 4 and end in (door, door // 2)
    assert tokens["wide.mp4"] == 2 * tokens["square.mp4"]
    assert len(answers) == 2 * len({answer["method"] for answer in answers}) >= 4
