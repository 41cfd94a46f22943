"""Methods around methods: SToP, and one method's outside stage before another's inside stage."""

import pytest
import torch
from published_clip import published_clip
from token_clips import ADVERSARIAL, check, clip

from stc_core.methods import (
    EVS,
    METHODS,
    STC,
    FastV,
    FastVID,
    FlashVID,
    HoliTom,
    InfoMerge,
    PruneVid,
    SpaceTimeDPP,
    SToP,
    Tango,
    Then,
    Uniform,
    VidCom2,
    VisionZip,
)
from stc_core.methods.stop import sinks

ATTENTIVE = (STC, SpaceTimeDPP, VisionZip, FastVID, HoliTom, FlashVID, Tango, InfoMerge)


@pytest.mark.parametrize(
    ("mu", "kept"),
    [
        (0, [{0, 6}, {0, 3}, {4, 6}, {0, 5}, {0, 3}, {5, 7}]),
        (0.3, [{2, 6}, {2, 3}, {4, 6}, {5, 7}, {0, 3}, {5, 7}]),
        (1, [{4, 6}, {3, 8}, {4, 6}, {5, 8}, {3, 8}, {5, 8}]),
    ],
)
def test_the_published_code_chooses_the_same_tokens(mu, kept):
    tokens, contribution, grid = published_clip()
    best = VisionZip(retention=2 / 9, dominant=1.0)  # the two highest of each frame
    method = SToP(best, strength=mu / float(contribution.mean()))
    survivors = method.outside(tokens, contribution, grid).survivors.tolist()
    assert [{i % 9 for i in survivors if i // 9 == t} for t in range(6)] == kept


def test_sink_scores_are_the_published_ones():
    _, contribution, _ = published_clip()
    expected = torch.tensor([1, 0.5611, 0.4897, 0.4050, 0.4319, 0.3036, 0.5469, 0.4093, 0])
    torch.testing.assert_close(sinks(contribution.view(6, 9)), expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize("kind", ATTENTIVE)
def test_invariants(case, kind):
    tokens, contribution, grid = ADVERSARIAL[case]
    method = SToP(kind(retention=0.3))
    check(method, method.outside(tokens, contribution, grid), tokens, contribution, grid)


@pytest.mark.parametrize("kind", ATTENTIVE)
def test_nothing_is_taken_off_with_strength_zero_or_in_one_frame(kind):
    plain = kind(retention=0.2)
    for method, case in ((SToP(plain, 0.0), clip(4, 5, 3, 3)), (SToP(plain), clip(4, 1, 3, 3))):
        found, expected = (m.outside(*case) for m in (method, plain))
        assert torch.equal(found.target, expected.target)


def test_a_place_that_is_bright_in_every_frame_loses_its_place():
    tokens, contribution, grid = clip(2, 6, 3, 3)
    contribution.view(6, 9)[:, 4] = 3.0
    plain = VisionZip(retention=1 / 9, dominant=1.0)
    assert all(i % 9 == 4 for i in plain.outside(tokens, contribution, grid).survivors)
    cleaned = SToP(plain).outside(tokens, contribution, grid)
    assert not any(i % 9 == 4 for i in cleaned.survivors)


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_the_scale_of_the_attention_decides_nothing(factor):
    tokens, contribution, grid = clip(5, 6, 3, 3)
    method = SToP(STC(retention=0.2))
    one, other = (method.outside(tokens, c, grid) for c in (contribution, factor * contribution))
    assert torch.equal(one.target, other.target)


@pytest.mark.parametrize("name", METHODS)
def test_only_methods_that_read_attention_can_be_wrapped(name):
    kind = METHODS[name]
    tokens, contribution, grid = clip(6, 6, 3, 3)
    other = torch.rand(54, generator=torch.Generator().manual_seed(1)).double()
    one, two = (kind(retention=0.3).outside(tokens, c, grid) for c in (contribution, other))
    reads = not torch.equal(one.target, two.target)
    assert kind().attentive == reads == (kind in ATTENTIVE)
    if reads:
        assert SToP(kind(retention=0.3)).attentive
    else:
        with pytest.raises(ValueError, match=f"^{kind.__name__} reads no attention"):
            SToP(kind())


def test_what_sop_cannot_wrap_is_refused():
    with pytest.raises(ValueError, match="^STC reads no attention"):
        SToP(STC(contribution=False))
    with pytest.raises(ValueError, match="^a compression method is needed"):
        SToP("visionzip")
    with pytest.raises(ValueError, match="^strength must be"):
        SToP(STC(), -1.0)


@pytest.mark.parametrize("inner", [STC(), FastV(retention=0.5), PruneVid(retention=0.4), HoliTom()])
def test_each_stage_is_that_of_its_method(inner):
    tokens, contribution, grid = clip(7, 6, 3, 3)
    door = VidCom2(retention=0.3)
    method = Then(door, inner)
    found, expected = (m.outside(tokens, contribution, grid) for m in (method, door))
    assert torch.equal(found.target, expected.target)
    generator = torch.Generator().manual_seed(2)
    visual, text = torch.randn(12, 4, generator=generator), torch.randn(3, 4, generator=generator)
    attention = torch.rand(3, 12, generator=generator)
    found, expected = (m.inside(visual, text, attention) for m in (method, inner))
    assert torch.equal(found.target, expected.target)
    for depth in (4, 28):
        assert method.inside_layer(depth) == inner.inside_layer(depth)
    assert method.inside_budget(12) == inner.inside_budget(12) == len(found.survivors)
    assert (method.inside_heads, method.inside_text) == (inner.inside_heads, inner.inside_text)
    assert method.budget(grid) == door.budget(grid)


def test_an_inner_method_without_a_stage_inside_is_refused():
    for inner in (Uniform(), EVS()):
        with pytest.raises(ValueError, match="has no stage inside the LLM"):
            Then(STC(), inner)
    with pytest.raises(ValueError, match="^a compression method is needed"):
        Then(STC(), None)


def test_repr_reproduces_the_method():
    for method in (SToP(VisionZip(retention=0.1), 3.0), Then(VidCom2(retention=0.1), STC())):
        assert (
            eval(repr(method), {kind.__name__: kind for kind in (SToP, Then, *METHODS.values())})
            == method
        )
