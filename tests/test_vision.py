"""The vision tower in batches and from the cache: the same features, answers and traces."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clips import numbered, write_clip
from helpers.masked import generate, snapshot
from inputs import clip_frames, prompt
from tiny import BUILDERS
from torch import nn

from stc_core import METHODS, STC, InputError, answer, compress, load
from stc_core.answering.generation import warm_up
from stc_core.hooks.run_cache import VisionCache, fingerprint
from stc_core.hooks.tower import vision
from stc_core.methods import Uniform
from stc_core.models.families import family_of
from stc_core.models.vlm import VLM
from stc_core.record.stopwatch import Stopwatch

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "assets" / "clips" / "two-on-waves.mp4"
QUESTION = "what color is the star ?"
ARRAYS = (
    "fate", "target", "weight", "contribution", "similarity", "nearest", "order", "relevance",
    "seconds", "frames", "attention", "full_attention", "features",
)  # fmt: skip


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return load(device="cpu")


def tower_runs(model: nn.Module) -> tuple[list[int], object]:
    """A list of the frames that the tower really sees, call by call, and the hook to remove."""
    runs: list[int] = []
    embeddings = model.get_encoder(modality="image").embeddings
    return runs, embeddings.register_forward_hook(lambda _, __, out: runs.append(len(out)))


def equal(one, other) -> None:
    """Two answers and their traces, bit for bit, but for times."""
    assert (one.text, one.logprob, one.scores) == (other.text, other.logprob, other.scores)
    assert (one.trace.words, one.trace.method) == (other.trace.words, other.trace.method)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one.trace, name), getattr(other.trace, name))
    for name in ("answer", "logprob", "scores", "words"):
        assert one.trace.baseline.get(name) == other.trace.baseline.get(name)


# --- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", sorted(BUILDERS))
def test_batches_change_nothing_in_any_family(family):
    """Seven frames as 2 + 2 + 2 + 1 (packed families: time steps): features, scores and answers.

    A projector of its own sees no more at once either.
    """
    model, processor = BUILDERS[family](seed=0)
    model = model.eval()
    inputs = prompt_of(processor, model, clip_frames(7, side=56))
    tower = family_of(model.config).tower(model)
    given: list[object] = []
    hook = tower.register_forward_hook(lambda _, __, output: given.append(output))
    projector = family_of(model.config).projection(model)
    layers = [] if projector is None else [m for m in projector.modules() if type(m) is nn.Linear]
    assert layers or family in {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "smolvlm", "video_llama_3"}
    projected: list[int] = []
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, args: projected.append(len(args[0])))
    traces, news, told = [], [], []
    for batch in (None, 2, 1):
        with (
            vision(model, batch=batch, report=lambda *counts: told.append(counts)),
            compress(model, STC(retention=0.3)) as trace,
            torch.no_grad(),
        ):
            output = generate(model, inputs)
        assert all(rows <= (batch or 7) for rows in projected)
        assert sum(projected) == 7 * len(layers)
        projected.clear()
        traces.append(trace.freeze())
        news.append(output)
    hook.remove()
    steps = traces[0].grid.frames
    halves = [(min(steps, 2 * k), steps) for k in range(1, -(-steps // 2) + 1)]
    assert told == [*(halves if steps > 2 else []), *((k, steps) for k in range(1, steps + 1))]
    for trace, output, features in zip(traces[1:], news[1:], given[1:], strict=True):
        close(features, given[0])
        np.testing.assert_allclose(trace.contribution, traces[0].contribution, rtol=1e-4)
        np.testing.assert_array_equal(trace.fate, traces[0].fate)
        assert torch.equal(output.sequences, news[0].sequences)


def prompt_of(processor, model: nn.Module, frames: np.ndarray) -> dict:
    """Inputs of a family's stock processor, as ``build_prompt`` makes them."""
    from stc_core.answering.prompt import build_prompt

    return build_prompt(VLM(model, processor, "tiny", "cpu"), frames, QUESTION, 4).inputs


def close(one: object, other: object) -> None:
    """Nested outputs of a tower, equal but for the order of sums inside a kernel."""
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            close(one[key], other[key])
    elif isinstance(one, (tuple, list)):
        for a, b in zip(one, other, strict=True):
            close(a, b)
    else:
        assert one == other


