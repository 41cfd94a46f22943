"""PruneVid's inner stage against a slow reference."""

import math

import pytest
import torch
from references import min_max
from token_clips import clip

from stc_core.methods.prunevid import PruneVid, prune_by_question
from stc_core.record.stages import Fate


def reference(attention, keep):
    n = len(attention[0])
    highest = [
        round(value, 12) for value in min_max([max(row[i] for row in attention) for i in range(n)])
    ]
    return sorted(sorted(range(n), key=lambda i: (-highest[i], i))[:keep]), highest


def case(seed, n, q=3):
    generator = torch.Generator().manual_seed(seed)
    visual, text = torch.randn(n, 4, generator=generator), torch.randn(q, 4, generator=generator)
    return visual, text, torch.rand(q, n, generator=generator).double()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 2, 17])
@pytest.mark.parametrize("retention", [1e-6, 0.1, 0.5, 0.99, 1.0])
def test_inside(seed, n, retention):
    visual, text, attention = case(seed, n)
    method = PruneVid(retention=retention)
    decision = method.inside(visual, text, attention)
    keep = max(1, math.floor(retention * n + 1e-9))
    survivors, relevance = reference(attention.tolist(), keep)
    assert decision.survivors.tolist() == survivors
    assert method.inside_budget(n) == keep
    assert decision.target.tolist() == [i if i in survivors else -1 for i in range(n)]
    gone = decision.fate[decision.target < 0]
    assert (gone == int(Fate.DROPPED_INSIDE)).all()
    torch.testing.assert_close(decision.notes["relevance"].tolist(), relevance, atol=2e-9, rtol=0)
    assert torch.equal(decision.apply(visual), visual[survivors])


def test_equal_attention_keeps_the_earlier_tokens():
    assert prune_by_question(torch.full((2, 6), 1 / 6), 2).survivors.tolist() == [0, 1]


def test_one_text_token_that_cares_is_enough():
    attention = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.0, 0.3]])
    assert prune_by_question(attention, 1).survivors.tolist() == [2]


def test_everything_enters_the_llm():
    tokens, contribution, grid = clip(0, 4, 3, 3)
    method = PruneVid(retention=0.02)
    assert method.budget(grid) == grid.size
    assert not method.outside(tokens, contribution, grid).changes


@pytest.mark.parametrize(
    ("depth", "layer", "expected"), [(32, None, 10), (28, None, 9), (2, None, 0), (24, 18, 18)]
)
def test_layer_k(depth, layer, expected):
    assert PruneVid(layer=layer).inside_layer(depth) == expected


def test_layer_k_outside_the_depth_is_refused():
    for depth, layer in ((28, 27), (1, None)):
        with pytest.raises(ValueError, match="outside this model"):
            PruneVid(layer=layer).inside_layer(depth)


def test_keeping_everything_switches_the_stage_off():
    assert PruneVid(retention=1.0).inside_layer(28) is None


@pytest.mark.parametrize("value", [-1, 1.5, "10"])
def test_bad_settings(value):
    with pytest.raises(ValueError, match="^layer must be"):
        PruneVid(layer=value)


def test_tensors_that_do_not_belong_together():
    with pytest.raises(ValueError, match="does not join"):
        PruneVid().inside(torch.ones(4, 3), torch.ones(2, 3), torch.ones(3, 4))


def test_repr_reproduces_the_method():
    method = PruneVid(retention=0.1, layer=3)
    assert eval(repr(method), {"PruneVid": PruneVid}) == method
