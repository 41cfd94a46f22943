"""The pool of a stream against sets of original tokens, in float64 and plain loops."""

import numpy as np
import pytest
import references
import torch

from stc_core.errors import InputError
from stc_core.methods import METHODS, STC
from stc_core.methods.pool import Pool
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

PER_FRAME = 6


def made(frames, width=5, seed=0):
    """Tokens around a few centers, in float64 numbers that float32 holds."""
    rng = np.random.default_rng([seed, 9])
    centers = rng.normal(size=(7, width))
    n = frames * PER_FRAME
    tokens = centers[rng.integers(7, size=n)] + 0.4 * rng.normal(size=(n, width))
    return torch.from_numpy(tokens).double(), torch.from_numpy(rng.random(n))


def reduced(held, tokens, contribution, count, method):
    """Merge a list of (place, members) to ``count``; members are indices of original tokens."""
    vectors = [tokens[sorted(members)].mean(axis=0).tolist() for _, members in held]
    received = [contribution[place] for place, _ in held]
    fate, target = references.outside(
        vectors, received, count, method.tau, method.cluster_ratio, method.neighbors
    )
    merged = []
    for i, (place, _) in enumerate(held):
        if target[i] == i:
            mine = [held[j][1] for j in range(len(held)) if target[j] == i]
            merged.append((place, set().union(*mine)))
    return merged