def test_a_long_clip_is_seen_in_parts_and_says_so(vlm, monkeypatch):
    """Without a number from anybody the bound is one of memory."""
    runs, hook = tower_runs(vlm.model)
    try:
        monkeypatch.setattr("stc_core.hooks.tower.WORKING", 3 << 20)
        told = []
        answer(vlm, CLIP, QUESTION, frames=32, progress=lambda stage, _: told.append(stage))
    finally:
        hook.remove()
    assert sum(runs) == 32 and len(runs) > 2 and len(set(runs[:-1])) == 1
    assert [stage for stage in told if "/32 frames" in stage] == [
        f"vision {min(32, (k + 1) * runs[0])}/32 frames" for k in range(len(runs))
    ]


def test_cancelling_between_batches_leaves_the_model_clean(vlm, monkeypatch):
    monkeypatch.setattr(vlm, "vision_batch", 4)
    warm_up(vlm)  # the library adds hooks of its own on the first run
    before = snapshot(vlm.model)
    runs, hook = tower_runs(vlm.model)

    def cancel(stage: str, share: float) -> None:
        if stage == "vision 8/16 frames":
            raise RuntimeError("cancelled")

    try:
        with pytest.raises(RuntimeError, match="cancelled"):
            answer(vlm, CLIP, QUESTION, frames=16, progress=cancel)
    finally:
        hook.remove()
    assert runs == [4, 4] and snapshot(vlm.model) == before


@pytest.mark.parametrize("batch", [0, -3])
def test_a_batch_has_frames(vlm, batch):
    with pytest.raises(ValueError, match="1 frame or more"), vision(vlm.model, batch=batch):
        pass
    with pytest.raises(InputError, match="1 frame or more"):
        load(device="cpu", vision_batch=batch)


# --- the cache -----------------------------------------------------------------------------------


def test_what_depends_on_the_change_runs_again_and_nothing_else(vlm):
    """Another question, ratio, method or layer: bit for bit a fresh run, the tower seen once."""
    tried = [
        (QUESTION, STC(retention=0.05)),
        (QUESTION, STC(retention=0.1, tau=0.5, cluster_ratio=0.6)),
        (QUESTION, METHODS["visionzip"](retention=0.05)),
        (QUESTION, Uniform(retention=0.05)),
        (QUESTION, STC(retention=0.05, contribution_layer=0)),  # a layer that nobody had read
        ("what shape moves left ?", STC(retention=0.05)),
    ]
    how = {"frames": 8, "baseline": True, "record": True, "score": ["red"]}
    fresh = [answer(vlm, CLIP, question, method, **how) for question, method in tried]
    cache = VisionCache()
    runs, hook = tower_runs(vlm.model)
    try:
        cached = [answer(vlm, CLIP, q, method, **how, cache=cache) for q, method in tried]
    finally:
        hook.remove()
    assert runs == [8]
    for one, other in zip(cached, fresh, strict=True):
        equal(one, other)


def test_the_uncompressed_run_is_made_once_for_a_question(vlm):
    cache, whole = VisionCache(), []

    def watch(stage: str, share: float) -> None:
        if stage == "uncompressed: prefill":
            whole.append(share)

    for question, method in (
        (QUESTION, STC(retention=0.05)),
        (QUESTION, STC(retention=0.1)),
        (QUESTION, Uniform(retention=0.1)),
        ("what shape is red ?", STC(retention=0.05)),
    ):
        answer(vlm, CLIP, question, method, frames=4, baseline=True, cache=cache, progress=watch)
    assert len(whole) == 2


def test_a_file_that_was_written_anew_is_read_anew(vlm, tmp_path):
    path, cache, how = tmp_path / "clip.mp4", VisionCache(), {"frames": 4, "record": True}
    for clip in (CLIP, CLIP.with_name("five-on-dots.mp4")):
        path.write_bytes(clip.read_bytes())
        equal(
            answer(vlm, path, QUESTION, **how, cache=cache),
            answer(vlm, clip, QUESTION, **how),
        )


