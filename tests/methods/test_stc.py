"""STC and its parts against slow references, on random and on adversarial inputs."""

import math

import numpy as np
import pytest
import references
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stc_core.methods import METHODS, STC
from stc_core.methods.base import Decision, paper_budget
from stc_core.methods.parts.clustering import dpc_knn
from stc_core.methods.parts.merging import most_alike, text_relevance
from stc_core.methods.parts.points import ROWS
from stc_core.methods.parts.selection import retention_pool
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


def random_case(seed, n=None, width=6, groups=5, noise=0.3):
    """(tokens, contribution): noisy copies of a few directions, as frames of a video are."""
    rng = np.random.default_rng(seed)
    n = n or int(rng.integers(1, 50))
    centers = rng.normal(size=(groups, width))
    tokens = centers[rng.integers(groups, size=n)] + noise * rng.normal(size=(n, width))
    return torch.from_numpy(tokens), torch.from_numpy(rng.random(n))


def names(fate):
    return [Fate(int(value)).name for value in fate]


def duplicates(n=12):
    base, _ = random_case(3, n=3, noise=1)
    return base.repeat(n // 3, 1), torch.linspace(1, 0, n, dtype=torch.float64)


ADVERSARIAL = {
    "all equal": (torch.ones(9, 4, dtype=torch.float64), torch.ones(9, dtype=torch.float64)),
    "all zero": (torch.zeros(5, 3, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)),
    "one token": (torch.randn(1, 4, generator=torch.Generator().manual_seed(0)), torch.ones(1)),
    "opposite": (torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]]), torch.arange(4.0)),
    "few distinct": duplicates(),
    "equal scores": (random_case(7, n=20)[0], torch.full((20,), 0.5)),
}
SETTINGS = [
    (tau, ratio, budget)
    for tau in (-1.0, 0.7, 1.0)
    for ratio in (0.0, 0.3, 1.0)
    for budget in ("one", "half", "all")
]


