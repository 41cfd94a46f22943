"""The compressor at speed: the same fates as float64, in tiles and blocks, whatever the input."""

import math

import numpy as np
import pytest
import references
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from stc_core.errors import InputError
from stc_core.methods import METHODS, STC
from stc_core.methods.base import CARRIED, Decision
from stc_core.methods.parts.clustering import density_peaks, dpc_knn, nearest_center
from stc_core.methods.parts.merging import most_alike
from stc_core.methods.parts.points import ROWS, Points
from stc_core.methods.parts.progress import listening_to_progress
from stc_core.methods.parts.selection import retention_pool
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate
from stc_core.speed.inputs import made_up

CPU = torch.device("cpu")


def decided_as_the_reference(rng, step=None):
    """One random case; with ``step`` numbers are multiples of it, so that much is equal."""
    n, width = int(rng.integers(1, 15)), int(rng.integers(1, 6))
    centers = rng.normal(size=(3, width))
    tokens = centers[rng.integers(3, size=n)] + rng.choice([0.05, 0.5]) * rng.normal(
        size=(n, width)
    )
    contribution = rng.random(n)
    if step is not None:
        tokens, contribution = np.round(tokens / step) * step, np.round(contribution, 1)
    tokens = torch.from_numpy(tokens).float()
    contribution = torch.from_numpy(contribution).float()
    tau, ratio, k = rng.uniform(-1, 1), rng.choice([0, 0.3, 0.7, 1]), int(rng.integers(1, 9))
    budget = int(rng.integers(1, n + 1))
    method = STC(retention=budget / n, tau=tau, cluster_ratio=ratio, neighbors=k)
    decision = method.outside(tokens, contribution, TokenGrid(1, 1, n))
    fate, target = references.outside(
        tokens.double().tolist(), contribution.double().tolist(), budget, tau, ratio, k
    )
    assert [Fate(int(value)).name for value in decision.fate] == fate
    assert decision.target.tolist() == target


@pytest.mark.parametrize("step", [None, 0.5, 1.0])
@pytest.mark.parametrize("part", range(4))
def test_float32_tokens_get_the_fates_of_float64_a_thousand_times(step, part):
    rng = np.random.default_rng([part, 17])
    for _ in range(300):
        decided_as_the_reference(rng, step)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**31), step=st.sampled_from([None, 0.25, 0.5, 1.0]))
