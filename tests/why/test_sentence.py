"""Every cause from its rows, and the sentence that says it with its proof."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stc_core.why.report import CAUSES, Found, Lost, Row, Why
from stc_core.why.sentence import cause_of, sentence_of

WANTED = "purple heart"
KNOWN, SEARCHED = Found("known"), Found("search", True, 12, 3.0)
TAU = Lost(tau=4, merged=4, cosine=0.83, tau_at=0.7, layer=5)


def row(kind: str, good: bool, chance: float, label: str = "", tokens: int = 31) -> Row:
    answer = "Purple heart." if good else "ring"
    return Row(kind, label, answer, {WANTED: chance, "ring": 0.3}, tokens)


def rows(back=(True, 0.86), random=(False,) * 5, off=(False, 0.01), full=(True, 0.95), **more):
    made = [row("full", *full), row("compressed", *more.pop("compressed", (False, 0.004)))]
    if back is not None:
        made.append(row("back", *back))
    made += [row("random", good, 0.02) for good in random]
    if off is not None:
        made.append(row("inside off", *off))
    for kind, (good, chance) in more.items():
        made.append(row(kind.replace("_", " ") if kind != "both" else "back, inside off",
                        good, chance))  # fmt: skip
    return made


def said(made, lost=TAU, found=KNOWN, right=WANTED, times=(7.5,), count=4):
    cause = cause_of(made, WANTED, lost, found, right is not None)
    assert cause in CAUSES
    words = sentence_of(cause, made, WANTED, right, lost, found, times, count)
    assert words.endswith(".") and "  " not in words and "None" not in words
    return cause, words.replace("\u00a0", " ")


def test_the_sentence_of_the_plan():
    cause, words = said(rows(swap=(True, 0.7)))
    assert cause == "tau"
    assert words == (
        "The right answer needs the tokens at 7.5 s: given back, P(purple heart) rises from 0.4 % "
        "to 86 %; random ones give 2.0 %. They were refused by the pool: cosine 0.83 ≥ tau 0.7 "
        "(and went into means of clusters). Within the same budget, in place of the last "
        "survivors, they give 70 %."
    )


@pytest.mark.parametrize(("lost", "cause", "words"), [
    (Lost(capacity=3, tau_at=0.7), "capacity",
     "They were never reached, because the pool was full."),
    (Lost(capacity=1, merged=1, tau_at=0.7), "capacity",
     "It was never reached, because the pool was full (and went into the mean of a cluster)."),
    (Lost(capacity=3, tau=2, merged=4, cosine=0.71, tau_at=0.7), "capacity",
     "3 were never reached, because the pool was full; 2 were refused by the pool: cosine 0.71 ≥ "
     "tau 0.7 (4 of them went into means of clusters)."),
    (Lost(capacity=2), "capacity", "They were not chosen."),
])  # fmt: skip
def test_where_the_tokens_were_lost(lost, cause, words):
    assert said(rows(), lost)[0] == cause
    assert said(rows(), lost)[1].endswith(words)


def test_when_the_tokens_are_seen():
    assert "the tokens at 1 and 2.5 s: given" in said(rows(), times=(1.0, 2.5))[1]
    assert "in 3 frames from 1 to 4.25 s: given" in said(rows(), times=(1.0, 2.5, 4.25))[1]


def test_what_a_search_found_is_said_of_the_uncompressed_answer():
    _, words = said(rows(), found=SEARCHED, right=None)
    assert words.startswith(
        "4 tokens at 7.5 s, found by search, suffice for the uncompressed answer: given back, P("
    )
    one = Lost(tau=1, cosine=0.8, tau_at=0.7)
    assert said(rows(), one, SEARCHED, None)[1].startswith(
        "One token at 7.5 s, found by search, suffices for the uncompressed answer: given back"
    )


def test_random_tokens_that_do_as_well():
    cause, words = said(rows(random=(True, True, True, False, False)))
    assert cause == "number"
    assert words.startswith("It is the number of tokens, not which: 4 tokens given back")
    assert "as many random ones do as well (3 of 5 draws, 2.0 % on average)" in words
    assert said(rows(random=(True, True, False, False, False)))[0] == "tau"


def test_the_inside_stage_loses_it():
    kept = Lost(kept=4, inside=3, layer=5)
    cause, words = said(rows(back=None, random=(), off=(True, 0.9)), kept)
    assert cause == "inside"
    assert "is lost inside the LLM, in the merging after layer 5: without that step" in words
    assert "rises from 0.4 % to 90 %" in words and "3 tokens of the 4 needed ones" in words
    cause, words = said(rows(back=(False, 0.2), both=(True, 0.8)))
    assert cause == "inside" and words.startswith("The right answer is lost twice")


def test_the_evidence_was_there_and_is_read_wrongly():
    cause, words = said(rows(back=None, random=()), Lost(kept=4, layer=5))
    assert cause == "reading"
    assert words.startswith("The evidence was there; the model reads it wrongly: all 4 tokens")
    cause, words = said(rows(back=(False, 0.03)))
    assert cause == "reading" and words.startswith("It is not the evidence: given back")


def test_compression_is_not_to_blame():
    cause, words = said(rows(full=(False, 0.1)))
    assert cause == "model" and "with all tokens the model is wrong too and says “ring”" in words
    cause, words = said(rows(compressed=(True, 0.9)))
    assert cause == "same" and words.startswith("Compression did not turn the answer")
    cause, words = said(rows(full=(False, 0.1), compressed=(True, 0.9)))
    assert cause == "helped" and "rises from 10 % to 90 %" in words


def test_nothing_was_found():
    none = Found("none", True, 40, 6.0)
    cause, words = said(rows(back=None, random=()), Lost(), none, None, (), 0)
    assert cause == "unknown" and "40 sets of lost tokens were tried in 6 s, all of them" in words
    cause, words = said(rows(back=None, random=()), Lost(), replace(none, done=False), None, (), 0)
    assert words.startswith("Not found yet which lost tokens suffice for “purple heart”")
    assert said(rows(back=None, off=(True, 0.9)), Lost(), none, None, (), 0)[0] == "inside"


def test_a_report_survives_json():
    made = tuple(rows())
    why = Why("tau", "Because.", WANTED, WANTED, made, (3, 4), (7.5,), TAU, SEARCHED, "STC()", "m")
    assert Why.from_json(json.loads(json.dumps(why.to_json()))) == why
    assert why.row("back") is made[2] and why.row("away") is None
