"""The same conformance suite for every family: tiny checkpoints, saved, loaded and compressed."""

import copy
import inspect
from dataclasses import replace

import numpy as np
import pytest
import references
import torch
from helpers.masked import features, generate, masked, places_left, snapshot, stock_positions
from inputs import METHODS
from tiny import BUILDERS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from stc_core import STC, answer, compress, load
from stc_core.answering.prompt import build_prompt, encode_text, grid_of
from stc_core.answering.video import Video
from stc_core.hooks.attention import attention_paid
from stc_core.hooks.forced import first_position, log_probability, rewind
from stc_core.hooks.probes import probe
from stc_core.methods import Downsample, FastV, Frames
from stc_core.models.contribution import contribution_module, to_grid
from stc_core.models.families import FAMILIES

KERNELS = ["sdpa", "eager"]
QUESTION = "what color is the star ?"
SIZES = {"square": (48, 48), "wide": (44, 88), "tall": (88, 44)}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Family -> folder of its tiny checkpoint."""
    folders = {}
    for name, build in BUILDERS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        for part in build(seed=1):
            part.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def opened(checkpoints):
    return {name: load(folder) for name, folder in checkpoints.items()}


@pytest.fixture(params=BUILDERS)
def vlm(request, opened):
    found = opened[request.param]
    found.model.set_attn_implementation("sdpa")
    return found


def clip(frames=3, size=(32, 48), seed=0):
    """(T, H, W, 3) uint8: noise that repeats in part from frame to frame."""
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 256, (1, *size, 3))
    moving = rng.integers(0, 256, (frames, *size, 3))
    moving[:, : size[0] // 2] = still[:, : size[0] // 2]
    return moving.astype(np.uint8)


def ask(vlm, frames=None, question=QUESTION):
    frames = clip() if frames is None else frames
    return build_prompt(vlm, frames, question, 8, seconds=np.arange(len(frames)) * 0.5)


def padded(vlm, inputs, count):
    """The same prompt behind ``count`` places of padding."""
    longer = dict(inputs)
    filling = {"input_ids": vlm.processor.tokenizer.pad_token_id}
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if name in inputs:
            pad = torch.full((1, count), filling.get(name, 0))
            longer[name] = torch.cat([pad, inputs[name]], dim=1)
    return longer


# --- the prompt ----------------------------------------------------------------------------------


def test_the_prompt_is_the_processors_own(vlm):
    frames = clip()
    prompt = ask(vlm, frames)
    content = [{"type": "video"}, {"type": "text", "text": QUESTION}]
    text = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    times = {"fps": 2, "frames_indices": [0, 1, 2], "total_num_frames": 3, "duration": 1.5}
    sampled = {"video_metadata": [times], "do_sample_frames": False}
    takes = inspect.signature(vlm.processor.__call__).parameters.values()
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in takes):
        sampled = {}  # Video-LLaVA's processor in transformers 5.10 reads no times
    stock = vlm.processor(
        text=text,
        videos=[[torch.from_numpy(frames).permute(0, 3, 1, 2)]],
        return_tensors="pt",
        **sampled,
        **vlm.family.options,
    )
    for name, value in prompt.inputs.items():
        torch.testing.assert_close(value, stock[name], atol=0, rtol=0)


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "<video>", "<image>", "<|video_pad|> is <|vision_start|>", "</s><s>"]
)
def test_special_tokens_in_a_question_are_characters(vlm, text):
    tokenizer = vlm.processor.tokenizer
    special = torch.tensor(sorted(tokenizer.added_tokens_decoder))
    plain, odd = (ask(vlm, question=f"is it {word} here ?") for word in ("red", text))
    counts = [int(torch.isin(prompt.inputs["input_ids"], special).sum()) for prompt in (plain, odd)]
    unknown = encode_text(tokenizer, text).count(tokenizer.unk_token_id)  # of a word-level one
    assert counts[1] == counts[0] + unknown
    assert odd.video_tokens == plain.video_tokens


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_frames(vlm, count):
    prompt = ask(vlm, clip(count))
    assert prompt.layout.frames == -(-count // vlm.family.step(vlm.model.config))
    with compress(vlm.model, METHODS["both"]) as trace:
        generate(vlm.model, prompt.inputs)
    assert trace.grid.frames == prompt.layout.frames


# --- identity and the independent reference ------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_keeping_everything_is_bit_identical(vlm, kernel):
    model, inputs = vlm.model, ask(vlm).inputs
    model.set_attn_implementation(kernel)
    stock = generate(model, inputs)
    for method in (STC(retention=1.0, keep_inside=1.0), STC(retention=1.0, keep_inside=1 - 1e-9)):
        with compress(model, method) as trace:
            kept = generate(model, inputs)
        assert torch.equal(stock.sequences, kept.sequences)
        assert all(torch.equal(a, b) for a, b in zip(stock.logits, kept.logits, strict=True))
        assert trace.alive()[-1] == trace.grid.size


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", METHODS)
@torch.no_grad()
def test_shrinking_equals_the_masked_reference(vlm, kernel, name):
    model, prompt = vlm.model, ask(vlm)
    model.set_attn_implementation(kernel)
    positions = stock_positions(model, prompt.inputs)
    with compress(model, METHODS[name]) as trace:
        out = generate(model, prompt.inputs)
    assert trace.alive()[-1] < trace.grid.size
    length = prompt.inputs["input_ids"].shape[1]
    for step in (0, 5):
        ids = out.sequences[:, : length + step]
        found = masked(model, prompt.inputs, prompt.layout, positions, trace, ids)
        torch.testing.assert_close(out.logits[step][0], found.logits, atol=1e-5, rtol=1e-5)
    if name == "both":
        check_inside(prompt, trace, found)


def check_inside(prompt, trace, found):
    """The inside decision of a trace is that of the reference, on the reference's own states."""
    alive = trace.stage("outside").survivors
    visual = prompt.layout.tokens[torch.from_numpy(alive)]
    text = torch.arange(prompt.layout.last + 1, prompt.inputs["input_ids"].shape[1])
    states = found.hidden[visual].tolist(), found.hidden[text].tolist()
    paid = found.weights[text][:, visual].tolist()
    np.testing.assert_allclose(
        trace.relevance[alive], references.relevance(*states, paid, 0.5), atol=1e-5
    )
    survivors, target = references.inside(*states, paid, 0.5, 0.5)
    assert alive[survivors].tolist() == trace.survivors.tolist()
    assert alive[target].tolist() == trace.stage("inside").target[alive].tolist()


