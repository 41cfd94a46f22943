"""V-CAST against a slow reference and against what its published code gave on one clip."""

import math

import pytest
import torch
from published_clip import published_clip
from references import cosine, kept_only, min_max
from token_clips import ADVERSARIAL, RETENTIONS, clip, compare, shared_out

from stc_core.methods import VCast
from stc_core.methods.vcast import curvature


def unit(row):
    length = math.sqrt(sum(v * v for v in row))
    return [v / length for v in row] if length > 1e-12 else [0.0] * len(row)


def places(method, share, grid):
    more, room = method.budget(grid) - grid.frames, grid.per_frame - 1
    if method.leftover == "each":
        return [1 + c for c in shared_out(more, share, [room] * grid.frames)]
    quotas = [s * more for s in share]
    given = [min(math.floor(q + 1e-9), room) for q in quotas]
    while sum(given) < more:
        open_frames = [f for f in range(grid.frames) if given[f] < room]
        best = min(open_frames, key=lambda f: (-round(quotas[f] % 1, 9), f))
        given[best] += min(more - sum(given), room - given[best])
    return [1 + c for c in given]


def reference(method):
    def decide(tokens, contribution, grid):
        n, width = grid.per_frame, len(tokens[0])
        frames = [tokens[f * n : (f + 1) * n] for f in range(grid.frames)]
        middle = [
            unit([sum(row[c] for row in frame) / n for c in range(width)]) for frame in frames
        ]
        steps = [
            [b - a for a, b in zip(one, two, strict=True)]
            for one, two in zip(middle[:-1], middle[1:], strict=True)
        ]
        bend = [1.0] * grid.frames
        for f in range(1, grid.frames - 1):
            bend[f] = 1 - cosine(steps[f - 1], steps[f])
        odds = [math.exp(b / method.temperature) for b in bend]
        share = [round(o / sum(odds), 12) for o in odds]
        chosen = []
        for f, count in enumerate(places(method, share, grid)):
            lengths = min_max([math.sqrt(sum(v * v for v in row)) for row in frames[f]])
            score = [
                round(1 - cosine(row, middle[f]) + long, 12)
                for row, long in zip(frames[f], lengths, strict=True)
            ]
            order = sorted(range(n), key=lambda p: (-score[p], p))
            chosen += [f * n + p for p in order[:count]]
        return *kept_only(grid.size, chosen), None

    return decide


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("retention", RETENTIONS)
def test_random_clips(seed, retention):
    for method in (
        VCast(retention=retention),
        VCast(retention=retention, temperature=0.05),
        VCast(retention=retention, temperature=0.2, leftover="each"),
    ):
        compare(method, *clip(seed, 6, 3, 4), reference(method))


@pytest.mark.parametrize("case", [case for case in ADVERSARIAL if case != "half precision"])
@pytest.mark.parametrize("retention", RETENTIONS)
def test_adversarial_clips(case, retention):
    method = VCast(retention=retention)
    compare(method, *ADVERSARIAL[case], reference(method))


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (0.25, [1, 7, 10, 14, 15, 19, 26, 35, 36, 38, 40, 44, 45, 53]),
        (0.1, [1, 10, 19, 35, 36, 45]),
        (0.02, [1, 10, 19, 35, 36, 45]),
    ],
)
def test_the_published_code_keeps_the_same_tokens(retention, kept):
    tokens, contribution, grid = published_clip()
    decision = VCast(retention=retention).outside(tokens, contribution, grid)
    assert decision.survivors.tolist() == kept


def test_the_curvature_is_the_published_one():
    tokens, _, grid = published_clip()
    middle = torch.nn.functional.normalize(tokens.double().view(6, 9, 8).mean(1), dim=-1)
    expected = torch.tensor([1, 0.757, 1.0642, 0.7376, 1.8352, 1]).double()
    torch.testing.assert_close(curvature(middle), expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_of_the_features_decides_nothing(scale):
    tokens, contribution, grid = clip(3, 6, 3, 4)
    method = VCast(retention=0.3)
    one, other = (method.outside(t, contribution, grid) for t in (tokens, tokens * scale))
    assert torch.equal(one.survivors, other.survivors)


@pytest.mark.parametrize(("field", "value"), [("temperature", 0), ("leftover", "all")])
def test_bad_settings(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        VCast(**{field: value})


def test_repr_reproduces_the_method():
    method = VCast(retention=0.1, leftover="each")
    assert eval(repr(method), {"VCast": VCast}) == method
