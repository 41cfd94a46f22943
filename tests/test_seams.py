"""Hooks on stock models: identity, an independent masked reference, cleanliness, known traps."""

import contextlib
import copy
import gc
import weakref
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import references
import torch
from helpers.masked import GREEDY, generate, masked, masked_logits, snapshot
from inputs import METHODS as PLAIN
from inputs import clip_frames, prompt

from stc_core import STC, compress
from stc_core.hooks import attention
from stc_core.hooks.attention import attention_paid, attention_received
from stc_core.hooks.forced import log_probability, rewind
from stc_core.hooks.probes import listening, probe
from stc_core.models.contribution import contribution_module, to_grid
from stc_core.models.families import family_of, layout_of
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate
from stc_core.record.stopwatch import Stopwatch
from stc_core.speed import clocks

KERNELS = ["sdpa", "eager"]
METHODS = PLAIN | {"ultra low": STC(retention=0.02, keep_inside=0.5, layer=0)}


# --- identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["even", "odd"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_keeping_everything_is_bit_identical(tiny_models, size, kernel):
    model, processor = tiny_models[size]
    model.set_attn_implementation(kernel)
    inputs = prompt(processor, clip_frames())
    stock = generate(model, inputs)
    for method in (STC(retention=1.0, keep_inside=1.0), STC(retention=1.0, keep_inside=1 - 1e-9)):
        with compress(model, method) as trace:
            kept = generate(model, inputs)
        assert torch.equal(stock.sequences, kept.sequences)
        assert all(torch.equal(a, b) for a, b in zip(stock.logits, kept.logits, strict=True))
        assert trace.alive()[-1] == trace.grid.size


# --- the independent reference -------------------------------------------------------------------


