"""VisionZip against a slow reference."""

import math

import pytest
import torch
from references import cosine, half_up
from token_clips import ADVERSARIAL, RETENTIONS, check, clip, compare, shared_out

from stc_core.methods.parts.sharing import apportion
from stc_core.methods.visionzip import VisionZip
from stc_core.record.grid import TokenGrid


def reference(method):
    def decide(tokens, contribution, grid):
        n, total = grid.per_frame, grid.size
        fate, target, weight = ["DROPPED"] * total, [-1] * total, [0.0] * total
        kept = shared_out(method.budget(grid), [1] * grid.frames, [n] * grid.frames)
        for frame in range(grid.frames):
            mine = list(range(frame * n, (frame + 1) * n))
            dominant = math.floor(method.dominant * kept[frame] + 1e-9)
            if kept[frame] == 1 and not method.published_rounding:
                dominant = half_up(method.dominant)
            for i in sorted(mine, key=lambda i: (-contribution[i], i))[:dominant]:
                fate[i], target[i], weight[i] = "KEPT", i, 1.0
            others = [i for i in mine if fate[i] == "DROPPED"]
            count = kept[frame] - dominant
            if not count:
                continue
            targets = others[:: len(others) // count][:count]
            for i in others:
                fate[i], target[i] = "CENTER", i
                if i not in targets:
                    fate[i] = "MERGED"
                    target[i] = min(
                        targets, key=lambda t: (-round(cosine(tokens[i], tokens[t]), 12), t)
                    )
            for i in others:
                joined = sum(1 for j in others if target[j] == target[i]) - 1
                weight[i] = 1.0 if i in targets else 1 / joined
        return fate, target, weight if method.equal_halves else None

    return decide


def methods(retention):
    return [
        VisionZip(retention=retention),
        VisionZip(retention=retention, equal_halves=True),
        VisionZip(retention=retention, published_rounding=True),
        VisionZip(retention=retention, dominant=0.0),
        VisionZip(retention=retention, dominant=1.0),
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


@pytest.mark.parametrize(
    ("retention", "kinds"), [(0.10, (16, 4)), (0.02, (3, 1)), (0.01, (1, 1)), (0.005, (1, 0))]
)
def test_fine_grids_split_as_published(retention, kinds):
    tokens, contribution, grid = clip(0, 3, 14, 14)
    decision = VisionZip(retention=retention).outside(tokens, contribution, grid)
    fates = decision.fate.view(3, -1)
    assert [((row == 0).sum().item(), (row == 1).sum().item()) for row in fates] == [kinds] * 3


def test_published_rounding_reports_what_it_keeps():
    tokens, contribution, grid = clip(0, 8, 7, 7)
    method = VisionZip(retention=0.01, published_rounding=True)
    assert (method.asked(grid), method.budget(grid)) == (4, 8)
    check(method, method.outside(tokens, contribution, grid), tokens, contribution, grid)


def test_fewer_tokens_than_frames_are_spread_over_time():
    tokens, contribution, grid = clip(0, 32, 7, 7)
    survivors = VisionZip(retention=0.01).outside(tokens, contribution, grid).survivors
    assert (survivors // 49).tolist() == list(range(1, 32, 2))


def test_equal_halves_is_the_published_sum_at_half_its_length():
    tokens = torch.tensor([[1.0, 0], [0.9, 0.1], [0.8, 0.3], [0, 1]]).double()
    method = VisionZip(retention=0.5, equal_halves=True)
    decision = method.outside(tokens, torch.tensor([0.0, 0, 0, 1]), TokenGrid(1, 2, 2))
    published = tokens[0] + tokens[1:3].mean(0)
    torch.testing.assert_close(decision.apply(tokens)[0], published / 2)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "most"])
def test_bad_settings(value):
    with pytest.raises(ValueError, match="^dominant must be"):
        VisionZip(dominant=value)


def test_tensors_that_do_not_belong_together():
    with pytest.raises(ValueError, match="do not belong together"):
        VisionZip().outside(torch.ones(4, 3), torch.ones(3), TokenGrid(1, 2, 2))


def test_repr_reproduces_the_method():
    method = VisionZip(retention=0.1, equal_halves=True)
    assert eval(repr(method), {"VisionZip": VisionZip}) == method


@pytest.mark.parametrize(
    ("total", "weights", "limits", "shares"),
    [
        (0, [], [], []),
        (0, [0, 0], [0, 0], [0, 0]),
        (2, [1] * 4, [9] * 4, [0, 1, 0, 1]),
        (1, [1] * 3, [9] * 3, [0, 1, 0]),
        (5, [1, 1, 2], [9] * 3, [1, 1, 3]),
        (6, [1, 1, 1], [1, 9, 9], [1, 2, 3]),
        (7, [3.5, 3.5], [9, 9], [3, 4]),
        (3, [5, 1], [1, 9], [1, 2]),
    ],
)
def test_apportion(total, weights, limits, shares):
    assert apportion(total, weights, limits) == shares
    assert shared_out(total, weights, limits) == shares


def test_apportion_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="4 places cannot hold 5 tokens"):
        apportion(5, [1, 1], [2, 2])
