"""HoliTom against a slow reference: windows by trying all of them."""

import itertools

import numpy as np
import pytest
import torch
from references import clusters, cosine, half_up, means, min_max
from token_clips import ADVERSARIAL, RETENTIONS, check, clip, compare, shared_out
from windows import cut_best, static_places

from stc_core.methods.holitom import HoliTom, best_windows, run_lengths
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


def reference(method):
    def decide(tokens, contribution, grid):
        frames, n, total = grid.frames, grid.per_frame, grid.size
        budget = method.budget(grid)
        alike = [
            [
                round(cosine(tokens[t * n + p], tokens[(t + 1) * n + p]), 12) > method.tau
                for p in range(n)
            ]
            for t in range(frames - 1)
        ]
        windows = cut_best(alike, frames)
        head = list(range(total))  # of each token's unit
        groups = []  # units that share the budget: (units, window or None)
        for a, b in windows:
            static = static_places(alike, a, b)
            for t, p in itertools.product(range(a, b), static):
                head[t * n + p] = a * n + p
            groups.append(([a * n + p for p in static], (a, b)))
            for t in range(a, b):
                groups.append(([t * n + p for p in range(n) if p not in static], None))
        units = sorted(set(head))
        length = {unit: head.count(unit) for unit in units}
        fate, target, weight = ["DROPPED"] * total, [-1] * total, [0.0] * total
        if budget >= len(units):
            merged = [i for i in range(total) if head[i] != i]
            freed = sorted(merged, key=lambda i: (-contribution[i], i))[: budget - len(units)]
            target = [i if i in freed else head[i] for i in range(total)]
            for i in range(total):
                fate[i] = "MERGED" if target[i] != i else "KEPT"
                if target[i] == i and target.count(i) > 1:
                    fate[i] = "CENTER"
            return fate, target, None
        sizes = [len(mine) for mine, _ in groups]
        share = {}  # of a unit in the unit that carries it
        goal = {}
        for (mine, window), count in zip(groups, shared_out(budget, sizes, sizes), strict=True):
            if not count:
                continue
            if window is None:
                for i in sorted(mine, key=lambda i: (-contribution[i], i))[:count]:
                    fate[i], goal[i], share[i] = "KEPT", i, 1.0
                continue
            a, b = window
            rows = [
                [
                    sum(tokens[i + (t - a) * n][c] for t in range(a, b)) / (b - a)
                    for c in range(len(tokens[0]))
                ]
                for i in mine
            ]
            k = min(method.neighbors, count) if method.few_neighbors else method.neighbors
            centers, nearest = clusters(rows, count, k)
            for place, i in enumerate(mine):
                goal[i] = mine[nearest[place]]
                others = nearest.count(nearest[place]) - 1
                center = method.beta if others else 1.0
                share[i] = center if place in centers else (1 - center) / others
                if place in centers:
                    fate[i] = "CENTER"
        for i in range(total):
            if head[i] in goal:
                target[i] = goal[head[i]]
                weight[i] = share[head[i]] / length[head[i]]
                if target[i] != i:
                    fate[i] = "MERGED"
        return fate, target, weight

    return decide


