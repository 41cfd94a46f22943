"""What the page takes and what it refuses, each with one sentence that names the remedy."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from stc_core import InputError, TokenGrid
from stc_core.method_text import make_method
from viz.examples import (
    Example,
    Known,
    asked,
    known_questions,
    opening,
    read_examples,
    read_origins,
)
from viz.server.job import LONGEST, job_of, recorded

GOOD = {
    "video": "clip.mp4",
    "question": " what color? ",
    "retention": 0.02,
    "frames": " 32",
    "keep_inside": 0.5,
    "baseline": True,
    "tau": 0.7,
    "cluster_ratio": 0.3,
    "layer": "",
    "lam": 0.5,
}

BAD = [
    ({"video": None}, "upload a video"),
    ({"question": ""}, "question is empty"),
    ({"question": " \n"}, "question is empty"),
    ({"question": None}, "question is empty"),
    ({"question": "word " * 10_000}, f"{LONGEST} is the most"),
    ({"question": "what\ud800?"}, "the question is not valid Unicode"),
    ({"question": "what\0?"}, "the question has the control character"),
    *(
        ({"retention": x}, "retention ratio must be above 0 to 1")
        for x in (0, -0.1, 1.5, float("nan"), float("inf"), None)
    ),
    *(({"tau": x}, "tau must be a number from -1 to 1") for x in (-1.1, 1.1, None)),
    ({"tau": float("nan")}, "option tau must be a number"),
    *(({"cluster_ratio": x}, "cluster_ratio must be a number from 0") for x in (-0.1, 1.1, None)),
    *(({"keep_inside": x}, "keep_inside must be a number above 0") for x in (0, 2, None)),
    *(({"lam": x}, "lam must be a number from 0 to 1") for x in (-1, 2, None)),
    *(({"frames": x}, "number of frames must be 1 to") for x in ("0", "-3", "100000")),
    ({"frames": "many"}, "number of frames must be a whole number or empty"),
    ({"frames": "9" * 5000}, "number of frames must be"),
    ({"layer": "1.5"}, "layer K must be a whole number or empty"),
    *(({"method": x}, "there is no method") for x in ("STC", "magic", None, 3, [])),
    ({"method": "fastvid", "tau": 7}, "tau must be a number"),
]


def test_good_input_is_passed_on_whole():
    job = job_of(**GOOD)
    assert job == {
        "video": "clip.mp4",
        "question": "what color?",
        "frames": 32,
        "baseline": True,
        "record": True,
        "method": "STC(retention=0.02, tau=0.7, cluster_ratio=0.3, layer=None, keep_inside=0.5, "
        "lam=0.5)",
    }
    fast = {**GOOD, "method": "fastv", "tau": None, "lam": "what it has not"}
    assert job_of(**fast)["method"] == "FastV(retention=0.02, layer=2)"
    assert job_of(**{**fast, "layer": "3"})["method"] == "FastV(retention=0.02, layer=3)"
    assert job_of(**{**fast, "method": "uniform"})["method"] == "Uniform(retention=0.02)"
    assert job_of(**{**GOOD, "frames": ""})["frames"] is None
    assert job_of(**{**GOOD, "layer": "3"})["method"].count("layer=3, ") == 1


@pytest.mark.parametrize(("change", "words"), BAD, ids=str)
def test_bad_input_is_one_sentence(change, words):
    with pytest.raises(InputError) as caught:
        make_method(job_of(**{**GOOD, **change})["method"])  # as a run does
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_own_settings_of_a_checkpoint_are_those_of_the_loaded_model(tmp_path):
    from stc_core.models.loading import EMBEDDED, load

    assert recorded(EMBEDDED) == load(device="cpu").settings != {}
    assert recorded(tmp_path) == {}
    for text in (
        "[]",
        "{",
        '{"stc": null}',
        '{"stc": {"settings": {"tau": "x"}}}',
        "{}",
        '{"stc": {"settings": {"__class__": 1}}}',
    ):
        (tmp_path / "config.json").write_text(text)
        assert recorded(tmp_path) == {}


def test_examples_that_are_there_with_one_question_of_each_kind(tmp_path):
    assert read_examples(tmp_path) == []
    (tmp_path / "a.mp4").write_bytes(b"x")
    questions = [
        {"kind": kind, "text": text, "answer": "red", "evidence": []}
        for kind, text in (("color", "what color?"), ("color", "which color?"), ("shape", "what?"))
    ]
    clips = [
        {"file": "a.mp4", "seed": 1, "questions": questions},
        {"file": "gone.mp4", "seed": 2, "questions": questions},
        {"file": "a.mp4", "seed": 3, "questions": []},
    ]
    (tmp_path / "clips.json").write_text(json.dumps({"clips": clips}))
    (found,) = read_examples(tmp_path)
    assert found.clip == tmp_path / "a.mp4"
    assert found.questions == (Known("what color?", "red"), Known("what?", "red"))
    known = known_questions([found])
    assert known[asked(tmp_path / "." / "a.mp4", " What  COLOR? ")].answer == "red"
    assert known[asked(tmp_path / "a.mp4", "which color?")].answer == "red"
    assert asked(tmp_path / "b.mp4", "what color?") not in known  # another clip, unknown answer


def test_evidence_is_known_by_its_tokens_where_the_grid_is_the_same():
    known = Known("what?", "red", 2, np.array([[0, 1, 2], [1, 0, 0]]))
    assert known.tokens(TokenGrid(2, 2, 3)).tolist() == [5, 6]
    assert known.tokens(TokenGrid(3, 2, 3)) is None  # other frames
    assert known.tokens(TokenGrid(2, 2, 2)) is None  # too coarse
    assert Known("what?", "no", 2).tokens(TokenGrid(2, 2, 3)) is None  # an absence


def test_a_saved_trace_knows_its_clip(tmp_path):
    assert read_origins(tmp_path, tmp_path / "clips") == {}
    method = "STC(retention=0.02)"
    (tmp_path / "traces.json").write_text(
        json.dumps({"1.npz": "a.mp4", "2.npz": {"clip": "b.mp4", "method": method}})
    )
    clips = tmp_path / "clips"
    assert read_origins(tmp_path, clips) == {
        "1.npz": (clips / "a.mp4", None),
        "2.npz": (clips / "b.mp4", method),
    }


def test_the_page_begins_with_the_clip_and_the_question_of_its_trace(tmp_path, six_fates):
    asked_of = [(Known(q, "red"),) for q in "abc"]
    examples = [Example(tmp_path / f"{n}.mp4", q, q) for n, q in enumerate(asked_of)]
    saved = [replace(six_fates, question="z").save(tmp_path / f"{n}.npz") for n in "pq"]
    assert opening(examples, saved) == opening(examples, []) == (examples[0], "a")
    (tmp_path / "traces.json").write_text(json.dumps({"p.npz": {"clip": "1.mp4"}}))
    assert opening(examples, saved) == (examples[1], "z")
    assert opening(examples, saved[1:]) == (examples[0], "a")  # of an unknown clip
    assert opening([], saved) == (None, "")


def test_the_fields_of_each_method_are_those_of_its_class():
    """The page names them without importing torch."""
    from stc_core import METHODS
    from stc_core.method_text import read_method
    from viz.server.method_fields import FIELDS, IDEAS, LABELS, idea, missing, stated

    assert list(FIELDS) and set(FIELDS) == set(IDEAS) == set(METHODS)
    for name, kind in METHODS.items():
        plain = kind(retention=0.25)
        has = {field for field in LABELS if field in kind.__dataclass_fields__}
        assert set(FIELDS[name]) == has and missing(name) == [f for f in LABELS if f not in has]
        assert all(getattr(plain, field) == value for field, value in FIELDS[name].items())
        assert stated(read_method(repr(plain))) == {"retention": 0.25, **FIELDS[name]}
        assert ("It has no" in idea(name)) == (has != set(LABELS))
    assert idea("fastv").endswith("It has no R, tau, cluster ratio or lambda.")
