"""Text from outside: what passes the door and what is said about the rest."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stc_core.errors import InputError
from stc_core.text import LONGEST_QUESTION, checked_text, readable

GOOD = "星星 is\twhat 🌟\r\ncolour? e\u0301 \u202e \ufffd \uffff"
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
