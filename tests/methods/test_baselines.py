"""uniform, random, frames, downsample, fastv, evs, vidcom2 and STC's ablations: references."""

import numpy as np
import pytest
import references
import torch
from helpers.masked import generate, masked_logits
from helpers.tokens import KINDS, tokens_of
from inputs import clip_frames, prompt
from published_clip import published_clip

from stc_core import STC, compress
from stc_core.methods import EVS, Downsample, FastV, Frames, Random, Uniform, VidCom2
from stc_core.methods.stc import ABLATIONS
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

GRIDS = [TokenGrid(*shape) for shape in ((1, 1, 1), (1, 3, 4), (6, 1, 1), (5, 3, 4), (8, 4, 4))]
RETENTIONS = [0.01, 0.07, 0.25, 0.6, 1.0]
EXACT = [kind for kind in KINDS if "half" not in kind]


def names(fate):
    return [Fate(int(value)).name for value in fate]


# --- baselines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["middle", "golden"])
@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_uniform_keeps_one_token_of_each_interval(n, place):
    for budget in range(1, n + 1):
        grid = TokenGrid(1, 1, n)
        method = Uniform(retention=min(1.0, budget / n), place=place)
        chosen = method.outside(torch.ones(n, 2), torch.ones(n), grid).survivors.tolist()
        assert len(chosen) == budget
        for i, token in enumerate(chosen):
            if place == "middle":
                assert token == int((i + 0.5) * n / budget + 1e-9)
            else:
                assert i * n // budget <= token < (i + 1) * n // budget


def test_golden_places_do_not_meet_the_same_cell_in_every_frame():
    grid = TokenGrid(32, 5, 5)
    tokens, ones = torch.ones(grid.size, 2), torch.ones(grid.size)
    cells = {
        place: set((Uniform(place=place).outside(tokens, ones, grid).survivors % 25).tolist())
        for place in ("middle", "golden")
    }
    assert cells["middle"] == {0}
    assert len(cells["golden"]) > 8


def test_random_draws_by_seed_and_evenly():
    grid, ones = TokenGrid(4, 5, 5), torch.ones(100)
    draws = [
        Random(retention=0.1, seed=seed).outside(torch.ones(100, 2), ones, grid).survivors.tolist()
        for seed in range(400)
    ]
    assert len({tuple(draw) for draw in draws}) == 400
    often = np.bincount(np.concatenate(draws), minlength=100)
    assert 10 < often.min() and often.max() < 75  # 40 expected, standard deviation 6
    more = Random(retention=0.2, seed=5).outside(torch.ones(100, 2), ones, grid).survivors.tolist()
    assert set(draws[5]) < set(more)


@pytest.mark.parametrize(
    ("shape", "retention", "chosen"),
    [
        ((4, 2, 2), 0.5, [1, 3]),
        ((4, 2, 2), 0.01, [2]),
        ((5, 2, 2), 0.6, [0, 2, 4]),
        ((5, 2, 2), 0.5, [0, 2, 4]),
        ((5, 2, 2), 1.0, [0, 1, 2, 3, 4]),
        ((1, 2, 2), 0.5, [0]),
        ((32, 5, 5), 0.02, [16]),
        ((32, 5, 5), 0.1, [5, 16, 26]),
    ],
)
def test_frames_keeps_whole_frames_evenly(shape, retention, chosen):
    grid = TokenGrid(*shape)
    method = Frames(retention=retention)
    decision = method.outside(torch.ones(grid.size, 2), torch.ones(grid.size), grid)
    expected = [f * grid.per_frame + i for f in chosen for i in range(grid.per_frame)]
    assert decision.survivors.tolist() == expected
    assert method.budget(grid) == len(expected)


@pytest.mark.parametrize(
    ("shape", "retention", "expected"),
    [
        ((32, 14, 14), 0.10, (32, 4, 5)),  # 20 a frame, exact
        ((32, 14, 14), 0.05, (32, 3, 3)),
        ((32, 14, 14), 0.02, (32, 2, 2)),
        ((32, 14, 14), 0.01, (32, 1, 2)),
        ((32, 5, 5), 0.02, (16, 1, 1)),
        ((32, 5, 5), 0.10, (32, 1, 2)),
        ((32, 5, 5), 1.0, (32, 5, 5)),
        ((1, 1, 7), 0.4, (1, 1, 3)),
        ((3, 1, 1), 0.5, (2, 1, 1)),
    ],
)
def test_downsample_takes_space_first_and_then_time(shape, retention, expected):
    assert Downsample(retention=retention).shape(TokenGrid(*shape)) == expected


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("retention", RETENTIONS)
def test_downsample_equals_the_reference(grid, retention):
    tokens, contribution = tokens_of("random", grid.size)
    method = Downsample(retention=retention)
    decision = method.outside(tokens, contribution, grid)
    target = references.pooled(grid.frames, grid.rows, grid.cols, method.shape(grid))
    assert decision.target.tolist() == target
    expected = references.means(tokens.tolist(), target)
    np.testing.assert_allclose(decision.apply(tokens).numpy(), expected, atol=1e-12)


