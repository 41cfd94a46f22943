"""Frames: whole frames, or frames that another method thins."""

import pytest
import torch
from token_clips import check, clip

from stc_core.methods import (
    EVS,
    METHODS,
    STC,
    DyToK,
    Edited,
    FastV,
    Frames,
    HoliTom,
    KiToke,
    SToP,
    Then,
    VisionZip,
)
from stc_core.record.grid import TokenGrid

OUTSIDE = [name for name in METHODS if name not in ("frames", "fastv", "prunevid", "v2drop")]


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_method_decides_on_the_clip_of_the_chosen_frames(name):
    tokens, contribution, grid = clip(4, 8, 3, 3)
    method = Frames(METHODS[name](retention=0.25), keep=4)
    decision = method.outside(tokens, contribution, grid)
    check(method, decision, tokens, contribution, grid)
    places = torch.arange(72).view(8, 9)[[1, 3, 5, 7]].flatten()
    alone = METHODS[name](retention=18 / 36).outside(
        tokens[places], contribution[places], TokenGrid(4, 3, 3)
    )
    assert torch.equal(decision.survivors, places[alone.survivors])
    carried = alone.target >= 0
    assert torch.equal(decision.target[places][carried], places[alone.target[carried]])
    torch.testing.assert_close(decision.apply(tokens), alone.apply(tokens[places]))
    if "nearest" in alone.notes:
        near = alone.notes["nearest"]
        moved = torch.where(near < 0, -1, places[near.clamp(min=0)])
        assert torch.equal(decision.notes["nearest"][places], moved)


def test_a_short_clip_keeps_all_its_frames_and_full_frames_all_their_tokens():
    tokens, contribution, grid = clip(5, 3, 2, 2)
    plain = VisionZip(retention=0.5)
    one, other = (m.outside(tokens, contribution, grid) for m in (Frames(plain, keep=9), plain))
    assert torch.equal(one.target, other.target)
    whole = Frames(VisionZip(retention=0.9), keep=1)
    assert whole.outside(tokens, contribution, grid).survivors.tolist() == [4, 5, 6, 7]
    assert whole.budget(grid) == 4 and len(whole.remarks(grid, 4)) == 1


def test_unlike_frames_are_those_farthest_from_the_chosen():
    tokens = torch.eye(3)[[0, 0, 1, 0, 2, 1]].repeat_interleave(2, dim=0)
    grid, contribution = TokenGrid(6, 1, 2), torch.ones(12)
    method = Frames(VisionZip(retention=0.25), keep=3, choose="unlike")
    assert (method.outside(tokens, contribution, grid).survivors // 2).tolist() == [0, 2, 4]
    whole = Frames(retention=0.5, choose="unlike").outside(tokens, contribution, grid)
    assert whole.survivors.tolist() == [0, 1, 4, 5, 8, 9]


def test_it_can_be_around_and_inside_others():
    tokens, contribution, grid = clip(6, 8, 3, 3)
    inside = Frames(SToP(VisionZip(retention=0.2)), keep=4)
    around = SToP(Frames(VisionZip(retention=0.2), keep=4))
    both = Then(inside, FastV(retention=0.5))
    for method in (inside, around, both):
        check(method, method.outside(tokens, contribution, grid), tokens, contribution, grid)
        assert method.retention == 0.2 and method.at(0.4).retention == 0.4
    holi = Frames(HoliTom(retention=0.2), keep=4)
    assert holi.inside_layer(28) == HoliTom().inside_layer(28) is not None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Frames(VisionZip()), "^say how many frames"),
        (lambda: Frames(VisionZip(), keep=0), "^keep must be"),
        (lambda: Frames(VisionZip(), keep=2, choose="best"), "^choose must be"),
        (lambda: Frames(VisionZip(), keep=2, retention=0.4), "^retention is the method's own"),
        (lambda: Frames(keep=2), "give keep only with a method"),
        (lambda: Frames(FastV(), keep=2), "^FastV drops nothing before the LLM"),
        (lambda: Frames(Frames(), keep=2), "^Frames is about all frames"),
        (lambda: Frames(DyToK(STC()), keep=2), "^DyToK is about all frames"),
        (lambda: Frames(Edited(STC(), add=(1,)), keep=2), "^Edited is about all frames"),
        (lambda: Frames("stc", keep=2), "^a compression method is needed"),
        (
            lambda: Frames(KiToke(retention=0.02), keep=4).outside(*clip(4, 8, 3, 3)),
            "asks for 1 of 72 video tokens, fewer than one for each of 4 frames",
        ),
    ],
)
def test_what_it_cannot_do_is_one_sentence(make, words):
    with pytest.raises(ValueError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_repr_reproduces_the_method():
    names = {kind.__name__: kind for kind in METHODS.values()}
    for method in (
        Frames(retention=0.1),
        Frames(choose="unlike"),
        Frames(EVS(retention=0.3), keep=3),
    ):
        assert eval(repr(method), names) == method
    assert "method" not in repr(Frames())
