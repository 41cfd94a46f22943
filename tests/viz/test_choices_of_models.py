"""The menu of models: who may choose what, and one model in memory at a time."""

from __future__ import annotations

import threading
import time

import pytest

from stc_core.errors import InputError
from viz.page.model_menu import Library, Models
from viz.server.runner import LOADING, Failure, Runner, Step


class Shelf:
    """A library of models that are words, and what was done with it."""

    def __init__(self):
        self.done = []
        self.wait = threading.Event()
        self.wait.set()

    def open(self, name, on_download):
        self.done.append(("open", name))
        if name == "org/broken":
            raise InputError("the model 'org/broken' is damaged; download it again")
        if name and "/" in name:
            on_download(name, 16_060_000_000)
        assert self.wait.wait(20)
        return f"model {name}"

    def look(self, name, freed):
        if name == "org/broken":
            raise InputError("there is no model 'org/broken' on the model hub")
        return f"{name} takes 2 GB."

    def close(self):
        self.done.append(("close",))

    def models(self, *names, hub=False):
        library = Library(self.open, self.look, self.close)
        return Models(names, library, hub, known=["org/known", "org/a"])


@pytest.fixture
def shelf():
    return Shelf()


def test_visitors_choose_among_what_the_operator_allowed(shelf, tmp_path):
    folder = tmp_path / "secret place" / "my-vlm"
    folder.mkdir(parents=True)
    models = shelf.models(None, str(folder), "org/a", None)
    assert models.labels == ["embedded", "my-vlm", "org/a"]
    assert models.source("my-vlm") == str(folder) and models.source("embedded") is None
    assert not any("secret" in label for label in models.labels)
    for other in ("org/b", str(folder), "../my-vlm", "hub:org/a", "", None, 7, ["org/a"]):
        with pytest.raises(InputError, match="this page offers embedded, my-vlm, org/a; choose"):
            models.source(other)


def test_one_model_is_no_choice(shelf):
    assert not shelf.models(None).choice
    assert shelf.models(None, "org/a").choice and shelf.models(None, hub=True).choice


def test_with_any_a_name_of_the_hub_goes_there_and_nothing_becomes_a_path(
    shelf, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets" / "model").mkdir(parents=True)
    models = shelf.models(None, "org/a", hub=True)
    assert models.labels == ["embedded", "org/a", "org/known"]
    assert models.source(" org/b ") == "hub:org/b" and models.source("org/a") == "org/a"
    assert models.source("assets/model") == "hub:assets/model"  # a folder here, a name there
    for text in ("/etc/passwd", "./model", "~/model", "a/b/c", "model", "hub:org/a", "org/a\n/x",
                 "org/" + "x" * 97, "file:///etc"):  # fmt: skip
        with pytest.raises(InputError, match="'organisation/model'"):
            models.source(text)


def test_each_model_is_loaded_once_and_makes_room_before_the_next(shelf):
    models, stages = shelf.models(None, "org/a"), []
    assert models.start() is models
    assert models.use() == models.use("embedded") == "model None"
    assert models.use("org/a", lambda stage, share: stages.append(stage)) == "model org/a"
    assert models.use("org/a") == "model org/a"
    assert shelf.done == [("close",), ("open", None), ("close",), ("open", "org/a")]
    assert stages == [LOADING, "downloading org/a, 16.1 GB"]


def test_a_model_that_does_not_load_leaves_the_others_alone(shelf, caplog):
    models = shelf.models("org/broken", None)
    models.start()
    assert "org/broken could not be loaded: The model 'org/broken' is damaged" in caplog.text
    with pytest.raises(InputError, match="damaged"):
        models.use()
    assert models.use("embedded") == "model None"
    with pytest.raises(InputError, match="damaged"):
        models.use("org/broken")
    assert models.use("embedded") == "model None"  # loaded again


def test_what_a_model_takes_is_a_sentence_whatever_happens(shelf):
    models = shelf.models(None, "org/broken")
    assert models.words("embedded") == "None takes 2 GB."
    assert models.words("org/broken") == "There is no model 'org/broken' on the model hub."
    assert models.words("/etc/passwd").startswith("This page offers embedded, org/broken")


def test_a_run_under_way_ends_before_another_model_takes_its_place(shelf):
    models, log = shelf.models(None, "org/a"), []
    going, ended = threading.Event(), threading.Event()

    def answer(models, progress, name, model=None):
        vlm = models.use(model, progress)
        log.append(("begin", name, vlm))
        if name == "first":
            going.set()
            assert ended.wait(20)
        log.append(("end", name))
        return vlm

    runner = Runner(models.start, answer)
    found = {}

    def ask(name, **job):
        news = list(runner.run(name, name=name, **job))
        found[name] = news[-1], [step.stage for step in news if isinstance(step, Step)]

    one = threading.Thread(target=ask, args=("first",))
    one.start()
    assert going.wait(20)
    other = threading.Thread(target=ask, args=("second",), kwargs={"model": "org/a"})
    other.start()
    time.sleep(0.6)
    assert [entry[1] for entry in log] == ["first"] and ("open", "org/a") not in shelf.done
    ended.set()
    one.join(20)
    other.join(20)
    assert found["first"][0] == "model None" and found["second"][0] == "model org/a"
    assert log.index(("end", "first")) < log.index(("begin", "second", "model org/a"))
    assert "waiting for another run to end" in found["second"][1]


def test_a_name_that_is_not_allowed_fails_that_run_alone(shelf):
    def answer(models, progress, model=None):
        return models.use(model, progress)

    runner = Runner(shelf.models(None).start, answer)
    with pytest.raises(Failure, match="This page offers embedded; choose one of these models"):
        list(runner.run("me", model="org/other"))
    assert list(runner.run("me"))[-1] == "model None"