@pytest.mark.parametrize("size", ["even", "odd"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", METHODS)
@torch.no_grad()
def test_shrinking_equals_the_masked_reference(tiny_models, size, kernel, name):
    model, processor = tiny_models[size]
    model.set_attn_implementation(kernel)
    method = METHODS[name]
    frames = clip_frames(2 if size == "odd" else 4)
    inputs = prompt(processor, frames)
    with compress(model, method) as trace:
        out = generate(model, inputs)
    assert len(trace.stage("outside").survivors) == method.budget(trace.grid)
    if name != "inside":
        assert trace.alive()[1] < trace.grid.size
    steps = range(0, 6) if size == "even" else range(0, 6, 5)
    for step in steps:
        ids = out.sequences[:, : inputs["input_ids"].shape[1] + step]
        logits, _ = masked_logits(model, inputs, trace, ids)
        torch.testing.assert_close(out.logits[step][0], logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@torch.no_grad()
def test_the_inside_decision_equals_the_reference(tiny, kernel):
    model, processor = tiny
    model.set_attn_implementation(kernel)
    inputs = prompt(processor, clip_frames())
    with compress(model, METHODS["both"]) as trace:
        generate(model, inputs)
    _, (hidden, weights, places) = masked_logits(model, inputs, trace, inputs["input_ids"])
    alive = trace.stage("outside").survivors
    visual = places[torch.from_numpy(alive)]
    text = torch.arange(int(places[-1]) + 1, len(hidden))
    args = hidden[visual].tolist(), hidden[text].tolist(), weights[text][:, visual].tolist()
    np.testing.assert_allclose(trace.relevance[alive], references.relevance(*args, 0.5), atol=1e-5)
    survivors, target = references.inside(*args, 0.5, 0.5)
    assert alive[survivors].tolist() == trace.survivors.tolist()
    assert alive[target].tolist() == trace.stage("inside").target[alive].tolist()
    assert np.isnan(np.delete(trace.relevance, alive)).all()


@pytest.mark.parametrize("heads", ["mean", "max"])
@pytest.mark.parametrize("text", ["hidden", "embeddings"])
@torch.no_grad()
def test_other_readings_of_the_inside_stage_equal_the_reference(tiny, heads, text):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    with compress(model, STC(retention=0.3, layer=1, heads=heads, text=text)) as trace:
        generate(model, inputs)
    ids = inputs["input_ids"]
    layout, positions = layout_of(model.config, ids[0], None), torch.arange(ids.shape[1])
    found = masked(model, inputs, layout, positions, trace, ids)
    alive = trace.stage("outside").survivors
    visual = torch.cat([layout.tokens, layout.extras])[torch.from_numpy(alive)]
    words = torch.arange(layout.last + 1, ids.shape[1])
    weights = found.heads.amax(0) if heads == "max" else found.heads.mean(0)
    asked = found.hidden if text == "hidden" else model.get_input_embeddings()(ids)[0]
    args = found.hidden[visual].tolist(), asked[words].tolist(), weights[words][:, visual].tolist()
    np.testing.assert_allclose(trace.relevance[alive], references.relevance(*args, 0.5), atol=1e-5)
    survivors, _ = references.inside(*args, 0.5, 0.5)
    assert alive[survivors].tolist() == trace.survivors.tolist()


@torch.no_grad()
def test_the_outside_decision_is_taken_on_the_models_own_features(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    method = STC(retention=0.3, keep_inside=1.0)
    with compress(model, method) as trace:
        generate(model, inputs)
    features = model.model.get_video_features(inputs["pixel_values_videos"]).pooler_output[0]
    n = trace.grid.size
    fate, target = references.outside(
        features[:n].double().tolist(),
        trace.contribution.tolist(),
        method.budget(trace.grid),
        method.tau,
        method.cluster_ratio,
        method.neighbors,
    )
    assert [Fate(value).name for value in trace.fate] == fate
    assert trace.target.tolist() == target


@torch.no_grad()
def test_recorded_features_are_the_principal_components_of_what_the_outside_stage_saw(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    with compress(model, METHODS["both"], record=True) as trace:
        generate(model, inputs)
    tokens = model.model.get_video_features(inputs["pixel_values_videos"]).pooler_output[0]
    tokens = tokens[: trace.grid.size].double().numpy()
    tokens = tokens - tokens.mean(0)
    left, sizes, _ = np.linalg.svd(tokens, full_matrices=False)
    assert trace.features.shape == (trace.grid.size, 16)
    for found, expected in zip(trace.features.T[:6], (left * sizes).T, strict=False):
        sign = np.sign(found.astype(float) @ expected)
        np.testing.assert_allclose(found, sign * expected, atol=2e-3 * sizes[0])
    with compress(model, METHODS["both"]) as trace:
        generate(model, inputs)
    assert trace.features is None


# --- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["even", "odd"])
@pytest.mark.parametrize("layer", [None, 0])
@torch.no_grad()
def test_contribution_is_the_attention_received_pooled_as_the_features(tiny_models, size, layer):
    model, processor = tiny_models[size]
    inputs = prompt(processor, clip_frames(2))
    model.set_attn_implementation("sdpa")
    with compress(model, STC(contribution_layer=layer)) as trace:
        generate(model, inputs)
    model.set_attn_implementation("eager")
    tower = model.get_encoder(modality="image")
    attentions = tower(inputs["pixel_values_videos"][0], output_attentions=True).attentions
    received = attentions[-1 if layer is None else layer].mean(dim=(1, 2))
    side = int(received.shape[1] ** 0.5)
    expected = torch.nn.functional.interpolate(
        received.view(-1, 1, side, side), size=((side + 1) // 2,) * 2, mode="bilinear"
    )
    np.testing.assert_allclose(trace.contribution, expected.flatten().numpy(), atol=1e-7)
    np.testing.assert_allclose(received.sum(1).numpy(), 1, atol=1e-5)


@torch.no_grad()
def test_one_bright_patch_lights_the_right_cell(tiny):
    """The way from patch to token: a map with one bright patch, pooled, is brightest there."""
    model, _ = tiny
    family = family_of(model.config)
    scores = torch.zeros(1, 64)
    scores[0, 5 * 8 + 2] = 1  # row 5, column 2 of 8 x 8 patches
    assert to_grid(model, family, scores, (4, 4))[0].argmax() == 2 * 4 + 1


@torch.no_grad()
def test_a_probe_sees_what_eager_attention_weighs_and_changes_nothing(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    module = model.get_decoder().layers[2].self_attn
    seen = []
    stock = model(**inputs).logits
    with probe(module, lambda q, k, s: seen.append((q, k, s))):
        probed = model(**inputs).logits
    assert torch.equal(stock, probed)
    model.set_attn_implementation("eager")
    weights = model(**inputs, output_attentions=True).attentions[2][0].mean(0)
    rows, cols = torch.arange(70, 74), torch.arange(5, 60)
    paid = attention_paid(*seen[0], rows, cols, None)
    torch.testing.assert_close(paid, weights[rows][:, cols], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@torch.no_grad()
def test_listening_hears_eager_attention_at_prefill_and_at_every_step(tiny, kernel):
    model, processor = tiny
    model.set_attn_implementation(kernel)
    inputs = prompt(processor, clip_frames())
    length = inputs["input_ids"].shape[1]
    stock = generate(model, inputs)
    before = snapshot(model)
    with listening(model, 2, 5, Stopwatch()) as heard:
        out = generate(model, inputs)
    assert snapshot(model) == before
    assert all(torch.equal(a, b) for a, b in zip(stock.logits, out.logits, strict=True))
    assert [tuple(rows.shape) for rows in heard] == [
        (5, length),
        *((1, length + step) for step in range(1, 6)),
    ]
    model.set_attn_implementation("eager")
    ids = out.sequences
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    weights = model(**inputs, output_attentions=True).attentions[2][0].mean(0)
    for number, rows in enumerate(heard):
        end = length + number
        expected = weights[length - 5 : length] if not number else weights[end - 1 : end]
        torch.testing.assert_close(rows, expected[:, :end], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layer", range(5))
@torch.no_grad()
def test_listening_within_a_compression_equals_the_masked_reference(tiny, layer):
    """Below, in and after layer K; there two probes sit on one module, and both come off."""
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    stock = generate(model, inputs)
    before = snapshot(model)
    with compress(model, METHODS["both"]) as trace:
        plain = generate(model, inputs)
        with listening(model, layer, 4, Stopwatch()) as heard:
            out = generate(model, inputs)
        again = generate(model, inputs)
    assert snapshot(model) == before
    assert torch.equal(generate(model, inputs).logits[0], stock.logits[0])
    for other in (out, again):
        assert all(torch.equal(a, b) for a, b in zip(plain.logits, other.logits, strict=True))
    text = inputs["input_ids"].shape[1] - trace.grid.size
    there = trace.alive()[1 if layer <= 2 else 2] + text
    assert [rows.shape[1] for rows in heard] == list(range(there, there + 6))
    if layer == 2:
        ids = out.sequences[:, :-1]
        _, (_, weights, places) = masked_logits(model, inputs, trace, ids)
        gone = np.setdiff1d(np.arange(trace.grid.size), trace.stage("outside").survivors)
        going = torch.ones(ids.shape[1], dtype=torch.bool)
        going[places[torch.from_numpy(gone)]] = False
        seen = weights[:, going][-9:]  # four of the prompt's end and five that were fed back
        for row, expected in zip([*heard[0], *(r[0] for r in heard[1:])], seen, strict=True):
            torch.testing.assert_close(row, expected[: len(row)], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("block", [1 << 20, 1200, 1])  # bytes: all heads, three, one
def test_attention_received_takes_some_heads_of_a_frame_and_grouped_keys(block, monkeypatch):
    monkeypatch.setitem(attention.BLOCK, "cpu", block)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(3, 4, 10, 8, generator=generator)
    key = torch.randn(3, 2, 10, 8, generator=generator)
    expected = torch.softmax(
        query.double() @ key.repeat_interleave(2, 1).double().transpose(2, 3) * 0.3, -1
    ).mean(dim=(1, 2))
    torch.testing.assert_close(
        attention_received(query, key, 0.3), expected.float(), atol=1e-6, rtol=1e-5
    )


def test_attention_received_is_no_burden_at_32_frames_of_729_patches():
    """Its extra memory, that of the process: less than 64 MiB. The keys alone are 51."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        assert 8 < alone.submit(_extra_of_attention).result() / 2**20 < 64


def _extra_of_attention() -> int:
    torch.set_num_threads(2)
    query, key = torch.empty(2, 32, 16, 729, 72, dtype=torch.bfloat16).normal_()
    few = query[:1, :2, :64]
    attention_received(few, few, 0.1)  # libraries load their kernels at the first call
    before = clocks.held_bytes(torch.device("cpu"))
    attention_received(query, key, 0.1)
    return clocks.most_bytes(torch.device("cpu")) - before


# --- nothing is left behind ----------------------------------------------------------------------


def test_two_clips_in_a_row_leave_nothing_and_do_not_mix(tiny):
    model, processor = tiny
    first, second = (prompt(processor, clip_frames(seed=s, frames=f)) for s, f in ((1, 4), (2, 6)))
    stock = generate(model, first)  # also warms up transformers' own lazy hooks
    before = snapshot(model)
    alone = []
    for inputs in (first, second):
        with compress(model, METHODS["both"]) as trace:
            alone.append((generate(model, inputs).sequences, trace.target, trace.relevance))
    with compress(model, METHODS["both"]) as trace:
        for inputs, (ids, target, relevance) in zip((first, second), alone, strict=True):
            assert torch.equal(generate(model, inputs).sequences, ids)
            np.testing.assert_array_equal(trace.target, target)
            np.testing.assert_array_equal(trace.relevance, relevance)
    assert snapshot(model) == before
    assert torch.equal(generate(model, first).logits[0], stock.logits[0])


@pytest.mark.parametrize("where", ["vision", "door", "layer", "caller", "setup"])
def test_an_exception_in_the_middle_leaves_nothing(tiny, where, monkeypatch):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    stock = generate(model, inputs)
    before = snapshot(model)

    def fail(*args, **kwargs):
        raise ArithmeticError("on purpose")

    place = {
        "vision": "stc_core.hooks.compression.attention_received",
        "door": "stc_core.methods.stc.STC.outside",
        "layer": "stc_core.methods.stc.STC.inside",
    }.get(where)
    if where == "caller":
        with pytest.raises(ArithmeticError), compress(model, METHODS["both"]):
            fail()
    elif where == "setup":
        with pytest.raises(ValueError, match="outside this vision tower"):
            with compress(model, STC(contribution_layer=99)):
                pass
    else:
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            with pytest.raises(ArithmeticError), compress(model, METHODS["both"]):
                generate(model, inputs)
    assert snapshot(model) == before
    assert torch.equal(generate(model, inputs).logits[-1], stock.logits[-1])
    with compress(model, METHODS["both"]):  # and it can be used again
        generate(model, inputs)


def test_no_tensor_of_a_run_outlives_the_context(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    alive = []

    def note(module, args, kwargs):
        alive.append(weakref.ref(kwargs["inputs_embeds"]))

    handle = model.get_decoder().register_forward_pre_hook(note, with_kwargs=True)
    with compress(model, METHODS["both"]):
        generate(model, inputs)
    handle.remove()
    gc.collect()
    assert alive and all(ref() is None for ref in alive)


def test_nested_use_on_one_model_is_refused_and_leaves_nothing(tiny):
    model, processor = tiny
    generate(model, prompt(processor, clip_frames()))
    before = snapshot(model)
    with compress(model, METHODS["both"]) as trace:
        with pytest.raises(ValueError, match="compressed already"):
            with compress(model, METHODS["outside"]):
                pass
        generate(model, prompt(processor, clip_frames()))  # the outer one still works
        assert len(trace.survivors) == 13
    assert snapshot(model) == before


def test_two_models_at_once(tiny_models):
    (one, processor), (other, other_processor) = tiny_models["even"], tiny_models["odd"]
    inputs = prompt(processor, clip_frames())
    other_inputs = prompt(other_processor, clip_frames(2))
    with compress(one, METHODS["both"]):
        alone = generate(one, inputs).sequences
    before = snapshot(one), snapshot(other)
    with compress(one, METHODS["both"]) as a, compress(other, METHODS["ultra low"]) as b:
        generate(other, other_inputs)
        together = generate(one, inputs).sequences
    assert torch.equal(alone, together)
    assert a.grid == TokenGrid(4, 4, 4) and b.grid == TokenGrid(2, 14, 14)
    assert (snapshot(one), snapshot(other)) == before


# --- traps of the library ------------------------------------------------------------------------


@torch.no_grad()
def test_gaps_without_cache_and_mask_are_not_read_as_packed_sequences(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    with compress(model, METHODS["both"]) as trace:
        cached = generate(model, inputs).logits[0]
        del inputs["attention_mask"]
        plain = model(**inputs, use_cache=False).logits[:, -1]
    torch.testing.assert_close(plain, cached, atol=1e-5, rtol=1e-5)
    logits, _ = masked_logits(model, inputs, trace, inputs["input_ids"])
    torch.testing.assert_close(plain[0], logits, atol=1e-5, rtol=1e-5)


def test_layers_get_no_position_ids_that_flash_attention_could_misread(tiny):
    model, processor = tiny
    seen = []

    def note(module, args, kwargs):
        seen.append(kwargs["position_ids"])

    with compress(model, METHODS["both"]):
        handles = [
            layer.self_attn.register_forward_pre_hook(note, with_kwargs=True)
            for layer in model.get_decoder().layers
        ]
        generate(model, prompt(processor, clip_frames()))
        for handle in handles:
            handle.remove()
    assert len(seen) == 5 * 6 and all(value is None for value in seen)


def test_the_probe_keeps_the_causal_mask_under_every_kernel(tiny):
    """An unknown kernel name gets no mask from the library: the probed layer must not lose its."""
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    for kernel in KERNELS:
        model.set_attn_implementation(kernel)
        stock = generate(model, inputs)
        with probe(model.get_decoder().layers[2].self_attn, lambda *_: None):
            probed = generate(model, inputs)
        assert all(torch.equal(a, b) for a, b in zip(stock.logits, probed.logits, strict=True))


def test_static_caches_are_refused(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    generate(model, inputs)
    hooks, configs, kernels, _ = snapshot(model)
    with pytest.raises(ValueError, match="static caches cannot be shortened"):
        with compress(model, METHODS["both"]):
            generate(model, inputs, cache_implementation="static")
    assert snapshot(model)[:3] == (hooks, configs, kernels)  # generate() keeps its static cache


@torch.no_grad()
def test_a_follow_up_on_a_compressed_cache(tiny):
    """The new tokens alone are right; the whole conversation again is refused, not answered."""
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    follow = processor.tokenizer("is there a circle ?", return_tensors="pt")["input_ids"]
    with compress(model, METHODS["both"]) as trace:
        out = generate(model, inputs)
        cache, ids = out.past_key_values, torch.cat([out.sequences, follow], 1)
        kept = copy.deepcopy(cache)
        with pytest.raises(ValueError, match="continue it with the new tokens only"):
            model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), past_key_values=cache, **GREEDY
            )
        new = ids[:, out.sequences.shape[1] - 1 :]  # the last token's keys are not cached yet
        cached = kept.get_seq_length()
        start = out.sequences.shape[1] - 1
        again = model(
            input_ids=new,
            attention_mask=torch.ones(1, cached + new.shape[1], dtype=torch.long),
            position_ids=torch.arange(start, start + new.shape[1])[None],
            past_key_values=kept,
        ).logits[0, -1]
    logits, _ = masked_logits(model, inputs, trace, ids)
    torch.testing.assert_close(again, logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["both", "both, compact"])
def test_left_padding_changes_nothing(tiny, kernel, name):
    model, processor = tiny
    model.set_attn_implementation(kernel)
    inputs = prompt(processor, clip_frames())
    with compress(model, METHODS[name]) as trace:
        plain, target = generate(model, inputs), trace.target
        pad = torch.zeros(1, 7, dtype=torch.long)
        inputs["input_ids"] = torch.cat([pad, inputs["input_ids"]], 1)
        inputs["attention_mask"] = torch.cat([pad, inputs["attention_mask"]], 1)
        padded = generate(model, inputs)
    assert torch.equal(plain.sequences[0], padded.sequences[0, 7:])
    np.testing.assert_array_equal(target, trace.target)
    for a, b in zip(plain.logits, padded.logits, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"do_sample": True, "seed": 3}])
def test_beams_and_sampling_share_one_compression(tiny, options):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    seed = options.pop("seed", None)
    results = []
    for method in (STC(retention=1.0, keep_inside=1.0), METHODS["both"]):
        torch.manual_seed(seed or 0)
        with compress(model, method) as trace:
            results.append(generate(model, inputs, **options).sequences)
    torch.manual_seed(seed or 0)
    stock = generate(model, inputs, **options).sequences
    assert torch.equal(results[0], stock)
    assert len(trace.survivors) == 13


def test_cache_lengths_are_those_of_the_trace(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    with compress(model, METHODS["both"]) as trace:
        cache = generate(model, inputs).past_key_values
    full, door, end = trace.alive()
    text = inputs["input_ids"].shape[1] - full
    lengths = [cache.get_seq_length(layer) for layer in range(5)]
    assert lengths == [door + text + 5] * 3 + [end + text + 5] * 2


@pytest.mark.parametrize("name", ["both", "both, compact", "inside", None])
@torch.no_grad()
def test_a_forced_answer_has_the_probability_of_generation_and_the_cache_is_as_before(tiny, name):
    model, processor = tiny
    inputs = prompt(processor, clip_frames())
    length = inputs["input_ids"].shape[1]
    with contextlib.ExitStack() as stack:
        if name is not None:
            stack.enter_context(compress(model, METHODS[name]))
        out = generate(model, inputs)
        new, cache = out.sequences[0, length:], out.past_key_values
        lengths = [cache.get_seq_length(layer) for layer in range(5)]
        rewind(cache, 5)
        assert [cache.get_seq_length(layer) for layer in range(5)] == [n - 5 for n in lengths]
        kept = copy.deepcopy(cache)
        expected = sum(
            float(logits[0].log_softmax(-1)[token])
            for logits, token in zip(out.logits, new, strict=True)
        )
        said, other = new.tolist(), [7, 9, 11]
        once, first, again, second = (
            log_probability(model, cache, out.logits[0][0], ids, torch.tensor([[length]]))
            for ids in (said, other, said, other)
        )
    assert once == pytest.approx(expected, abs=1e-6)
    assert (once, first) == (again, second)  # scoring leaves nothing that the next would meet
    for one, two in zip(cache.layers, kept.layers, strict=True):
        assert torch.equal(one.keys, two.keys) and torch.equal(one.values, two.values)


# --- what cannot be compressed -------------------------------------------------------------------


def test_a_prompt_without_a_video_is_left_alone(tiny):
    model, processor = tiny
    inputs = dict(processor.tokenizer("is there a star ?", return_tensors="pt"))
    stock = generate(model, inputs)
    with compress(model, METHODS["both"]) as trace:
        again = generate(model, inputs)
        with pytest.raises(RuntimeError, match="no video has passed"):
            trace.fate  # noqa: B018
        assert repr(trace) == "LiveTrace(empty)"
    assert all(torch.equal(a, b) for a, b in zip(stock.logits, again.logits, strict=True))


def test_two_videos_in_one_prompt_are_refused(tiny):
    model, processor = tiny
    content = [{"type": "video"}, {"type": "video"}, {"type": "text", "text": "is there a star ?"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    frames = list(clip_frames())
    inputs = dict(processor(text=text, videos=[frames, frames], return_tensors="pt"))
    with pytest.raises(ValueError, match="one prompt with one video"):
        with compress(model, METHODS["both"]):
            generate(model, inputs)


def test_two_prompts_in_one_batch_are_refused(tiny):
    model, processor = tiny
    parts = [prompt(processor, clip_frames(seed=seed)) for seed in (1, 2)]
    inputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    with pytest.raises(ValueError, match="one prompt with one video"):
        with compress(model, METHODS["both"]):
            generate(model, inputs)


def test_settings_that_do_not_fit_the_model_are_refused_at_once(tiny):
    model, _ = tiny
    with pytest.raises(ValueError, match="layer 4 is outside this model"):
        with compress(model, STC(layer=4)):
            pass
    with pytest.raises(ValueError, match="compression method is needed"):
        with compress(model, "stc"):
            pass


def test_a_model_that_is_no_video_llm_is_refused(tiny):
    model, _ = tiny
    with pytest.raises(ValueError, match="not a Video-LLM this program knows; use one of LLaVA"):
        with compress(model.get_decoder(), STC()):
            pass


@torch.no_grad()
def test_contribution_layer_recorded_in_the_checkpoint_is_the_default(tiny, monkeypatch):
    model, _ = tiny
    family = family_of(model.config)
    layers = model.get_encoder(modality="image").encoder.layers
    assert contribution_module(model, family, None) is layers[-1].self_attn
    monkeypatch.setattr(model.config, "stc", {"contribution_layer": -2}, raising=False)
    assert contribution_module(model, family, None) is layers[-2].self_attn
    assert contribution_module(model, family, 0) is layers[0].self_attn
