"""FastVID against a slow reference."""

import math

import pytest
import torch
from references import clusters, cosine, half_up
from segments import cuts
from token_clips import ADVERSARIAL, RETENTIONS, check, clip, compare, shared_out

from stc_core.methods.fastvid import FastVID, segment
from stc_core.record.grid import TokenGrid


def split(method, parts, grid):
    """(salient, context) tokens of each frame."""
    frames, n = grid.frames, grid.per_frame
    kept = shared_out(method.budget(grid), [1] * frames, [n] * frames)
    wholes = [sum(kept[a:b]) for a, b in parts]
    pools = shared_out(half_up(method.context * sum(kept)), wholes, wholes)
    if method.published_rounding:
        pools = [(b - a) * math.floor(method.context * kept[a] + 1e-9) for a, b in parts]
    salient, context = [0] * frames, [0] * frames
    for (a, b), whole, pool in zip(parts, wholes, pools, strict=True):
        salient[a:b] = shared_out(whole - pool, kept[a:b], [n] * (b - a))
        anchors = [f for f in range(a, b) if (b - 1 - f) % method.period == 0]
        room = sum(n - salient[f] for f in anchors)
        if pool > room:  # all of the anchors goes on
            rest = [f for f in range(a, b) if f not in anchors]
            more = shared_out(pool - room, [1] * len(rest), [n - salient[f] for f in rest])
            for f, count in zip(rest, more, strict=True):
                salient[f] += count
            pool = room
        if method.published_rounding:
            pool = pool // len(anchors) * len(anchors)
        given = shared_out(pool, [1] * len(anchors), [n - salient[f] for f in anchors])
        for f, count in zip(anchors, given, strict=True):
            context[f] = count
    return salient, context


def reference(method):
    def decide(tokens, contribution, grid):
        n, total, width = grid.per_frame, grid.size, len(tokens[0])
        features = [
            [sum(tokens[f * n + i][c] for i in range(n)) / n for c in range(width)]
            for f in range(grid.frames)
        ]
        parts = cuts(features, method.segments, method.tau)
        salient, context = split(method, parts, grid)
        fate, target, weight = ["DROPPED"] * total, [-1] * total, [0.0] * total
        for f in range(grid.frames):
            mine = range(f * n, (f + 1) * n)
            for i in sorted(mine, key=lambda i: (-contribution[i], i))[: salient[f]]:
                fate[i], target[i], weight[i] = "KEPT", i, 1.0
        for a, b in parts:
            centers = []
            for f in range(a, b):
                others = [i for i in range(f * n, (f + 1) * n) if fate[i] == "DROPPED"]
                if context[f]:
                    found, _ = clusters([tokens[i] for i in others], context[f], method.neighbors)
                    centers += [others[place] for place in found]
            if not centers:
                continue
            for i in range(a * n, b * n):
                if i in centers:
                    fate[i], target[i] = "CENTER", i
                elif fate[i] == "DROPPED":
                    fate[i] = "MERGED"
                    target[i] = min(
                        centers, key=lambda c: (-round(cosine(tokens[i], tokens[c]), 12), c)
                    )
            for c in centers:
                joined = [i for i in range(total) if target[i] == c and i != c]
                weight[c] = max(1 / (len(joined) + 1), method.beta)
                members = joined
                if method.centers_join:
                    members = [c, *joined]
                    weight[c] = max(1 / (len(members) + 1), method.beta)
                for i in joined:
                    weight[i] = (1 - weight[c]) / len(members)
                if method.centers_join:
                    weight[c] += (1 - weight[c]) / len(members)
        return fate, target, weight

    return decide