@torch.no_grad()
def test_the_outside_decision_is_taken_on_the_familys_own_features(vlm):
    prompt, method = ask(vlm), STC(retention=0.3, keep_inside=1.0)
    with compress(vlm.model, method) as trace:
        generate(vlm.model, prompt.inputs)
    tokens = video_features(vlm, prompt)
    fate, target = references.outside(
        tokens.double().tolist(),
        trace.contribution.tolist(),
        method.budget(trace.grid),
        method.tau,
        method.cluster_ratio,
        method.neighbors,
    )
    assert trace.target.tolist() == target


def video_features(vlm, prompt):
    """(N, d): the family's own features in the order (frame, row, column)."""
    flat, _ = features(vlm.model, prompt.inputs)
    placeholders = torch.cat([prompt.layout.tokens, prompt.layout.extras]).sort().values
    return flat[torch.searchsorted(placeholders, prompt.layout.tokens)]


@pytest.mark.parametrize("method", [FastV(retention=0.4), Frames(retention=0.5)], ids=repr)
@torch.no_grad()
def test_other_methods_equal_the_masked_reference(vlm, method):
    model, prompt = vlm.model, ask(vlm)
    with compress(model, method) as trace:
        out = generate(model, prompt.inputs)
    positions = stock_positions(model, prompt.inputs)
    found = masked(
        model, prompt.inputs, prompt.layout, positions, trace, prompt.inputs["input_ids"]
    )
    torch.testing.assert_close(out.logits[0][0], found.logits, atol=1e-5, rtol=1e-5)


