"""FlashVID against a slow reference: pairs, trees and clusters one by one."""

import math

import numpy as np
import pytest
import torch
from references import clusters, cosine, grain_of, min_max
from token_clips import ADVERSARIAL, RETENTIONS, check, clip, compare, shared_out

from stc_core.methods.flashvid import FlashVID, farthest, grown
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


def up(value):
    return math.ceil(value - 1e-9)


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def cut(features, least, tau):
    """Segments (start, stop) of frames."""
    steps = [round(cosine(a, b), 12) for a, b in zip(features[:-1], features[1:], strict=True)]
    lowest = sorted(range(len(steps)), key=lambda i: (steps[i], i))[: least - 1]
    cuts = [i + 1 for i, c in enumerate(steps) if c < tau or i in lowest]
    edges = [0, *cuts, len(features)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def spread_out(tokens, worth, count):
    """The tokens that are taken, in the order of taking."""
    n = len(tokens)
    apart = [
        [(1 - round(cosine(tokens[i], tokens[j]), 12)) * worth[j] for j in range(n)]
        for i in range(n)
    ]
    grain = grain_of(max(abs(v) for row in apart for v in row))
    apart = [[round(v / grain) for v in row] for row in apart]
    taken = []
    while len(taken) < count:
        if taken:
            score = [min(apart[i][j] for i in taken) for j in range(n)]
        else:
            score = [sorted(apart[i][j] for i in range(n))[min(1, n - 1)] for j in range(n)]
        taken.append(min((j for j in range(n) if j not in taken), key=lambda j: (-score[j], j)))
    return taken


def roots_of(rows, free, alike, least):
    """Root (frame, place) of each free token; rows and free are by frame and place."""
    frames, n = len(rows), len(rows[0])
    edge = {}
    for t in range(1, frames):
        for p in range(n):
            likes = [
                (round(cosine(rows[t][p], rows[t - 1][q]), 12), -q)
                for q in range(n)
                if free[t - 1][q]
            ]
            if free[t][p] and likes:
                edge[t, p] = max(likes)
    most = sum(map(sum, free)) - least
    joins = {key for key, (like, _) in edge.items() if like > alike}
    if len(joins) > most:
        ranked = sorted((like for like, _ in edge.values()), reverse=True)
        floor = ranked[most - 1] if most else math.inf
        joins = {key for key, (like, _) in edge.items() if like > floor}
    root = {}
    for t in range(frames):
        for p in range(n):
            if free[t][p]:
                root[t, p] = root[t - 1, -edge[t, p][1]] if (t, p) in joins else (t, p)
    return root


def reference(method):
    def decide(tokens, contribution, grid):
        frames, n, total = grid.frames, grid.per_frame, grid.size
        rows = [tokens[t * n : (t + 1) * n] for t in range(frames)]
        kept = shared_out(method.budget(grid), [1] * frames, [n] * frames)
        taken = [up(method.diverse * b) for b in kept]
        fate, target, weight = ["DROPPED"] * total, [-1] * total, [1.0] * total
        middle = [mean(frame) for frame in rows]
        for a, b in cut(middle, method.segments, method.tau):
            event = mean(middle[a:b])
            free = [[True] * n for _ in range(a, b)]
            for t in range(a, b):
                worth = contribution[t * n : (t + 1) * n]
                if method.event_relevance:
                    worth = [
                        c * sum(x * y for x, y in zip(row, event, strict=True))
                        for c, row in zip(worth, rows[t], strict=True)
                    ]
                for p in spread_out(rows[t], worth, taken[t]):
                    i = t * n + p
                    fate[i], target[i], free[t - a][p] = "KEPT", i, False
            pool = sum(kept[a:b]) - sum(taken[a:b])
            if not pool:
                continue
            root = roots_of(rows[a:b], free, method.alike, pool)
            tree = {r: [key for key in root if root[key] == r] for r in sorted(set(root.values()))}
            sizes = [sum(t == u for t, _ in tree) for u in range(b - a)]
            for u, count in enumerate(shared_out(pool, sizes, sizes)):
                mine = [r for r in tree if r[0] == u]
                if not count:
                    continue
                k = min(method.neighbors, count) if method.few_neighbors else method.neighbors
                means = [mean([rows[a + t][p] for t, p in tree[r]]) for r in mine]
                centers, nearest = clusters(means, count, k)
                for place, r in enumerate(mine):
                    goal = (a + u) * n + mine[nearest[place]][1]
                    for t, p in tree[r]:
                        i = (a + t) * n + p
                        fate[i], target[i] = "MERGED", goal
                        weight[i] = 1 / len(tree[r])
                    if place in centers:
                        fate[goal] = "CENTER"
        return fate, target, weight

    return decide


def methods(retention):
    return [
        FlashVID(retention=retention, segments=2, tau=0.0),
        FlashVID(retention=retention),
        FlashVID(retention=retention, segments=1, tau=-1.0, diverse=0.3, alike=0.2, neighbors=3),
        FlashVID(retention=retention, segments=1, diverse=0.0, alike=-1.0, few_neighbors=False),
        FlashVID(retention=retention, segments=3, diverse=1.0, event_relevance=False),
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


@pytest.mark.parametrize("retention", [0.01, 0.02])
def test_the_smallest_budgets_on_a_coarse_grid(retention):
    tokens, contribution, grid = clip(0, 32, 7, 7, scenes=8)
    method = FlashVID(retention=retention)
    check(method, method.outside(tokens, contribution, grid), tokens, contribution, grid)


def test_a_thing_that_moves_is_one_tree_wherever_it_is():
    """Two things change places from frame to frame: as many trees, not four tokens."""
    one, other = [1.0, 0.0, 0.0], [0.0, 1.0, 0.1]
    tokens = torch.tensor([one, other, other, one, one, other]).double()
    root = grown(tokens, torch.ones(3, 2, dtype=torch.bool), 0.8, 1)
    assert root.tolist() == [0, 1, 1, 0, 0, 1]


def test_what_stands_still_is_not_amplified():
    """The published code makes the root of 8 equal tokens 4 times as long."""
    tokens = torch.tensor([[3.0, 4.0]]).double().repeat(8, 1)
    method = FlashVID(retention=1 / 8, segments=1, diverse=0.0)
    decision = method.outside(tokens, torch.ones(8).double(), TokenGrid(8, 1, 1))
    assert len(decision.survivors) == 1
    torch.testing.assert_close(decision.apply(tokens), tokens[:1])


def test_a_tree_counts_once_in_its_cluster():
    """Three equal tokens in a tree and one beside it: halves, not three quarters."""
    far = torch.tensor([[4.0, 0.0], [0.0, 2.0], [4.0, 0.0], [9.0, -9.0], [4.0, 0.0], [-9.0, -9.0]])
    root = grown(far.double(), torch.ones(3, 2, dtype=torch.bool), 0.9, 1)
    assert root.tolist() == [0, 1, 0, 3, 0, 5]
    method = FlashVID(retention=0.5, segments=1, tau=-1.0, diverse=0.0, alike=0.9)
    decision = method.outside(far.double(), torch.ones(6).double(), TokenGrid(3, 1, 2))
    carried = decision.target == decision.target[0]
    assert carried.tolist() == [True, True, True, False, True, False]
    joined = decision.apply(far.double())[decision.survivors.tolist().index(decision.target[0])]
    torch.testing.assert_close(joined, torch.tensor([2.0, 1.0]).double())


def test_the_first_token_is_the_one_farthest_from_its_neighbor():
    tokens = torch.tensor([[1.0, 0], [1, 0.01], [0, 1], [0.02, 1], [-1, 0]]).double()
    even = torch.ones(5).double()
    assert farthest(tokens, even, 1).nonzero().flatten().tolist() == [4]
    assert farthest(tokens, even, 2).nonzero().flatten().tolist() == [0, 4]
    bright = torch.tensor([1.0, 1, 1, 9000, 1]).double()
    assert farthest(tokens, bright, 1).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("scale", [2.0**-13, 2.0**13])
@pytest.mark.parametrize("event_relevance", [True, False])
def test_the_scale_of_features_and_contributions_decides_nothing(scale, event_relevance):
    """In ADTS and the trees; in a cluster's score an exponential stands beside a length."""
    tokens, contribution, grid = clip(3, 6, 3, 4)
    method = FlashVID(retention=0.3, diverse=1.0, event_relevance=event_relevance)
    one = method.outside(tokens, contribution, grid)
    for other in (
        method.outside(tokens * scale, contribution, grid),
        method.outside(tokens, contribution * scale, grid),
    ):
        assert torch.equal(one.target, other.target)
    free = torch.ones(6, 12, dtype=torch.bool)
    assert torch.equal(grown(tokens, free, 0.5, 20), grown(tokens * scale, free, 0.5, 20))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [1, 2, 25])
@pytest.mark.parametrize("keep", [1e-6, 0.3, 0.5, 1.0])
def test_inside(seed, n, keep):
    rng = np.random.default_rng(seed)
    visual, text, attention = (
        torch.from_numpy(array)
        for array in (rng.normal(size=(n, 4)), rng.normal(size=(3, 4)), rng.random((3, n)))
    )
    method = FlashVID(keep_inside=keep)
    decision = method.inside(visual, text, attention)
    relevance = [round(value, 12) for value in min_max(attention[-1].tolist())]
    order = sorted(range(n), key=lambda i: (-relevance[i], i))
    assert decision.survivors.tolist() == sorted(order[: max(1, up(keep * n))])
    assert len(decision.survivors) == method.inside_budget(n)
    gone = decision.fate[decision.target < 0]
    assert len(gone) == n - len(decision.survivors) and (gone == int(Fate.DROPPED_INSIDE)).all()


@pytest.mark.parametrize(
    ("depth", "layer", "expected"), [(28, None, 19), (24, None, 16), (2, None, 0), (24, 17, 17)]
)
def test_layer_k(depth, layer, expected):
    assert FlashVID(layer=layer).inside_layer(depth) == expected


def test_what_enters_makes_the_published_average_over_layers():
    """R = 10 %: 12.5 % in layers 0 to 19, 30 % of it in the last eight."""
    method = FlashVID(retention=0.125)
    full = method.inside_layer(28) + 1
    entered = method.budget(TokenGrid(32, 14, 14))
    left = method.inside_budget(entered)
    assert (full * entered + (28 - full) * left) / 28 / 6272 == pytest.approx(0.1, rel=0.03)


def test_layer_k_outside_the_depth_is_refused():
    for depth, layer in ((28, 27), (1, None)):
        with pytest.raises(ValueError, match="outside this model"):
            FlashVID(layer=layer).inside_layer(depth)


def test_keeping_everything_inside_switches_the_stage_off():
    assert FlashVID(keep_inside=1.0).inside_layer(28) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("segments", 0), ("neighbors", 0), ("tau", 1.1), ("alike", -2), ("diverse", 1.5),
        ("layer", 1.5), ("keep_inside", 0),
    ],
)  # fmt: skip
def test_bad_settings(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        FlashVID(**{field: value})


def test_tensors_that_do_not_belong_together():
    with pytest.raises(ValueError, match="do not belong together"):
        FlashVID().outside(torch.ones(4, 3), torch.ones(3), TokenGrid(1, 2, 2))
    with pytest.raises(ValueError, match="does not join"):
        FlashVID().inside(torch.ones(4, 3), torch.ones(2, 3), torch.ones(3, 4))


def test_repr_reproduces_the_method():
    method = FlashVID(retention=0.1, event_relevance=False)
    assert eval(repr(method), {"FlashVID": FlashVID}) == method
