"""One table for all methods: what is true of every one, on bare tensors and on a tiny model."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers.masked import generate, masked_logits, snapshot
from helpers.tokens import KINDS, tokens_of
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import clip_frames, prompt

from stc_core import compress
from stc_core.methods import METHODS, Decision, Method
from stc_core.methods.stc import ABLATIONS
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import SURVIVORS, Fate
from stc_core.record.trace import Trace

# What is tried of a method beside its defaults; a method that is not here is tried with those.
OPTIONS = {
    "stc": [*ABLATIONS.values(), {"similarity": False, "walk": "spread", "contribution": False}],
    "visionzip": [{"equal_halves": True}, {"published_rounding": True}],
    "fastvid": [{"beta": 0.0}, {"published_rounding": True}],
    "holitom": [{"beta": 0.0}, {"few_neighbors": True}, {"sequential": True}],
    "uniform": [{"place": "golden"}],
    "random": [{"seed": 3}],
}
TABLE = [(name, options) for name in METHODS for options in ({}, *OPTIONS.get(name, ()))]
GRIDS = [(1, 1, 1), (1, 1, 7), (1, 5, 5), (3, 1, 1), (4, 5, 5), (5, 2, 3), (2, 4, 1), (9, 3, 3)]
RETENTIONS = [0.001, 0.02, 0.1, 0.5, 0.99, 1.0]
every_method = pytest.mark.parametrize(
    ("name", "options"), TABLE, ids=[f"{name} {options or ''}" for name, options in TABLE]
)


def check(decision, tokens, expected, inside=False):
    """Whatever must be true of a decision on these tokens that keeps ``expected`` of them."""
    n = len(tokens)
    fate, target, survivors = decision.fate, decision.target, decision.survivors
    ended = (Fate.MERGED_INSIDE, Fate.DROPPED_INSIDE) if inside else (Fate.MERGED, Fate.DROPPED)
    allowed = torch.tensor([int(kind) for kind in (*SURVIVORS, *ended)])
    assert fate.dtype == torch.uint8 and target.dtype == survivors.dtype == torch.int64
    assert fate.shape == target.shape == (n,) and torch.isin(fate, allowed).all()
    assert len(survivors) == expected and (survivors.diff() > 0).all()
    survives = torch.isin(fate, allowed[:2])
    assert torch.equal(survives.nonzero().flatten(), survivors)
    assert torch.equal(target[survivors], survivors)
    dropped = fate == int(ended[1])
    assert torch.equal(target == -1, dropped)
    assert torch.isin(target[~dropped], survivors).all()
    share = decision.shares()
    assert torch.equal(share > 0, target >= 0)
    sums = torch.zeros(n, dtype=torch.float64).index_add_(0, target.clamp(min=0), share)
    torch.testing.assert_close(sums[survivors], torch.ones(expected, dtype=torch.float64))
    for values in decision.notes.values():
        assert values.shape == (n,)
    out = decision.apply(tokens)
    assert out.shape == (expected, tokens.shape[1]) and out.dtype == tokens.dtype
    assert torch.isfinite(out).all()
    alone = torch.bincount(target[target >= 0], minlength=n)[survivors] == 1
    assert torch.equal(out[alone], tokens[survivors][alone])
    wide = tokens.double()
    means = torch.stack([(share[:, None] * wide)[target == s].sum(0) for s in survivors])
    torch.testing.assert_close(
        out.double(),
        means,
        rtol=1e-2 if out.dtype.itemsize == 2 else 1e-5,
        atol=1e-5 * float(wide.abs().max()),
    )


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("fate", "target"))


@every_method
@pytest.mark.parametrize("kind", KINDS)
def test_every_outside_decision_holds_its_invariants(name, options, kind):
    for shape in GRIDS:
        grid = TokenGrid(*shape)
        tokens, contribution = tokens_of(kind, grid.size)
        for retention in RETENTIONS:
            method = METHODS[name](retention=retention, **options)
            decision = method.outside(tokens, contribution, grid)
            check(decision, tokens, method.budget(grid))
            again = method.outside(tokens.clone(), contribution.clone(), grid)
            assert same(decision, again)
            assert torch.equal(decision.apply(tokens), again.apply(tokens))


@every_method
@pytest.mark.parametrize("kind", KINDS)
def test_every_inside_decision_holds_its_invariants(name, options, kind):
    for n in (1, 2, 7, 40):
        visual, _ = tokens_of(kind, n)
        text, _ = tokens_of("random", 3, seed=1)
        attention = torch.rand(3, n, generator=torch.manual_seed(n))
        if kind != "random":
            attention = attention.round()
        for retention in RETENTIONS:
            method = METHODS[name](retention=retention, **options)
            decision = method.inside(visual, text, attention)
            check(decision, visual, method.inside_budget(n), inside=True)
            assert same(decision, method.inside(visual, text, attention))


@every_method
def test_keeping_everything_keeps_everything(name, options):
    grid = TokenGrid(4, 3, 5)
    tokens, contribution = tokens_of("random", grid.size)
    method = METHODS[name](retention=1.0, **options)
    decision = method.outside(tokens, contribution, grid)
    if method.budget(grid) == grid.size:
        assert not decision.changes and torch.equal(decision.apply(tokens), tokens)
    else:
        pytest.skip(f"{name} keeps {method.budget(grid)} of {grid.size} at most")


@every_method
def test_repr_reproduces_the_method(name, options):
    for method in (METHODS[name](**options), METHODS[name](retention=0.3, positions="compact")):
        assert eval(repr(method), {type(method).__name__: type(method)}) == method


@every_method
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_infinity_and_wrong_shapes_are_refused(name, options, bad):
    method, grid = METHODS[name](**options), TokenGrid(1, 2, 2)
    broken = torch.ones(4, 3)
    broken[2, 1] = bad
    if METHODS[name].outside is not Method.outside:
        with pytest.raises(ValueError, match="nan or infinite"):
            method.outside(broken, torch.ones(4), grid)
        with pytest.raises(ValueError, match="do not belong together"):
            method.outside(torch.ones(4, 3), torch.ones(3), grid)
    if METHODS[name].inside is not Method.inside:
        with pytest.raises(ValueError, match="nan or infinite"):
            method.inside(broken, torch.ones(2, 3), torch.ones(2, 4))
        with pytest.raises(ValueError, match="does not join"):
            method.inside(torch.ones(4, 3), torch.ones(2, 3), torch.ones(3, 4))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("retention", value) for value in (0, -1, 1.5, float("nan"), "2%", True, None)),
        ("positions", "renumbered"),
        ("signal", "attention"),
    ],
)
def test_bad_settings_are_one_sentence(name, field, value):
    with pytest.raises(ValueError, match=rf"^{field} must be") as error:
        METHODS[name](**{field: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_frozen_documented_and_named_in_lower_case(name):
    method = METHODS[name]
    assert name == name.lower() and issubclass(method, Method)
    assert "Deviations and choices" in method.__doc__
    with pytest.raises(dataclasses.FrozenInstanceError):
        method().retention = 1.0


@settings(max_examples=25, deadline=None)
@given(
    entry=st.sampled_from(TABLE),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4)),
    retention=st.floats(0.005, 1),
    seed=st.integers(0, 2**31),
)
def test_any_grid_and_any_retention(entry, shape, retention, seed):
    (name, options), grid = entry, TokenGrid(*shape)
    tokens, contribution = tokens_of("random", grid.size, seed=seed)
    method = METHODS[name](retention=retention, **options)
    check(method.outside(tokens, contribution, grid), tokens, method.budget(grid))


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6), min_size=1, max_size=5),
    scale=st.floats(1e-3, 1e3),
)
def test_weights_are_relative_and_sum_to_one(groups, scale):
    """Only proportions within a group matter; a group's mean is the weighted mean."""
    flat = [value for group in groups for value in group]
    starts = np.cumsum([0, *map(len, groups)])
    target = torch.tensor([int(s) for s, g in zip(starts, groups, strict=False) for _ in g])
    every = torch.arange(len(flat))
    fate = torch.where(target == every, int(Fate.CENTER), int(Fate.MERGED))
    weight = torch.tensor(flat, dtype=torch.float64)
    decision = Decision.of(fate, target, weight)
    tokens = torch.randn(len(flat), 3, generator=torch.manual_seed(0), dtype=torch.float64)
    check(decision, tokens, len(groups))
    for start, group in zip(starts, groups, strict=False):
        exact = [Fraction(value) / sum(map(Fraction, group)) for value in group]
        found = decision.shares()[start : start + len(group)]
        np.testing.assert_allclose(found, [float(value) for value in exact], rtol=1e-12)
    scaled = Decision.of(fate, target, weight * scale)
    torch.testing.assert_close(scaled.apply(tokens), decision.apply(tokens))


