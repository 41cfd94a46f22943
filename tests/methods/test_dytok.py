"""DyToK: its published shares, frames thinned alone, and weights that are the model's own."""

import pytest
import torch
from helpers.masked import generate
from hypothesis import given
from hypothesis import strategies as st
from inputs import clip_frames, prompt
from published_clip import published_clip
from token_clips import check, clip

from stc_core import compress
from stc_core.methods import (
    EVS,
    STC,
    DyToK,
    Edited,
    FastV,
    Frames,
    SToP,
    Then,
    VidCom2,
    VisionZip,
)
from stc_core.methods.dytok import shared
from stc_core.record.grid import TokenGrid

WEIGHTS = (0.50, 0.21, 0.13, 0.09, 0.05, 0.02)


@pytest.mark.parametrize(
    ("total", "most", "counts"),
    [
        (20, 6, [6, 5, 4, 3, 2, 0]),
        (18, 4, [4, 4, 4, 3, 2, 1]),
        (12, 99, [6, 2, 2, 1, 1, 0]),
    ],
)
def test_the_published_shares(total, most, counts):
    assert shared(WEIGHTS, total, most) == counts


def test_the_published_dominant_tokens():
    """Six of seven, rounded down; a single token of a frame is dominant (VisionZip's choice)."""
    zip_ = VisionZip(retention=20 / 54, dominant=6 / 7)
    tokens, contribution, grid = published_clip()
    decision = DyToK(zip_, weights=WEIGHTS).outside(tokens, contribution, grid)
    kept = (decision.fate == 0).view(6, 9).sum(dim=1).tolist()
    assert torch.bincount(decision.survivors // 9, minlength=6).tolist() == shared(WEIGHTS, 20, 9)
    assert kept == [max(int(6 * n / 7), n == 1) for n in shared(WEIGHTS, 20, 9)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.integers(1, 9), st.floats(0.01, 1))
def test_shares_meet_every_total_within_the_frames(weights, most, part):
    total = max(1, int(part * most * len(weights)))
    counts = shared(weights, total, most)
    assert sum(counts) == total and all(0 <= count <= most for count in counts)


@pytest.mark.parametrize("kind", [STC, VisionZip, VidCom2])
def test_each_frame_is_thinned_alone(kind):
    tokens, contribution, grid = clip(4, 4, 3, 3)
    method = DyToK(kind(retention=0.4), weights=(3, 0, 1, 2))
    decision = method.outside(tokens, contribution, grid)
    check(method, decision, tokens, contribution, grid)
    for frame, count in enumerate(shared((3, 0, 1, 2), method.budget(grid), 9)):
        part = slice(9 * frame, 9 * frame + 9)
        if not count:
            assert (decision.target[part] == -1).all()
            continue
        alone = kind(retention=count / 9).outside(
            tokens[part], contribution[part], TokenGrid(1, 3, 3)
        )
        moved = torch.where(alone.target < 0, -1, alone.target + part.start)
        assert torch.equal(decision.target[part], moved)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DyToK(EVS()), "^EVS cannot meet any budget in a single frame"),
        (lambda: DyToK(FastV()), "^FastV drops nothing before the LLM"),
        (lambda: DyToK(Frames()), "^Frames cannot meet"),
        (lambda: DyToK(DyToK(VisionZip())), "^DyToK cannot meet"),
        (lambda: DyToK(Edited(VisionZip(), add=(1,))), "^Edited cannot meet"),
        (lambda: DyToK(SToP(VisionZip())), "^SToP compares frames"),
        (lambda: DyToK(Then(SToP(VisionZip()), FastV())), "^SToP compares frames"),
        (lambda: DyToK(VisionZip(), share=0), "^share must be"),
        (lambda: DyToK(VisionZip(), weights=(1, -1)), "^each of the weights must be"),
        (lambda: DyToK("stc"), "^a compression method is needed"),
        (lambda: DyToK(STC()).outside(*clip(1, 2, 2, 2)), "^DyToK needs what the LLM attends to"),
        (lambda: DyToK(STC(), weights=(1,)).outside(*clip(1, 2, 2, 2)), "^1 weights were given"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(make, words):
    with pytest.raises(ValueError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_layers_of_the_first_pass():
    assert DyToK(STC(), share=1.0).first_pass(24) == range(16, 24)
    assert DyToK(STC()).first_pass(28) == range(10, 14)
    assert DyToK(STC()).first_pass(1) == range(0, 1)
    assert DyToK(STC(), weights=(1,)).first_pass(28) is None
    assert SToP(DyToK(STC())).first_pass(28) == range(10, 14)


@pytest.mark.parametrize("share", [0.5, 1.0])
@torch.no_grad()
def test_the_weights_are_those_of_the_uncompressed_models_attention(tiny, share):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    model.set_attn_implementation("eager")
    maps = model(**inputs, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    method = DyToK(VisionZip(retention=0.3), share=share)
    with compress(model, method) as trace:
        generate(model, inputs)
    grid, layers = trace.grid, method.first_pass(len(maps))
    places = (inputs["input_ids"][0] == model.config.video_token_id).nonzero().flatten()
    paid = torch.stack([maps[layer][0, :, -1, places[: grid.size]] for layer in layers]).double()
    among = (paid / paid.sum(dim=-1, keepdim=True)).mean(dim=(0, 1))
    weights = among.view(grid.frames, -1).sum(dim=1).tolist()
    counts = trace.outside.survivors // grid.per_frame
    expected = shared(weights, method.budget(grid), grid.per_frame)
    assert [(counts == frame).sum() for frame in range(grid.frames)] == expected
    assert trace.notes == (f"{method.remarks(grid, method.budget(grid))[0]}",)
    assert trace.method == repr(method)


def test_repr_reproduces_the_method():
    for method in (DyToK(VisionZip()), DyToK(STC(), share=0.25, weights=(1.0, 2.0))):
        names = {"DyToK": DyToK, "VisionZip": VisionZip, "STC": STC}
        assert eval(repr(method), names) == method
    assert "weights" not in repr(DyToK(VisionZip()))