def test_cache_lengths_are_those_of_the_trace(vlm):
    prompt = ask(vlm)
    with compress(vlm.model, METHODS["both"]) as trace:
        cache = generate(vlm.model, prompt.inputs).past_key_values
    door, end = places_left(prompt, trace)
    lengths = [cache.get_seq_length(layer) for layer in range(5)]
    assert lengths == [door + 5] * 3 + [end + 5] * 2


def test_bfloat16(checkpoints, vlm):
    name = vlm.model.config.model_type
    half = load(checkpoints[name], dtype=torch.bfloat16)
    prompt = ask(half)
    stock = generate(half.model, prompt.inputs)
    with compress(half.model, STC(retention=1.0, keep_inside=1.0)):
        kept = generate(half.model, prompt.inputs)
    assert all(torch.equal(a, b) for a, b in zip(stock.logits, kept.logits, strict=True))
    with compress(half.model, METHODS["both"]) as trace:
        out = generate(half.model, prompt.inputs)
    with torch.no_grad():
        positions = stock_positions(half.model, prompt.inputs)
        found = masked(
            half.model, prompt.inputs, prompt.layout, positions, trace, prompt.inputs["input_ids"]
        )
    error = (out.logits[0][0].float() - found.logits.float()).norm() / found.logits.float().norm()
    assert error < 0.03
    assert len(trace.survivors) < trace.grid.size


# --- from patch to token -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES)
@torch.no_grad()
def test_a_painted_cell_changes_the_right_token_and_the_right_place_of_the_map(vlm, shape):
    """Paint a cell's box in the source frame: its token changes most, and its key in the tower."""
    height, width = SIZES[shape]
    still = clip(3, (height, width), seed=3) // 2 + 64
    grid = grid_of(vlm, still)
    step = vlm.family.step(vlm.model.config)
    before = tokens_and_keys(vlm, still)
    rng = np.random.default_rng(5)
    corners = [(0, 0, 0), (grid.frames - 1, grid.rows - 1, grid.cols - 1)]
    others = [tuple(rng.integers(0, (grid.frames, grid.rows, grid.cols))) for _ in range(4)]
    for time, row, col in corners + others:
        top, left, bottom, right = grid.box(row, col)
        painted = still.copy()
        region = painted[
            step * time : step * (time + 1),
            int(np.ceil(top)) : int(bottom),
            int(np.ceil(left)) : int(right),
        ]
        assert region.size, "this cell shows nothing of the frame"
        region[:] = rng.choice([0, 255], 3)
        after = tokens_and_keys(vlm, painted)
        for old, new in zip(before, after, strict=True):
            assert int((new - old).norm(dim=1).argmax()) == grid.index(time, row, col)


def tokens_and_keys(vlm, frames):
    """(N, d) features and (N, k) keys of the first vision layer that sees whole frames, by cell."""
    prompt, family, config = ask(vlm, frames), vlm.family, vlm.model.config
    layer = next(i for i in range(9) if family.whole_frames(config, i))
    keys = []

    def look(query, key, scaling):
        keys.append(key.transpose(1, 2).flatten(2)[:, int(family.class_token(config)) :])

    with probe(contribution_module(vlm.model, family, layer), look):
        tokens = video_features(vlm, prompt)
    keys = torch.cat(keys)  # (T, patches, k): a map for every channel
    maps = keys.permute(2, 0, 1).flatten(0, 1)
    on_grid = to_grid(vlm.model, family, maps, (prompt.layout.rows, prompt.layout.cols))
    return tokens, on_grid.view(keys.shape[2], -1).T


@torch.no_grad()
def test_the_contribution_is_the_attention_that_eager_weights_say(vlm):
    model, prompt = vlm.model, ask(vlm)
    with compress(model, METHODS["outside"]) as trace:
        generate(model, prompt.inputs)
    model.set_attn_implementation("eager")
    received = eager_received(vlm, prompt)
    cells = prompt.layout.rows, prompt.layout.cols
    expected = to_grid(model, vlm.family, received, cells).flatten()
    np.testing.assert_allclose(trace.contribution, expected.numpy(), atol=1e-6)


