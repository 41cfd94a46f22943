"""Clustering by float32 first: the fates of float64, whatever the tokens, and never more trust."""

import numpy as np
import pytest
import references
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stc_core.methods import STC
from stc_core.methods.parts import bounds, exact, float32_first, points
from stc_core.methods.parts.bounds import Bounds, float32_holds
from stc_core.methods.parts.clustering import density_peaks, nearest_center
from stc_core.methods.parts.points import Points, float64_only
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate
from stc_core.speed.inputs import made_up

CPU = torch.device("cpu")


@pytest.fixture
def first(monkeypatch):
    """Float32 first for a handful of points already, in tiles of 32."""
    monkeypatch.setattr(points, "MANY", 2)
    monkeypatch.setattr(bounds, "SIDE", 32)
    monkeypatch.setattr(bounds, "STRIP", 8)


@pytest.fixture
def stubborn(first, monkeypatch):
    """Float32 first, and whole rows in float64 instead of a return to float64 for everything."""
    monkeypatch.setattr(float32_first, "UNSURE", 1.1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_changes_nothing(first, dtype):
    """Loading a model in another thread changes it, too."""
    tokens, _ = made_up(TokenGrid(6, 5, 5), 16, torch.float32, CPU)
    expected = density_peaks(Points(tokens), 9)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = Points(tokens)
        assert found.rough is not None
        assert torch.equal(density_peaks(found, 9), expected)
    finally:
        torch.set_default_dtype(before)


def clustered(rng, n, width):
    centers = rng.normal(size=(max(2, n // 12), width))
    return centers[rng.integers(len(centers), size=n)] + 0.2 * rng.normal(size=(n, width))


def still(rng, n, width):
    """A still clip with sensor noise."""
    places = rng.normal(size=(max(1, n // 8), width))
    return places[np.arange(n) % len(places)] + 1e-3 * rng.normal(size=(n, width))


def duplicates(rng, n, width):
    return rng.normal(size=(max(1, n // 3), width))[rng.integers(max(1, n // 3), size=n)]


def many_duplicates(rng, n, width):
    return rng.normal(size=(3, width))[rng.integers(3, size=n)]


def lattice(rng, n, width):
    """Many distances are equal, of tokens that are not."""
    return rng.integers(-1, 2, size=(n, width)).astype(float)


def all_equal(rng, n, width):
    return np.tile(rng.normal(size=width), (n, 1))


def some_zero(rng, n, width):
    return clustered(rng, n, width) * (rng.random((n, 1)) < 0.7)


def outliers(rng, n, width):
    """A few norms are a thousand times the others."""
    return clustered(rng, n, width) * np.where(rng.random((n, 1)) < 0.1, 1e3, 1)


def far_from_zero(rng, n, width):
    return clustered(rng, n, width) + 100


def one_direction(rng, n, width):
    """On a line, and not at equal steps: sums of other distances would tie but for rounding."""
    return np.outer(np.linspace(0, 1, n) ** 1.5, rng.normal(size=width))


KINDS = {
    kind.__name__: kind
    for kind in (
        clustered,
        still,
        duplicates,
        many_duplicates,
        lattice,
        all_equal,
        some_zero,
        outliers,
        far_from_zero,
        one_direction,
    )
}
# Many distances are equal in exact arithmetic, and a product in float64 may break such a tie by its
# last bits, here or there: what is right then is said by a reference that has no products.
TIED = ("duplicates", "many_duplicates", "lattice", "all_equal", "some_zero")
# bfloat16 times whatever power of two: tokens as models make them
DTYPES = (torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16)


def case(rng, kind, most=150):
    """(tokens, contribution, method, grid) of one random clip."""
    n, width = int(rng.integers(2, most)), int(rng.choice([1, 2, 5, 24, 70]))
    dtype = DTYPES[rng.integers(len(DTYPES))]
    scale = 1.0 if dtype == torch.float16 else 10.0 ** rng.integers(-4, 5)
    tokens = torch.from_numpy(scale * KINDS[kind](rng, n, width)).to(dtype)
    contribution = torch.from_numpy(rng.random(n).round(int(rng.integers(1, 6)))).float()
    method = STC(
        retention=float(rng.choice([1 / n, 0.1, 0.3, 0.7])),
        tau=tau_of(rng, tokens),
        cluster_ratio=float(rng.choice([0.3, 0.7, 1])),
        neighbors=int(rng.choice([1, 2, 7, 20, 200])),
        window=None if kind in TIED else [None, None, None, 40][rng.integers(4)],
    )
    return tokens, contribution, method, TokenGrid(n, 1, 1)


def tau_of(rng, tokens):
    """A threshold, half of the time exactly the cosine of two tokens."""
    if rng.random() < 0.5:
        return float(rng.choice([-1, 0.3, 0.7, 0.9, 1]))
    pair = torch.nn.functional.normalize(tokens[rng.integers(len(tokens), size=2)].double(), dim=1)
    return float((pair[0] @ pair[1]).clamp(-1, 1))


def in_float64(tokens, contribution, method, grid):
    with float64_only():
        return method.outside(tokens, contribution, grid)


def assert_right(clip):
    """The fates are those of float64; or of the reference, where float64 breaks a tie."""
    tokens, contribution, method, grid = clip
    found, expected = method.outside(tokens, contribution, grid), in_float64(*clip)
    if torch.equal(found.target, expected.target) or method.window is not None:
        assert_same(found, expected)
        return
    fate, target = references.outside(
        tokens.double().tolist(),
        contribution.double().tolist(),
        method.budget(grid),
        method.tau,
        method.cluster_ratio,
        method.neighbors,
    )
    assert has_ties(tokens) and found.target.tolist() == target
    assert [Fate(int(value)).name for value in found.fate] == fate


def has_ties(tokens):
    """Whether two distances of one token to others are equal."""
    x = tokens.double()
    square = torch.stack([(x - row).square().sum(dim=1) for row in x]).sort(dim=1).values
    return bool((square.diff(dim=1) <= 1e-12 * square.max()).any())


def assert_same(found, expected):
    assert torch.equal(found.fate, expected.fate)
    assert torch.equal(found.target, expected.target)
    assert torch.equal(found.survivors, expected.survivors)
    for name, values in expected.notes.items():
        assert torch.equal(found.notes[name].nan_to_num(7), values.nan_to_num(7))


@pytest.mark.parametrize("kind", KINDS)
def test_fates_are_those_of_float64(kind, first):
    rng = np.random.default_rng([list(KINDS).index(kind), 1])
    for _ in range(100):
        assert_right(case(rng, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_fates_are_those_of_float64_however_much_is_uncertain(kind, stubborn):
    rng = np.random.default_rng([list(KINDS).index(kind), 2])
    for _ in range(60):
        assert_right(case(rng, kind))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(sorted(KINDS)))
def test_fates_are_those_of_float64_for_any_seed(seed, kind):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "MANY", 2)
        patch.setattr(bounds, "SIDE", 32)
        assert_right(case(np.random.default_rng(seed), kind, most=60))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(3))
def test_fates_of_a_long_video_are_those_of_float64(seed, dtype):
    """As it is used: no size is changed."""
    grid = TokenGrid(16, 14, 14)
    tokens, contribution = made_up(grid, 128, dtype, CPU, seed)
    assert Points(tokens).rough
    for method in (STC(), STC(retention=0.1, cluster_ratio=0.8), STC(window=12)):
        found = method.outside(tokens, contribution, grid)
        assert_same(found, in_float64(tokens, contribution, method, grid))


@pytest.mark.parametrize("seed", range(4))
def test_densities_and_separations_differ_by_the_last_grain_at_most(seed, first):
    """Where float64 itself rounds one way or the other, by the order in which it adds."""
    tokens, _ = made_up(TokenGrid(8, 6, 6), 40, torch.float32, CPU, seed)
    one = Points(tokens)
    found = float32_first.separated(one, one.rough, 7)
    assert found is not None
    grain = one.grain(4 * one.norms) / one.width
    for ours, theirs in zip(found, exact.separated(Points(tokens), 7), strict=True):
        assert ((ours - theirs).abs() <= grain).all()


# --- the bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 3, 200, 1500])
def test_no_distance_is_outside_its_bounds(kind, width, first):
    rng = np.random.default_rng(width)
    one = Points(torch.from_numpy(10.0 ** rng.integers(-4, 5) * KINDS[kind](rng, 70, width)))
    if one.rough is None:
        assert kind == "all_equal"
        return
    low = one.rough.between(one.rough[slice(None)], one.rough[slice(None)]).double()
    high = low + one.rough.slack(one.norms[:, None] + one.norms)
    difference = one.tokens[:, None] - one.tokens
    true = difference.square().sum(dim=2)
    room = 1e-13 * (one.tokens.square().sum(dim=1).max() + one.norms.max())  # of ``true`` itself
    assert (low <= true + room).all() and (true <= high + room).all()


@pytest.mark.parametrize("count", [1, 5, 12, 40])
@pytest.mark.parametrize("n", [41, 64, 97, 200])
def test_the_lists_hold_the_lowest_bounds(n, count, first):
    tokens, _ = made_up(TokenGrid(n, 1, 1), 9, torch.float32, CPU)
    rough = Points(tokens).rough
    low, whose = rough.lowest(count)
    every = rough.between(rough[slice(None)], rough[slice(None)]).double().fill_diagonal_(torch.inf)
    expected = every.topk(count, largest=False).values
    # another shape of product may add in another order
    torch.testing.assert_close(low, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(every.gather(1, whose), low, rtol=1e-4, atol=1e-4)
    assert all(len(set(row)) == count for row in whose.tolist())


def test_the_lists_are_the_same_when_points_are_held_a_part_at_a_time(first, monkeypatch):
    tokens, _ = made_up(TokenGrid(210, 1, 1), 9, torch.float32, CPU)
    whole = Points(tokens).rough.lowest(7)
    monkeypatch.setattr(bounds, "HELD", 64 * 64)
    parted = Points(tokens).rough
    assert parted.kept is None
    again = parted.lowest(7)
    torch.testing.assert_close(again[0], whole[0], rtol=1e-4, atol=1e-4)
    assert density_peaks(Points(tokens), 9).tolist() == density_peaks(Points(tokens), 9).tolist()


# --- when float32 is not asked, or not believed ---------------------------------------------------


def test_float32_decides_ordinary_clips_and_leaves_still_ones_to_float64(first):
    moving = Points(made_up(TokenGrid(8, 6, 6), 40, torch.float32, CPU)[0])
    assert float32_first.separated(moving, moving.rough, 7) is not None
    rng = np.random.default_rng(0)
    for kind in (many_duplicates, all_equal):
        same = Points(torch.from_numpy(kind(rng, 200, 40)))
        assert same.rough is None or float32_first.separated(same, same.rough, 7) is None


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_where_float32_may_be_rounded_float64_decides(precision, first):
    tokens = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert float32_holds(8) and Points(tokens).rough
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        assert not float32_holds(8) and Points(tokens).rough is None
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("factors", [torch.bfloat16, torch.float16])
def test_a_library_that_rounds_factors_is_noticed_though_no_setting_says_so(factors, monkeypatch):
    real = torch.mm

    def rounding(x, y, *, out):
        return out.copy_(real(x.to(factors).float(), y.to(factors).float()))

    monkeypatch.setattr(torch, "mm", rounding)
    assert not float32_holds(64)


def test_distances_outside_their_bounds_are_noticed(first, monkeypatch):
    """A product that is wrong for some shapes only: no list is believed then."""
    one = Points(made_up(TokenGrid(8, 6, 6), 40, torch.float32, CPU)[0])
    real = Bounds.lowest

    def wrong(self, count):
        low, whose = real(self, count)
        low[5] += 0.1
        return low, whose

    monkeypatch.setattr(Bounds, "lowest", wrong)
    assert float32_first.separated(one, one.rough, 7) is None


@pytest.mark.parametrize("value", [0.0, 1e-150, 1e-30, 1e30])
def test_numbers_beyond_float32_are_left_to_float64(value, first):
    tokens = value * torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double()
    assert Points(tokens).rough is None
    expected = in_float64(tokens, torch.ones(40), STC(retention=0.2), TokenGrid(40, 1, 1))
    found = STC(retention=0.2).outside(tokens, torch.ones(40), TokenGrid(40, 1, 1))
    assert_same(found, expected)


def test_autocast_changes_nothing(first):
    grid = TokenGrid(8, 6, 6)
    tokens, contribution = made_up(grid, 40, torch.float32, CPU)
    plain = STC(retention=0.1).outside(tokens, contribution, grid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Points(tokens).rough
        assert_same(STC(retention=0.1).outside(tokens, contribution, grid), plain)


def test_few_points_are_left_to_float64():
    """And so are distances that are float32 anyway, as on a GPU."""
    tokens = torch.randn(points.MANY, 4, generator=torch.Generator().manual_seed(0))
    assert Points(tokens).rough and Points(tokens[1:]).rough is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "distance_dtype", lambda _: torch.float32)
        assert Points(tokens).rough is None


@pytest.mark.parametrize("count", [1, 2, 39, 40])
def test_the_nearest_center_is_that_of_float64(count, first):
    tokens = torch.from_numpy(lattice(np.random.default_rng(1), 40, 5))
    centers = torch.arange(40)[:count]
    found = nearest_center(Points(tokens), centers)
    with float64_only():
        assert torch.equal(found, nearest_center(Points(tokens), centers))
