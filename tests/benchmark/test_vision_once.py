"""Features computed once and given again: bit for bit what a fresh run gives, and no trace left."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers.masked import generate, snapshot
from inputs import clip_frames, prompt
from transformers import LlavaOnevisionForConditionalGeneration

from stc_core import METHODS, STC, Fate, compress
from stc_core.benchmark.vision_once import vision_once

ARRAYS = ("fate", "target", "weight", "contribution", "similarity", "relevance")
TRIED = [None, *(kind(retention=0.2) for kind in METHODS.values())]
TRIED += [STC(retention=0.2, contribution_layer=0), STC(retention=0.2, positions="compact")]


def run(model, inputs, method):
    """(new tokens, logits, trace)."""
    with nullcontext() if method is None else compress(model, method) as live:
        output = generate(model, inputs)
    return output.sequences, torch.stack(output.logits), live and live.freeze()


def same(a, b):
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert (a[2] is None) == (b[2] is None)
    if a[2] is not None:
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(a[2], name), getattr(b[2], name))


def tower_runs(model):
    """A list that grows whenever the vision tower really runs, and the hook to remove."""
    runs = []
    embeddings = model.get_encoder(modality="image").embeddings
    return runs, embeddings.register_forward_hook(lambda *_: runs.append(1))


def test_replayed_runs_are_bit_identical_for_every_method(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    fresh = [run(model, inputs, method) for method in TRIED]
    before = snapshot(model), sorted(vars(model.get_encoder(modality="image")))
    runs, hook = tower_runs(model)
    with vision_once(model, [method for method in TRIED if method]):
        replayed = [run(model, inputs, method) for method in TRIED]
    hook.remove()
    assert len(runs) == 1
    assert (snapshot(model), sorted(vars(model.get_encoder(modality="image")))) == before
    for one, other in zip(fresh, replayed, strict=True):
        same(one, other)
    assert any((trace.fate == Fate.CENTER).any() for _, _, trace in fresh[1:])


def test_a_recording_made_inside_compress_serves_as_well(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    methods = [STC(retention=0.2), METHODS["visionzip"](retention=0.2)]
    with vision_once(model, methods):
        for method in (*methods, None, *methods):
            again = run(model, inputs, method)
            same(again, run(model, inputs, method))


def test_each_clip_is_seen_once_whatever_is_asked(tiny):
    model, processor = tiny
    a, b = (prompt(processor, clip_frames(seed=seed)) for seed in (0, 1))
    other = prompt(processor, clip_frames(), "what shape is the star ?")
    fresh = [run(model, inputs, TRIED[1]) for inputs in (a, b, a, other)]
    runs, hook = tower_runs(model)
    with vision_once(model, TRIED[1:2]):
        replayed = [run(model, inputs, TRIED[1]) for inputs in (a, b, a, other)]
    hook.remove()
    assert len(runs) == 2
    for one, again in zip(fresh, replayed, strict=True):
        same(one, again)


def test_the_pooling_head_is_heard_again(tiny):
    stock, processor = tiny
    config = copy.deepcopy(stock.config)
    config.vision_config.vision_use_head = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = LlavaOnevisionForConditionalGeneration(config).eval()
    inputs = prompt(processor, clip_frames())
    methods = [STC(retention=0.2, layer=1, signal=signal) for signal in ("head", "received")]
    fresh = [run(model, inputs, method) for method in methods]
    with vision_once(model, methods):
        run(model, inputs, None)
        for method, one in zip(methods, fresh, strict=True):
            same(one, run(model, inputs, method))


def test_nothing_stays_after_an_exception(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    before = snapshot(model), sorted(vars(model.get_encoder(modality="image")))
    with pytest.raises(RuntimeError, match="stop"), vision_once(model, [STC()]):
        run(model, inputs, STC())
        raise RuntimeError("stop")
    assert (snapshot(model), sorted(vars(model.get_encoder(modality="image")))) == before


def test_within_itself_the_inner_one_gives_back_the_outer(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    runs, hook = tower_runs(model)
    with vision_once(model):
        tower = model.get_encoder(modality="image")
        outer = tower.forward
        with vision_once(model):
            run(model, inputs, None)
        assert tower.forward is outer
        run(model, inputs, None)
    hook.remove()
    assert len(runs) == 1
