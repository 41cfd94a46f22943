"""Space-time determinantal selection against determinants that are computed one by one."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import cosine, kept_only
from token_clips import ADVERSARIAL, RETENTIONS, clip, compare

from stc_core import InputError
from stc_core.methods import SpaceTimeDPP
from stc_core.methods.parts.volume import largest_volume
from stc_core.record.grid import TokenGrid


def kernel(method, tokens, contribution, grid):
    """(N, N): q_i q_j S_ij, by loops; and q."""
    highest = max(contribution)
    weigh = [max(a, 0.0) / highest if highest > 0 else 0.0 for a in contribution]
    q = [w**method.power if method.power else 1.0 for w in weigh]
    n, cells = len(tokens), grid.per_frame

    def place(i):
        row, col = divmod(i % cells, grid.cols)
        return (
            i // cells / grid.frames / method.time,
            row / grid.rows / method.space,
            col / grid.cols / method.space,
        )

    found = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            apart = sum((a - b) ** 2 for a, b in zip(place(i), place(j), strict=True))
            alike = 1.0 if i == j else cosine(tokens[i], tokens[j]) * math.exp(-apart / 2)
            found[i, j] = q[i] * q[j] * alike
    return found, q


def reference(method):
    def decide(tokens, contribution, grid):
        whole, q = kernel(method, tokens, contribution, grid)
        budget, chosen, others = method.budget(grid), [], list(range(len(tokens)))

        def left(i):
            """What i adds: the ratio of two determinants."""
            across = whole[i, chosen]
            inner = whole[np.ix_(chosen, chosen)]
            return whole[i, i] - (across @ np.linalg.solve(inner, across) if chosen else 0.0)

        while len(chosen) < budget:
            best = max(others, key=lambda i: (round(left(i), 9), -i))
            if left(best) < 1e-6:
                others.sort(key=lambda i: (-q[i], i))
                chosen += others[: budget - len(chosen)]
                break
            chosen.append(best)
            others.remove(best)
        return *kept_only(grid.size, sorted(chosen)), None

    return decide


def windowed(method, shares):
    """``reference`` in each window alone, with these shares of the budget."""

    def decide(tokens, contribution, grid):
        whole, _ = kernel(method, tokens, contribution, grid)
        each, kept = method.window * grid.per_frame, []
        for number, share in enumerate(shares):
            mine = list(range(number * each, min((number + 1) * each, grid.size)))
            chosen = []
            for _ in range(share):
                rest = [i for i in mine if i not in chosen]
                volume = {i: np.linalg.det(whole[np.ix_([*chosen, i], [*chosen, i])]) for i in rest}
                chosen.append(max(rest, key=lambda i: (volume[i], -i)))
            kept += chosen
        return kept_only(grid.size, sorted(kept))[1]

    return decide


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("window", "shares"), [(2, (2, 2, 2)), (4, (4, 2)), (5, (5, 1))])
def test_windows_are_chosen_from_as_if_there_were_no_others(seed, window, shares):
    grid, rng = TokenGrid(6, 2, 3), np.random.default_rng([seed, 4])
    tokens, contribution = (
        torch.from_numpy(rng.normal(size=(36, 8))),
        torch.from_numpy(rng.random(36)),
    )
    method = SpaceTimeDPP(retention=1 / 6, window=window)
    found = method.outside(tokens, contribution, grid)
    expected = windowed(method, shares)(tokens.tolist(), contribution.tolist(), grid)
    assert found.target.tolist() == expected
    assert eval(repr(method)) == method and "window" not in repr(SpaceTimeDPP())


VARIANTS = ({}, {"power": 0.0}, {"power": 2.0, "time": 0.02, "space": 5.0})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("retention", RETENTIONS)
@pytest.mark.parametrize("options", VARIANTS)
def test_random_clips(seed, retention, options):
    method = SpaceTimeDPP(retention=retention, **options)
    compare(method, *clip(seed, 5, 3, 3), reference(method))


@pytest.mark.parametrize("case", [case for case in ADVERSARIAL if case != "half precision"])
@pytest.mark.parametrize("retention", RETENTIONS)
def test_adversarial_clips(case, retention):
    method = SpaceTimeDPP(retention=retention)
    compare(method, *ADVERSARIAL[case], reference(method))


def test_a_thing_is_not_redundant_to_itself_elsewhere_or_later():
    """Of four equal, equally attended tokens and a budget of two, those farthest apart stay."""
    tokens, contribution, grid = clip(0, 8, 4, 4)
    tokens[:] = tokens[0]
    contribution[:] = 0.01
    for place in (0, 1, 17, 127):
        contribution[place] = 1.0
    kept = SpaceTimeDPP(retention=2 / 128).outside(tokens, contribution, grid).survivors
    assert kept.tolist() == [0, 127]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_neither_scale_decides(scale):
    tokens, contribution, grid = clip(3, 6, 3, 4)
    method = SpaceTimeDPP(retention=0.3)
    whole = method.outside(tokens, contribution, grid)
    other = method.outside(tokens * scale, contribution * scale, grid)
    assert whole.survivors.tolist() == other.survivors.tolist()


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_what_is_added_falls_and_is_the_determinant(seed, count, width):
    vectors = torch.from_numpy(np.random.default_rng(seed).normal(size=(12, width)))
    lengths = vectors.norm(dim=1) / vectors.norm(dim=1).max()
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    chosen, added = largest_volume(lambda i: unit @ unit[i], lengths, count)
    assert len(chosen) == len(set(chosen.tolist())) <= min(count, width)
    assert (added.diff() <= 1e-9).all()
    q = lengths[chosen]
    within = q[:, None] * q * (unit[chosen] @ unit[chosen].T)
    assert torch.linalg.det(within) == pytest.approx(float(added.prod()), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize(
    "options", [{"power": -1}, {"time": 0}, {"space": -0.1}, {"power": float("nan")}]
)
def test_bad_settings_are_one_sentence(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} must be a number"):
        SpaceTimeDPP(**options)