def test_downsample_by_whole_blocks_is_average_pooling():
    tokens, contribution = tokens_of("random", 3 * 4 * 6, width=5)
    grid = TokenGrid(3, 4, 6)
    method = Downsample(retention=6 / 24)
    assert method.shape(grid) == (3, 2, 3)
    image = tokens.view(3, 4, 6, 5).permute(0, 3, 1, 2)
    pooled = torch.nn.functional.avg_pool2d(image, 2).permute(0, 2, 3, 1).reshape(-1, 5)
    torch.testing.assert_close(method.outside(tokens, contribution, grid).apply(tokens), pooled)


# --- EVS, VidCom2 --------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("kind", EXACT)
def test_evs_equals_the_reference(grid, kind):
    tokens, contribution = tokens_of(kind, grid.size)
    for retention in RETENTIONS:
        method = EVS(retention=retention)
        survivors = method.outside(tokens, contribution, grid).survivors.tolist()
        expected = references.evs(tokens.double().tolist(), grid.per_frame, method.budget(grid))
        assert survivors == expected
        assert survivors[: grid.per_frame] == list(range(grid.per_frame))


def test_evs_keeps_what_moves():
    tokens = torch.tensor([[1.0, 0], [0, 1]]).repeat(4, 1)  # four equal frames of two tokens
    tokens[5] = torch.tensor([1.0, 0])  # one cell changes in frame 2, and back in frame 3
    survivors = EVS(retention=0.5).outside(tokens, torch.ones(8), TokenGrid(4, 1, 2)).survivors
    assert survivors.tolist() == [0, 1, 5, 7]


@torch.no_grad()
def test_a_budget_that_cannot_be_met_is_said_in_the_trace(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    for method, kept in ((EVS(retention=0.1), 16), (Frames(retention=0.1), 16)):
        with compress(model, method) as trace:
            model(**inputs)
        assert trace.notes == (
            f"{type(method).__name__} cannot meet every budget: retention 0.1 asks for 6 of 64 "
            f"video tokens, {kept} entered the LLM.",
        )
    with compress(model, EVS(retention=0.25)) as trace:
        model(**inputs)
    assert trace.notes == ()


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_vidcom2_equals_the_reference(grid, kind, temperature):
    for width in (1, 2, 6, 7):
        tokens, contribution = tokens_of(kind, grid.size, width=width)
        for retention in RETENTIONS:
            method = VidCom2(retention=retention, temperature=temperature)
            survivors = method.outside(tokens, contribution, grid).survivors.tolist()
            assert survivors == references.vidcom2(
                tokens.double().tolist(), grid.frames, method.budget(grid), temperature
            )


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (0.25, [1, 2, 3, 7, 10, 19, 20, 30, 35, 39, 43, 48, 52]),
        (0.1, [2, 7, 19, 30, 39, 48]),  # the surplus takes the only token of frame 1
        (0.02, [2, 10, 19, 30, 39, 48]),
    ],
)
def test_vidcom2_counted_as_in_vllm_keeps_the_same_tokens(retention, kept):
    method = VidCom2(retention=retention, counting="vllm")
    decision = method.outside(*published_clip())
    assert decision.survivors.tolist() == kept and len(kept) == method.budget(TokenGrid(6, 3, 3))


