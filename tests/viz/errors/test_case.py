"""A row of the error table, run again: the method from its repr, the clip from its seed."""

import numpy as np
import pytest

from stc_core import METHODS, STC, InputError, Trace, answer, load
from stc_core.shapes import make_clip
from viz.errors.case import clip_of, opener, spec_of
from viz.errors.store import ErrorCase
from viz.rerun import from_text, make_method
from viz.runs import Runner
from viz.shelf import Shelf

SEED = 7_000_003


def case_of(number=0, **changes):
    question = make_clip(SEED, 8).questions[number]
    plain = {
        "id": str(SEED), "clip": str(SEED), "kind": question.kind, "frames": 8,
        "question": question.text, "expected": question.answer, "source": "shapes",
        "split": "held-out", "answers": {},
    }  # fmt: skip
    return ErrorCase(**{**plain, **changes})


@pytest.mark.parametrize("name", METHODS)
def test_the_repr_of_every_method_gives_the_method_back(name):
    method = METHODS[name](retention=0.1)
    assert make_method(spec_of(repr(method))) == method


@pytest.mark.parametrize(
    "text",
    ["", "none", "STC", "STC(0.02)", "open('x')", "STC(retention=open)", "STC(tau=0.7)", "a.b(c=1)",
     "Magic(retention=0.1)", "STC(retention=7)", "STC(retention=0.1, tau='a b')", "1 +"],
)  # fmt: skip
def test_what_is_no_method_is_one_sentence(text):
    with pytest.raises(InputError):
        spec_of(text)


def test_the_clip_is_the_one_of_the_seed_with_its_evidence():
    number = next(n for n, q in enumerate(make_clip(SEED, 8).questions) if len(q.evidence))
    video, about = clip_of(case_of(number))
    clip = make_clip(SEED, 8)
    assert (video.frames == clip.frames).all() and video.source_size == (112, 112)
    assert np.array_equal(about.evidence, clip.questions[number].evidence)
    assert about.answer == clip.questions[number].answer


@pytest.mark.parametrize("changes", [{"source": "folder"}, {"clip": "../a"}, {"clip": ""}])
def test_a_clip_of_a_folder_is_one_sentence(changes):
    with pytest.raises(InputError, match="choose that file on the page Inspect"):
        clip_of(case_of(**changes))


def test_a_case_opens_with_both_methods_and_their_traces(tmp_path):
    def run(model, video, question, method, progress, **options):
        return answer(model, video, question, make_method(method), progress=progress, **options)

    shelf = Shelf(tmp_path)
    methods = [STC(retention=0.1), METHODS["uniform"](retention=0.1)]
    news = list(opener(Runner(load, run), shelf)(case_of(), ("none", *map(repr, methods))))
    status, answers, urls, tabs = news[-1]
    assert "is open" in status and "Compressed" in answers and tabs["selected"] == "inspect"
    (other,) = urls["others"]
    assert make_method(from_text(other["spec"])) == methods[1]
    for address, method in zip((urls, other), methods, strict=True):
        trace = Trace.load(shelf.find(address["key"]))
        assert trace.method == repr(method) and trace.question == case_of().question
    with pytest.raises(InputError, match="choose a method"):
        list(opener(Runner(load, run), shelf)(case_of(), ("none",)))
