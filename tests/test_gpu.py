"""What only a GPU can show; `pytest tests/test_gpu.py -rs` says what was skipped and why."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from inputs import clip_frames, prompt

from stc_core import STC, answer, compress, load
from stc_core.answering.video import Video
from stc_core.record.grid import TokenGrid
from stc_core.speed.inputs import made_up

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
METHOD = STC(retention=0.1)
QUESTION = "what color is the star?"


def clip():
    frames = clip_frames(16, side=80)
    return Video(frames, np.arange(16) / 4, "clip.mp4", 4.0, 16, 4.0, (80, 80))


def test_an_answer_on_a_gpu_reports_its_memory_and_times():
    result = answer(load(device="cuda"), clip(), QUESTION, METHOD, baseline=True)
    assert result.costs.peak_memory_bytes > 0
    assert {"vision", "compression", "prefill"} <= set(result.costs.seconds)
    assert result.trace.alive() == [784, 78, 39]


def test_the_same_input_gives_the_same_trace_on_one_gpu():
    vlm = load(device="cuda")
    one, other = (answer(vlm, clip(), QUESTION, METHOD).trace for _ in range(2))
    for name in ("fate", "target", "weight", "contribution", "relevance"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_keeping_everything_is_bit_identical_on_a_gpu():
    vlm = load(device="cuda")
    inputs = {name: value.cuda() for name, value in prompt(vlm.processor, clip().frames).items()}
    inputs["pixel_values_videos"] = inputs["pixel_values_videos"].to(vlm.model.dtype)
    options = {"do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    stock = vlm.model.generate(**inputs, **options)
    with compress(vlm.model, STC(retention=1.0, keep_inside=1.0)):
        kept = vlm.model.generate(**inputs, **options)
    assert all(torch.equal(a, b) for a, b in zip(stock.logits, kept.logits, strict=True))


@pytest.mark.skipif(find_spec("flash_attn") is None, reason="needs flash-attn")
def test_flash_attention_reads_survivors_as_one_sequence():
    """Gaps in the position ids must not split the prompt into packed sequences."""
    vlm = load(device="cuda", dtype=torch.bfloat16)
    inputs = {name: value.cuda() for name, value in prompt(vlm.processor, clip().frames).items()}
    inputs["pixel_values_videos"] = inputs["pixel_values_videos"].bfloat16()
    logits = []
    for kernel in ("sdpa", "flash_attention_2"):
        vlm.model.set_attn_implementation(kernel)
        with compress(vlm.model, STC(retention=0.1, keep_inside=1.0)), torch.no_grad():
            logits.append(vlm.model(**inputs).logits[0, -1].float())
    assert torch.nn.functional.cosine_similarity(*logits, dim=0) > 0.99


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_decisions_on_a_gpu_differ_from_float64_at_near_ties_only(dtype):
    for seed in range(3):
        tokens, contribution = made_up(TokenGrid(32, 14, 14), 512, dtype, "cuda", seed)
        here = METHOD.outside(tokens, contribution, TokenGrid(32, 14, 14))
        again = METHOD.outside(tokens, contribution, TokenGrid(32, 14, 14))
        there = METHOD.outside(tokens.cpu(), contribution.cpu(), TokenGrid(32, 14, 14))
        assert torch.equal(here.target, again.target)
        assert (here.fate.cpu() != there.fate).float().mean() < 1e-3