def test_costs_count_what_the_cache_saved(vlm):
    cache = VisionCache()
    first, second = (
        answer(vlm, CLIP, QUESTION, frames=8, baseline=True, cache=cache) for _ in range(2)
    )
    for stage in ("decode", "vision"):
        now, then = (said.costs.seconds[stage] for said in (second, first))
        assert now == pytest.approx(then, rel=0.01, abs=1e-3)
    saved = first.costs.seconds["vision"]
    assert second.costs.time_to_first_token > saved
    assert second.trace.baseline["costs"] == first.trace.baseline["costs"]
    assert min(second.costs.seconds.values()) >= 0


def test_other_pixels_weights_kernels_and_models_are_seen_anew(tiny_models):
    model, processor = tiny_models["even"]
    clips = [prompt(processor, clip_frames(seed=seed)) for seed in (0, 1)]
    cache = VisionCache()
    runs, hook = tower_runs(model)
    weight = next(family_of(model.config).tower(model).parameters())

    def look(inputs: dict) -> int:
        """Frames that the tower saw."""
        runs.clear()
        with vision(model, cache=cache), torch.no_grad():
            generate(model, inputs)
        return sum(runs)

    try:
        model.set_attn_implementation("sdpa")
        assert [look(clips[0]), look(clips[1]), look(clips[0]), look(clips[1])] == [4, 4, 0, 0]
        model.set_attn_implementation("eager")
        assert look(clips[0]) == 4
        model.set_attn_implementation("sdpa")
        assert look(clips[0]) == 0
        with torch.no_grad():
            weight.add_(0)  # might as well have been a training step
        assert look(clips[0]) == 4
    finally:
        hook.remove()
    other, _ = BUILDERS["llava_onevision"](seed=0)
    assert fingerprint(model, 1) != fingerprint(other, 1)


def test_gradients_go_through_the_tower_itself(tiny):
    model, processor = tiny
    inputs, cache = prompt(processor, clip_frames()), VisionCache()
    runs, hook = tower_runs(model)
    try:
        with vision(model, cache=cache):
            for _ in range(2):
                model(**inputs)
    finally:
        hook.remove()
    assert runs == [4, 4] and len(cache) == 0


def test_the_oldest_goes_when_the_bytes_run_out():
    cache = VisionCache(limit=100)
    for name in "abc":
        cache.put(name, name.upper(), 40)
    assert [cache.get(name) for name in "abc"] == [None, "B", "C"] and cache.bytes == 80
    cache.get("b")
    cache.put("d", "D", 40)
    assert [cache.get(name) for name in "bcd"] == ["B", None, "D"]
    cache.put("d", "D2", 60)
    assert (cache.get("d"), cache.bytes) == ("D2", 100)
    cache.put("b", "large", 101)  # is not kept, nor is the old one: it is no longer true
    assert cache.get("b") is None and cache.get("d") == "D2" and cache.bytes == 60
    cache.clear()
    assert len(cache) == cache.bytes == 0


