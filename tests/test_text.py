"""Text from outside: what passes the door and what is said about the rest."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stc_core.errors import InputError
from stc_core.text import (
    LONGEST_QUESTION,
    answer_form,
    checked_text,
    option_letter,
    readable,
    said_the_same,
)

GOOD = "星星 is\twhat 🌟\r\ncolor? e\u0301 \u202e \ufffd \uffff"
BAD = [
    (b"text", "the question must be a text, not of type bytes"),
    (None, "the question must be a text, not of type NoneType"),
    ("ab\ud800", r"not valid Unicode at character 3 \(U\+D800\)"),
    (os.fsdecode(b"\xff what"), r"not valid Unicode at character 1 \(U\+DCFF\)"),
    ("\ud83c\udf1f", r"U\+D83C"),  # a pair that nobody joined
    ("a\0", r"control character U\+0000 at character 2"),
    ("\x1b[2J", r"control character U\+001B at character 1"),
    ("a\x7f", r"U\+007F"),
    ("é\x85", r"U\+0085"),
    ("x" * (LONGEST_QUESTION + 1), "has 131073 characters where 131072 are the most"),
]


def test_good_text_passes_unchanged():
    assert checked_text(GOOD, "the question") == readable(GOOD) == GOOD
    assert checked_text("x" * LONGEST_QUESTION, "the question")
    assert checked_text("", "the answer", 0) == ""


@pytest.mark.parametrize(("text", "message"), BAD, ids=range(len(BAD)))
def test_other_text_is_refused_in_one_sentence(text, message):
    with pytest.raises(InputError, match=message) as caught:
        checked_text(text, "the question")
    assert str(caught.value).startswith("the question ") and "\n" not in str(caught.value)
    str(caught.value).encode()


def test_a_model_may_write_control_characters_but_not_nul():
    assert checked_text("\x01\x85", "the answer", controls=True) == "\x01\x85"
    for text in ("\0", "\udcff"):
        with pytest.raises(InputError):
            checked_text(text, "the answer", controls=True)


@given(st.text(st.characters(codec=None), max_size=30))
def test_what_is_made_readable_passes(text):
    made = readable(text)
    made.encode()
    assert checked_text(made, "a name") == made and len(made) == len(text)


ALIKE = Path(__file__).with_name("answers_alike.json")  # the page's JavaScript is held to it, too


@pytest.mark.parametrize(("one", "other", "same"), json.loads(ALIKE.read_text("utf-8")))
def test_answers_that_say_the_same(one, other, same):
    assert said_the_same(one, other) is said_the_same(other, one) is same


@given(st.text())
def test_the_form_of_an_answer_is_its_own_form(text):
    form = answer_form(text)
    assert answer_form(form) == form and said_the_same(text, form)
    assert said_the_same(f"  {form} ", form)


@pytest.mark.parametrize("said", ["b", "B", "(b)", "(B).", "b.", " B: "])
def test_the_letter_of_an_option(said):
    assert option_letter(said) == "(b)"


@pytest.mark.parametrize("said", ["", "bb", "(1)", "a b", "é"])
def test_what_is_no_letter_is_no_answer(said):
    assert option_letter(said) == "\0"