def methods(retention):
    return [
        HoliTom(retention=retention),
        HoliTom(retention=retention, tau=0.97, beta=0.1, few_neighbors=False),
        HoliTom(retention=retention, tau=-1.0, beta=0.2, neighbors=3),
        HoliTom(retention=retention, tau=1.0, beta=1.0),
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("retention", RETENTIONS)
def test_random_clips(seed, retention):
    for method in methods(retention):
        compare(method, *clip(seed, 6, 3, 4), reference(method))


@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize("retention", RETENTIONS)
def test_adversarial_clips(case, retention):
    for method in methods(retention):
        compare(method, *ADVERSARIAL[case], reference(method))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("density", [0.3, 0.7, 0.95])
def test_windows_equal_those_found_by_trying_all(seed, density):
    rng = np.random.default_rng(seed)
    frames, n = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    alike = rng.random((frames - 1, n)) < density
    found = best_windows(run_lengths(torch.from_numpy(alike)))
    assert found == cut_best(alike.tolist(), frames)


def test_a_still_clip_becomes_one_window():
    assert best_windows(run_lengths(torch.ones(6, 4, dtype=torch.bool))) == [(0, 7)]


@pytest.mark.parametrize("retention", [0.01, 0.02])
def test_the_smallest_budgets_on_a_coarse_grid(retention):
    tokens, contribution, grid = clip(0, 32, 7, 7, scenes=8)
    method = HoliTom(retention=retention)
    check(method, method.outside(tokens, contribution, grid), tokens, contribution, grid)


def test_a_static_place_is_the_mean_over_its_window():
    tokens = torch.tensor([[1.0, 0], [0, 1], [1, 0.2], [1, 0]]).double()
    decision = HoliTom(retention=0.75).outside(tokens, torch.ones(4), TokenGrid(2, 1, 2))
    assert decision.target.tolist() == [0, 1, 0, 3]
    torch.testing.assert_close(decision.apply(tokens)[0], tokens[[0, 2]].mean(0))


def test_one_center_with_few_neighbors_is_the_first_static_place():
    tokens, contribution, grid = ADVERSARIAL["still"]
    published = HoliTom(retention=1e-6, few_neighbors=True)
    assert published.outside(tokens, contribution, grid).survivors.tolist() == [0]


def inside_case(seed, n, q=3):
    rng = np.random.default_rng(seed)
    arrays = rng.normal(size=(n, 4)), rng.normal(size=(q, 4)), rng.random((q, n))
    return [torch.from_numpy(array) for array in arrays]


def inside(visual, last, keep, sequential):
    """(survivors, target, merged tokens)."""
    n = len(visual)
    relevance = [round(value, 12) for value in min_max(last)]
    count = max(1, half_up(keep * n))
    survivors = sorted(sorted(range(n), key=lambda i: (-relevance[i], i))[:count])
    target = [
        i
        if i in survivors
        else min(survivors, key=lambda s: (-round(cosine(visual[i], visual[s]), 12), s))
        for i in range(n)
    ]
    if not sequential:
        return survivors, target, means(visual, target)
    rows = {s: np.array(visual[s]) for s in survivors}
    for i in range(n):
        if i not in survivors:
            rows[target[i]] = (rows[target[i]] + np.array(visual[i])) / 2
    return survivors, target, np.array([rows[s] for s in survivors])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [1, 2, 25])
@pytest.mark.parametrize("keep", [1e-6, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("sequential", [False, True])
def test_inside(seed, n, keep, sequential):
    visual, text, attention = inside_case(seed, n)
    method = HoliTom(keep_inside=keep, sequential=sequential)
    decision = method.inside(visual, text, attention)
    survivors, target, merged = inside(visual.tolist(), attention[-1].tolist(), keep, sequential)
    assert decision.survivors.tolist() == survivors
    assert decision.target.tolist() == target
    np.testing.assert_allclose(decision.apply(visual).numpy(), merged, atol=1e-12)
    assert len(survivors) == method.inside_budget(n)
    moved = decision.fate[decision.target != torch.arange(n)]
    assert (moved == int(Fate.MERGED_INSIDE)).all()


def test_halving_hundreds_of_tokens_leaves_every_share_above_zero():
    visual, text, attention = inside_case(0, 400)
    decision = HoliTom(keep_inside=1e-6, sequential=True).inside(visual, text, attention)
    shares = decision.shares()
    assert (shares.float() > 0).all()
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0).double())
    last = max(i for i in range(400) if i != decision.survivors.item())
    torch.testing.assert_close(shares[last], torch.tensor(0.5).double())


@pytest.mark.parametrize("sequential", [False, True])
def test_equal_tokens_merge_inside_to_themselves(sequential):
    visual = torch.ones(7, 3).double()
    method = HoliTom(sequential=sequential)
    decision = method.inside(visual, torch.ones(2, 3), torch.full((2, 7), 1 / 7))
    assert decision.survivors.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(decision.apply(visual), visual[:4])


@pytest.mark.parametrize(
    ("depth", "layer", "expected"), [(28, None, 18), (24, None, 15), (2, None, 0), (24, 17, 17)]
)
def test_layer_k(depth, layer, expected):
    assert HoliTom(layer=layer).inside_layer(depth) == expected


def test_layer_k_outside_the_depth_is_refused():
    for depth, layer in ((28, 27), (1, None)):
        with pytest.raises(ValueError, match="outside this model"):
            HoliTom(layer=layer).inside_layer(depth)


def test_keeping_everything_inside_switches_the_stage_off():
    assert HoliTom(keep_inside=1.0).inside_layer(28) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tau", 1.1),
        ("beta", -0.1),
        ("neighbors", 0),
        ("layer", 1.5),
        ("keep_inside", 0),
    ],
)
def test_bad_settings(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        HoliTom(**{field: value})


def test_tensors_that_do_not_belong_together():
    with pytest.raises(ValueError, match="do not belong together"):
        HoliTom().outside(torch.ones(4, 3), torch.ones(3), TokenGrid(1, 2, 2))
    with pytest.raises(ValueError, match="does not join"):
        HoliTom().inside(torch.ones(4, 3), torch.ones(2, 3), torch.ones(3, 4))


def test_repr_reproduces_the_method():
    method = HoliTom(retention=0.1, sequential=True)
    assert eval(repr(method), {"HoliTom": HoliTom}) == method
