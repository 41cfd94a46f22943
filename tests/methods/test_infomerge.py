"""InfoMerge against a slow reference, and against the numbers that its paper's formulas give."""

import math

import numpy as np
import pytest
import torch
from published_clip import published_clip
from references import clusters, cosine, half_up
from segments import cuts
from token_clips import ADVERSARIAL, RETENTIONS, check, clip, compare, shared_out

from stc_core.methods.infomerge import InfoMerge, fingerprint_changes, shares, spectral_entropy
from stc_core.record.grid import TokenGrid


def changes(rows):
    """Of each place; rows[l][p] is a token."""
    frames, places = len(rows), len(rows[0])
    if frames < 2:
        return [0.0] * places
    found = []
    for p in range(places):
        mark = [[cosine(rows[a][p], rows[b][p]) for b in range(frames)] for a in range(frames)]
        steps = [abs(mark[a + 1][b] - mark[a][b]) for a in range(frames - 1) for b in range(frames)]
        found.append(round(sum(steps) / len(steps), 12))
    return found


def entropy(rows):
    power = np.linalg.svd(np.array(rows), compute_uv=False) ** 2
    if len(power) < 2 or not power.sum():
        return 0.0
    share = power[power > 0] / power.sum()
    return float(-(share * np.log(share)).sum() / math.log(len(power)))


def standard(values):
    spread = np.std(values)
    return (
        (np.array(values) - np.mean(values)) / spread if spread > 1e-12 else np.zeros(len(values))
    )


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def context_places(method, tokens, features, parts, room, pool, n):
    whole = mean(features)
    u = [1 - cosine(mean(features[a:b]), whole) for a, b in parts]
    e = [entropy(tokens[a * n : b * n]) for a, b in parts]
    m = 0.9 * standard(u) + 0.1 * standard(e)
    weight = [
        (b - a) / (1 + math.exp(-method.sharpness * x)) for (a, b), x in zip(parts, m, strict=True)
    ]
    places = shared_out(pool, weight, room)
    for k, most in enumerate(room):
        if not places[k] and most:
            richest = max(range(len(places)), key=lambda j: (places[j], -j))
            if places[richest] > 1:
                places[richest] -= 1
                places[k] = 1
    return places