def test_a_survivor_that_carries_itself_alone_is_copied_whatever_its_weight():
    tokens = torch.randn(4, 3, generator=torch.manual_seed(1)).bfloat16()
    fate = torch.tensor([0, 3, 1, 2])
    target = torch.tensor([0, -1, 2, 2])
    decision = Decision.of(fate, target, torch.tensor([0.3, 9.0, 0.6, 0.4]))
    out = decision.apply(tokens)
    assert torch.equal(out[0], tokens[0])
    expected = 0.6 * tokens[2].double() + 0.4 * tokens[3].double()
    assert torch.equal(out[1], expected.bfloat16())


def test_a_weight_too_small_to_count_still_is_a_share():
    decision = Decision.of(torch.tensor([1, 2]), torch.tensor([0, 0]), torch.tensor([1.0, 0.0]))
    assert (decision.shares() > 0).all()


def test_equal_weights_are_the_plain_mean():
    tokens, _ = tokens_of("random", 9)
    target = torch.tensor([0, 0, 2, 2, 2, 5, 5, 5, 5])
    fate = torch.where(target == torch.arange(9), 1, 2)
    plain = Decision.of(fate, target)
    even = Decision.of(fate, target, torch.full((9,), 7.0))
    torch.testing.assert_close(plain.apply(tokens), even.apply(tokens), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(plain.shares(), even.shares(), rtol=1e-14, atol=0)


# --- on a model ----------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@torch.no_grad()
def test_generation_equals_the_masked_reference(tiny, name, options, kernel):
    model, processor = tiny
    model.set_attn_implementation(kernel)
    inputs = prompt(processor, clip_frames())
    generate(model, inputs)
    before = snapshot(model)
    method = METHODS[name](retention=0.3, **options)
    with compress(model, method) as trace:
        out = generate(model, inputs)
    assert snapshot(model) == before
    door, end = trace.alive()[1], trace.alive()[-1]
    assert door == method.budget(trace.grid) and end == method.inside_budget(door)
    assert end < trace.grid.size and trace.method == repr(method)
    assert bool(trace.notes) == (door != method.asked(trace.grid))
    for step in (0, 5):
        ids = out.sequences[:, : inputs["input_ids"].shape[1] + step]
        logits, _ = masked_logits(model, inputs, trace, ids)
        torch.testing.assert_close(out.logits[step][0], logits, atol=1e-5, rtol=1e-5)


@every_method
@torch.no_grad()
def test_the_same_clip_gives_the_same_trace_and_its_file_reads_back(tiny, name, options, tmp_path):
    model, processor = tiny
    inputs = prompt(processor, clip_frames(seed=2))
    traces = []
    for _ in range(2):
        with compress(model, METHODS[name](retention=0.1, **options)) as trace:
            model(**inputs)
        traces.append(trace.freeze())
    traces.append(Trace.load(traces[0].save(tmp_path / "trace.npz")))
    for other in traces[1:]:
        for field in ("fate", "target", "weight", "contribution", "relevance", "similarity"):
            np.testing.assert_array_equal(getattr(traces[0], field), getattr(other, field))
        assert traces[0].notes == other.notes


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Weighted(Method):
    """Both stages merge with weights: no published method, but all that the interface allows."""

    def outside(self, tokens, contribution, grid):
        n, budget = len(tokens), self.budget(grid)
        target = torch.arange(n) * budget // n * n // budget
        target = torch.stack([(target == t).nonzero()[0, 0] for t in target])
        fate = torch.where(target == torch.arange(n), 1, 2)
        return Decision.of(fate, target, 1 + torch.arange(n) % 3)

    def inside_layer(self, depth):
        return 1

    def inside(self, visual, text, attention):
        n = len(visual)
        target = torch.arange(n) // 2 * 2
        fate = torch.where(target == torch.arange(n), int(Fate.KEPT), int(Fate.MERGED_INSIDE))
        return Decision.of(fate, target, 1 + torch.arange(n) % 2)


@torch.no_grad()
def test_weights_of_both_stages_reach_the_model_and_the_trace(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    with compress(model, _Weighted(retention=0.25)) as trace:
        out = generate(model, inputs)
    assert trace.alive() == [64, 16, 8]
    expected = []
    for i in range(64):
        block = i // 4 * 4
        outside = (1 + i % 3) / sum(1 + j % 3 for j in range(block, block + 4))
        expected.append(outside * (1 / 3, 2 / 3)[i // 4 % 2])
    np.testing.assert_allclose(trace.weight, expected, rtol=1e-6)
    logits, _ = masked_logits(model, inputs, trace, inputs["input_ids"])
    torch.testing.assert_close(out.logits[0][0], logits, atol=1e-5, rtol=1e-5)


def test_a_new_method_is_one_class_and_one_line(tiny, monkeypatch):
    monkeypatch.setitem(METHODS, "weighted", _Weighted)
    model, processor = tiny
    with compress(model, METHODS["weighted"](retention=0.5)) as trace, torch.no_grad():
        model(**prompt(processor, clip_frames()))
    assert trace.alive()[1] == 32
