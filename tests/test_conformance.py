"""The core of the conformance suite on any device and in any dtype: --device, --dtype.

tests/test_families.py holds every family to more, in float32 on the CPU. A family is chosen by -k.
"""

import numpy as np
import pytest
import torch
from helpers.masked import generate, masked, places_left, snapshot, stock_positions
from inputs import METHODS, clip_frames
from tiny import BUILDERS

from stc_core import STC, answer, compress, load
from stc_core.answering.prompt import build_prompt
from stc_core.answering.video import Video

FAMILIES = ["llava_onevision", "qwen2_5_vl", "internvl"]
QUESTION = "what color is the star ?"
APART = {"bfloat16": 0.03, "float16": 0.004, "float32": 2e-5}  # of the logits' norm, by rounding


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request, tmp_path_factory):
    """A tiny checkpoint of the family on the device and in the dtype that are asked for."""
    folder = tmp_path_factory.mktemp(request.param)
    for part in BUILDERS[request.param](seed=1):
        part.save_pretrained(folder)
    dtype = getattr(torch, request.config.getoption("dtype"))
    return load(folder, device=request.config.getoption("device"), dtype=dtype)


@pytest.fixture(params=["sdpa", "eager"])
def vlm(request, opened):
    opened.model.set_attn_implementation(request.param)
    return opened


def ask(vlm):
    return build_prompt(vlm, clip_frames(3), QUESTION, 8, seconds=np.arange(3) * 0.5)


def test_the_model_is_where_and_what_was_asked_for(opened, request):
    weight = next(opened.model.parameters())
    assert weight.device.type == request.config.getoption("device").split(":")[0]
    assert weight.dtype == getattr(torch, request.config.getoption("dtype"))


def test_keeping_everything_is_bit_identical(vlm):
    inputs = ask(vlm).inputs
    stock = generate(vlm.model, inputs)
    with compress(vlm.model, STC(retention=1.0, keep_inside=1.0)):
        kept = generate(vlm.model, inputs)
    assert all(torch.equal(a, b) for a, b in zip(stock.logits, kept.logits, strict=True))


@pytest.mark.parametrize("name", METHODS)
@torch.no_grad()
def test_shrinking_is_the_masked_reference_but_for_rounding(vlm, name, request):
    prompt = ask(vlm)
    with compress(vlm.model, METHODS[name]) as trace:
        out = generate(vlm.model, prompt.inputs)
    trace.check()
    assert trace.alive()[-1] < trace.grid.size
    positions = stock_positions(vlm.model, prompt.inputs)
    length = prompt.inputs["input_ids"].shape[1]
    for step in (0, 5):
        ids = out.sequences[:, : length + step]
        found = masked(vlm.model, prompt.inputs, prompt.layout, positions, trace, ids).logits
        apart = (out.logits[step][0].float() - found.float()).norm() / found.float().norm()
        assert apart < APART[request.config.getoption("dtype")]


def test_the_same_input_gives_the_same_trace_and_leaves_nothing_behind(vlm):
    prompt, traces = ask(vlm), []
    generate(vlm.model, prompt.inputs)  # transformers' own lazy hooks
    before = snapshot(vlm.model)
    for _ in range(2):
        with compress(vlm.model, METHODS["both"]) as trace:
            generate(vlm.model, prompt.inputs)
        traces.append((trace.target.copy(), trace.weight.copy(), trace.relevance.copy()))
    assert snapshot(vlm.model) == before
    for one, other in zip(*traces, strict=True):
        np.testing.assert_array_equal(one, other)


@torch.no_grad()
def test_cache_lengths_are_those_of_the_trace(vlm):
    prompt = ask(vlm)
    with compress(vlm.model, METHODS["both"]) as trace:
        cache = generate(vlm.model, prompt.inputs).past_key_values
    door, end = places_left(prompt, trace)
    lengths = [cache.get_seq_length(layer) for layer in range(5)]
    assert lengths == [door + 5] * 3 + [end + 5] * 2


def test_an_answer_has_budget_words_and_baseline(vlm):
    frames = clip_frames(5)
    video = Video(frames, np.arange(5) * 0.5, "clip", 2.5, 5, 2.0, frames.shape[1:3])
    options = {"record": True, "score": ["yes", "no"], "baseline": True, "max_new_tokens": 4}
    result = answer(vlm, video, QUESTION, METHODS["both"], **options)
    full, door, end = result.trace.alive()
    assert door == METHODS["both"].budget(result.trace.grid) < full
    assert end == METHODS["both"].inside_budget(door)
    assert result.trace.attention.shape == (len(result.trace.words), door)
    assert all(np.isfinite(score) and score < 0 for score in result.scores.values())