def compare_outside(tokens, contribution, tau, ratio, budget):
    n = len(tokens)
    count = {"one": 1, "half": max(1, n // 2), "all": n}[budget]
    method = STC(retention=count / n, tau=tau, cluster_ratio=ratio)
    grid = TokenGrid(1, 1, n)
    decision = method.outside(tokens, contribution, grid)
    fate, target = references.outside(
        tokens.double().tolist(), contribution.tolist(), count, tau, ratio, 7
    )
    assert names(decision.fate) == fate
    assert decision.target.tolist() == target
    assert len(decision.survivors) == count
    expected = references.means(tokens.double().tolist(), target)
    np.testing.assert_allclose(decision.apply(tokens.double()).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("tau", "ratio"), [(0.7, 0.3), (0.95, 0.5), (0.0, 0.0), (1.0, 1.0)])
def test_outside_equals_the_reference_on_random_tokens(seed, tau, ratio):
    for budget in ("one", "half", "all"):
        compare_outside(*random_case(seed), tau, ratio, budget)


@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize(("tau", "ratio", "budget"), SETTINGS)
def test_outside_equals_the_reference_on_adversarial_tokens(case, tau, ratio, budget):
    compare_outside(*ADVERSARIAL[case], tau, ratio, budget)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("block", [1, 3, 256])
@pytest.mark.parametrize("capacity", [3, 12])
def test_pool_equals_the_reference_whatever_the_block(seed, block, capacity):
    tokens, contribution = random_case(seed, n=40)
    walk = retention_pool(tokens, contribution, capacity, 0.8, block=block)
    expected, similarity = references.pool(tokens.tolist(), contribution.tolist(), capacity, 0.8)
    assert walk.pool.tolist() == expected
    np.testing.assert_allclose(walk.similarity.numpy(), similarity, atol=1e-12)
    assert walk.order.dtype == walk.nearest.dtype == torch.int64
    turns = sorted(range(40), key=lambda i: (-contribution[i], i))
    reached = [i for i in turns if not math.isnan(similarity[i])]
    assert walk.order.tolist() == [reached.index(i) if i in reached else -1 for i in range(40)]
    for i in range(40):
        before = [p for p in expected if i in reached and reached.index(p) < reached.index(i)]
        alike = {p: references.cosine(tokens[i].tolist(), tokens[p].tolist()) for p in before}
        assert walk.nearest[i] == max(alike, key=alike.get, default=-1)


@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize("capacity", [0, 1, 3, 100])
@pytest.mark.parametrize("tau", [-1.0, 0.7, math.inf])
def test_similarity_is_the_cosine_to_the_nearest_pool_token(case, capacity, tau):
    """Also where many are equally near: which of them is named is open, that it is one is not."""
    tokens, contribution = ADVERSARIAL[case]
    walk = retention_pool(tokens, contribution, capacity, tau)
    reached = (walk.order >= 0).nonzero().flatten()
    assert torch.equal(walk.order[reached].sort().values, torch.arange(len(reached)))
    assert torch.equal(walk.similarity.isnan(), walk.order < 0)
    for i in range(len(tokens)):
        near = int(walk.nearest[i])
        assert (near < 0) == (int(walk.order[i]) < 1)
        if near >= 0:
            assert near in walk.pool and walk.order[near] < walk.order[i]
            cosine = references.cosine(tokens[i].double().tolist(), tokens[near].double().tolist())
            assert walk.similarity[i] == pytest.approx(cosine, abs=1e-12)


@pytest.mark.parametrize("clusters", [True, False])
def test_a_decision_notes_the_walk(clusters):
    tokens, contribution = random_case(2, n=30)
    grid = TokenGrid(1, 5, 6)
    notes = STC(retention=0.3, clusters=clusters).outside(tokens, contribution, grid).notes
    walk = retention_pool(tokens, contribution, 6 if clusters else 9, 0.7)
    for name in ("similarity", "nearest", "order"):
        torch.testing.assert_close(notes[name], getattr(walk, name), equal_nan=True)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("k", [1, 3, 7, 100])
def test_clusters_equal_the_reference(seed, k, monkeypatch):
    tokens, _ = random_case(seed, n=30)
    for count in (1, 4, 15, 30):
        expected = references.clusters(tokens.tolist(), count, k)
        centers, nearest = dpc_knn(tokens, count, k)
        assert (centers.tolist(), nearest.tolist()) == expected
        with monkeypatch.context() as patch:  # and in tiles
            patch.setattr("stc_core.methods.parts.points.HELD", 8 * 6)
            patch.setitem(ROWS, "cpu", 4)
            centers, nearest = dpc_knn(tokens, count, k)
        assert (centers.tolist(), nearest.tolist()) == expected


def test_far_apart_tokens_do_not_underflow_to_equal_densities():
    tokens = random_case(1, n=20)[0] * 1e4
    expected = references.clusters(tokens.tolist(), 5, 7)
    assert tuple(part.tolist() for part in dpc_knn(tokens, 5, 7)) == expected


@pytest.mark.parametrize("count", [0, 4])
def test_impossible_cluster_counts_are_refused(count):
    with pytest.raises(ValueError, match=f"3 tokens cannot make {count} clusters"):
        dpc_knn(torch.randn(3, 2), count)


def inside_case(seed, n=None, q=4, width=6):
    rng = np.random.default_rng(seed)
    n = n or int(rng.integers(1, 30))
    arrays = rng.normal(size=(n, width)), rng.normal(size=(q, width)), rng.random((q, n))
    return tuple(torch.from_numpy(array) for array in arrays)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_inside_equals_the_reference_on_random_tokens(seed, lam):
    visual, text, attention = inside_case(seed)
    for keep in (1e-9, 0.3, 0.5, 0.99):
        decision = STC(keep_inside=keep, lam=lam).inside(visual, text, attention)
        survivors, target = references.inside(
            visual.tolist(), text.tolist(), attention.tolist(), keep, lam
        )
        assert decision.survivors.tolist() == survivors
        assert decision.target.tolist() == target
        np.testing.assert_allclose(
            decision.notes["relevance"].numpy(),
            references.relevance(visual.tolist(), text.tolist(), attention.tolist(), lam),
            atol=2e-9,
        )


@pytest.mark.parametrize(
    ("visual", "attention"),
    [
        (torch.ones(6, 3), torch.full((2, 6), 1 / 6)),
        (torch.ones(1, 3), torch.ones(2, 1)),
        (torch.zeros(4, 3), torch.zeros(2, 4)),
        (torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(3, 1), torch.rand(2, 6)),
    ],
    ids=["all equal", "one token", "all zero", "few distinct"],
)
def test_inside_equals_the_reference_on_adversarial_tokens(visual, attention):
    text = torch.tensor([[1.0, 2, 3], [0, 0, 1]])
    decision = STC().inside(visual, text, attention)
    survivors, target = references.inside(
        visual.double().tolist(), text.double().tolist(), attention.double().tolist(), 0.5, 0.5
    )
    assert decision.survivors.tolist() == survivors
    assert decision.target.tolist() == target


def test_relevance_is_attention_or_similarity_at_the_ends_of_lambda():
    visual, text, attention = inside_case(5, n=12)
    by_attention = text_relevance(visual, text, attention, 0.0)
    by_similarity = text_relevance(visual, text, attention, 1.0)
    assert by_attention.argmax() == attention.amax(0).argmax()
    both = torch.nn.functional.cosine_similarity(text[:, None], visual[None], dim=-1)
    assert by_similarity.argmax() == both.amax(0).argmax()


def test_merging_goes_to_the_earlier_of_equal_survivors():
    tokens = torch.tensor([[1.0, 0], [1, 0], [2, 0], [0, 1]])
    assert most_alike(tokens, torch.tensor([0, 1, 3])).tolist() == [0, 1, 0, 3]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(bad):
    grid, ones = TokenGrid(1, 2, 2), torch.ones(4)
    broken = torch.ones(4, 3)
    broken[2, 1] = bad
    with pytest.raises(ValueError, match="nan or infinite"):
        STC().outside(broken, ones, grid)
    with pytest.raises(ValueError, match="nan or infinite"):
        STC().outside(torch.ones(4, 3), broken[:, 1], grid)
    for place in range(3):
        parts = [torch.ones(4, 3), torch.ones(2, 3), torch.ones(2, 4)]
        parts[place][0, 0] = bad
        with pytest.raises(ValueError, match="nan or infinite"):
            STC().inside(*parts)


def test_tensors_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="do not belong together"):
        STC().outside(torch.ones(4, 3), torch.ones(3), TokenGrid(1, 2, 2))
    with pytest.raises(ValueError, match="does not join"):
        STC().inside(torch.ones(4, 3), torch.ones(2, 3), torch.ones(3, 4))
    with pytest.raises(ValueError, match="2 dimensions"):
        STC().outside(torch.ones(4), torch.ones(4), TokenGrid(1, 2, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("retention", value) for value in (0, -0.1, 1.01, math.nan, "2%", True, None)),
        *(("tau", value) for value in (-1.01, 1.01, math.nan)),
        *(("cluster_ratio", value) for value in (-0.1, 1.1, math.nan)),
        *(("keep_inside", value) for value in (0, 1.1, math.nan)),
        *(("lam", value) for value in (-0.1, 1.1, math.inf)),
        *(("layer", value) for value in (-1, 2.5, "18")),
        *(("neighbors", value) for value in (0, 1.5)),
        ("positions", "renumbered"),
    ],
)
def test_bad_settings_are_one_sentence(field, value):
    with pytest.raises(ValueError, match=rf"^{field} must be") as error:
        STC(**{field: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("depth", "layer", "expected"), [(28, None, 18), (8, None, 5), (2, None, 0), (24, 18, 18)]
)
def test_layer_k(depth, layer, expected):
    assert STC(layer=layer).inside_layer(depth) == expected


@pytest.mark.parametrize(("depth", "layer"), [(28, 27), (28, 100), (1, None)])
def test_layer_k_outside_the_depth_is_refused(depth, layer):
    with pytest.raises(ValueError, match="outside this model"):
        STC(layer=layer).inside_layer(depth)


def test_keeping_everything_inside_switches_the_stage_off():
    assert STC(keep_inside=1.0).inside_layer(28) is None


@pytest.mark.parametrize(
    ("frames", "per_side", "retention", "budget"),
    [
        (32, 14, 0.10, 640),
        (32, 14, 0.05, 320),
        (32, 14, 0.02, 128),
        (32, 14, 0.01, 64),
        (64, 13, 0.02, 192),
        (64, 13, 0.01, 128),
        (32, 5, 0.02, 16),
        (16, 5, 0.02, 8),
        (1, 2, 0.001, 1),
        (4, 5, 1.0, 100),
    ],
)
def test_budget_is_the_papers(frames, per_side, retention, budget):
    assert paper_budget(retention, TokenGrid(frames, per_side, per_side)) == budget


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    retention=st.floats(0.01, 1),
    tau=st.floats(-1, 1),
    ratio=st.floats(0, 1),
)
def test_every_decision_holds_its_invariants(seed, retention, tau, ratio):
    rng = np.random.default_rng(seed)
    frames, rows, cols = (int(value) for value in rng.integers(1, 5, size=3))
    grid = TokenGrid(frames, rows, cols)
    tokens, contribution = random_case(seed, n=grid.size)
    method = STC(retention=retention, tau=tau, cluster_ratio=ratio)
    decision = method.outside(tokens, contribution, grid)
    again = method.outside(tokens.clone(), contribution.clone(), grid)
    assert len(decision.survivors) == method.budget(grid)
    assert (decision.survivors.diff() > 0).all()
    carried = decision.target[decision.target >= 0]
    assert torch.isin(carried, decision.survivors).all()
    assert (decision.target[decision.survivors] == decision.survivors).all()
    assert torch.equal(decision.apply(tokens), again.apply(tokens))
    assert torch.equal(decision.target, again.target)


