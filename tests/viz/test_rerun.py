"""Origins of traces, and a question asked again."""

from __future__ import annotations

import pytest

from stc_core import InputError
from viz.server.origin import Origin, recall, remember
from viz.server.rerun import rerun
from viz.server.runner import Runner, Step
from viz.server.shelf import Shelf

EDITED = "Edited(method=STC(retention=0.02, layer=None), remove=(2, 4), add=(7,), only=None)"


# --- origins -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        Origin("/clips/a.mp4", "where is it?"),
        Origin("/clips/ä.mp4", "<b>{{x}}</b>", 8, EDITED),
    ],
    ids=["bare", "full"],
)
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


# --- runs ----------------------------------------------------------------------------------------


def test_rerun_asks_the_same_with_another_method(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"a file")
    asked = {}

    def answer(model, progress, **job):
        progress("vision", 0.5)
        asked.update(job)
        return "red"

    method = "Uniform(retention=0.1)"
    runner = Runner(lambda: "model", answer)
    steps = rerun(
        runner,
        "me",
        Origin(str(clip), "what color?", 8),
        method,
        score=("blue", " ", "blue", "red"),
    )
    *before, last = steps
    assert last == "red" and all(isinstance(step, Step) for step in before)
    assert asked == {
        "video": str(clip),
        "question": "what color?",
        "method": method,
        "frames": 8,
        "baseline": False,
        "score": ("blue", "red"),
        "record": True,
    }


def test_rerun_of_a_clip_that_is_gone_is_one_sentence(tmp_path):
    runner = Runner(lambda: None, lambda model, progress, **job: "red")
    with pytest.raises(InputError, match="no longer here; upload it"):
        rerun(runner, "me", Origin(str(tmp_path / "gone.mp4"), "?"), "STC(retention=0.1)")
    assert runner.state == "idle"  # nothing was loaded for it


def test_rerun_with_what_is_no_method_is_one_sentence(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"a file")
    runner = Runner(lambda: None, lambda model, progress, **job: "red")
    with pytest.raises(InputError, match="no method 'Magic'"):
        rerun(runner, "me", Origin(str(clip), "?"), "Magic(retention=0.1)")
    assert runner.state == "idle"