def methods(retention):
    return [
        FastVID(retention=retention, segments=2),
        FastVID(retention=retention, segments=1, tau=-1.0, period=2, beta=0.0, centers_join=False),
        FastVID(retention=retention, context=0.0),
        FastVID(retention=retention, segments=3, context=1.0, neighbors=7, beta=0.9),
        FastVID(retention=retention, segments=2, tau=0.5, published_rounding=True),
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


@pytest.mark.parametrize("least", [1, 2, 8])
@pytest.mark.parametrize("tau", [-1.0, 0.2, 1.0])
def test_segments(least, tau):
    features = torch.randn(7, 3, generator=torch.Generator().manual_seed(3)).double()
    assert segment(features, least, tau) == cuts(features.tolist(), least, tau)
    assert segment(features[:1], least, tau) == [(0, 1)]
    assert segment(features[:1].repeat(5, 1), 3, 0.9) == [(0, 1), (1, 2), (2, 5)]


@pytest.mark.parametrize(
    ("retention", "asked", "kept"), [(0.02, 128, 96), (0.01, 64, 32), (0.1, 640, 608)]
)
def test_the_published_floors(retention, asked, kept):
    grid = TokenGrid(32, 14, 14)
    method = FastVID(retention=retention, published_rounding=True)
    assert (method.asked(grid), method.budget(grid)) == (asked, kept)
    assert FastVID(retention=retention).budget(grid) == asked


def test_published_a_center_with_one_member_weighs_four_fifths():
    tokens = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1]]).double()
    decision = FastVID(retention=0.67, context=0.5).outside(
        tokens, torch.tensor([0.0, 0, 1]), TokenGrid(1, 1, 3)
    )
    assert decision.shares().tolist() == pytest.approx([0.8, 0.2, 1.0])


@pytest.mark.parametrize(("retention", "kept"), [(0.1, 607), (0.05, 287), (0.02, 95)])
def test_published_floors_lose_a_context_token_that_two_anchors_cannot_share(retention, kept):
    """Segments of 4, 4, 4, 4, 4, 4, 5 and 3 frames: the fifth frame makes a second anchor."""
    rng = torch.Generator().manual_seed(5)
    scenes = [scene for scene, frames in enumerate((4, 4, 4, 4, 4, 4, 5, 3)) for _ in range(frames)]
    means = 5 * torch.randn(8, 1, 16, generator=rng)[scenes]
    tokens = (means + 0.1 * torch.randn(32, 196, 16, generator=rng)).flatten(0, 1)
    method = FastVID(retention=retention, published_rounding=True)
    decision = method.outside(tokens, torch.rand(6272, generator=rng), TokenGrid(32, 14, 14))
    assert len(decision.survivors) == kept


@pytest.mark.parametrize("retention", [0.01, 0.02])
@pytest.mark.parametrize("published_rounding", [False, True])
def test_the_smallest_budgets_on_a_coarse_grid(retention, published_rounding):
    tokens, contribution, grid = clip(0, 32, 7, 7, scenes=8)
    method = FastVID(retention=retention, published_rounding=published_rounding)
    decision = method.outside(tokens, contribution, grid)
    check(method, decision, tokens, contribution, grid)
    kinds = [(decision.fate == kind).sum().item() for kind in (0, 1)]
    assert kinds == ([32, 0] if published_rounding else {0.01: [10, 6], 0.02: [19, 12]}[retention])


@pytest.mark.parametrize("joins", [False, True])
def test_a_context_token_weighs_its_center_by_beta(joins):
    tokens = torch.tensor([[1.0, 0], [0.9, 0.1], [0.8, 0.3], [0, 1]]).double()
    scores, grid = torch.tensor([0.0, 0, 0, 1]), TokenGrid(1, 2, 2)
    method = FastVID(retention=0.5, context=0.5, centers_join=joins)
    decision = method.outside(tokens, scores, grid)
    (center,) = (decision.fate == 1).nonzero().flatten().tolist()
    members = [i for i in range(3) if joins or i != center]
    expected = 0.6 * tokens[center] + 0.4 * tokens[members].mean(0)
    torch.testing.assert_close(decision.apply(tokens)[0], expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tau", 1.1),
        ("context", -0.1),
        ("beta", float("nan")),
        ("segments", 0),
        ("period", 1.5),
        ("neighbors", True),
    ],
)
def test_bad_settings(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        FastVID(**{field: value})


def test_tensors_that_do_not_belong_together():
    with pytest.raises(ValueError, match="do not belong together"):
        FastVID().outside(torch.ones(4, 3), torch.ones(3), TokenGrid(1, 2, 2))


def test_repr_reproduces_the_method():
    method = FastVID(retention=0.1, period=2)
    assert eval(repr(method), {"FastVID": FastVID}) == method
