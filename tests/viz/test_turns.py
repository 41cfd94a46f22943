"""Visitors take turns at the model, and nobody takes all places."""

from __future__ import annotations

import threading

import pytest

from stc_core import InputError
from viz.server.runner import Runner, Stopped
from viz.server.turns import Turns, visitor_of


def test_lanes_are_served_one_after_the_other():
    turns, done = Turns(), []
    for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
        turns.put(name[0], lambda name=name: done.append(name))
    for _ in range(4):
        turns.take()()
    turns.put("b", lambda: done.append("b2"))
    for _ in range(3):
        turns.take()()
    assert done == ["a1", "b1", "c1", "a2", "b2", "c2", "a3"]


def test_a_job_that_was_taken_back_does_not_run():
    turns, done = Turns(), []
    jobs = [lambda name=name: done.append(name) for name in "xyz"]
    for job in jobs:
        turns.put("me", job)
    turns.drop("me", jobs[1])
    turns.drop("me", jobs[1])
    turns.drop("you", jobs[0])
    turns.take()()
    turns.take()()
    assert done == ["x", "z"]


def test_places_are_counted_and_given_back():
    turns = Turns(own=2, in_all=3)
    turns.enter("me")
    turns.enter("me")
    with pytest.raises(InputError, match="you have 2 runs"):
        turns.enter("me")
    turns.enter("you")
    with pytest.raises(InputError, match="too many runs are waiting on this page"):
        turns.enter("them")
    turns.leave("me")
    turns.enter("them")
    assert visitor_of("3f live 1") == "3f" and visitor_of("me") == "me"


def test_one_run_waits_behind_one_of_another_visitor_not_behind_all():
    """The visitor with three runs began first; the short run of the other is the second."""
    order, begun, go = [], threading.Event(), threading.Event()

    def answer(model, progress, name):
        begun.set()
        assert go.wait(20)
        order.append(name)
        return name

    runner = Runner(lambda: None, answer)

    def ask(owner, name):
        thread = threading.Thread(target=lambda: list(runner.run(owner, name=name)))
        thread.start()
        return thread

    threads = [ask("many 1", "many 1")]
    assert begun.wait(20)
    for number in (2, 3):
        threads.append(ask(f"many {number}", f"many {number}"))
        while sum(map(len, runner._turns._lanes.values())) < number - 1:
            pass
    threads.append(ask("one 1", "one 1"))
    while sum(map(len, runner._turns._lanes.values())) < 3:
        pass
    go.set()
    for thread in threads:
        thread.join(20)
    assert order == ["many 1", "one 1", "many 2", "many 3"]


def test_a_run_gives_its_place_back_however_it_ends():
    def answer(model, progress, how):
        if how == "fault":
            raise KeyError
        progress("vision", 0.5)
        return how

    runner = Runner(lambda: None, answer, Turns(own=1, in_all=1))
    for number in range(3):
        assert list(runner.run(f"me {number} a", how="well"))[-1] == "well"
        with pytest.raises(Exception, match="Something broke here"):
            list(runner.run(f"me {number} b", how="fault"))
        steps = runner.run(f"me {number} c", how="well")
        next(steps)
        with pytest.raises(InputError, match="you have 1 runs"):
            next(runner.run(f"me {number} d", how="well"))
        steps.close()
        runner.stop(f"me {number} e")
        with pytest.raises(Stopped):
            list(runner.run(f"me {number} e", how="well"))
