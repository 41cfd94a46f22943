"""Statistics against slow references, and what rows, kinds and bands are made of."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import answer, outcome_of

from stc_core import METHODS, STC
from stc_core.benchmark.cases import Skipped
from stc_core.benchmark.rows import Row, name_of
from stc_core.benchmark.score import recall_bands, share_of_full, summarize
from stc_core.rates import wilson

STC2 = STC(retention=0.02)
EVS2 = METHODS["evs"](retention=0.02)


def slow_share(right, full, draws, seed):
    """Resample the cases themselves, one draw after the other."""
    dice, n, shares = random.Random(seed), len(right), []
    for _ in range(draws):
        chosen = [dice.randrange(n) for _ in range(n)]
        base = sum(full[i] for i in chosen)
        if base:
            shares.append(sum(right[i] for i in chosen) / base)
    shares.sort()
    return shares[int(0.025 * len(shares))], shares[int(0.975 * len(shares))]


@pytest.mark.parametrize(("n", "kept", "base"), [(200, 0.85, 0.95), (60, 0.4, 0.9), (150, 1, 0.6)])
def test_the_paired_bootstrap_is_that_of_a_plain_loop(n, kept, base):
    rng = np.random.default_rng(n)
    full = rng.random(n) < base
    right = np.where(full, rng.random(n) < kept, rng.random(n) < 0.1)
    share, (low, high) = share_of_full(right, full)
    assert share == right.sum() / full.sum() and low <= share <= high
    slow = slow_share(right.tolist(), full.tolist(), 4000, 1)
    assert (low, high) == pytest.approx(slow, abs=0.015)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    full = rng.random(400) < 0.7
    paired = share_of_full(full & (rng.random(400) < 0.97), full)[1]
    mixed = share_of_full(rng.permutation(full), full)[1]
    assert paired[1] - paired[0] < 0.5 * (mixed[1] - mixed[0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_shares_are_reproducible_and_in_order(pairs):
    right, full = (np.array(side, bool) for side in zip(*pairs, strict=True))
    found = share_of_full(right, full, draws=200)
    assert found == share_of_full(right, full, draws=200)
    if not full.any():
        assert found is None
    else:
        assert 0 <= found[1][0] <= found[1][1]
    if full.any() and (right == full).all():
        assert found == (1.0, (1.0, 1.0))


def made_up(n=60, seed=0):
    """Answers of the stock model, STC and EVS to n questions of three kinds."""
    rng, lines = np.random.default_rng(seed), []
    for i in range(n):
        kind, frames = ("color", "count", "order")[i % 3], 8
        cells, full = int(rng.integers(0, 9)), bool(rng.random() < 0.9)
        for name, chance in (("none", None), (name_of(STC2), 0.8), (name_of(EVS2), 0.6)):
            right = full if chance is None else bool(rng.random() < chance)
            end = cells if chance is None else int(rng.integers(0, cells + 1))
            tokens = [100, 100, 100] if chance is None else [100, 10, 5]
            lines.append(answer(str(i), name, right, kind, frames, cells, end, tokens=tokens))
    return lines


ROWS = [Row(m, 8, 60, ("main",)) for m in (None, STC2, EVS2)]


def test_a_row_counts_what_its_answers_say():
    lines = made_up()
    summary = summarize(outcome_of(lines, [Skipped("x", "broken")]), ROWS)
    json.dumps(summary, allow_nan=False)
    stock, stc, evs = summary["rows"]
    full = {a["case"]: a["right"] for a in lines if a["method"] == "none"}
    assert summary["skipped"] == [{"case": "x", "why": "broken"}] and summary["cases"] == 60
    assert stock["of_full"] == 1 and stock["lost"] == stock["gained"] == 0
    for row, method in ((stc, STC2), (evs, EVS2)):
        mine = [a for a in lines if a["method"] == name_of(method)]
        right = sum(a["right"] for a in mine)
        assert (row["questions"], row["right"]) == (60, right)
        assert row["interval95"] == list(wilson(right, 60))
        assert row["of_full"] == right / sum(full.values())
        assert row["lost"] == sum(full[a["case"]] and not a["right"] for a in mine)
        assert row["gained"] == sum(a["right"] and not full[a["case"]] for a in mine)
        assert row["tokens"] == {"all": 100, "door": 10, "end": 5}
        assert row["flops"]["paper"]["of_full"] == pytest.approx(0.1)
        seen = [a["evidence"] for a in mine if a["evidence"]]
        assert row["evidence"]["questions"] == len(seen) < 60
        found = row["evidence"]["end"]
        assert found["cells"] == pytest.approx(np.mean([e["end"] / e["cells"] for e in seen]))
        assert found["any"] == pytest.approx(np.mean([e["end"] > 0 for e in seen]))
        assert found["budget"] == pytest.approx(np.mean([e["end"] / 5 for e in seen]))
        assert row["evidence"]["end_carried"]["cells"] == 1
        assert sum(kind["questions"] for kind in row["kinds"].values()) == 60
        assert sum(kind["lost"] for kind in row["kinds"].values()) == row["lost"]
    assert stc["behind_stc"]["points"] == 0
    ahead = stc["accuracy"] - evs["accuracy"]
    assert evs["behind_stc"]["points"] == pytest.approx(ahead)
    low, high = evs["behind_stc"]["interval95"]
    assert low < ahead < high


def test_only_cases_of_both_are_compared():
    lines = [a for a in made_up() if a["method"] == "none" or int(a["case"]) < 20]
    lines = [a for a in lines if a["method"] != "none" or int(a["case"]) >= 10]
    stc = summarize(outcome_of(lines), ROWS)["rows"][1]
    assert stc["questions"] == 20
    pairs = {a["case"]: {} for a in lines}
    for a in lines:
        pairs[a["case"]][a["method"]] = a["right"]
    both = [p for p in pairs.values() if "none" in p and name_of(STC2) in p]
    assert len(both) == 10
    assert stc["lost"] == sum(p["none"] and not p[name_of(STC2)] for p in both)


def test_a_model_that_is_never_right_has_no_share():
    lines = [answer("1", "none", False), answer("1", name_of(STC2), True)]
    row = summarize(outcome_of(lines), ROWS)["rows"][1]
    assert row["of_full"] is None and row["of_full_interval95"] is None and row["gained"] == 1


def test_bands_hold_every_answer_with_evidence_that_was_right_before():
    lines = made_up(90, seed=3)
    stock = {a["case"]: a for a in lines if a["method"] == "none"}
    pairs = [(a, stock[a["case"]]) for a in lines if a["method"] != "none"]
    bands = recall_bands(pairs)
    counted = [a for a, full in pairs if a["evidence"] and full["right"]]
    assert sum(band["answers"] for band in bands) == len(counted)
    assert sum(band["right"] for band in bands) == sum(a["right"] for a in counted)
    assert bands[0]["to"] == 0 and bands[-1]["to"] == 1
    nothing = [a for a in counted if a["evidence"]["end"] == 0]
    assert bands[0]["answers"] == len(nothing)
    assert recall_bands([]) == []