def test_vidcom2_gives_more_places_to_the_frame_that_is_unlike_the_video():
    tokens = torch.randn(1, 6, 8, generator=torch.manual_seed(0)).repeat(5, 1, 1)
    tokens[3] = torch.randn(6, 8, generator=torch.manual_seed(1))
    grid = TokenGrid(5, 2, 3)
    chosen = VidCom2(retention=1 / 3).outside(tokens.view(30, 8), torch.ones(30), grid).survivors
    places = torch.bincount(chosen // 6, minlength=5).tolist()
    assert sum(places) == 10 and places[3] == max(places) <= 4


# --- FastV ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 9, 64])
@pytest.mark.parametrize("retention", RETENTIONS)
def test_fastv_keeps_what_the_last_query_attends_to(n, retention):
    attention = torch.rand(4, n, generator=torch.manual_seed(n))
    decision = FastV(retention=retention).inside(torch.ones(n, 3), torch.ones(4, 3), attention)
    row = [round(value, 12) for value in references.min_max(attention[-1].double().tolist())]
    count = max(1, references.half_up(retention * n))
    expected = sorted(sorted(range(n), key=lambda i: (-row[i], i))[:count])
    assert decision.survivors.tolist() == expected
    gone = set(names(decision.fate)) - {"KEPT"}
    assert gone <= {"DROPPED_INSIDE"}
    np.testing.assert_allclose(decision.notes["relevance"].numpy(), row, atol=2e-9)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("layer", [0, 2])
@torch.no_grad()
def test_fastv_on_a_model_equals_eager_attention(tiny, kernel, layer):
    model, processor = tiny
    model.set_attn_implementation(kernel)
    inputs = prompt(processor, clip_frames())
    with compress(model, FastV(retention=0.2, layer=layer)) as trace:
        generate(model, inputs)
    assert trace.alive() == [64, 64, 13] and trace.stage("inside").layer == layer
    _, (_, weights, places) = masked_logits(model, inputs, trace, inputs["input_ids"])
    row = weights[-1, places[:64]]
    np.testing.assert_allclose(trace.relevance, references.min_max(row.tolist()), atol=1e-4)
    expected = torch.sort(row, descending=True, stable=True).indices[:13].sort().values
    assert trace.survivors.tolist() == expected.tolist()


def test_fastv_layers():
    assert FastV().inside_layer(28) == 2
    assert FastV(retention=1.0).inside_layer(2) is None
    with pytest.raises(ValueError, match="layer 2 is outside this model"):
        FastV().inside_layer(3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FastV(layer=-1),
        lambda: FastV(layer=1.5),
        lambda: Random(seed=-1),
        lambda: Random(seed=1 << 64),
        lambda: Random(seed="7"),
        lambda: Uniform(place="corner"),
        lambda: VidCom2(temperature=0),
        lambda: VidCom2(counting="published"),
        lambda: VidCom2(temperature=float("nan")),
    ],
)
def test_bad_settings_are_one_sentence(make):
    with pytest.raises(ValueError, match=r"^\w+ must be [^\n]+$"):
        make()


# --- STC's ablations -----------------------------------------------------------------------------


@pytest.mark.parametrize("parts", ABLATIONS)
@pytest.mark.parametrize("walk", ["raster", "spread"])
@pytest.mark.parametrize("kind", EXACT)
def test_ablations_equal_the_reference(parts, walk, kind):
    for n in (1, 2, 9, 30):
        tokens, contribution = tokens_of(kind, n, seed=4)
        for count in {1, max(1, n // 3), n}:
            for tau in (-0.5, 0.7):
                method = STC(retention=count / n, tau=tau, walk=walk, **ABLATIONS[parts])
                decision = method.outside(tokens, contribution, TokenGrid(1, 1, n))
                fate, target = references.ablated(
                    *(tokens.double().tolist(), contribution.tolist(), count, tau, 0.3, 7),
                    *(parts, walk),
                )
                assert names(decision.fate) == fate
                assert decision.target.tolist() == target


def test_the_last_row_of_the_ablations_is_the_method():
    assert STC(**ABLATIONS["ASC"]) == STC()
    assert list(ABLATIONS) == ["A", "S", "C", "AS", "AC", "SC", "ASC"]


def test_attention_alone_is_the_highest_contributions():
    tokens, contribution = tokens_of("random", 40)
    decision = STC(retention=0.25, **ABLATIONS["A"]).outside(
        tokens, contribution, TokenGrid(1, 5, 8)
    )
    assert decision.survivors.tolist() == contribution.topk(10).indices.sort().values.tolist()


def test_a_spread_walk_sees_the_whole_video_early():
    tokens = torch.eye(64)
    method = STC(retention=4 / 64, walk="spread", **ABLATIONS["S"])
    survivors = method.outside(tokens, torch.rand(64), TokenGrid(4, 4, 4)).survivors
    assert survivors.tolist() == [0, 16, 32, 48]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict.fromkeys(("contribution", "similarity", "clusters"), False), "leave one on"),
        ({"contribution": 1}, "contribution must be True or False"),
        ({"clusters": None}, "clusters must be True or False"),
        ({"walk": "random"}, "walk must be"),
    ],
)
def test_impossible_ablations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        STC(**options)