def test_bytes_are_counted_as_they_lie_in_memory(vlm):
    """Features of several clips, measured by the storages that the cache keeps alive."""
    cache = VisionCache()
    for frames in (2, 4, 6):
        answer(vlm, CLIP, QUESTION, frames=frames, cache=cache)
    found: dict[int, int] = {}
    stack = [value for value, _ in cache._held.values()]
    while stack:
        value = stack.pop()
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, np.ndarray):
            found[id(value)] = value.nbytes
        elif isinstance(value, dict):
            stack += list(value.values())
        elif isinstance(value, (tuple, list)):
            stack += list(value)
        elif hasattr(value, "__dict__"):
            stack += list(vars(value).values())
    assert cache.bytes == pytest.approx(sum(found.values()), rel=0.01)
    small = VisionCache(limit=cache.bytes // 2)
    for frames in (2, 4, 6):
        answer(vlm, CLIP, QUESTION, frames=frames, cache=small)
    assert 0 < small.bytes <= small.limit


def test_the_layers_that_nobody_asked_for_are_kept_only_where_they_are_small(vlm):
    method = STC(retention=0.1)
    needs = []
    for limit in (1 << 30, 32 << 20):
        cache = VisionCache(limit)
        answer(vlm, CLIP, QUESTION, method, frames=16, cache=cache)
        runs, hook = tower_runs(vlm.model)
        for layer in (None, 0, 0):
            answer(
                vlm,
                CLIP,
                QUESTION,
                STC(retention=0.1, contribution_layer=layer),
                frames=16,
                cache=cache,
            )
        hook.remove()
        needs.append(runs)
    assert needs == [[], [16]]


def test_credit_is_time_of_the_innermost_stage():
    now = [0.0]
    watch = Stopwatch(clock=lambda: now[0])
    with watch("prefill"):
        now[0] += 1
        with watch("vision"):
            now[0] += 2
            assert watch.so_far() == 2
            watch.credit(10)
            assert watch.so_far() == 12
        now[0] += 1
    watch.token()
    assert watch.seconds == {"prefill": 2, "vision": 12} and watch.first_token == 14
    assert watch.so_far() == 0


# --- memory --------------------------------------------------------------------------------------

# VmHWM, not ru_maxrss: that one is handed on from the process that started this one
PEAK = """
import sys
import torch
def peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0])
"""
ANSWER = """
torch.set_num_threads(1)
from stc_core import answer, load
vlm = load(device="cpu")
answer(vlm, sys.argv[1], "what color is the star ?", frames=4)  # what is paid once
before = peak()
trace = answer(vlm, sys.argv[1], "what color is the star ?", frames=FRAMES).trace
print(trace.grid.frames, peak() - before)
"""
TOWER = """
torch.set_num_threads(1)
from stc_core.shapes.model.sizes import Size, build
from stc_core.hooks.tower import vision
size = Size(frame=224, patch=8, vision_width=192, vision_layers=2, vision_heads=4, vision_ffn=768,
            width=32, layers=1, heads=2, kv_heads=2, ffn=32)
model = build(size, seed=0)[0].eval()
pixels = torch.rand(48, 3, 224, 224)
tower = model.get_encoder(modality="image")
with torch.no_grad():
    tower(pixels[:1])
    before = peak()
    with vision(model, batch=int(sys.argv[1])):
        tower(pixels)
print(peak() - before)
"""


def printed(script: str, *arguments: object) -> list[int]:
    """The numbers that a process of its own prints: its peak of resident memory is its own."""
    command = [sys.executable, "-c", PEAK + script, *map(str, arguments)]
    one_heap = os.environ | {"MALLOC_ARENA_MAX": "1"}  # what threads free counts as free at once
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=one_heap
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_pixels_of_a_long_video_are_never_held_at_once(tmp_path):
    """160 frames of 1440p are 1.6 GiB; what is held is what the model can see of them."""
    count, (height, width) = 160, (1440, 2560)
    picture = numbered(0b1011001110001, height, width)
    clip = write_clip(
        tmp_path / "long.mp4",
        range(0, 40 * count, 40),
        picture=lambda index: picture,
        options={"preset": "ultrafast"},
    )
    frames, more = printed(ANSWER.replace("FRAMES", str(count)), clip)
    assert frames == count
    assert more < 0.45 * count * height * width * 3 / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_batches_bound_what_the_tower_works_in():
    """48 frames of 784 patches: activations of 4 of them instead of all."""
    (all_at_once,), (batched,) = printed(TOWER, 48), printed(TOWER, 4)
    assert batched < 0.5 * all_at_once


@pytest.mark.parametrize(("frames", "side"), [(8, 1024), (32, 1024), (128, 836), (1024, 768)])
def test_very_many_frames_are_decoded_smaller_but_never_below_what_is_seen(vlm, frames, side):
    from stc_core.answering.asked import _side

    seen = {"height": 384, "width": 384}
    processor = SimpleNamespace(video_processor=SimpleNamespace(size=seen))
    assert _side(replace(vlm, processor=processor), frames) == side
    free = SimpleNamespace(video_processor=SimpleNamespace(size={"longest_edge": 10**6}))
    assert _side(replace(vlm, processor=free), frames) == 1024  # it chooses the sides itself