def test_the_result_does_not_depend_on_token_order_beyond_ties():
    tokens, contribution = random_case(11, n=40)
    shuffle = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    grid = TokenGrid(1, 1, 40)
    method = STC(retention=0.25)
    plain = method.outside(tokens, contribution, grid)
    mixed = method.outside(tokens[shuffle], contribution[shuffle], grid)
    assert sorted(shuffle[mixed.survivors].tolist()) == plain.survivors.tolist()


def test_merging_identical_tokens_returns_that_token():
    tokens = torch.randn(1, 5, generator=torch.Generator().manual_seed(1)).repeat(30, 1)
    decision = STC(retention=0.1).outside(tokens, torch.ones(30), TokenGrid(1, 5, 6))
    torch.testing.assert_close(decision.apply(tokens), tokens[:3], atol=0, rtol=1e-6)


def test_keep_all_copies_bit_for_bit_in_half_precision():
    tokens = torch.randn(20, 8, generator=torch.Generator().manual_seed(4)).bfloat16()
    decision = STC(retention=1.0).outside(tokens, torch.rand(20), TokenGrid(1, 4, 5))
    assert torch.equal(decision.apply(tokens), tokens)
    assert not decision.changes
    assert torch.equal(Decision.keep_all(20).apply(tokens), tokens)


def test_a_mean_over_many_half_precision_tokens_is_accurate():
    tokens = torch.full((4096, 2), 1.001).bfloat16()
    fate = torch.full((4096,), int(Fate.MERGED))
    fate[7] = int(Fate.CENTER)
    merged = Decision.of(fate, torch.full((4096,), 7)).apply(tokens)
    assert torch.equal(merged, tokens[:1])


def test_repr_reproduces_the_method():
    method = STC(retention=0.05, tau=0.9, layer=3)
    assert eval(repr(method), {"STC": STC}) == method


def test_the_registry_names_its_methods():
    assert METHODS["stc"] is STC
    assert all(name == name.lower() for name in METHODS)
