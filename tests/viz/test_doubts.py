"""What speaks against an answer, and how sure the model is of it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stc_core.answering.teaching import FOREIGN_CLIP
from viz.page import cards
from viz.server.doubts import doubts, looks_foreign, repeats, sureness, unworldly

QUESTION = "what happens?"
WORDS = st.lists(st.sampled_from("a red star moves left then rests".split()), min_size=1)


@pytest.mark.parametrize(
    ("answer", "what", "times"),
    [
        ("red " * 9, "red", 9),
        ("A dog. " + "the man runs and " * 5, "the man runs and", 5),
        ("哈" * 20, "哈", 20),
        ("the cat sat. the cat sat. the cat sat. the end", "the cat sat.", 3),
    ],
)
def test_a_loop_is_named(answer, what, times):
    assert repeats(answer) == f"It says the same over and over: “{what}”, {times} times."


@pytest.mark.parametrize(
    "answer",
    ["", "red", "no, no, no", "yes yes yes", "a red star and a red bar and a red ring", "1000000",
     "The man walks to the door, opens it, and the dog runs out of the house into the garden."],
)  # fmt: skip
def test_plain_answers_are_no_loops(answer):
    assert repeats(answer) == "" and doubts(answer, QUESTION) == []


@given(WORDS, st.integers(8, 30))
def test_whatever_comes_eight_times_is_a_loop(words, times):
    assert repeats(" ".join(words[:20] * times))


@given(st.text(max_size=200), st.text(max_size=40))
def test_any_text_is_judged(answer, question):
    assert all(isinstance(sentence, str) and sentence for sentence in doubts(answer, question))


def test_a_loop_with_changes_is_one_too():
    letters = "abcacbabcbacabcacbaca"  # no part of it stands twice in a row
    words = [{"a": "man", "b": "dog", "c": "car"}[letter] for letter in letters + letters[::-1]]
    assert "few of them different" in repeats(" ".join(words))


@pytest.mark.parametrize(
    ("answer", "question", "words"),
    [
        ("красная звезда", QUESTION, "Cyrillic"),
        ("一颗红色的星星", QUESTION, "Chinese"),
        ("一颗红色的星星", "这是什么？", ""),
        ("a red star", "这是什么？", ""),
        ("a café in Zürich", QUESTION, ""),
        ("the sign reads “Привет”, and people walk by on their way to the station", QUESTION, ""),
        ("a \ufffd\ufffd b", QUESTION, "no text"),
        ("42 %", QUESTION, ""),
    ],
)
def test_letters_that_nobody_asked_in(answer, question, words):
    said = looks_foreign(answer, question)
    assert (words in said) if words else said == ""


def test_sureness_in_plain_words():
    assert sureness(math.log(0.97), 2) == "Sure of it: 97 %"
    assert sureness(math.log(0.6), 2) == "Fairly sure: 60 %"
    assert sureness(math.log(0.2), 3) == "Unsure: 20 %"
    assert sureness(-30.0, 3) == "Unsure: below 1 %"
    assert sureness(20 * math.log(0.8), 20) == "Fairly sure: 80 % a token on average"
    for unknown in (None, "x", float("nan"), float("-inf"), True, 5.0):
        assert sureness(unknown, 2) == ""


def test_the_answers_say_it(six_fates):
    trace = replace(
        six_fates, question=QUESTION, answer="red " * 9, notes=(FOREIGN_CLIP,),
        logprob=math.log(0.2), costs={"generated_tokens": 3},
        baseline={"answer": "red", "logprob": math.log(0.97), "costs": {"generated_tokens": 2}},
    )  # fmt: skip
    page = cards.answers(trace)
    whole, small = page.split('<article class="card accent">')
    assert "Sure of it: 97 %" in whole and "over and over" not in whole
    assert "Unsure: 20 %" in small and "over and over" in small
    assert page.count("outside its world") == 2
    assert unworldly(trace.notes) == FOREIGN_CLIP and unworldly(("Another note.",)) == ""
    plain = cards.answers(replace(trace, notes=(), answer="red"))
    assert "outside its world" not in plain and "over and over" not in plain