def eager_received(vlm, prompt):
    """(T, patches): mean over heads and queries of the tower's own eager weights.

    The Qwen towers return none: theirs are computed by hand from what enters the module.
    """
    module = contribution_module(vlm.model, vlm.family, None)
    caught = []

    def catch(inner, args, kwargs, result):
        caught.append((args, kwargs, result))

    handle = module.register_forward_hook(catch, with_kwargs=True)
    features(vlm.model, prompt.inputs)
    handle.remove()
    (args, kwargs, result), first = caught[0], int(vlm.family.class_token(vlm.model.config))
    if isinstance(result, tuple) and result[1] is not None:
        weights = result[1]
        weights = torch.cat(list(weights)) if isinstance(weights, (list, tuple)) else weights
    else:
        weights = qwen_weights(module, args, kwargs)
    return weights.mean(dim=(1, 2))[:, first:]


def qwen_weights(module, args, kwargs):
    """(T, heads, patches, patches) of a Qwen vision block, written out."""
    hidden = args[0] if args else kwargs["hidden_states"]
    cos, sin = (part.float()[:, None] for part in kwargs["position_embeddings"])
    query, key, _ = module.qkv(hidden).view(len(hidden), 3, module.num_heads, -1).unbind(1)

    def turned(x):
        one, two = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-two, one], dim=-1) * sin

    ends = kwargs["cu_seqlens"].tolist()
    frames = [
        torch.einsum("qhd,khd->hqk", turned(query)[a:b], turned(key)[a:b])
        for a, b in zip(ends, ends[1:], strict=False)
    ]
    return torch.softmax(torch.stack(frames) * query.shape[-1] ** -0.5, dim=-1)


@torch.no_grad()
def test_a_probe_in_the_decoder_sees_what_eager_attention_weighs(vlm):
    model, prompt = vlm.model, ask(vlm)
    seen = []
    stock = generate(model, prompt.inputs)
    with probe(model.get_decoder().layers[2].self_attn, lambda *look: seen.append(look)):
        probed = generate(model, prompt.inputs)
    assert all(torch.equal(a, b) for a, b in zip(stock.logits, probed.logits, strict=True))
    model.set_attn_implementation("eager")
    weights = model(**prompt.inputs, output_attentions=True).attentions[2][0].mean(0)
    rows, cols = torch.arange(len(weights) - 4, len(weights)), prompt.layout.tokens
    paid = attention_paid(*seen[0], rows, cols, None)
    torch.testing.assert_close(paid, weights[rows][:, cols], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_frames_packed_into_one_call_are_seen_one_by_one(vlm, monkeypatch):
    """Under FlashAttention packed towers attend to all frames in one call with their bounds.

    A kernel with FlashAttention's signature stands in for it: only its arithmetic is tested here.
    """
    model, prompt = vlm.model, ask(vlm)
    tower, packed = vlm.family.tower(model), []
    with compress(model, METHODS["outside"]) as trace:
        generate(model, prompt.inputs)
        alone = trace.contribution

    def flash(module, query, key, value, attention_mask, scaling, cu_seq_lens_q=None, **_):
        assert module.config._attn_implementation == "flash_attention_2"
        ends = [0, query.shape[2]] if cu_seq_lens_q is None else cu_seq_lens_q.tolist()
        packed.append(len(ends) - 1)
        parts = [
            torch.nn.functional.scaled_dot_product_attention(
                *(states[:, :, a:b] for states in (query, key, value)), scale=scaling
            )
            for a, b in zip(ends, ends[1:], strict=False)
        ]
        return torch.cat(parts, dim=2).transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "flash_attention_2", flash)
    monkeypatch.setattr(tower.config, "_attn_implementation_internal", "flash_attention_2")
    with compress(model, METHODS["outside"]) as trace:
        generate(model, prompt.inputs)
    np.testing.assert_allclose(trace.contribution, alone, atol=1e-6)
    if vlm.family.cell_shape is None:  # a tower of packed frames
        assert prompt.layout.frames in packed


