"""A row of the error table, run again: the methods of the table, the clip from its seed."""

import threading
import time
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from stc_core import METHODS, STC, InputError, Trace, answer, load
from stc_core.method_text import make_method, read_short
from stc_core.shapes import make_clip
from viz.errors.case import opener, origin_of_case
from viz.errors.store import ErrorCase
from viz.page import cards
from viz.page.compare import run_others
from viz.page.inspect_tab import see_side
from viz.page.shown import Showing
from viz.page.what_if import ask_again
from viz.server import world_clips
from viz.server.origin import about
from viz.server.runner import Runner, Stopped
from viz.server.shelf import Shelf

SEED = 7_000_003


def case_of(number=0, **changes):
    question = make_clip(SEED, 8).questions[number]
    plain = {
        "id": str(SEED),
        "clip": str(SEED),
        "kind": question.kind,
        "frames": 8,
        "question": question.text,
        "expected": question.answer,
        "source": "shapes",
        "split": "held-out",
        "answers": {},
    }
    return ErrorCase(**{**plain, **changes})


def test_the_clip_is_the_one_of_the_seed_with_its_evidence():
    number = next(n for n, q in enumerate(make_clip(SEED, 8).questions) if len(q.evidence))
    clip = make_clip(SEED, 8)
    question = clip.questions[number]
    origin = origin_of_case(case_of(number))
    video = world_clips.clip(origin.seed, origin.frames)
    assert (video.frames == clip.frames).all() and video.source_size == (112, 112)
    told = about(origin, {})
    assert np.array_equal(told.evidence, question.evidence) and told.answer == question.answer
    assert about(replace(origin, question="who are you?"), {}) is None


@pytest.mark.parametrize("changes", [{"source": "folder"}, {"clip": "../a"}, {"clip": ""}])
def test_a_clip_of_a_folder_is_one_sentence(changes):
    with pytest.raises(InputError, match="choose that file on the page Inspect"):
        origin_of_case(case_of(**changes))


def test_a_case_opens_with_both_methods_and_can_be_asked_again(tmp_path):
    def run(model, video, question, method, progress, **options):
        return answer(model, video, question, make_method(method), progress=progress, **options)

    runner, shelf = Runner(load, run), Shelf(tmp_path)
    with gr.Blocks(analytics_enabled=False):
        views, tabs = see_side(), gr.Tabs()
    open_case = opener(runner, Showing(views, shelf, {}), tabs)
    methods = [STC(retention=0.1), METHODS["uniform"](retention=0.1)]
    *before, (status, values) = open_case(case_of(), ("none", *map(repr, methods)), "me")
    assert all(changed == {} for _, changed in before)
    assert set(values) == {*views.all, tabs}
    urls = values[views.workspace]
    assert "is open" in status and values[tabs]["selected"] == "inspect" and urls["again"]
    assert (
        cards.answers(Trace.load(shelf.find(urls["key"])), about(origin_of_case(case_of()), {}))
        == (values[views.answers])
    )
    (other,) = urls["others"]
    assert make_method(str(read_short(other["spec"]))) == methods[1]
    for address, method in zip((urls, other), methods, strict=True):
        trace = Trace.load(shelf.find(address["key"]))
        assert trace.method == repr(method) and trace.question == case_of().question

    sent = {"key": urls["key"], "specs": ["uniform@0.1"]}
    *_, again = run_others(runner, shelf, {}, "me", sent)
    assert (Trace.load(shelf.find(again["key"])).fate == trace.fate).all()  # the very same clip
    (first, *_) = Trace.load(shelf.find(urls["key"])).stage("outside").survivors.tolist()
    sent = {"key": urls["key"], "remove": [first], "add": [], "only": None}
    *_, edited = ask_again(runner, shelf, {}, "me", sent)
    assert first not in Trace.load(shelf.find(edited["urls"]["key"])).stage("outside").survivors
    with pytest.raises(InputError, match="choose a method"):
        list(open_case(case_of(), ("none",), "me"))


def test_another_case_ends_the_one_before(tmp_path):
    going = threading.Event()

    def run(model, video, question, method, progress, **options):
        while not going.is_set():
            progress("prefill", 0.5)
            time.sleep(0.01)
        return answer(model, video, question, make_method(method), progress=progress, **options)

    runner, shelf = Runner(load, run), Shelf(tmp_path)
    with gr.Blocks(analytics_enabled=False):
        views, tabs = see_side(), gr.Tabs()
    open_case = opener(runner, Showing(views, shelf, {}), tabs)
    method = repr(METHODS["uniform"](retention=0.1))
    first, second = (open_case(case_of(number), (method,), "me") for number in (0, 1))
    while "LLM reads" not in next(first)[0]:
        pass
    assert "Rendering" in next(second)[0]
    next(second)
    going.set()
    with pytest.raises(Stopped):
        list(first)
    *_, (status, values) = second
    key = values[views.workspace]["key"]
    assert "is open" in status and Trace.load(shelf.find(key)).question == case_of(1).question
