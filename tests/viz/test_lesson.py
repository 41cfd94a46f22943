"""The steps of the lesson: chosen by rule, and every number that they say is that of the trace."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from decided import GRID, SPOT, decided
from handmade import build

from stc_core import Fate
from viz.examples import Known
from viz.lesson.give_back import chosen
from viz.lesson.glossary import TERMS, spoken
from viz.lesson.lesson_tab import LessonCase, choose, steps

KNOWN = Known("what flashed?", "red bar", 8, np.array([GRID.locate(token) for token in SPOT]))
HERE = Path("trace.npz")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def main() -> LessonCase:
    return LessonCase(HERE, decided(), KNOWN)


@pytest.fixture(scope="module")
def lost() -> LessonCase:
    """The evidence, and all but two tokens, dropped before the LLM; and the answer is wrong."""
    trace = build(GRID, kept=(0, 50), answer="blue bar", baseline={"answer": "Red bar"})
    return LessonCase(HERE, trace, KNOWN)


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d+(?:\.\d+)?", text)]


def test_six_steps(main, lost):
    made = steps({"main": main, "failure": lost})
    assert len(made) == 6 and [step.quiz for step in made] == [0, 0, 1, 0, 0, 0]
    assert [step.trace for step in made] == ["failure", *["main"] * 4, "failure"]
    assert all(2 <= len(step.text) <= 4 and step.attempt.endswith(".") for step in made)
    assert all(sentence.endswith((".", "”")) for step in made for sentence in step.text)


def test_it_opens_on_the_failure_and_its_evidence(main, lost):
    step = steps({"main": main, "failure": lost})[0]
    assert step.trace == "failure" and int(step.state["tok"]) in SPOT
    assert "“Red bar”, which is right; with 2 it says “blue bar”, which is wrong" in step.text[0]
    assert numbers(step.text[1]) == [8, 7, 7]


def test_words_are_said_before_they_are_used(main, lost):
    """Each word of the glossary that a step uses is explained by then, or marked in that step."""
    made = steps({"main": main, "failure": lost})
    text = [" ".join(step.text) for step in made]
    for word, number in (("cosine", 1), ("pool", 2), ("tau", 2), ("recycled", 3), ("center", 3),
                         ("budget", 3), ("relevance", 4), ("lambda", 4)):  # fmt: skip
        uses = [at for at, one in enumerate(text) if re.search(rf"\b{word}\b", one)]
        assert uses and uses[0] == number and word in TERMS


def test_the_glossary_page_says_the_same():
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE))
    said = {name: rows[row] for row in rows for name in row.split(", ")}
    assert {word: said[word] for word in TERMS} == TERMS
    assert all("\n" not in meaning and len(meaning) < 140 for meaning in spoken().values())


def test_redundancy_shows_the_closest_pair(main):
    trace = main.trace
    step = steps({"main": main})[0]
    near, token = map(int, step.state["tok"].split("."))
    aside = [
        i
        for i in range(GRID.size)
        if trace.stages[0].fate[i] != Fate.KEPT
        and trace.nearest[i] >= 0
        and i // GRID.per_frame != trace.nearest[i] // GRID.per_frame
    ]
    assert token == max(aside, key=lambda i: trace.similarity[i]) and near == trace.nearest[token]
    walked = [i for i in range(GRID.size) if trace.order[i] >= 0]
    taken = [i for i in walked if trace.stages[0].fate[i] == Fate.KEPT]
    assert numbers(step.text[-1]) == [len(walked), len(walked) - len(taken)]


def test_contribution_ranks_the_evidence(main):
    trace = main.trace
    step = steps({"main": main})[1]
    ranking = np.argsort(-trace.contribution).tolist()
    best = min(ranking.index(token) for token in SPOT) + 1
    assert numbers(step.text[0]) == [2, best, 392]


def test_the_pool_stops_at_the_first_token_set_aside(main):
    trace = main.trace
    step = steps({"main": main})[1]
    walk = sorted(np.flatnonzero(trace.order >= 0), key=lambda i: trace.order[i])
    first = next(k for k, i in enumerate(walk) if trace.stages[0].fate[i] != Fate.KEPT)
    frame = walk[first] // GRID.per_frame
    assert step.state == {"step": str(first + 1), "panel": "replay", "f": str(frame)}
    assert numbers(step.text[-1]) == [first + 1, round(float(trace.similarity[walk[first]]), 2)]


def test_recycling_marks_the_largest_cluster(main):
    trace = main.trace
    step = steps({"main": main})[2]
    carried = {
        c: int((trace.stages[0].target == c).sum())
        for c in np.flatnonzero(trace.stages[0].fate == Fate.CENTER)
    }
    assert carried[int(step.state["tok"])] == max(carried.values()) == numbers(step.text[2])[0]
    assert numbers(step.text[0])[1] == len(carried)


def test_inside_marks_the_first_that_missed(main):
    trace = main.trace
    step = steps({"main": main})[3]
    token, goal = map(int, step.state["tok"].split("."))
    assert trace.stages[1].target[token] == goal
    entered, left = len(trace.stages[0].survivors), len(trace.stages[1].survivors)
    assert numbers(step.text[2])[:2] == [entered, left]
    assert numbers(step.text[3])[:2] == [left + 1, entered]


def test_the_failure_says_where_the_evidence_went(lost):
    step = steps({"main": LessonCase(HERE, decided(), KNOWN), "failure": lost})[5]
    assert "“Red bar”, which is right; with 2 of them it says “blue bar”" in step.text[0]
    assert numbers(step.text[1]) == [2, 1, 0] and "before the LLM" in step.text[2]
    assert step.state == {"stage": "refilled", "tok": f"{SPOT[0]}.{SPOT[1]}", "f": "3"}


def test_the_lost_evidence_is_given_back_or_as_many_others(main, lost):
    step = steps({"main": main, "failure": lost}, again=True)[5]
    assert step.back == 2 and "the button does it" in step.text[-1]
    assert steps({"main": main, "failure": lost})[5].back == 0
    assert chosen(lost, False) == sorted(SPOT)
    others = chosen(lost, True)
    assert len(set(others)) == 2 and not set(others) & {*SPOT, 0, 50}
    assert others == chosen(lost, True)


def test_the_best_cases_are_chosen(main, lost):
    old = LessonCase(
        HERE, replace(main.trace, order=np.full(392, -1), nearest=np.full(392, -1)), KNOWN
    )
    kept = LessonCase(HERE, replace(main.trace, answer="blue bar"), KNOWN)  # wrong all the same
    right = LessonCase(HERE, replace(lost.trace, answer="red bar"), KNOWN)
    assert choose([lost, old, main, right]) == {"main": main, "failure": lost}
    assert choose([right, old])["main"] is old and "failure" not in choose([right, old])
    assert choose([lost, main, kept])["failure"] in (kept, lost)
    assert choose([lost]) == {"failure": lost} and steps({"failure": lost}) == []
    assert len(steps({"main": old})) == 4  # without the order of its choices: no replay
    assert "step" not in steps({"main": old})[1].state
