"""Tango against a slow reference and against what its published code gave on one clip."""

import itertools
import math

import numpy as np
import pytest
import torch
from published_clip import published_clip
from references import cosine, grain_of
from token_clips import ADVERSARIAL, RETENTIONS, check, clip, compare, shared_out
from windows import cut_best, static_places

from stc_core.methods.tango import Tango, rotated
from stc_core.record.grid import TokenGrid


def turned(row, place):
    """The row at length 1, turned by its place: (seconds, row, column)."""
    length = math.sqrt(sum(v * v for v in row))
    row = [v / length if length > 1e-12 else 0.0 for v in row]
    space = 2 * (len(row) // 6)
    out, start = [], 0
    for where, base, width in zip(
        place, (10000, 1000, 1000), (len(row) - 2 * space, space, space), strict=True
    ):
        part, half = row[start : start + width], width // 2
        new = list(part)
        for i in range(half):
            angle = where * base ** (-i / half)
            new[i] = part[i] * math.cos(angle) - part[i + half] * math.sin(angle)
            new[i + half] = part[i + half] * math.cos(angle) + part[i] * math.sin(angle)
        out, start = out + new, start + width
    return out


def clustered(rows, count, k):
    """(centers ascending, nearest center of each) by the published score, k others counted."""
    m = len(rows)
    if count == m:
        return list(range(m)), list(range(m))
    square = [
        [sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) for two in rows] for one in rows
    ]
    grain = grain_of(sum(map(sum, square)) / m**2)
    square = [[round(value / grain) for value in row] for row in square]
    dense = []
    for i in range(m):
        near = sorted(square[i][j] for j in range(m) if j != i)[:k]
        dense.append(-sum(near) / max(len(near), 1) * grain)
    score = []
    for i in range(m):
        denser = [
            square[i][j]
            for j in range(m)
            if dense[j] > dense[i] or (dense[j] == dense[i] and j < i)
        ]
        apart = min(denser) if denser else max(square[i])
        score.append(dense[i] + 0.5 * math.log(apart * grain) if apart else -math.inf)
    centers = sorted(sorted(range(m), key=lambda i: (-score[i], i))[:count])
    nearest = [
        i if i in centers else min(centers, key=lambda c: (square[i][c], c)) for i in range(m)
    ]
    return centers, nearest


def salient_of(names, score, rows, count, method):
    first = sorted(names, key=lambda i: (-score[i], i))[: int(method.candidates * count + 1e-9)]
    if len(first) <= count:
        return first
    first.sort()
    centers, nearest = clustered([rows[i] for i in first], count, method.neighbors)
    return [
        min(
            (first[j] for j in range(len(first)) if nearest[j] == c),
            key=lambda i: (-score[i], i),
        )
        for c in centers
    ]