# --- ways to generate ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["both", "both, compact"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_left_padding_changes_nothing(vlm, kernel, name):
    model, inputs = vlm.model, ask(vlm).inputs
    model.set_attn_implementation(kernel)
    with compress(model, METHODS[name]) as trace:
        plain, target = generate(model, inputs), trace.target
        moved = generate(model, padded(vlm, inputs, 7))
    assert torch.equal(plain.sequences[0], moved.sequences[0, 7:])
    np.testing.assert_array_equal(target, trace.target)
    for a, b in zip(plain.logits, moved.logits, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"do_sample": True, "temperature": 2.0}])
def test_beams_and_sampling_share_one_compression(vlm, options):
    inputs, results = ask(vlm).inputs, []
    for method in (None, STC(retention=1.0, keep_inside=1.0), METHODS["both"]):
        torch.manual_seed(3)
        if method is None:
            results.append(generate(vlm.model, inputs, **options).sequences)
            continue
        with compress(vlm.model, method) as trace:
            results.append(generate(vlm.model, inputs, **options).sequences)
    assert torch.equal(results[0], results[1])
    assert len(trace.survivors) < trace.grid.size / 4


@torch.no_grad()
def test_a_second_question_on_the_compressed_cache_gives_the_tokens_of_a_fresh_run(vlm):
    model, prompt = vlm.model, ask(vlm)
    more = torch.tensor([encode_text(vlm.processor.tokenizer, "is there a circle ?")])
    with compress(model, METHODS["outside"]) as trace, first_position(model) as position:
        first = generate(model, prompt.inputs)
        conversation = torch.cat([first.sequences, more], dim=1)
        cache, survivors = first.past_key_values, trace.survivors
        # the last token of the first answer is not in the cache yet
        follow, start = conversation[:, first.sequences.shape[1] - 1 :], position[0] + 5
        seen = cache.get_seq_length() + follow.shape[1]
        again = generate(
            model,
            {
                "input_ids": follow,
                "attention_mask": torch.ones(1, seen, dtype=torch.long),
                "position_ids": start + torch.arange(follow.shape[1]),
                "past_key_values": copy.deepcopy(cache),
            },
        )
        new, said = follow, []
        for _ in range(6):
            seen = cache.get_seq_length() + new.shape[1]
            logits = model(
                input_ids=new,
                attention_mask=torch.ones(1, seen, dtype=torch.long),
                position_ids=start + torch.arange(new.shape[1]),
                past_key_values=cache,
            ).logits[:, -1:]
            start, new = start + new.shape[1], logits.argmax(-1)
            said.append(int(new))
        whole = {"input_ids": conversation, "attention_mask": torch.ones_like(conversation)}
        if "mm_token_type_ids" in prompt.inputs:
            types = torch.zeros_like(conversation)
            types[:, : prompt.inputs["mm_token_type_ids"].shape[1]] = prompt.inputs[
                "mm_token_type_ids"
            ]
            whole["mm_token_type_ids"] = types
        fresh = generate(model, prompt.inputs | whole)
        np.testing.assert_array_equal(survivors, trace.survivors)
    expected = fresh.sequences[0, conversation.shape[1] :].tolist()
    assert said == expected
    assert again.sequences[0, follow.shape[1] :].tolist() == expected


@torch.no_grad()
def test_a_whole_conversation_on_a_compressed_cache_is_refused(vlm):
    model, prompt = vlm.model, ask(vlm)
    with compress(model, METHODS["both"]):
        first = generate(model, prompt.inputs)
        ids = torch.cat([first.sequences, first.sequences[:, -3:]], dim=1)
        with pytest.raises(ValueError, match="continue it with the new tokens only"):
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                past_key_values=first.past_key_values,
                max_new_tokens=2,
            )


def test_static_caches_are_refused(vlm):
    inputs = ask(vlm).inputs
    generate(vlm.model, inputs)
    before = snapshot(vlm.model)[:3]
    with pytest.raises(ValueError, match="static caches cannot be shortened"):
        with compress(vlm.model, METHODS["both"]):
            generate(vlm.model, inputs, cache_implementation="static")
    assert snapshot(vlm.model)[:3] == before  # generate() keeps its static cache


