"""Shares and odds: against the definitions solved by brute force, and against scipy where it is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stc_core.rates import Z95, odds_ratio, wilson

COUNTS = st.integers(1, 300)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_ends_are_where_the_score_test_turns(case):
    """At an end p of the interval |share - p| is z standard errors *under p*."""
    right, asked = case
    low, high = wilson(right, asked)
    assert 0 <= low <= right / asked <= high <= 1
    for end in (low, high):
        distance = abs(right / asked - end)
        assert distance == pytest.approx(Z95 * math.sqrt(end * (1 - end) / asked), abs=1e-9)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_odds_ratio_is_the_cross_product_and_its_logit_interval(a, b, c, d):
    found = odds_ratio(a, b, c, d)
    assert found.ratio == pytest.approx((a * d) / (b * c))
    error = math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    assert found.low == pytest.approx(found.ratio * math.exp(-1.959964 * error), rel=1e-5)
    assert found.high == pytest.approx(found.ratio * math.exp(1.959964 * error), rel=1e-5)
    swapped = odds_ratio(c, d, a, b)  # the other row first: the reciprocal
    assert swapped.ratio == pytest.approx(1 / found.ratio)
    assert swapped.low == pytest.approx(1 / found.high)


@pytest.mark.parametrize("counts", [(31, 52, 28, 149), (1, 9, 8, 2), (3, 1, 1, 3)])
def test_odds_ratio_is_that_of_scipy(counts):
    contingency = pytest.importorskip("scipy.stats.contingency")
    a, b, c, d = counts
    theirs = contingency.odds_ratio([[a, b], [c, d]], kind="sample")
    ends = theirs.confidence_interval(0.95)
    ours = odds_ratio(a, b, c, d)
    assert (ours.ratio, ours.low, ours.high) == pytest.approx(
        (theirs.statistic, ends.low, ends.high)
    )


def test_a_zero_adds_one_half_to_every_count():
    """Haldane and Anscombe, by hand: (5.5 x 10.5) / (3.5 x 0.5)."""
    found = odds_ratio(5, 3, 0, 10)
    assert found.ratio == pytest.approx(33.0)
    error = math.sqrt(1 / 5.5 + 1 / 3.5 + 1 / 0.5 + 1 / 10.5)
    assert found.high / found.ratio == pytest.approx(math.exp(Z95 * error))
    assert 0 < found.low < found.ratio


@pytest.mark.parametrize("counts", [(0, 0, 3, 4), (3, 4, 0, 0), (0, 3, 0, 4), (3, 0, 4, 0)])
def test_an_empty_row_or_column_compares_nothing(counts):
    assert odds_ratio(*counts) is None