def reference(method):
    def decide(tokens, contribution, grid):
        frames, n, total = grid.frames, grid.per_frame, grid.size
        budget = method.budget(grid)
        places = itertools.product(range(frames), range(grid.rows), range(grid.cols))
        rows = [
            turned(row, (t * method.seconds, r, c))
            for row, (t, r, c) in zip(tokens, places, strict=True)
        ]
        likes = [
            [round(cosine(tokens[t * n + p], tokens[(t + 1) * n + p]), 12) for p in range(n)]
            for t in range(frames - 1)
        ]
        windows = cut_best([[c > method.tau for c in row] for row in likes], frames)
        still = [[c > method.static_tau for c in row] for row in likes]
        head = list(range(total))
        static = []
        for a, b in windows:
            static.append(static_places(still, a, b))
            for t, p in itertools.product(range(a, b), static[-1]):
                head[t * n + p] = a * n + p
        units = sorted(set(head))
        if budget >= len(units):
            merged = [i for i in range(total) if head[i] != i]
            freed = sorted(merged, key=lambda i: (-contribution[i], i))[: budget - len(units)]
            target = [i if i in freed else head[i] for i in range(total)]
            fate = []
            for i in range(total):
                alone = "CENTER" if target.count(i) > 1 else "KEPT"
                fate.append(alone if target[i] == i else "MERGED")
            return fate, target, None
        goal, own = {}, []
        room = [sum(a * n <= u < b * n for u in units) for a, b in windows]
        given = shared_out(budget, [b - a for a, b in windows], room)
        for (a, b), mine, whole in zip(windows, static, given, strict=True):
            moving = [p for p in range(n) if p not in mine]
            sizes = [len(mine)] + [len(moving)] * (b - a)
            counts = shared_out(whole, sizes, sizes)

            def split(names, score, count, rows=rows):
                own = int((1 - method.context) * count + 1e-9)
                return salient_of(names, score, rows, own, method), count - own

            def join(names, count, rows=rows):
                if count:
                    centers = clustered([rows[i] for i in names], count, method.neighbors)[1]
                    goal.update({i: names[c] for i, c in zip(names, centers, strict=True)})

            heads = [a * n + p for p in mine]
            score = {i: sum(contribution[i + t * n] for t in range(b - a)) / (b - a) for i in heads}
            score = {i: round(value, 12) for i, value in score.items()}
            kept, count = split(heads, score, counts[0])
            goal.update({i: i for i in kept})
            join([i for i in heads if i not in kept], count)
            rest, pool = [], 0
            for t, whole_frame in zip(range(a, b), counts[1:], strict=True):
                names = [t * n + p for p in moving]
                kept, count = split(names, contribution, whole_frame)
                own += kept
                goal.update({i: i for i in kept})
                rest += [i for i in names if i not in kept]
                pool += count
            join(rest, pool)
        fate, target, weight = ["DROPPED"] * total, [-1] * total, [1.0] * total
        for i in range(total):
            if head[i] in goal:
                target[i] = goal[head[i]]
                fate[i] = "KEPT" if i in own else "CENTER" if target[i] == i else "MERGED"
                members = sum(g == target[i] for g in goal.values())
                w = max(1 / members, method.beta)
                weight[i] = (1 - w) / members + (w if head[i] == target[i] else 0)
                weight[i] /= head.count(head[i])
                weight[i] = max(weight[i], 1e-30)
        return fate, target, weight

    return decide


