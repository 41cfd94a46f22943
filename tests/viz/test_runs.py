"""A run: watched, stopped, failed, queued behind another."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from stc_core import InputError
from stc_core.answering.streaming import Piece
from viz.server.runner import (
    FULL,
    LOADING,
    Failure,
    Runner,
    Step,
    Stopped,
    sentence,
    without_folders,
)


def finish(steps) -> tuple[list[Step], object]:
    *before, last = list(steps)
    return before, last


def test_steps_then_the_answer():
    def answer(model, progress, question):
        progress("decode", 0.1)
        progress("answer", 0.9)
        return f"{model}: {question}"

    runner = Runner(lambda: "model", answer)
    steps, last = finish(runner.run("me", question="?"))
    assert last == "model: ?"
    assert [(s.stage, s.fraction) for s in steps if s.stage != LOADING] == [
        ("decode", 0.1),
        ("answer", 0.9),
    ]
    assert all(step.elapsed >= 0 for step in steps)


def test_a_run_that_streams_tells_what_is_said_so_far():
    def answer(model, progress, question, on_piece=None):
        assert (on_piece is not None) == (question == "streams")
        for run in ("uncompressed", "compressed"):
            for text in ("a", " red", " star"):
                progress("answer", 0.5)
                if on_piece is not None:
                    on_piece(Piece(text, run))
                    time.sleep(0.05)
        return "a red star"

    runner = Runner(lambda: "model", answer)
    steps, last = finish(runner.run("me", question="streams", stream=True))
    assert last == "a red star"
    texts = [step.said for step in steps if step.said]
    assert texts[0] == {"uncompressed": "a"}
    assert texts[-1] == {"uncompressed": "a red star", "compressed": "a red star"}
    assert len({tuple(text.values()) for text in texts}) > 3
    assert not any(step.said for step in finish(runner.run("me", question="none"))[0])


def test_loads_once_and_says_so_meanwhile():
    calls = []

    def load():
        calls.append(1)
        time.sleep(0.7)

    runner = Runner(load, lambda model, progress: "done")
    assert runner.state == "idle"
    runner.start()
    runner.start()
    assert runner.state == "loading"
    steps, last = finish(runner.run("me"))
    assert last == "done" and calls == [1] and runner.state == "ready"
    assert LOADING in {step.stage for step in steps}


def test_stop_ends_the_work_itself():
    ended = threading.Event()

    def answer(model, progress):
        try:
            while True:
                progress("vision", 0.5)
                time.sleep(0.01)
        finally:
            ended.set()

    runner = Runner(lambda: None, answer)
    with pytest.raises(Stopped):
        for step in runner.run("me"):
            if step.stage == "vision":
                runner.stop("someone else")  # must not matter
                threading.Thread(target=runner.stop, args=("me",)).start()
    assert ended.wait(5)


def test_a_stop_may_come_before_the_run_and_ends_no_other():
    runner = Runner(lambda: None, lambda model, progress: "done")
    runner.stop("me 1")
    for _ in range(2):  # a comparison runs several times under one name
        with pytest.raises(Stopped):
            list(runner.run("me 1"))
    assert finish(runner.run("me 2"))[1] == "done"
    runner.stop("me 2")  # too late
    assert finish(runner.run("me 3"))[1] == "done"
    for number in range(3000):
        runner.stop(f"nobody {number}")
    assert len(runner._early) == 1000  # whoever sends many does not fill the memory


def test_all_runs_of_a_prefix_are_stopped_and_no_later_one():
    begun = {name: threading.Event() for name in ("me live 1", "you live 1")}
    free = threading.Event()

    def answer(model, progress, name):
        begun[name].set()
        while not free.wait(0.01):
            progress("vision", 0.5)
        return name

    runners = {name: Runner(lambda: None, answer) for name in begun}  # a model for each
    both, ended = runners["me live 1"], {}
    both._stops = runners["you live 1"]._stops = {}

    def follow(name):
        try:
            ended[name] = list(runners[name].run(name, name=name))[-1]
        except Stopped:
            ended[name] = "stopped"

    threads = [threading.Thread(target=follow, args=(name,)) for name in begun]
    for thread in threads:
        thread.start()
    assert all(event.wait(5) for event in begun.values())
    assert both.busy("me ") and both.busy("you ") and not both.busy("them ")
    both.stop_all("me live ")
    threads[0].join(5)
    free.set()
    threads[1].join(5)
    assert ended == {"me live 1": "stopped", "you live 1": "you live 1"}
    assert not both.busy("")
    assert list(both.run("me live 1", name="me live 1"))[-1] == "me live 1"


def test_closing_the_iterator_ends_the_work():
    ended = threading.Event()

    def answer(model, progress):
        try:
            while True:
                progress("vision", 0.5)
                time.sleep(0.01)
        finally:
            ended.set()

    steps = Runner(lambda: None, answer).run("me")
    while next(steps).stage != "vision":
        pass
    steps.close()
    assert ended.wait(5)


def test_one_run_at_a_time_even_after_a_stop():
    """A cancelled run ends at its next step; until then nobody else may use the model."""
    inside, most, lock = [0], [0], threading.Lock()

    def answer(model, progress, slow):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        try:
            time.sleep(slow)
            progress("answer", 1.0)
            return slow
        finally:
            with lock:
                inside[0] -= 1

    runner = Runner(lambda: None, answer)
    first = runner.run("a", slow=0.6)
    next(first)
    time.sleep(0.1)
    first.close()
    assert finish(runner.run("b", slow=0.01))[1] == 0.01
    assert most[0] == 1


@pytest.mark.parametrize("where", ["load", "answer"])
def test_known_errors_are_their_own_sentence(where):
    def fail(*args, **kwargs):
        raise InputError("the file x.mp4 is not a video; choose another")

    runner = Runner(fail, None) if where == "load" else Runner(lambda: None, fail)
    with pytest.raises(Failure, match=r"^The file x.mp4 is not a video; choose another\.$"):
        list(runner.run("me"))


def test_unknown_errors_name_the_run_and_hide_the_rest(caplog):
    def fail(model, progress):
        raise KeyError("secret")

    with pytest.raises(Failure) as caught:
        list(Runner(lambda: None, fail).run("me"))
    assert "secret" not in str(caught.value)
    run = str(caught.value).rstrip(".").split()[-1]
    assert run in caplog.text and "KeyError" in caplog.text


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_a_sentence_of_its_own_without_a_path(wrapped, caplog):
    def fail(model, progress):
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/srv/secret/a.npz")
        except OSError as error:
            if wrapped:
                raise InputError("cannot write '/srv/secret/a.npz': No space left") from error
            raise

    with pytest.raises(Failure) as caught:
        list(Runner(lambda: None, fail).run("me"))
    assert str(caught.value) == FULL and "/srv/secret" in caplog.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot write '/srv/a b/x.npz': why", "cannot write 'x.npz': why"),
        ("/srv/a/letter.mp4 is no video", "letter.mp4 is no video"),
        ("see https://example.org/a/b, at 18/28 or and/or", None),
        ("the folder '/srv/models/one' holds no model", "the folder 'one' holds no model"),
        ("a / b, /x, 'it's'", None),
    ],
)
def test_a_visitor_is_not_told_of_folders(text, shown):
    assert without_folders(text) == (shown or text)


def test_a_zip_that_does_not_fit_is_no_error_of_the_users(caplog):
    def fail(model, progress):
        return list(zip([1], [1, 2], strict=True))

    with pytest.raises(Failure, match="Something broke here"):
        list(Runner(lambda: None, fail).run("me"))
    assert "zip() argument" in caplog.text


def test_out_of_memory_says_what_to_do():
    class OutOfMemoryError(RuntimeError):
        """Named as torch's: nothing of torch is imported here."""

    def fail(model, progress):
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 4 GiB")

    with pytest.raises(Failure, match="fewer frames"):
        list(Runner(lambda: None, fail).run("me"))


def test_sentence():
    assert sentence(ValueError("no  video\nhere")) == "No video here."
    assert sentence(ValueError("")) == "ValueError."


def test_who_waits_for_the_model_hears_that_it_is_being_loaded_and_can_cancel():
    gate = threading.Event()
    runner = Runner(lambda: gate.wait(60), lambda model, **job: None)
    assert runner.state == "idle"  # nothing is loaded before somebody asks
    steps = runner.wake("me why 1")
    assert next(steps).stage == LOADING and runner.state == "loading"
    runner.stop("me why 1")
    with pytest.raises(Stopped):
        list(steps)
    waiting = runner.wake("me why 2")
    assert next(waiting).stage == LOADING
    gate.set()
    assert all(step.stage == LOADING for step in waiting)
    assert runner.state == "ready" and list(runner.wake("me why 3")) == []
