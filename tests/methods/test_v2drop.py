"""V2Drop: its published example, a slow reference, and what it gets from a model."""

import math

import numpy as np
import pytest
import torch
from helpers.masked import generate
from inputs import clip_frames, prompt

from stc_core import compress
from stc_core.methods import STC, Then, V2Drop


def kept(change, count):
    length = [round(math.sqrt(sum(x * x for x in row)), 9) for row in change]
    return sorted(sorted(range(len(change)), key=lambda i: (-length[i], i))[:count])


def test_the_formula_keeps_these_tokens():
    rng = np.random.default_rng(3)
    change = torch.from_numpy(rng.standard_normal((54, 8)) * rng.random((54, 1)))
    decision = V2Drop(retention=0.1).inside(change, torch.ones(1, 8), torch.ones(1, 54))
    assert decision.survivors.tolist() == [1, 30, 41, 42, 45]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("retention", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("scale", [2.0**-20, 1.0, 2.0**20])
def test_random_changes(seed, retention, scale):
    change = np.random.default_rng(seed).normal(size=(23, 5)).round(1)
    method = V2Drop(retention=retention)
    decision = method.inside(
        torch.from_numpy(change * scale), torch.ones(2, 5).double(), torch.ones(2, 23).double()
    )
    assert decision.survivors.tolist() == kept(change.tolist(), max(1, int(retention * 23)))


def test_the_layer_is_checked_and_counts_are_rounded_down():
    assert V2Drop().inside_layer(4) == 2 and V2Drop(retention=1.0).inside_layer(4) is None
    assert V2Drop(retention=0.19).inside_budget(10) == 1
    with pytest.raises(ValueError, match="^layer 2 is outside this model"):
        V2Drop().inside_layer(3)
    with pytest.raises(ValueError, match="^layer must be"):
        V2Drop(layer=-1)


@pytest.mark.parametrize("layer", [0, 1])
@torch.no_grad()
def test_a_layer_s_change_is_what_it_adds_to_the_uncompressed_models_states(tiny, layer):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    states = model(**inputs, output_hidden_states=True).hidden_states
    with compress(model, V2Drop(retention=0.2, layer=layer)) as trace:
        generate(model, inputs)
    grid = trace.grid
    place = (inputs["input_ids"][0] == model.config.video_token_id).nonzero().flatten()
    place = place[: grid.size]
    change = (states[layer + 1] - states[layer])[0, place].double()
    assert trace.survivors.tolist() == kept(change.tolist(), int(0.2 * grid.size))


@torch.no_grad()
def test_it_can_follow_another_method(tiny):
    model, processor = tiny
    method = Then(STC(retention=0.5), V2Drop(retention=0.25, layer=1))
    assert method.inside_visual == "change"
    with compress(model, method) as trace:
        generate(model, prompt(processor, clip_frames()))
    assert trace.alive() == [64, 32, 8]