def methods(retention):
    return [
        Tango(retention=retention),
        Tango(retention=retention, tau=0.3, static_tau=0.97, context=0.8, neighbors=2),
        Tango(retention=retention, tau=-1.0, static_tau=-1.0, beta=0.1, seconds=0.5),
        Tango(retention=retention, context=0.0, candidates=3.0),
        Tango(retention=retention, tau=1.0, context=1.0, beta=1.0),
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("retention", RETENTIONS)
def test_random_clips(seed, retention):
    for method in methods(retention):
        compare(method, *clip(seed, 6, 3, 4, width=13), reference(method))


@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize("retention", RETENTIONS)
def test_adversarial_clips(case, retention):
    for method in methods(retention):
        compare(method, *ADVERSARIAL[case], reference(method))


@pytest.mark.parametrize(
    ("context", "counts", "kept"),
    [
        (0.4, ([3, 1, 1, 1], [4, 1, 1, 1]), [0, 2, 3, 5, 6, 9, 27, 28, 32, 34, 35, 41, 50]),
        (0.4, ([2, 1, 1, 1], [2, 1, 1, 1]), [0, 2, 5, 6, 9, 28, 32, 34, 41, 50]),
        (
            0.0,
            ([5, 2, 2, 2], [7, 1, 1, 1]),
            [0, 1, 2, 4, 6, 7, 8, 9, 11, 18, 20, 27, 29, 30, 31, 32, 33, 34, 35, 41, 50],
        ),
    ],
    ids=["20 %", "10 %", "34 %, no context"],
)
def test_the_published_code_keeps_the_same_tokens(context, counts, kept):
    """At its counts: the quotas of static places and of each frame, rounded up."""
    tokens, contribution, _ = published_clip()
    method = Tango(context=context)
    places = torch.cartesian_prod(torch.arange(6), torch.arange(3), torch.arange(3))
    found = []
    for window, (start, static) in enumerate(
        ((0, [1, 3, 4, 5, 6, 7, 8]), (3, [0, 1, 2, 3, 4, 6, 7, 8]))
    ):
        part = slice(9 * start, 9 * start + 27)
        still = torch.zeros(9, dtype=torch.bool)
        still[static] = True
        goal, _ = method.thin(
            rotated(tokens[part], places[part]),
            contribution[part].view(3, 9).double(),
            still,
            counts[window],
        )
        found += [9 * start + i for i, to in enumerate(goal.tolist()) if i == to]
    assert found == kept


@pytest.mark.parametrize("tau", [0.65, 0.8])
def test_windows_and_static_places_of_the_published_clip(tau):
    """In the first window the counts are the published ones, and so is what goes on."""
    tokens, contribution, grid = published_clip()
    decision = Tango(retention=13 / 54, tau=tau).outside(tokens, contribution, grid)
    survivors = decision.survivors.tolist()
    assert [i for i in survivors if i < 27] == [0, 2, 3, 5, 6, 9]
    still = [p for p in range(9) if decision.target[27 + p] == decision.target[45 + p] >= 0]
    assert set(still) <= {0, 1, 2, 3, 4, 6, 7, 8}


def test_a_cluster_stands_at_its_own_center():
    """The published code exchanges these two."""
    noise = 0.02 * np.random.default_rng(3).standard_normal((12, 8))
    tokens = torch.eye(8).double()[[0] * 6 + [1] * 6] + torch.from_numpy(noise)
    method = Tango(neighbors=3, context=1.0)
    static = torch.zeros(12, dtype=torch.bool)
    goal, salient = method.thin(tokens, torch.zeros(1, 12).double(), static, [0, 2])
    assert goal.tolist() == [2] * 6 + [9] * 6 and not salient.any()


def test_turning_leaves_lengths_and_depends_on_differences_of_place():
    tokens = torch.randn(5, 24, generator=torch.Generator().manual_seed(1)).double()
    places = torch.tensor([[0, 0, 0], [3, 1, 2], [7, 0, 5], [2, 2, 2], [9, 9, 9]])
    here, there = rotated(tokens, places), rotated(tokens, places + torch.tensor([4, 1, 6]))
    torch.testing.assert_close(here.norm(dim=1), torch.ones(5).double())
    torch.testing.assert_close(here @ here.T, there @ there.T)
    torch.testing.assert_close(here[0], tokens[0] / tokens[0].norm())


def test_equal_tokens_far_apart_are_not_of_one_cluster():
    """Nothing but their time tells them apart, a tenth of a second each: clusters are stretches."""
    turned = rotated(torch.ones(12, 12), torch.arange(12)[:, None] * torch.tensor([0.1, 0, 0]))
    static, counts = torch.zeros(1, dtype=torch.bool), [0] + [1] * 3 + [0] * 9
    goal, _ = Tango(context=1.0).thin(turned, torch.ones(12, 1), static, counts)
    assert sum(a != b for a, b in itertools.pairwise(goal.tolist())) == 2


@pytest.mark.parametrize("retention", [0.01, 0.02])
def test_the_smallest_budgets_on_a_coarse_grid(retention):
    tokens, contribution, grid = clip(0, 32, 7, 7, scenes=8)
    method = Tango(retention=retention)
    check(method, method.outside(tokens, contribution, grid), tokens, contribution, grid)


@pytest.mark.parametrize("scale", [2.0**-13, 1e-4, 1e4])
def test_the_scale_of_features_and_contributions_decides_nothing(scale):
    tokens, contribution, grid = clip(3, 6, 3, 4, width=13)
    method = Tango(retention=0.3)
    one = method.outside(tokens, contribution, grid)
    for other in (
        method.outside(tokens * scale, contribution, grid),
        method.outside(tokens, contribution * scale, grid),
    ):
        assert torch.equal(one.target, other.target)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tau", 1.1), ("static_tau", -2), ("context", 1.5), ("candidates", 0.5), ("beta", -0.1),
        ("neighbors", 0), ("seconds", -1),
    ],
)  # fmt: skip
def test_bad_settings(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Tango(**{field: value})


def test_tensors_that_do_not_belong_together():
    with pytest.raises(ValueError, match="do not belong together"):
        Tango().outside(torch.ones(4, 3), torch.ones(3), TokenGrid(1, 2, 2))


def test_repr_reproduces_the_method():
    method = Tango(retention=0.1, tau=0.8, seconds=0.5)
    assert eval(repr(method), {"Tango": Tango}) == method
