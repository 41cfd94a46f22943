"""A conversation that comes back from a browser: whatever it is, it is read or left out."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from viz.page.turns import history_of, with_turn
from viz.server.origin import Origin
from viz.server.talk import MOST, Talk, Turn, clip_of, read_talk

KEY = "0123456789abcdef0123"
ORIGIN = Origin("/clips/one.mp4", "what color?")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["clip", "turns", "key", "question", "answer", "x"]), inner
    ),
)  # fmt: skip


def test_turns_add_up_and_are_about_one_clip():
    talk = with_turn({}, ORIGIN, KEY, "red")
    assert talk["shown"] == KEY and "one.mp4" not in json.dumps(talk)
    talk = with_turn(talk, Origin(ORIGIN.video, "and where?"), KEY, "left")
    assert [turn["question"] for turn in talk["turns"]] == ["what color?", "and where?"]
    assert history_of(talk, True, ORIGIN) == (("what color?", "red"), ("and where?", "left"))
    assert history_of(talk, False, ORIGIN) == history_of(talk, None, ORIGIN) == ()
    other = Origin("/clips/two.mp4", "what?")
    assert history_of(talk, True, other) == ()
    assert len(with_turn(talk, other, KEY, "a")["turns"]) == 1


def test_the_oldest_turns_are_forgotten():
    talk = Talk(clip_of("a"))
    for number in range(MOST + 5):
        talk = talk.and_then(Turn(KEY, f"question {number}", "yes"))
    assert len(talk.turns) == MOST and talk.turns[0].question == "question 5"
    assert read_talk(talk.to_json()) == talk


@given(ANYTHING)
def test_anything_may_come_from_a_browser(value):
    talk = read_talk(value)
    assert read_talk(talk.to_json()) == talk
    assert isinstance(history_of(value, True, ORIGIN), tuple)
    assert with_turn(value, ORIGIN, KEY, "red")["turns"]


def test_half_characters_and_foreign_keys_are_not_kept():
    turns = [
        {"key": KEY, "question": "what \ud800?", "answer": "a"},
        {"key": "../../etc", "question": "what?", "answer": "a"},
        {"key": KEY, "question": " ", "answer": "a"},
    ]
    found = read_talk({"clip": "\ud800", "turns": turns})
    assert [turn.question for turn in found.turns] == ["what \ufffd?"]
    json.dumps(found.to_json()).encode()
