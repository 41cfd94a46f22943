"""Origins of traces, methods as plain data, and a question asked again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stc_core import InputError
from viz.server.origin import (
    NAMES,
    Origin,
    checked,
    from_text,
    make_method,
    method_spec,
    recall,
    remember,
    rerun,
    to_text,
)
from viz.server.runner import Runner, Step
from viz.server.shelf import Shelf

ROOT = Path(__file__).resolve().parents[2]
EDIT = {"remove": [4, 2, 4], "add": [7], "only": None}


# --- origins -------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [
    Origin("/clips/a.mp4", "where is it?"),
    Origin("/clips/ä.mp4", "<b>{{x}}</b>", 8, method_spec("stc", 0.02, EDIT, layer=None)),
], ids=["bare", "full"])  # fmt: skip
def test_an_origin_lies_beside_its_trace(tmp_path, six_fates, origin):
    shelf = Shelf(tmp_path)
    home = shelf.put(six_fates)
    remember(home, origin)
    assert recall(tmp_path, home.parent.name) == origin
    remember(home, Origin("/clips/b.mp4", "?"))
    assert recall(tmp_path, home.parent.name).video == "/clips/b.mp4"
    assert not list(tmp_path.rglob("*.part*"))


@pytest.mark.parametrize("key", [
    "0" * 20, "../../etc/passwd", "", None, 7, ["a"], "A" * 20, "0" * 19, "0" * 20 + "\n",
])  # fmt: skip
def test_no_origin_of_what_is_no_key_of_the_shelf(tmp_path, key):
    assert recall(tmp_path, key) is None


# --- specs ---------------------------------------------------------------------------------------


def test_names_are_those_of_the_library():
    from stc_core import METHODS

    assert NAMES == tuple(METHODS)


def test_a_spec_is_plain_data_and_needs_no_torch():
    code = (
        "import sys, viz.server.origin as r; r.checked(r.method_spec('stc', 0.02, tau=0.7));"
        "assert not {'torch', 'gradio', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_an_edit_is_sorted_and_complete():
    spec = method_spec("stc", 0.02, EDIT)
    assert spec["edit"] == {"remove": [2, 4], "add": [7], "only": None}
    assert method_spec("stc", 0.02, {"only": [3, 1]})["edit"] == {
        "remove": [], "add": [], "only": [1, 3],
    }  # fmt: skip
    assert method_spec("stc", 0.02)["edit"] is None


SPEC = {"name": "stc", "options": {"retention": 0.02}, "edit": None}
WRONG = [
    (None, "name and its options"),
    ({"name": "stc"}, "name and its options"),
    ({**SPEC, "name": "zip"}, "no method 'zip'"),
    ({**SPEC, "name": ["stc"]}, "no method"),
    ({**SPEC, "options": {}}, "retention ratio must be above 0 to 1"),
    ({**SPEC, "options": {"retention": True}}, "retention ratio"),
    ({**SPEC, "options": {"retention": "0.1"}}, "retention ratio"),
    ({**SPEC, "options": {"retention": float("nan")}}, "retention ratio"),
    ({**SPEC, "options": {"retention": 10**400}}, "retention ratio"),
    ({**SPEC, "options": {"retention": 0.1, "tau": [1]}}, "the option tau must be"),
    ({**SPEC, "options": {"retention": 0.1, "tau": float("inf")}}, "the option tau must be"),
    ({**SPEC, "options": {"retention": 0.1, "signal": "a b;c"}}, "the option signal must be"),
    ({**SPEC, "options": {"retention": 0.1, "__class__": 1, "A": 2}}, "no name of an option"),
    ({**SPEC, "options": {"retention": 0.1, "name": 1}}, "names of their own"),
    ({**SPEC, "options": {"retention": 0.1, 3: 1}}, "names of their own"),
    ({**SPEC, "options": {f"o{'p' * i}": i for i in range(30)} | {"retention": 1}}, "at most 20"),
    ({**SPEC, "edit": []}, "lists remove, add and only"),
    ({**SPEC, "edit": {"swap": [1]}}, "lists remove, add and only"),
    ({**SPEC, "edit": {"remove": [-1]}}, "remove must be a list of tokens"),
    ({**SPEC, "edit": {"add": [True]}}, "add must be a list of tokens"),
    ({**SPEC, "edit": {"only": "12"}}, "only must be a list of tokens"),
]


@pytest.mark.parametrize(("spec", "words"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_is_no_spec_is_refused_in_a_sentence(spec, words):
    with pytest.raises(InputError, match=words) as caught:
        checked(spec)
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


@given(
    st.sampled_from(NAMES),
    st.floats(1e-6, 1),
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(
            lambda option: option not in ("name", "edit", "retention")
        ),
        st.one_of(
            st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9),
            st.sampled_from(["original", "cls", "raster"]),
        ),
        max_size=5,
    ),
)  # fmt: skip
def test_a_spec_survives_its_short_text(name, retention, options):
    spec = method_spec(name, retention, **options)
    assert from_text(to_text(spec)) == spec == checked(spec)


def test_the_short_text_is_short():
    assert to_text(method_spec("stc", 0.02)) == "stc@0.02"
    assert to_text(method_spec("holitom", 0.1, layer=None, few_neighbors=True)) == (
        "holitom@0.1,layer=null,few_neighbors=true"
    )
    with pytest.raises(InputError, match="edited"):
        to_text(method_spec("stc", 0.02, EDIT))


@pytest.mark.parametrize("text", [
    "", "stc", "stc@", "stc@x", "@0.1", "stc@0.1,", "stc@0.1,tau", "stc@0.1,retention=1",
    "stc@0.1,tau=[1]", "stc@0", "stc@NaN", "stc@0.1 ", "nothing@0.1", None, 3, "a" * 10_000,
    "stc@0.1,edit=null", "stc@0.1,name=stc",
])  # fmt: skip
def test_other_texts_are_refused_in_a_sentence(text):
    with pytest.raises(InputError) as caught:
        from_text(text)
    assert len(str(caught.value)) < 250


# --- methods -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_method_of_every_name(name):
    from stc_core import METHODS

    assert make_method(method_spec(name, 0.1)) == METHODS[name](retention=0.1)


def test_options_and_edits_reach_the_method():
    from stc_core import STC, Edited

    assert make_method(method_spec("stc", 0.05, tau=0.6, layer=2)) == STC(
        retention=0.05, tau=0.6, layer=2
    )
    spec = method_spec("stc", 0.05, {"only": [3], "add": [1]})
    assert make_method(spec) == Edited(STC(retention=0.05), add=(1,), only=(3,))


@pytest.mark.parametrize(("options", "words"), [
    ({"seed": 1}, "stc has no option seed"), ({"tau": 3}, "tau"), ({"layer": 1.5}, "layer"),
])  # fmt: skip
def test_options_that_the_method_does_not_take(options, words):
    with pytest.raises(InputError, match=words):
        make_method(method_spec("stc", 0.05, **options))


# --- runs ----------------------------------------------------------------------------------------


def test_rerun_asks_the_same_with_another_method(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"a file")
    asked = {}

    def answer(model, progress, **job):
        progress("vision", 0.5)
        asked.update(job)
        return "red"

    spec = method_spec("uniform", 0.1)
    runner = Runner(lambda: "model", answer)
    steps = rerun(
        runner, "me", Origin(str(clip), "what color?", 8), spec, score=("blue", " ", "blue", "red")
    )
    *before, last = steps
    assert last == "red" and all(isinstance(step, Step) for step in before)
    assert asked == {
        "video": str(clip), "question": "what color?", "method": spec, "frames": 8,
        "baseline": False, "score": ("blue", "red"), "record": True,
    }  # fmt: skip


def test_rerun_of_a_clip_that_is_gone_is_one_sentence(tmp_path):
    runner = Runner(lambda: None, lambda model, progress, **job: "red")
    with pytest.raises(InputError, match="no longer here; upload it"):
        rerun(runner, "me", Origin(str(tmp_path / "gone.mp4"), "?"), SPEC)
    assert runner.state == "idle"  # nothing was loaded for it
