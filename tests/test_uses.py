"""Uses of ``compress`` beyond a plain ``generate()``: each works, or is refused in one sentence."""

import copy
import gc
import io
import pickle
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import torch
from helpers.masked import generate, snapshot
from inputs import METHODS, SIZES, clip_frames, prompt
from tiny import BUILDERS

from stc_core import STC, InputError, answer, compress, load, read_video
from stc_core.answering.prompt import build_prompt
from stc_core.hooks import kv_cache, shortening
from stc_core.hooks.kv_cache import CompressedCache, cache_argument, cache_of
from stc_core.shapes.model.sizes import build

KERNELS = ["sdpa", "eager"]
KEEP_ALL = STC(retention=1.0, keep_inside=1.0)
BOTH = METHODS["both"]


@pytest.fixture
def asked(tiny):
    """(model, inputs) that nobody else uses."""
    model, processor = tiny
    return copy.deepcopy(model), prompt(processor, clip_frames())


# --- without a cache -----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", METHODS)
def test_generation_without_a_cache_says_the_same(asked, kernel, name):
    model, inputs = asked
    model.set_attn_implementation(kernel)
    with compress(model, METHODS[name]) as trace:
        cached = generate(model, inputs)
        fates = trace.fate
        bare = generate(model, inputs, use_cache=False)
    assert torch.equal(bare.sequences, cached.sequences)
    for one, other in zip(bare.logits, cached.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert torch.equal(torch.from_numpy(trace.fate), torch.from_numpy(fates))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "internvl"])
def test_generation_without_a_cache_in_other_families(family, tmp_path):
    for part in BUILDERS[family](seed=1):
        part.save_pretrained(tmp_path)
    vlm = load(tmp_path)
    inputs = build_prompt(vlm, clip_frames(), "what color is the star ?", 8).inputs
    with compress(vlm.model, BOTH):
        cached = generate(vlm.model, inputs)
        bare = generate(vlm.model, inputs, use_cache=False)
    assert torch.equal(bare.sequences, cached.sequences)


def test_a_second_prompt_without_a_cache_is_decided_anew(asked, tiny):
    model, inputs = asked
    other = prompt(tiny[1], clip_frames(seed=5), "how many objects are there ?")
    with compress(model, BOTH) as trace:
        generate(model, inputs, use_cache=False)
        generate(model, other, use_cache=False)
        second = trace.fate
        generate(model, other)
    assert (second == trace.fate).all()


@torch.no_grad()
def test_the_same_text_and_a_token_about_another_video_is_decided_anew(asked, tiny):
    model, inputs = asked
    other = prompt(tiny[1], clip_frames(seed=5))
    assert torch.equal(inputs["input_ids"], other["input_ids"])
    for name in ("input_ids", "attention_mask"):
        other[name] = torch.cat([other[name], other[name][:, -1:]], dim=1)
    with compress(model, BOTH) as trace:
        first = model(**inputs, use_cache=False)
        model(**other, use_cache=False)
        fates = trace.fate
    with compress(model, BOTH) as trace:
        model(**other, use_cache=False)
    assert (fates == trace.fate).all()
    assert first.logits.shape[1] < inputs["input_ids"].shape[1]


# --- training ------------------------------------------------------------------------------------


def gradients(model, inputs, method):
    """Gradients of one logit, by parameter; method None: of the stock model."""
    model.zero_grad(set_to_none=True)
    if method is None:
        loss = model(**inputs).logits[0, -1, 7]
    else:
        with compress(model, method):
            loss = model(**inputs).logits[0, -1, 7]
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_are_those_of_the_stock_model_where_all_is_kept(asked, kernel):
    model, inputs = asked
    model.set_attn_implementation(kernel)
    model.train()
    stock, kept = (gradients(model, inputs, method) for method in (None, KEEP_ALL))
    assert stock.keys() == kept.keys()
    assert all(torch.equal(stock[name], kept[name]) for name in stock)


@dataclass(frozen=True, kw_only=True)
class Held(STC):
    """STC that decides once: a step of finite differences must not change who survives."""

    held: dict = field(default_factory=dict)

    def outside(self, *given):
        return self.held.setdefault("outside", super().outside(*given))

    def inside(self, *given):
        return self.held.setdefault("inside", super().inside(*given))


