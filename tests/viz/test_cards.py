"""The page's HTML: strangers' text stays text, and no trace file can break it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from handmade import build

from stc_core.record.grid import TokenGrid
from viz.examples import Known
from viz.page import cards

NASTY = ("<img src=x onerror=alert(1)>", "${1+1}", "{{x}}", "$\\frac", '"><script>x</script>', "`")


class Reader(HTMLParser):
    """Collects tags and text as a browser would."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.words = [], ""
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words += data


@pytest.mark.parametrize("text", NASTY)
def test_strangers_text_is_text_everywhere(six_fates, text):
    trace = replace(
        six_fates,
        question=text,
        answer=text,
        method=text,
        model=text,
        notes=(text,),
        baseline={"answer": text, "costs": {"seconds": {text: 1.0}}},
    )
    for markup in (
        cards.answers(trace, Known(text, text)),
        cards.costs(trace),
        cards.run_line(trace),
        cards.notes(trace),
        cards.status(text, "error"),
        cards.progress(text, 0.5, 1.0),
    ):
        found = Reader(markup)
        assert not {"img", "script"} & set(found.tags)
        assert text.lower() in found.words.lower()
        assert "${" not in markup and "{{" not in markup and "`" not in markup


@pytest.mark.parametrize(
    "costs",
    [
        {},
        {"seconds": None},
        {"seconds": [1]},
        {"real_flops": {"total": "x"}},
        {"kv_bytes": True},
        {"tokens_llm": float("nan")},
        {"paper_flops": -1},
    ],
    ids=str,
)
def test_missing_or_odd_costs_are_a_dash(six_fates, costs):
    trace = replace(six_fates, costs=costs, baseline={"answer": "x", "costs": costs})
    assert cards.DASH in Reader(cards.costs(trace)).words
    assert cards.DASH in Reader(cards.costs(replace(trace, baseline={}))).words


def test_costs_stand_side_by_side(six_fates):
    whole = {
        "tokens_llm": 6272,
        "tokens_end": 6272,
        "paper_flops": 41.4e12,
        "kv_bytes": 359661568,
        "real_flops": {"prefill": 97.6e12, "vision_tower": 2.4e12},
        "seconds": {"a": 1.0, "b": 0.5},
        "time_to_first_token": 1.1047,
    }
    small = {
        "tokens_llm": 128,
        "tokens_end": 64,
        "paper_flops": 1.1e12,
        "kv_bytes": 7340032,
        "real_flops": {"prefill": 1.6e12, "vision_tower": 2.4e12},
        "seconds": {"a": 0.3},
        "time_to_first_token": 0.4738,
    }
    trace = replace(six_fates, costs=small, baseline={"answer": "blue", "costs": whole})
    words = Reader(cards.costs(trace)).words
    for needed in ("Costs: FLOPs of the LLM 37.6 × less", "6 272", "128", "41.4 T", "1.1 T",
                   "49 × less", "343 MiB", "7 MiB", "1.10 s", "474 ms", "100 T", "4 T", "25 × less",
                   "1.50 s", "300 ms", "paper’s convention"):  # fmt: skip
        assert needed in words, needed
    assert "Peak GPU memory" not in words


def test_numbers():
    assert cards.memory(0) == "0 B" and cards.memory(1023) == "1023 B"
    assert cards.memory(None) == cards.duration(None) == cards.big("x") == cards.DASH
    assert cards.saved(1, 1) == "same" and cards.saved(1, 2) == "2 × more"
    assert cards.saved(1, 0) == cards.saved(None, 1) == cards.DASH


@pytest.mark.parametrize(
    ("whole", "small", "right", "words", "marks"),
    [
        ("Red.", "red", "red", "Both runs give the same answer.", ["right", "right"]),
        ("red", "blue", "red", "The two answers differ.", ["right", "wrong"]),
        ("green", "blue", "red", "The two answers differ.", ["wrong", "wrong"]),
        ("red", "red", None, "Both runs give the same answer.", []),
    ],
)
def test_answers_are_compared(six_fates, whole, small, right, words, marks):
    trace = replace(six_fates, answer=small, baseline={"answer": whole, "costs": {}})
    markup = cards.answers(trace, right and Known("?", right))
    assert words in Reader(markup).words
    assert re.findall(r'class="mark \w+">(\w+)<', markup) == marks
    assert ("The right answer is" in markup) == (right is not None)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([0, 2], "2 tokens in 1 frame. Tokens of it that enter the LLM on their own: 2; that stay "
                 "after layer 18: 2."),
        ([1, 6], "2 tokens in 2 frames. Tokens of it that enter the LLM on their own: 2; that stay "
                 "after layer 18: 0. The last of it is merged or dropped inside the LLM, after"),
        ([3, 4], "on their own: 0; that stay after layer 18: 0. All of it is merged or dropped "
                 "before the LLM."),
    ],
)  # fmt: skip
def test_the_page_says_where_the_evidence_was_lost(six_fates, tokens, words):
    cells = np.array([six_fates.grid.locate(token) for token in tokens])
    layer = six_fates.stages[-1].layer
    words = words.replace("layer 18", f"layer {layer}")
    assert words in Reader(cards.answers(six_fates, Known("?", "red", 2, cells))).words
    assert "evidence" not in cards.answers(six_fates, Known("?", "red", 4, cells))


def test_an_answer_that_was_not_made_is_not_an_empty_one(six_fates):
    assert "not run" in cards.answers(replace(six_fates, baseline={}))
    assert "(empty answer)" in cards.answers(replace(six_fates, answer=""))


def test_notes_only_where_there_are_some(six_fates):
    assert cards.notes(six_fates) == ""
    assert Reader(cards.notes(replace(six_fates, notes=("a", "b")))).tags.count("li") == 2


def test_run_line_counts_the_budget():
    trace = build(TokenGrid(1, 4, 5), kept=(0, 1), seconds=np.zeros(1))
    words = Reader(cards.run_line(trace)).words
    assert "20 video tokens in 1 frame of 4 × 5 → 2 enter the LLM (10.0 %)" in words


def test_what_cannot_be_sent_to_a_browser_is_replaced():
    shown = cards.status("Shows the trace od\udcffd\x1b.npz.", "done")
    assert "od\ufffdd\ufffd.npz" in shown and shown.encode()