def reference(method):
    def decide(tokens, contribution, grid):
        frames, n, total = grid.frames, grid.per_frame, grid.size
        budget = method.budget(grid)
        features = [mean(tokens[f * n : (f + 1) * n]) for f in range(frames)]
        parts = cuts(features, method.segments, method.tau)
        pool = half_up(method.context * budget)
        counts = shared_out(budget - pool, [1] * frames, [n] * frames)
        salient, head = set(), {}
        for a, b in parts:
            change = changes([tokens[f * n : (f + 1) * n] for f in range(a, b)])
            still = sorted(range(n), key=lambda p: (change[p], p))[: int(method.still * n + 1e-9)]
            first = {}
            for f in range(a, b):
                mine = contribution[f * n : (f + 1) * n]
                lower = method.penalty * float(np.std(mine))
                score = [round(c - lower * (p in first), 11) for p, c in enumerate(mine)]
                chosen = sorted(range(n), key=lambda p: (-score[p], p))[: counts[f]]
                salient |= {f * n + p for p in chosen}
                if b - a > 1:
                    for p in chosen:
                        if p in still:
                            first.setdefault(p, f * n + p)
            for p, i in first.items():
                head |= {f * n + p: i for f in range(a, b)}
        target = [i if i in salient else head.get(i, -1) for i in range(total)]
        free = [i for i in range(total) if target[i] < 0]
        lacking = pool - len(free)
        if lacking > 0:
            carried = [i for i in range(total) if target[i] not in (-1, i)]
            for i in sorted(carried, key=lambda i: (-contribution[i], i))[:lacking]:
                target[i] = i
            pool -= lacking
        weight = [1.0] * total
        room = [sum(a * n <= i < b * n for i in free) for a, b in parts]
        given = context_places(method, tokens, features, parts, room, pool, n)
        for (a, b), count in zip(parts, given, strict=True):
            if not count:
                continue
            anchors = [f for f in range(a, b) if (b - 1 - f) % method.period == 0]
            of = {f: [i for i in free if i // n == f] for f in range(a, b)}
            own = min(count, sum(len(of[f]) for f in anchors))
            places = shared_out(own, [1] * len(anchors), [len(of[f]) for f in anchors])
            wanted = dict.fromkeys(range(a, b), 0) | dict(zip(anchors, places, strict=True))
            rest = [len(of[f]) * (f not in anchors) for f in range(a, b)]
            more = shared_out(count - own, [1] * len(rest), rest)
            centers = []
            for f, extra in zip(range(a, b), more, strict=True):
                if wanted[f] + extra:
                    rows = [tokens[i] for i in of[f]]
                    peaks, _ = clusters(rows, wanted[f] + extra, method.neighbors)
                    centers += [of[f][place] for place in peaks]
            for i in (i for f in of for i in of[f]):
                target[i] = i
                if i not in centers:
                    likes = {c: round(cosine(tokens[i], tokens[c]), 12) for c in centers}
                    target[i] = min(centers, key=lambda c: (-likes[c], c))
            for c in centers:
                joined = [i for i in range(total) if target[i] == c and i != c]
                for i in joined:
                    weight[i] = max((1 - method.beta) / len(joined), 1e-30)
                weight[c] = max(method.beta, 1e-30) if joined else 1.0
        fate = []
        for i in range(total):
            alone = target.count(i) == 1 and i not in free
            kind = "KEPT" if alone else "CENTER"
            fate.append("DROPPED" if target[i] < 0 else kind if target[i] == i else "MERGED")
        return fate, target, weight

    return decide


def methods(retention):
    return [
        InfoMerge(retention=retention, segments=2, still=0.3),
        InfoMerge(retention=retention, segments=1, tau=-1.0, period=2, beta=0.1, penalty=0.5),
        InfoMerge(retention=retention, context=0.0, still=1.0),
        InfoMerge(retention=retention, segments=3, context=1.0, sharpness=5.0),
        InfoMerge(retention=retention, still=1.0, penalty=0.0, segments=1, tau=-1.0),
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


def test_the_papers_formulas_give_these_numbers():
    tokens, _, _ = published_clip()
    rows = tokens.view(6, 9, 8)
    for part, expected in (
        (rows[:3], [0.2806, 0.0434, 0.2325, 0.0759, 0.0707, 0.0393, 0.0537, 0.0421, 0.0563]),
        (rows[3:], [0.0376, 0.0901, 0.0357, 0.0909, 0.0633, 0.1529, 0.0262, 0.0985, 0.0413]),
    ):
        np.testing.assert_allclose(fingerprint_changes(part), expected, atol=6e-5)
    parts = [rows[:3], rows[3:5], rows[5:]]
    whole = rows.flatten(0, 1).double().mean(dim=0)
    worth = []
    for part, u, e in zip(parts, (0.2254, 0.0958, 0.1934), (0.8026, 0.8433, 0.8385), strict=True):
        middle = part.flatten(0, 1).double().mean(dim=0)
        worth.append(
            (1 - cosine(middle.tolist(), whole.tolist()), spectral_entropy(part.flatten(0, 1)))
        )
        assert worth[-1] == pytest.approx((u, e), abs=6e-5)
    assert shares(worth, [3, 2, 1], 1.2, [27, 18, 9], 12) == [8, 2, 2]


def test_a_still_place_is_one_token_of_its_segment():
    tokens, contribution, grid = clip(1, 4, 3, 3, scenes=1)
    tokens.view(4, 9, -1)[:, 4] = tokens[4]
    contribution.view(4, 9)[:, 4] = 5.0
    method = InfoMerge(retention=12 / 36, segments=1, tau=-1.0, context=0.0, still=0.12)
    decision = method.outside(tokens, contribution, grid)
    assert decision.target[4::9].tolist() == [4] * 4
    assert len(decision.survivors) == 12


@pytest.mark.parametrize("retention", [0.01, 0.02])
def test_the_smallest_budgets_on_a_coarse_grid(retention):
    tokens, contribution, grid = clip(0, 32, 7, 7, scenes=8)
    method = InfoMerge(retention=retention)
    check(method, method.outside(tokens, contribution, grid), tokens, contribution, grid)


@pytest.mark.parametrize("scale", [2.0**-13, 2.0**13])
def test_the_scale_of_features_and_contributions_decides_nothing(scale):
    tokens, contribution, grid = clip(3, 6, 3, 4)
    # DPC-KNN itself has a scale: with one peak a frame the densest is it at any
    method = InfoMerge(retention=0.2, still=0.3, context=0.3, segments=1, tau=-1.0, period=1)
    one = method.outside(tokens, contribution, grid)
    assert torch.equal(one.target, method.outside(tokens, contribution * scale, grid).target)
    still = fingerprint_changes(tokens.view(6, 12, -1))
    assert torch.equal(still, fingerprint_changes(scale * tokens.view(6, 12, -1)))
    assert spectral_entropy(scale * tokens) == pytest.approx(spectral_entropy(tokens), rel=1e-9)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tau", 1.1), ("context", 1.5), ("beta", -0.1), ("still", 2), ("penalty", -1),
        ("sharpness", -1), ("segments", 0), ("period", 0), ("neighbors", 1.5),
    ],
)  # fmt: skip
def test_bad_settings(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        InfoMerge(**{field: value})


def test_tensors_that_do_not_belong_together():
    with pytest.raises(ValueError, match="do not belong together"):
        InfoMerge().outside(torch.ones(4, 3), torch.ones(3), TokenGrid(1, 2, 2))