@pytest.mark.parametrize("name", METHODS)
def test_gradients_reach_the_tower_through_the_means(asked, name):
    """Against finite differences along one direction of all weights, in float64."""
    model, inputs = asked
    model.double().train()
    inputs["pixel_values_videos"] = inputs["pixel_values_videos"].double()
    method = Held(**vars(METHODS[name]))
    found = gradients(model, inputs, method)
    tower = [name for name, _ in model.model.vision_tower.named_parameters()]
    used = [n for n in tower if f"model.vision_tower.{n}" in found]
    assert len(used) > 20 and all(found[f"model.vision_tower.{n}"].any() for n in used[:-4])
    rng = torch.Generator().manual_seed(0)
    weights = dict(model.named_parameters())
    way = {n: torch.randn(p.shape, generator=rng, dtype=p.dtype) for n, p in weights.items()}
    slope = sum(float((found[n] * way[n]).sum()) for n in found)
    values, step = [], 3e-5  # norms compute in float32
    for sign in (1, -2):
        with torch.no_grad():
            for n, p in weights.items():
                p += sign * step * way[n]
            with compress(model, method):
                values.append(float(model(**inputs).logits[0, -1, 7]))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=5e-3)


def test_labels_are_refused_before_any_work(asked):
    model, inputs = asked
    calls = []
    model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(InputError, match="call the model without labels"):
        with compress(model, BOTH):
            model(**inputs, labels=inputs["input_ids"])
    assert not calls


def test_gradient_checkpointing_is_refused(asked):
    model, inputs = asked
    model.train()
    model.gradient_checkpointing_enable()
    with pytest.raises(InputError, match="gradient_checkpointing_disable"):
        with compress(model, BOTH):
            model(**inputs)
    model.eval()  # nothing is checkpointed then
    with compress(model, BOTH) as trace:
        generate(model, inputs)
    assert len(trace.survivors) == 13


# --- adapters ------------------------------------------------------------------------------------