def test_float32_tokens_get_the_fates_of_float64(seed, step):
    decided_as_the_reference(np.random.default_rng(seed), step)


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 32 rows, and no more than 64 points held at once."""
    monkeypatch.setitem(ROWS, "cpu", 32)
    monkeypatch.setattr("stc_core.methods.parts.points.HELD", 64 * 64)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("repeated", [1, 3, 20])
def test_clusters_in_tiles_equal_the_dense_reference(seed, repeated, small_tiles):
    """Also where each token stands there many times, more often than neighbors are remembered."""
    grid = TokenGrid(6, 5, 5)
    tokens, _ = made_up(grid, 16, torch.float32, CPU, seed)
    tokens = tokens.repeat(repeated, 1)[:500]
    for count in (1, 7, 60):
        centers, nearest = dpc_knn(tokens, count)
        assert (centers.tolist(), nearest.tolist()) == references.dense_clusters(tokens, count, 7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_clusters_of_some_tokens_are_those_of_these_tokens(dtype, small_tiles):
    tokens, _ = made_up(TokenGrid(6, 5, 5), 16, dtype, CPU)
    among = torch.arange(0, 150, 2) + 1
    points = Points(tokens, among)
    centers = density_peaks(points, 9)
    expected = references.dense_clusters(tokens[among].double(), 9, 7)
    assert (centers.tolist(), nearest_center(points, centers).tolist()) == expected


@pytest.mark.parametrize("tau", [-1.0, 0.2, 0.7, 0.9, 1.0, math.inf])
@pytest.mark.parametrize("capacity", [1, 17, 1000])
def test_the_pool_of_many_blocks_equals_the_dense_reference(tau, capacity):
    tokens, contribution = made_up(TokenGrid(12, 6, 6), 8, torch.float32, CPU)
    contribution = contribution.round(decimals=2)
    expected = references.dense_pool(tokens.double(), contribution, capacity, tau)
    for block in (1, 5, 256, 10_000):
        walk = retention_pool(tokens, contribution, capacity, tau, block=block)
        assert walk.pool.tolist() == expected


def test_a_chain_of_tokens_that_each_hinder_the_next():
    angles = torch.arange(300) * math.radians(20)
    tokens = torch.stack([angles.cos(), angles.sin(), torch.arange(300) * 0.0], dim=1)
    tokens[:, 2] = torch.arange(300) // 18  # around and up: only neighbors are alike
    contribution = torch.linspace(1, 0, 300)
    expected = references.dense_pool(tokens, contribution, 300, 0.99)
    walk = retention_pool(tokens, contribution, 300, 0.99)
    assert walk.pool.tolist() == expected and 1 < len(expected) < 300


def test_selection_asks_the_device_once_a_block_and_not_once_a_token():
    tokens, contribution = made_up(TokenGrid(20, 10, 10), 16, torch.float32, CPU)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        walk = retention_pool(tokens, contribution, 2000, 0.9)
    assert int((walk.order >= 0).sum()) == 2000
    asked = ("aten::nonzero", "aten::_local_scalar_dense", "aten::equal")
    assert sum(event.count for event in seen.key_averages() if event.key in asked) < 60


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_tokens_get_the_fates_of_the_same_numbers_in_float64(dtype):
    for seed in range(5):
        grid = TokenGrid(8, 7, 7)
        tokens, contribution = made_up(grid, 32, dtype, CPU, seed)
        half = STC(retention=0.1).outside(tokens, contribution, grid)
        wide = STC(retention=0.1).outside(tokens.double(), contribution, grid)
        assert torch.equal(half.fate, wide.fate) and torch.equal(half.target, wide.target)


def test_float32_distances_as_on_a_gpu_change_one_fate_in_a_thousand_at_most(monkeypatch):
    differ = total = 0
    for seed in range(6):
        grid = TokenGrid(16, 7, 7)
        tokens, contribution = made_up(grid, 128, torch.bfloat16, CPU, seed)
        exact = STC().outside(tokens, contribution, grid)
        with monkeypatch.context() as patch:
            patch.setattr("stc_core.methods.parts.points.distance_dtype", lambda _: torch.float32)
            rough = STC().outside(tokens, contribution, grid)
        differ += int((exact.fate != rough.fate).sum())
        total += grid.size
    assert differ / total < 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_the_same_tokens_laid_out_otherwise_get_the_same_fates(name):
    grid = TokenGrid(4, 5, 5)
    tokens, contribution = made_up(grid, 12, torch.float32, CPU)
    strided = torch.stack([tokens, -tokens], dim=1).flatten(0, 1)[::2]
    turned = tokens.T.contiguous().T
    assert not strided.is_contiguous() and not turned.is_contiguous()
    method = METHODS[name](retention=0.2)
    plain = method.outside(tokens, contribution, grid)
    for other in (strided, turned):
        found = method.outside(other, contribution, grid)
        assert torch.equal(plain.target, found.target)
        torch.testing.assert_close(plain.apply(tokens), found.apply(other))


@pytest.mark.parametrize("name", METHODS)
def test_norms_beyond_half_precision_do_not_overflow(name):
    """The largest float16 is 65,504: squares and sums of such tokens are far beyond."""
    grid = TokenGrid(4, 5, 5)
    tokens, contribution = made_up(grid, 12, torch.float32, CPU)
    large = (tokens * (60_000 / tokens.abs().max())).half()
    method = METHODS[name](retention=0.2)
    half = method.outside(large, contribution, grid)
    assert torch.equal(half.target, method.outside(large.double(), contribution, grid).target)
    assert torch.isfinite(half.apply(large)).all()


def test_a_pool_that_takes_all_leaves_nothing_to_recycle():
    tokens, contribution = torch.eye(6), torch.linspace(1, 0, 6)
    for ratio, retention in ((0.0, 1.0), (0.0, 0.5), (0.3, 1.0)):
        method = STC(retention=retention, cluster_ratio=ratio)
        decision = method.outside(tokens, contribution, TokenGrid(1, 1, 6))
        assert len(decision.survivors) == round(6 * retention)
    assert not STC(retention=1.0, tau=1.0).outside(tokens, contribution, TokenGrid(1, 1, 6)).changes


def test_fewer_tokens_than_places_all_stay():
    tokens, contribution = torch.eye(2), torch.ones(2)
    for method in (STC(retention=1.0, tau=-1.0), STC(retention=1.0, cluster_ratio=1.0)):
        assert not method.outside(tokens, contribution, TokenGrid(2, 1, 1)).changes


def test_tensors_on_two_devices_are_one_sentence():
    tokens, grid = torch.ones(4, 3), TokenGrid(1, 2, 2)
    elsewhere = torch.ones(4, device="meta")
    with pytest.raises(InputError, match="on cpu and meta; move all of them to one device first"):
        STC().outside(tokens, elsewhere, grid)
    with pytest.raises(InputError, match="on cpu and meta"):
        STC().inside(tokens, tokens, torch.ones(4, 4, device="meta"))


@pytest.mark.parametrize("weighted", [False, True])
def test_means_over_many_tokens_are_taken_a_part_at_a_time(weighted):
    n = CARRIED + 5
    chance = torch.Generator().manual_seed(0)
    tokens = torch.randn(n, 3, generator=chance)
    target = torch.arange(n) % 2
    fate = torch.full((n,), int(Fate.MERGED))
    fate[:2] = int(Fate.CENTER)
    weight = torch.rand(n, generator=chance) if weighted else torch.ones(n)
    merged = Decision.of(fate, target, weight if weighted else None).apply(tokens)
    for place in range(2):
        mine = target == place
        share = weight[mine].double() / weight[mine].double().sum()
        expected = (share[:, None] * tokens[mine].double()).sum(dim=0)
        torch.testing.assert_close(merged[place].double(), expected, atol=1e-5, rtol=1e-5)


def test_the_most_alike_of_many_tokens_is_that_of_each(monkeypatch):
    tokens, _ = made_up(TokenGrid(4, 5, 5), 12, torch.float32, CPU)
    survivors = torch.arange(0, 100, 7)
    whole = most_alike(tokens, survivors)
    monkeypatch.setattr("stc_core.methods.parts.merging.ROWS", 9)
    assert torch.equal(most_alike(tokens, survivors), whole)


# --- windows of time ------------------------------------------------------------------------------


def windowed(tokens, contribution, grid, method):
    """(fate names, target) with centers from windows, each with its share by largest remainder."""
    n, budget = grid.size, method.budget(grid)
    capacity = budget - references.half_up(method.cluster_ratio * budget)
    accepted, _ = references.pool(tokens, contribution, capacity, method.tau)
    left = [i for i in range(n) if i not in accepted]
    windows = {}
    for i in left:
        windows.setdefault(i // grid.per_frame // method.window, []).append(i)
    sizes = [len(part) for part in windows.values()]
    count = budget - len(accepted)
    shares = shared_out(count, sizes)
    centers = []
    for part, share in zip(windows.values(), shares, strict=True):
        if share:
            found, _ = references.clusters([tokens[i] for i in part], share, method.neighbors)
            centers += [part[place] for place in found]
    fate, target = references.kept_only(n, accepted)

    def distance(i, c):
        pairs = zip(tokens[i], tokens[c], strict=True)
        return float(f"{sum((a - b) ** 2 for a, b in pairs):.11e}")

    for i in left:
        fate[i] = "CENTER" if i in centers else "MERGED"
        target[i] = i if i in centers else min(centers, key=lambda c: (distance(i, c), c))
    return fate, target


def shared_out(total, sizes):
    """Largest remainder; equal remainders are won evenly over the list."""
    quota = [round(total * size / sum(sizes), 9) for size in sizes]
    given = [int(q) for q in quota]
    left = total - sum(given)
    for level in sorted({round(q - int(q), 9) for q in quota}, reverse=True):
        tied = [i for i, q in enumerate(quota) if round(q - int(q), 9) == level]
        wins = min(left, len(tied))
        for win in range(wins):
            given[tied[int((win + 0.5) * len(tied) / wins + 1e-9)]] += 1
        left -= wins
    return given


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_centers_from_windows_equal_the_reference(seed, window):
    grid = TokenGrid(6, 2, 3)
    tokens, contribution = made_up(grid, 5, torch.float32, CPU, seed)
    for retention in (0.03, 0.2, 0.6, 1.0):
        method = STC(retention=retention, window=window, cluster_ratio=0.6)
        decision = method.outside(tokens, contribution, grid)
        assert len(decision.survivors) == method.budget(grid)
        expected = windowed(tokens.double().tolist(), contribution.tolist(), grid, method)
        found = [Fate(int(value)).name for value in decision.fate], decision.target.tolist()
        assert found == expected


def test_a_window_as_long_as_the_video_is_no_window():
    grid = TokenGrid(5, 3, 3)
    tokens, contribution = made_up(grid, 5, torch.float32, CPU)
    plain = STC(retention=0.2).outside(tokens, contribution, grid)
    for window in (0, 5, 6, 1000):
        found = STC(retention=0.2, window=window).outside(tokens, contribution, grid)
        assert torch.equal(plain.target, found.target) and torch.equal(plain.fate, found.fate)


def test_the_name_of_a_method_without_windows_is_what_it_was():
    assert "window" not in repr(STC())
    for window in (0, 8):
        method = STC(retention=0.1, window=window)
        assert eval(repr(method), {"STC": STC}) == method


def test_from_25_000_tokens_on_the_default_is_windows(monkeypatch):
    grid = TokenGrid(6, 2, 3)
    tokens, contribution = made_up(grid, 5, torch.float32, CPU)
    whole, windows = (STC(retention=0.3, window=n, tau=0.5) for n in (0, 2))
    default = STC(retention=0.3, tau=0.5)
    expected = [m.outside(tokens, contribution, grid).target for m in (whole, windows)]
    assert not torch.equal(*expected)
    assert torch.equal(default.outside(tokens, contribution, grid).target, expected[0])
    monkeypatch.setattr("stc_core.methods.parts.windows.LONG", grid.size)
    monkeypatch.setattr("stc_core.methods.parts.windows.WINDOW_TOKENS", 2 * grid.per_frame + 1)
    assert torch.equal(default.outside(tokens, contribution, grid).target, expected[1])


@pytest.mark.parametrize("value", [-1, 2.5, True, "8"])
def test_a_window_is_a_whole_number_of_frames(value):
    with pytest.raises(InputError, match="^window must be a whole number from 0"):
        STC(window=value)


# --- progress -------------------------------------------------------------------------------------


def test_a_listener_hears_of_windows_one_after_the_other(small_tiles):
    grid = TokenGrid(6, 5, 5)
    tokens, contribution = made_up(grid, 64, torch.float32, CPU)
    heard = []
    with listening_to_progress(heard.append):
        STC(retention=0.1, window=2).outside(tokens, contribution, grid)
    assert heard == sorted(heard) and heard[-1] == 1 and len(set(heard)) >= 3


def test_a_listener_hears_how_far_the_clustering_is(small_tiles):
    tokens, _ = made_up(TokenGrid(6, 5, 5), 64, torch.float32, CPU)
    heard = []
    with listening_to_progress(heard.append):
        dpc_knn(tokens, 5)
    assert len(heard) > 1 and heard == sorted(heard) and heard[-1] == 1
    dpc_knn(tokens, 5)  # nobody listens any more
    assert heard[-1] == 1 and len(heard) == len(set(heard))


def test_a_listener_that_raises_stops_the_work_and_is_forgotten(small_tiles):
    tokens, _ = made_up(TokenGrid(6, 5, 5), 64, torch.float32, CPU)

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening_to_progress(stop):
        dpc_knn(tokens, 5)
    dpc_knn(tokens, 5)


def exact_clusters(tokens, count, k):
    """DPC-KNN in float64 with nothing rounded, for clips without equal tokens."""
    x = tokens.double().numpy()
    square = np.array([((x - row) ** 2).sum(axis=1) for row in x]) / x.shape[1]
    log_rho = -np.sort(square, axis=1)[:, :k].mean(axis=1)
    rank = np.argsort(np.argsort(-log_rho))
    delta = np.where(rank[None] < rank[:, None], square, np.inf).min(axis=1)
    delta[rank == 0] = square[rank == 0].max()
    centers = np.sort(np.argsort(-(log_rho + 0.5 * np.log(delta)))[:count])
    nearest = centers[square[:, centers].argmin(axis=1)]
    nearest[centers] = centers
    return centers.tolist(), nearest.tolist()


@pytest.mark.parametrize("scale", [1e-4, 1e-3, 0.03, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_rounding_decides_nothing_at_any_scale_of_the_features(scale, noise):
    """A still clip with sensor noise: its distances are small beside its features."""
    rng = np.random.default_rng(3)
    still = rng.normal(size=(1, 49, 64)) + noise * rng.normal(size=(12, 49, 64))
    tokens = torch.from_numpy(scale * still.reshape(-1, 64))
    centers, nearest = dpc_knn(tokens, 30)
    assert (centers.tolist(), nearest.tolist()) == exact_clusters(tokens, 30, 7)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), power=st.integers(-13, 13), step=st.sampled_from([None, 0.5]))
def test_who_joins_whom_does_not_depend_on_the_scale(seed, power, step):
    """A power of two scales every number exactly, so that nothing at all may change."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(40, 6))
    if step is not None:
        tokens = np.round(tokens / step) * step
    tokens, centers = torch.from_numpy(tokens), torch.tensor([0, 7, 21, 33])
    one = nearest_center(Points(tokens), centers)
    assert torch.equal(one, nearest_center(Points(tokens * 2.0**power), centers))


def test_features_of_zero_and_of_the_smallest_size():
    for value in (0.0, 1e-150):
        tokens = torch.full((12, 4), value).double()
        tokens[3] *= 2
        centers, nearest = dpc_knn(tokens, 3)
        assert centers.tolist() == references.dense_clusters(tokens, 3, 7)[0]
        assert torch.isin(nearest, centers).all()