def pooled(tokens, contribution, limit, method):
    """The sets of original tokens that are held after the last frame, and whether any merged."""
    held = []
    for first in range(0, len(tokens), PER_FRAME):
        if len(held) + PER_FRAME > limit:
            held = reduced(held, tokens, contribution, limit // 2, method)
        held += [(i, {i}) for i in range(first, first + PER_FRAME)]
    return held


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit", [12, 20, 31, 1000])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_the_pool_is_the_means_of_sets_of_original_tokens(seed, limit, ratio):
    frames = 9
    tokens, contribution = made(frames, seed=seed)
    method = STC(retention=0.15, tau=0.8, cluster_ratio=ratio, neighbors=3)
    pool = Pool(method, PER_FRAME, limit)
    pool.add(tokens, contribution)
    plain, received = tokens.numpy(), contribution.numpy()
    held = pooled(plain, received, limit, method)
    assert pool.places.tolist() == [place for place, _ in held]
    assert pool.sizes.tolist() == [len(members) for _, members in held]
    assert pool.held == len(held) <= limit
    expected = np.array([plain[sorted(members)].mean(axis=0) for _, members in held])
    np.testing.assert_allclose(pool.tokens, expected, atol=1e-12)

    grid = TokenGrid(frames, 2, 3)
    decision, entered = pool.decide(grid)
    count = min(8, limit // 2)  # 0.15 of 54
    last = reduced(held, plain, received, count, method)
    assert decision.survivors.tolist() == [place for place, _ in last]
    means = np.array([plain[sorted(members)].mean(axis=0) for _, members in last])
    np.testing.assert_allclose(entered, means, atol=1e-12)
    for place, members in last:
        assert set((decision.target == place).nonzero().flatten().tolist()) == members
        kind = Fate(int(decision.fate[place]))
        assert limit == 1000 or kind == (Fate.CENTER if len(members) > 1 else Fate.KEPT)
    carried = set().union(*(members for _, members in last))
    dropped = (decision.fate == int(Fate.DROPPED)).nonzero().flatten().tolist()
    assert sorted(carried) + dropped == sorted(carried) + [
        i for i in range(len(plain)) if i not in carried
    ]
    shares = torch.zeros(len(plain), dtype=torch.float64).index_add(
        0, decision.target.clamp(min=0), decision.shares()
    )
    torch.testing.assert_close(shares[decision.survivors], torch.ones(count).double())


@pytest.mark.parametrize("sizes", [[9], [1] * 9, [2, 5, 2], [4, 4, 1]])
def test_how_many_frames_come_at_once_changes_nothing(sizes):
    tokens, contribution = made(9, seed=3)
    method = STC(retention=0.2, tau=0.8)
    whole, parts = Pool(method, PER_FRAME, 20), Pool(method, PER_FRAME, 20)
    whole.add(tokens, contribution)
    first = 0
    for frames in sizes:
        few = slice(first * PER_FRAME, (first + frames) * PER_FRAME)
        parts.add(tokens[few], contribution[few])
        first += frames
    assert torch.equal(whole.tokens, parts.tokens) and torch.equal(whole.slots, parts.slots)


def test_a_question_does_not_change_the_pool():
    tokens, contribution = made(9, seed=4)
    asked, quiet = (Pool(STC(retention=0.2, tau=0.8), PER_FRAME, 20) for _ in range(2))
    for frame in range(9):
        few = slice(frame * PER_FRAME, (frame + 1) * PER_FRAME)
        asked.add(tokens[few], contribution[few])
        quiet.add(tokens[few], contribution[few])
        one, other = (
            asked.decide(TokenGrid(frame + 1, 2, 3)),
            asked.decide(TokenGrid(frame + 1, 2, 3)),
        )
        assert torch.equal(one[0].target, other[0].target) and torch.equal(one[1], other[1])
    assert torch.equal(asked.tokens, quiet.tokens) and torch.equal(asked.places, quiet.places)


@pytest.mark.parametrize("name", ["stc", "visionzip", "stdpp", "fastvid", "uniform"])
def test_a_pool_without_a_limit_decides_as_the_method(name):
    tokens, contribution = made(9, seed=5)
    method, grid = METHODS[name](retention=0.2), TokenGrid(9, 2, 3)
    pool = Pool(method, PER_FRAME)
    pool.add(tokens, contribution)
    decision, entered = pool.decide(grid)
    expected = method.outside(tokens, contribution, grid)
    assert torch.equal(decision.target, expected.target)
    assert torch.equal(decision.fate, expected.fate)
    torch.testing.assert_close(entered, expected.apply(tokens), atol=0, rtol=0)


def test_half_precision_is_averaged_in_single():
    tokens, contribution = made(9, seed=6)
    pool = Pool(STC(retention=0.2, tau=0.8), PER_FRAME, 20)
    pool.add(tokens.half(), contribution)
    exact = Pool(STC(retention=0.2, tau=0.8), PER_FRAME, 20)
    exact.add(tokens.half().double(), contribution)
    assert pool.tokens.dtype == torch.float32 and pool.merged
    torch.testing.assert_close(pool.tokens.double(), exact.tokens, atol=1e-6, rtol=1e-6)


def test_without_a_limit_tokens_are_held_in_their_own_precision():
    tokens, contribution = made(9, seed=6)
    pool, grid = Pool(STC(retention=0.2, tau=0.8), PER_FRAME), TokenGrid(9, 2, 3)
    pool.add(tokens.bfloat16(), contribution)
    decision, entered = pool.decide(grid)
    expected = pool.method.outside(tokens.bfloat16(), contribution, grid)
    assert pool.tokens.dtype == entered.dtype == torch.bfloat16
    assert torch.equal(decision.target, expected.target)


def test_features_of_scale_zero_are_merged_too():
    pool = Pool(STC(retention=0.2), PER_FRAME, 20)
    pool.add(torch.zeros(9 * PER_FRAME, 5), torch.zeros(9 * PER_FRAME))
    decision, entered = pool.decide(TokenGrid(9, 2, 3))
    assert len(entered) == len(decision.survivors) == 10 and not entered.any()
    assert (decision.target >= 0).all()


def test_tokens_that_are_no_numbers_are_refused_and_not_added():
    tokens, contribution = made(9, seed=7)
    pool = Pool(STC(retention=0.2), PER_FRAME, 20)
    pool.add(tokens[:12], contribution[:12])
    for bad in (torch.nan, torch.inf):
        broken = tokens[12:].clone()
        broken[-1, 0] = bad
        with pytest.raises(InputError, match="^video tokens hold nan or infinite numbers"):
            pool.add(broken, contribution[12:])
        with pytest.raises(InputError, match="^contributions hold nan"):
            pool.add(tokens[12:], torch.full((42,), bad))
    assert pool.seen == pool.held == 12


def test_other_methods_and_small_pools_are_one_sentence():
    with pytest.raises(InputError, match=r"^a bounded pool is merged by STC's .* SpaceTimeDPP has"):
        Pool(METHODS["stdpp"](), PER_FRAME, 20)
    for limit in (0, 1, -3, 2.5, True):
        with pytest.raises(InputError, match="^pool must be a whole number from 2"):
            Pool(STC(), PER_FRAME, limit)
    with pytest.raises(InputError, match="^a pool holds at least two frames' tokens, here 12, not"):
        Pool(STC(), PER_FRAME, 11)