def test_an_adapter_works_through_its_base_model(asked):
    peft = pytest.importorskip("peft")
    model, inputs = asked
    config = peft.LoraConfig(target_modules=["q_proj", "v_proj"], r=2)
    adapted = peft.get_peft_model(copy.deepcopy(model), config)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=rng))
    merged = copy.deepcopy(adapted).merge_and_unload()
    generate(adapted, inputs)  # the library installs hooks of its own on the first run
    before = snapshot(adapted)
    with compress(adapted, BOTH) as trace:
        said = generate(adapted, inputs)
        fates = trace.fate
        with pytest.raises(InputError, match="already"), compress(adapted, BOTH):
            pass
    assert snapshot(adapted)[:3] == before[:3]
    with compress(merged, BOTH) as trace:
        expected = generate(merged, inputs)
    with compress(model, BOTH):
        plain = generate(model, inputs)
    assert (fates == trace.fate).all()
    torch.testing.assert_close(said.logits[0], expected.logits[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(said.logits[0], plain.logits[0], atol=1e-3)


# --- caches --------------------------------------------------------------------------------------


def following(model, output, cache):
    """One more token on a cache, as ``generate`` would feed it."""
    count = output.sequences.shape[1]
    return model(
        input_ids=output.sequences[:, -1:],
        position_ids=torch.tensor([[count - 1]]),
        **{cache_argument(model): cache},
    )


@torch.no_grad()
def test_a_compressed_cache_cannot_be_continued_elsewhere(asked):
    model, inputs = asked
    with compress(model, BOTH):
        output = generate(model, inputs)
        cache = cache_of(output)
        assert isinstance(cache, CompressedCache)
        following(model, output, copy.deepcopy(cache))  # here it can
    file = io.BytesIO()
    torch.save(cache, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert loaded.get_seq_length(4) == cache.get_seq_length(4)
    for one in (cache, loaded, copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        with pytest.raises(InputError, match="only inside the `with compress"):
            following(model, output, one)
        with compress(model, BOTH), pytest.raises(InputError, match="only inside the `with"):
            following(model, output, one)


def test_a_compressed_cache_is_not_held_back(asked):
    model, inputs = asked
    with compress(model, BOTH):
        seen = weakref.ref(cache_of(generate(model, inputs)))
        gc.collect()
        assert seen() is None


def test_a_cache_without_a_compressed_prompt_is_nobodys(asked, tiny):
    model, inputs = asked
    words = dict(tiny[1].tokenizer("is there a star ?", return_tensors="pt"))
    with compress(model, BOTH):
        text = generate(model, words)
    with torch.no_grad():
        following(model, text, cache_of(text))
    assert type(cache_of(generate(model, inputs))) is not CompressedCache


def test_a_generation_that_outlives_the_with_ends_in_a_sentence(asked):
    model, inputs = asked
    begun, left, caught = threading.Event(), threading.Event(), []

    def wait(*_, **__):
        begun.set()
        left.wait(60)
        return torch.zeros(1, dtype=torch.bool)

    def run():
        try:
            generate(model, inputs, stopping_criteria=[wait])
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    with compress(model, BOTH):
        thread.start()
        assert begun.wait(60)
    left.set()
    thread.join(60)
    assert isinstance(caught[0], InputError)
    assert "end the generation before leaving the `with`" in str(caught[0])


@pytest.mark.parametrize("chunk", [3, 16, 40])
def test_a_prompt_in_chunks_is_refused(asked, chunk):
    model, inputs = asked
    with pytest.raises((InputError, ValueError), match="prefill_chunk_size"):
        with compress(model, BOTH):
            generate(model, inputs, prefill_chunk_size=chunk)


# --- a library that has moved --------------------------------------------------------------------


def test_a_cache_under_another_name_is_noticed_at_once(asked, monkeypatch):
    model, inputs = asked
    monkeypatch.setattr(kv_cache, "NAMES", ("kv",))
    with pytest.raises(RuntimeError, match="gets its cache under none of the names kv.*tested"):
        with compress(model, BOTH):
            generate(model, inputs)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_decode_step_never_counts_as_a_prefill(asked, monkeypatch, kernel):
    """As if the library called the cache something else and left an empty argument behind."""
    model, inputs = asked
    model.set_attn_implementation(kernel)
    monkeypatch.setattr(shortening, "cache_given", lambda kwargs, who: None)
    with pytest.raises(RuntimeError, match="without the cache that it has filled.*tested with"):
        with compress(model, BOTH):
            generate(model, inputs)


@pytest.mark.parametrize("name", ["inside", "both"])
def test_a_cache_that_was_filled_otherwise_is_noticed(asked, monkeypatch, name):
    model, inputs = asked
    stock = shortening.Sequence

    def longer(length, short, **more):
        return stock(length, short + 1, **more)

    monkeypatch.setattr(shortening, "Sequence", longer)
    with pytest.raises(RuntimeError, match="the cache of a prompt of .* holds"):
        with compress(model, METHODS[name]):
            generate(model, inputs)


def test_a_layer_with_a_cache_of_its_own_is_noticed(asked, monkeypatch):
    model, inputs = asked

    def given(kwargs, who):
        found = kv_cache.cache_given(kwargs, who)
        return copy.copy(found) if who == "a decoder layer" else found

    monkeypatch.setattr(shortening, "cache_given", given)
    with pytest.raises(RuntimeError, match="another cache than its decoder"):
        with compress(model, BOTH):
            generate(model, inputs)


def test_decoding_is_not_booked_as_prefill():
    found = answer(load(), "assets/clips/tall.mp4", "how many objects are there?", BOTH, frames=4)
    assert found.costs.seconds["decoding"] > 0 and found.costs.generated_tokens > 1


# --- entering and leaving ------------------------------------------------------------------------


def interrupted_at(number, model):
    """Enter and leave a ``compress`` with an interrupt at its n-th line; whether one came."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        name = frame.f_code.co_filename
        if "stc_core" not in name and "contextlib" not in name:
            return None
        if event == "line":
            count += 1
            if count == number:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        with compress(model, BOTH):
            sys.settrace(None)
            return False
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)


def test_an_interrupt_at_any_line_of_entering_leaves_nothing(asked):
    model, inputs = asked
    with compress(model, BOTH):
        generate(model, inputs)
    clean = snapshot(model)
    number, came = 1, True
    while came:
        came = interrupted_at(number, model)
        assert snapshot(model) == clean, number
        number += 1
    assert number > 200  # the tracer has seen the lines
    with compress(model, BOTH):
        generate(model, inputs)


def test_two_threads_cannot_enter_at_once(asked):
    model, inputs = asked
    clean, interval = snapshot(model), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            inside, refused = [], []
            start = threading.Barrier(4)

            def enter(start=start, inside=inside, refused=refused):
                start.wait()
                try:
                    with compress(model, BOTH):
                        inside.append(1)
                        assert len(inside) == 1
                        inside.pop()
                except InputError as error:
                    refused.append(error)

            threads = [threading.Thread(target=enter) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert snapshot(model) == clean
    with compress(model, BOTH) as trace:
        generate(model, inputs)
    assert len(trace.survivors) == 13


@torch.inference_mode()
def test_inference_mode_changes_nothing(asked):
    model, inputs = asked
    with compress(model, BOTH) as trace:
        said, fates = generate(model, inputs), trace.fate
    with torch.inference_mode(False), compress(model, BOTH) as trace:
        expected = generate(model, inputs)
    assert torch.equal(said.sequences, expected.sequences)
    assert (fates == trace.fate).all()


@pytest.mark.parametrize("task", ["image-text-to-text", "any-to-any"])
def test_a_pipeline_answers_as_answer_does(task):
    from transformers import pipeline

    vlm, question = load(), "what flashed?"
    video = read_video("assets/clips/two-on-waves.mp4", 8)
    ask = pipeline(task, model=vlm.model, processor=vlm.processor)
    content = [{"type": "video", "video": video.frames}, {"type": "text", "text": question}]
    for method in (STC(retention=0.1), KEEP_ALL):
        with compress(vlm.model, method) as trace:
            turns = [{"role": "user", "content": content}]
            (said,) = ask(text=turns, generate_kwargs={"max_new_tokens": 4})
        told = said["generated_text"][-1]["content"].strip()
        here = answer(vlm, video, question, method, max_new_tokens=4)
        assert told == here.text and (trace.fate == here.trace.fate).all()


def test_two_threads_compress_two_models_at_once(asked, tiny):
    """Probes are registered in a table of the library that both share."""
    model, inputs = asked
    other = copy.deepcopy(model)
    others = prompt(tiny[1], clip_frames(6, seed=3), "how many red objects are there ?")
    given = {"one": (model, inputs), "other": (other, others)}

    def run(name):
        with compress(given[name][0], BOTH) as trace:
            return generate(*given[name]).sequences, trace.fate

    alone = {name: run(name) for name in given}
    clean = snapshot(model)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            for name, found in zip(given, pool.map(run, given), strict=True):
                assert torch.equal(found[0], alone[name][0])
                assert (found[1] == alone[name][1]).all()
    assert snapshot(model) == clean


def compiled_forward(model):
    model.forward = torch.compile(model.forward, backend="eager")
    return model


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


def compiled_part(model):
    model.get_decoder().layers[1].compile(backend="eager")
    return model


def compiled_whole(model):
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize(
    "how", [compiled_whole, compiled_in_place, compiled_forward, compiled_part]
)
def test_a_compiled_model_is_refused(asked, how):
    model, _ = asked
    with pytest.raises(InputError, match="this model is compiled, .* without torch.compile"):
        with compress(how(model), BOTH):
            pass


@pytest.mark.parametrize("how", [copy.deepcopy, pickle.dumps])
def test_a_model_is_not_copied_with_its_hooks(how):
    model, _ = build(SIZES["even"])  # the library's own hooks, which cannot be pickled, come later
    with compress(model, BOTH):
        for part in (model, model.get_decoder(), model.get_decoder().layers[0]):
            with pytest.raises(InputError, match="leave the `with` first"):
                how(part)
        weights = copy.deepcopy(model.state_dict())
    assert weights.keys() == model.state_dict().keys()
    assert copy.deepcopy(model).get_decoder() is not model.get_decoder()