def test_assisted_decoding_is_refused_where_its_guesses_can_be_seen_and_else_right(vlm):
    inputs = ask(vlm, question="yes no yes no yes no yes no").inputs
    with compress(vlm.model, METHODS["both"]):
        plain = generate(vlm.model, inputs, max_new_tokens=24)
        try:
            helped = generate(vlm.model, inputs, max_new_tokens=24, prompt_lookup_num_tokens=3)
        except ValueError as error:
            assert "assisted decoding" in str(error) or "compressed prompt" in str(error)
        else:  # VideoLLaMA3's forward() is not told how many logits are wanted
            assert "logits_to_keep" not in inspect.signature(vlm.model.forward).parameters
            assert torch.equal(plain.sequences, helped.sequences)


def test_chunked_prefill_is_refused(vlm):
    prompt = ask(vlm)
    for chunk in (5, int(prompt.layout.tokens[prompt.layout.rows * prompt.layout.cols])):
        # VideoLLaMA3's own class trips over the mask of its processor before anything is hooked
        with pytest.raises((ValueError, IndexError)), compress(vlm.model, METHODS["both"]):
            generate(vlm.model, prompt.inputs, prefill_chunk_size=chunk)


# --- what cannot be compressed -------------------------------------------------------------------


def test_two_videos_in_one_prompt_are_refused(vlm):
    frames = torch.from_numpy(clip()).permute(0, 3, 1, 2)
    content = [{"type": "video"}, {"type": "video"}, {"type": "text", "text": QUESTION}]
    inputs = stock_inputs(vlm, content, videos=[[frames, frames]])
    if frames_are_images(vlm):  # so a second video is more of them
        with compress(vlm.model, METHODS["both"]) as trace:
            generate(vlm.model, inputs)
        assert trace.grid.frames == 6
        return
    with pytest.raises(ValueError, match="one prompt with one video"):
        with compress(vlm.model, METHODS["both"]):
            generate(vlm.model, inputs)


def test_images_beside_the_video_are_refused(vlm):
    frames = torch.from_numpy(clip()).permute(0, 3, 1, 2)
    content = [{"type": "image"}, {"type": "video"}, {"type": "text", "text": QUESTION}]
    # by the processor, by us, or by the class where the image's tokens look like a frame's
    with pytest.raises(ValueError, match="images? beside|features and image tokens do not match"):
        inputs = stock_inputs(vlm, content, videos=[[frames]], images=[[frames[0]]])
        with compress(vlm.model, METHODS["both"]):
            generate(vlm.model, inputs)


def frames_are_images(vlm):
    return vlm.family.image_token(vlm.model.config) is None


def stock_inputs(vlm, content, **visual):
    text = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    made = vlm.processor(
        text=text,
        **visual,
        video_metadata=[
            {"fps": 2, "frames_indices": [0, 1, 2], "total_num_frames": 3, "duration": 1.5}
            for _ in visual["videos"][0]
        ],
        do_sample_frames=False,
        return_tensors="pt",
        **vlm.family.options,
    )
    return {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}


def test_a_prompt_without_a_video_is_left_alone(vlm):
    inputs = dict(vlm.processor.tokenizer("is there a star ?", return_tensors="pt"))
    inputs.pop("token_type_ids", None)
    stock = generate(vlm.model, inputs)
    with compress(vlm.model, METHODS["both"]) as trace:
        again = generate(vlm.model, inputs)
        assert repr(trace) == "LiveTrace(empty)"
    assert all(torch.equal(a, b) for a, b in zip(stock.logits, again.logits, strict=True))


def test_a_record_that_no_longer_fits_the_library_fails_loudly(vlm, monkeypatch):
    kind, family = vlm.model.config.model_type, vlm.family
    prompt = ask(vlm)
    wrong = replace(family, class_token=lambda config: not family.class_token(config))
    monkeypatch.setitem(FAMILIES, kind, wrong)
    with pytest.raises(RuntimeError, match="tested with 5.21.1"):
        with compress(vlm.model, METHODS["both"]):
            generate(vlm.model, prompt.inputs)
    other = replace(family, step=lambda config: family.step(config) + 1)
    monkeypatch.setitem(FAMILIES, kind, other)
    with pytest.raises(ValueError, match="time steps of video .* the tested 5.21.1"):
        ask(vlm)


