"""KiToke against a slow reference, and against figures that were computed from its formulas."""

import math
import random
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published_clip import published_clip
from references import cosine
from token_clips import ADVERSARIAL, RETENTIONS, check, clip

from stc_core.methods import KiToke
from stc_core.methods.kitoke import chances, density, differences, joined, pivotal
from stc_core.methods.parts.selection import strongest
from stc_core.record.stages import Fate


def square(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def jumps(tokens, grid):
    """How unlike each frame is to the one before it."""
    n, found = grid.per_frame, []
    for t in range(1, grid.frames):
        before, after = tokens[(t - 1) * n : t * n], tokens[t * n : (t + 1) * n]
        same = sum(math.sqrt(square(a, b)) for a, b in zip(before, after, strict=True)) / n
        nearest = sum(math.sqrt(min(square(a, b) for b in after)) for a in before) / n
        found.append(same + nearest)
    return found


def interval_starts(method, jump):
    """First frame of each interval."""
    starts = [0]
    for i, here in enumerate(jump):
        cut = here > method.cut * statistics.median(jump)
        if 0 < i < len(jump) - 1:
            beside = min(jump[i - 1], jump[i + 1])
            rise = here - beside
            cut |= rise > method.rise * statistics.median(jump) and rise > method.relative * beside
        if cut:
            starts.append(i + 1)
    return starts


def decide_top(method, tokens, grid):
    """(survivors, target) where the tokens of highest worth are taken."""
    n, size = grid.per_frame, grid.size
    if method.alpha is None:
        pairs = [square(tokens[i], tokens[j]) for i in range(size) for j in range(i)]
        alpha = method.width * (sorted(pairs)[(len(pairs) - 1) // 2] if pairs else 0.0)
    else:
        alpha = method.alpha
    crowd = [
        sum(
            math.exp(-square(a, b) / alpha) if alpha > 0 else float(square(a, b) == 0)
            for b in tokens
        )
        for a in tokens
    ]
    worth = [1 / value for value in crowd]
    order = sorted(range(size), key=lambda i: (-round(worth[i], 12), i))
    chosen = order[: method.budget(grid)]
    starts = interval_starts(method, jumps(tokens, grid))
    part = [sum(start * n <= i for start in starts) - 1 for i in range(size)]
    for here in range(len(starts)):
        held = [part[i] for i in chosen]
        spare = [i for i in chosen if held.count(part[i]) > 1]
        if here not in held and spare:
            chosen.remove(min(spare, key=lambda i: (worth[i], i)))
            mine = [i for i in range(size) if part[i] == here]
            chosen.append(max(mine, key=lambda i: (worth[i], -i)))
    target = []
    for i in range(size):
        near = sorted(c for c in chosen if part[c] == part[i])
        best = min(near, key=lambda c: (-round(cosine(tokens[i], tokens[c]), 12), c), default=-1)
        target.append(i if i in chosen else best)
    return sorted(chosen), target, worth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("retention", RETENTIONS)
@pytest.mark.parametrize("options", [{}, {"alpha": 3.0}, {"cut": 1.2, "rise": 0.2}])
def test_the_tokens_of_highest_worth_and_who_joins_them(seed, retention, options):
    tokens, contribution, grid = clip(seed, 6, 2, 3)
    method = KiToke(retention=retention, choose="top", **options)
    decision = method.outside(tokens, contribution, grid)
    survivors, target, worth = decide_top(method, tokens.tolist(), grid)
    assert decision.survivors.tolist() == survivors
    assert decision.target.tolist() == target
    np.testing.assert_allclose(decision.weight, worth, rtol=1e-9)
    check(method, decision, tokens, contribution, grid)


@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize("retention", RETENTIONS)
@pytest.mark.parametrize("choose", ["pivotal", "top"])
def test_adversarial_clips(case, retention, choose):
    tokens, contribution, grid = ADVERSARIAL[case]
    method = KiToke(retention=retention, choose=choose)
    decision = method.outside(tokens, contribution, grid)
    check(method, decision, tokens, contribution, grid)
    merged = decision.fate == int(Fate.MERGED)
    assert (decision.target[merged] >= 0).all()


def test_density_and_chances_are_those_of_the_formulas():
    tokens, _, grid = published_clip()
    crowd = density(tokens, 8.0)
    expected = torch.tensor([19.3108, 7.3786, 14.5831, 17.4241]).double()
    torch.testing.assert_close(crowd[:4], expected, atol=5e-5, rtol=0)
    assert strongest(1 / crowd, 5).tolist() == [1, 19, 26, 35, 44]
    assert strongest(1 / density(tokens, 2.0), 5).tolist() == [17, 35, 40, 44, 50]
    chance = chances((1 / crowd).tolist(), 5)
    assert [round(c, 4) for c in chance[:4]] == [0.0578, 0.1512, 0.0765, 0.0640]
    jump = [round(value, 4) for value in differences(tokens, grid)]
    assert jump == [2.2701, 2.2567, 6.0762, 2.2575, 2.3796]
    target = joined(tokens, torch.tensor([2, 22, 35, 40, 53]), [0, 27])
    assert target[[0, 1, 27, 29, 30, 48]].tolist() == [22, 2, 40, 53, 35, 35]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.data())
def test_exactly_as_many_are_drawn_as_asked(worth, data):
    count = data.draw(st.integers(1, len(worth)))
    chance = chances(worth, count)
    assert sum(chance) == pytest.approx(count)
    assert all(0 <= c <= 1 for c in chance)
    drawn = pivotal(chance, random.Random(data.draw(st.integers(0, 99))))
    assert len(drawn) == len(set(drawn)) == count
    assert {i for i, c in enumerate(chance) if c == 1} <= set(drawn)


def test_tokens_are_drawn_as_often_as_their_chances_say():
    chance, draw = chances([5, 1, 1, 2, 0.5, 3, 1], 3), random.Random(4)
    drawn = [token for _ in range(4000) for token in pivotal(chance, draw)]
    for token, expected in enumerate(chance):
        share = drawn.count(token) / 4000
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 4000) + 1e-9


def test_a_seed_draws_again_what_it_drew_and_another_seed_does_not():
    tokens, contribution, grid = clip(1, 6, 4, 4)
    first, again, other = (
        KiToke(retention=0.1, seed=seed).outside(tokens, contribution, grid) for seed in (3, 3, 4)
    )
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.survivors, other.survivors)


@pytest.mark.parametrize("scale", [2.0**-13, 2.0**13])
@pytest.mark.parametrize("choose", ["pivotal", "top"])
def test_the_scale_of_the_features_decides_nothing(scale, choose):
    tokens, contribution, grid = clip(3, 6, 3, 4)
    method = KiToke(retention=0.2, choose=choose)
    one, other = (method.outside(t, contribution, grid) for t in (tokens, tokens * scale))
    assert torch.equal(one.target, other.target)


@pytest.mark.parametrize(
    ("field", "value"),
    [("alpha", 0), ("width", 0), ("cut", -1), ("rise", math.nan), ("choose", "best"), ("seed", -1)],
)
def test_bad_settings(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        KiToke(**{field: value})


def test_repr_reproduces_the_method():
    method = KiToke(retention=0.1, choose="top")
    assert eval(repr(method), {"KiToke": KiToke}) == method
