"""The numbers of the error table, against loops over the lines of the file."""

from __future__ import annotations

import json
import random

import pytest
from made_up import lines, write

from stc_core import InputError
from stc_core.rates import odds_ratio, wilson
from viz.errors.measure import checked, measured
from viz.errors.reading import WHYS, read_results
from viz.errors.store import payload

RULES = {
    "own": lambda e: (e["door"] >= 1, e["end"] >= 1),
    "half": lambda e: (e["door"] >= max(1, e["cells"] / 2), e["end"] >= max(1, e["cells"] / 2)),
    "carried": lambda e: (e["door_carried"] >= 1, e["end_carried"] >= 1),
}


@pytest.fixture(scope="module")
def answers():
    made, draw = lines(300, 8, seed=3), random.Random(7)
    for line in made:
        if not line["right"] and draw.random() < 0.5:
            line["why"] = {"cause": draw.choice(WHYS[3:6]), "sentence": f"Because {draw.random()}."}
    return made


@pytest.fixture(scope="module")
def table(answers, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("results") / "results.jsonl", answers)
    return json.loads(json.dumps(payload(read_results(path), path.name)))


def asked(table, **changed):
    whole = {"reference": 0, "methods": [3], "rule": "own", "kind": None, "frames": None}
    return checked(table, {**whole, "cases": None, **changed})


def counted(answers, method, rule, kind=None):
    """(turned, still right) by what became of the evidence, of what was right before; slowly."""
    found = {key: [0, 0] for key in ("kept", "inside", "before", "unknown")}
    for start in range(0, len(answers), 9):
        stock, ours = answers[start], answers[start + method]
        if not stock["right"] or (kind and stock["kind"] != kind):
            continue
        key = "unknown"
        if ours["evidence"]:
            door, end = RULES[rule](ours["evidence"])
            key = "kept" if door and end else "inside" if door else "before"
        found[key][int(ours["right"])] += 1
    return found


@pytest.mark.parametrize("rule", RULES)
def test_lost_evidence_against_turned_answers(table, answers, rule):
    side = measured(table, asked(table, rule=rule))["sides"][0]
    found = counted(answers, 3, rule)
    lost = [found["before"][i] + found["inside"][i] for i in (0, 1)]
    kept = found["kept"]
    assert side["all"]["gone"][:2] == [lost[0], sum(lost)]
    assert side["all"]["there"][:2] == [kept[0], sum(kept)]
    assert side["all"]["gone"][3:] == list(wilson(lost[0], sum(lost)))
    assert side["all"]["odds"] == list(odds_ratio(*lost, *kept))
    before, inside = side["steps"]
    others = [found["kept"][i] + found["inside"][i] for i in (0, 1)]
    odds = odds_ratio(*found["before"], *others)
    assert before["odds"] == (odds and list(odds))
    assert inside["gone"][:2] == [found["inside"][0], sum(found["inside"])]
    assert inside["there"][:2] == side["all"]["there"][:2]
    for kind in side["kinds"]:
        one = counted(answers, 3, rule, kind["label"])
        assert kind["there"][:2] == [one["kept"][0], sum(one["kept"])]
    assert len(side["kinds"]) == 7


def test_shares_of_right_answers_of_flips_and_of_causes(table, answers):
    side = measured(table, asked(table))["sides"][0]
    pairs = [(answers[i], answers[i + 3]) for i in range(0, len(answers), 9)]
    now = sum(ours["right"] for _, ours in pairs)
    assert side["now"] == [now, 300, now / 300, *wilson(now, 300)]
    turned = [ours for full, ours in pairs if full["right"] and not ours["right"]]
    assert side["flips"][1][0] == len(turned)
    causes = [ours["why"]["cause"] for ours in turned if "why" in ours]
    assert {WHYS[one["cause"]]: one["share"][0] for one in side["why"]} == {
        cause: causes.count(cause) for cause in causes
    }


def test_a_kind_or_some_questions_alone_and_every_method_of_the_retention(table, answers):
    some = [number for number in range(300) if number % 5 == 0]
    side = measured(table, asked(table, cases=some))["sides"][0]
    right = sum(answers[9 * number]["right"] for number in some)
    assert side["before"][:2] == [right, 60]
    side = measured(table, asked(table, kind="color"))["sides"][0]
    assert side["before"][1] == sum(answers[i]["kind"] == "color" for i in range(0, 2700, 9))
    methods = measured(table, asked(table))["methods"]
    same = [m["label"] for m in table["methods"] if m["retention"] == 0.02]
    assert [one["label"] for one in methods] == same


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ("helps", "Lost evidence goes with turned answers: where it was lost, 75.0 %"),
        ("no", "is not supported here"),
        ("harms", "the other way round"),
        ("one", "Nothing can be compared"),
        ("none", "Of no question"),
    ],
)
def test_the_sentence_says_what_the_numbers_support(tmp_path, evidence, words):
    made = []
    for number in range(160):
        lost = number % 2 == 0
        wrong = {"helps": number % 8 in (0, 2, 4, 1), "no": number % 4 < 2,
                 "harms": number % 8 in (1, 3, 5, 0)}.get(evidence, number % 2 == 0)  # fmt: skip
        left = 4 * (not lost or evidence == "one")
        names = ("door", "door_carried", "end", "end_carried")
        cells = None if evidence == "none" else {"cells": 4, **dict.fromkeys(names, left)}
        for method, right in (("none", True), ("STC(retention=0.02)", not wrong)):
            made.append({"case": str(number), "method": method, "answer": "x", "right": right,
                         "evidence": cells})  # fmt: skip
    table = payload(read_results(write(tmp_path / "results.jsonl", made, None)), "x")
    found = measured(table, asked(table, methods=[1]))["sides"][0]
    assert words in found["sentence"], found["sentence"]


@pytest.mark.parametrize(
    "wrong",
    [{"reference": 99}, {"methods": []}, {"methods": [True]}, {"rule": "x"}, {"cases": [999]},
     {"kind": 3}, {"frames": "8"}, {"cases": "all"}, {"methods": [1, 2, 3]}],
)  # fmt: skip
def test_what_a_browser_sends_is_checked(table, wrong):
    with pytest.raises(InputError, match="cannot be measured"):
        asked(table, **wrong)