# --- nothing is left behind ----------------------------------------------------------------------


def test_nothing_is_left_behind(vlm, monkeypatch):
    model, inputs = vlm.model, ask(vlm).inputs
    stock = generate(model, inputs)  # also warms up transformers' own lazy hooks
    before = snapshot(model)
    with compress(model, METHODS["both"]):
        generate(model, inputs)
    assert snapshot(model) == before

    def fail(*args, **kwargs):
        raise ArithmeticError("on purpose")

    for place in (
        "stc_core.hooks.compression.attention_received",
        "stc_core.methods.stc.STC.outside",
        "stc_core.methods.stc.STC.inside",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            with pytest.raises(ArithmeticError), compress(model, METHODS["both"]):
                generate(model, inputs)
        assert snapshot(model) == before
    assert all(
        torch.equal(a, b) for a, b in zip(stock.logits, generate(model, inputs).logits, strict=True)
    )


# --- whole answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        METHODS["both"],
        METHODS["both, compact"],
        FastV(retention=0.4),
        Downsample(retention=0.3),
    ],
    ids=["STC", "STC, compact", "FastV", "Downsample"],
)
@torch.no_grad()
def test_an_answer_from_video_to_trace(vlm, method):
    frames = clip(5)
    video = Video(frames, np.arange(5) * 0.5, "clip.mp4", 2.5, 5, 2.0, frames.shape[1:3])
    score = ["yes it is", "no"] if vlm.processor.tokenizer.unk_token_id is None else ["yes", "no"]
    result = answer(
        vlm,
        video,
        QUESTION,
        method,
        record=True,
        score=score,
        baseline=True,
        max_new_tokens=6,
    )
    trace, prompt = result.trace, ask(vlm, frames)
    assert trace.alive()[0] == prompt.video_tokens and trace.alive()[-1] < prompt.video_tokens
    assert len(trace.seconds) == len(trace.frames) == trace.grid.frames
    assert trace.attention.shape == (len(trace.words), trace.alive()[1])
    assert trace.full_attention.shape[1] == trace.grid.size
    assert trace.baseline["scores"].keys() == result.scores.keys() == set(score)
    positions = stock_positions(vlm.model, prompt.inputs)
    for text, found in result.scores.items():
        ids = [*encode_text(vlm.processor.tokenizer, text), *ends(vlm)]
        expected = forced(vlm, prompt, positions, trace, ids)
        assert found == pytest.approx(expected, abs=1e-4)


def ends(vlm):
    end = vlm.model.generation_config.eos_token_id
    return [end] if isinstance(end, int) else end[:1]


def forced(vlm, prompt, positions, trace, ids):
    """Logarithm of the probability of exactly these tokens, by one masked run for each."""
    total, sequence = 0.0, prompt.inputs["input_ids"]
    for token in ids:
        found = masked(vlm.model, prompt.inputs, prompt.layout, positions, trace, sequence)
        total += float(found.logits.log_softmax(-1)[token])
        sequence = torch.cat([sequence, torch.tensor([[token]])], dim=1)
    return total


@pytest.mark.parametrize("name", ["both", "both, compact"])
@torch.no_grad()
def test_a_forced_answer_has_the_probability_of_generation(vlm, name):
    model, prompt = vlm.model, ask(vlm)
    length = prompt.inputs["input_ids"].shape[1]
    with compress(model, METHODS[name]), first_position(model) as position:
        out = generate(model, prompt.inputs)
        new, cache = out.sequences[0, length:], out.past_key_values
        rewind(cache, 5)
        kept = copy.deepcopy(cache)
        expected = sum(
            float(logits[0].log_softmax(-1)[token])
            for logits, token in zip(out.logits, new, strict=True)
        )
        said = [
            log_probability(model, cache, out.logits[0][0], ids, position[0])
            for ids in (new.tolist(), [7, 9, 11], new.tolist())
        ]
    assert said[0] == said[2] == pytest.approx(expected, abs=1e-5)
    assert said[1] != pytest.approx(said[0], abs=1e-3)
    for one, two in zip(cache.layers, kept.layers, strict=True):
        assert torch.equal(one.keys, two.keys)
