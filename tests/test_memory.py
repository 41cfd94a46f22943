"""What a model takes, from its config alone, against what it then takes."""

import copy
import dataclasses
import math
import threading

import numpy as np
import psutil
import pytest
import torch
from inputs import SIZES, clip_frames
from tiny import BUILDERS
from transformers import LlavaOnevisionConfig

from stc_core.answering.prompt import build_prompt
from stc_core.errors import InputError
from stc_core.models.fitting import fit
from stc_core.models.hub import in_bytes
from stc_core.models.loading import EMBEDDED, VLM, load
from stc_core.models.memory import available, estimate, skeleton, tokens_of, tower_name
from stc_core.shapes.model.sizes import build, save


@pytest.fixture(params=BUILDERS)
def built(request):
    model, processor = BUILDERS[request.param]()
    return model.eval(), processor


def stored_bytes(model):
    """Of all parameters, each storage once."""
    seen = {
        p.untyped_storage().data_ptr(): p.numel() * p.element_size() for p in model.parameters()
    }
    return sum(seen.values())


def test_weights_are_counted_exactly_in_every_family(built):
    model, _ = built
    counted = estimate(model.config, 4, torch.float32)
    assert counted.parameters == model.num_parameters()
    assert counted.weights == stored_bytes(model)
    assert estimate(model.config, 4, torch.float16).weights * 2 == counted.weights


@torch.no_grad()
def test_the_cache_is_that_of_an_uncompressed_run_in_every_family(built):
    """Exactly where a frame has one grid; nearly where the grid follows the video's shape."""
    model, processor = built
    vlm = VLM(model, processor, "tiny", "cpu", frames=4)
    prompt = build_prompt(vlm, clip_frames(4), "what color is the star ?", 4, strict=False)
    held = model(**prompt.inputs, use_cache=True).past_key_values
    per_token = sum(
        layer.keys[0, :, 0].nbytes + layer.values[0, :, 0].nbytes for layer in held.layers
    )
    tokens, patches = tokens_of(model.config, 4)
    assert estimate(model.config, 4, torch.float32).cache == tokens * per_token
    if vlm.family.cell_shape is not None:
        assert (tokens, patches) == (prompt.video_tokens, 4 * math.prod(prompt.patches))


def test_the_size_of_the_published_7b():
    """LLaVA-OneVision-7B: the numbers of its config.json; 8.03 billion on its model card."""
    config = LlavaOnevisionConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
            "num_hidden_layers": 26, "num_attention_heads": 16, "image_size": 384,
            "patch_size": 14, "vision_use_head": False,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584,
            "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4,
        },
        tie_word_embeddings=False,
    )  # fmt: skip
    half = estimate(config, 32, torch.bfloat16)
    assert half.parameters == pytest.approx(8.03e9, rel=1e-3)
    assert in_bytes(half.weights) == "16.1 GB"
    assert tokens_of(config, 32) == (32 * 14 * 14, 32 * 27 * 27)
    assert half.cache == 32 * 196 * 28 * 2 * 4 * 128 * 2  # layers, keys and values, heads, bytes
    linear = 28 * 3584 * (2 * 3584 + 2 * 4 * 128 + 3 * 18944) + 1152 * 3584 + 3584**2
    quarter = estimate(config, 32, torch.bfloat16, "4bit")
    assert quarter.weights == round(2 * (half.parameters - linear) + linear * (0.5 + 4 / 64))
    eighth = estimate(config, 32, torch.bfloat16, "8bit")
    assert eighth.weights == 2 * (half.parameters - linear) + linear
    assert quarter.cache == half.cache


def test_more_frames_take_more(built):
    model, _ = built
    small, large = (estimate(model.config, frames, torch.float32) for frames in (4, 64))
    assert small.weights == large.weights and small.total < large.total
    assert large.cache == 16 * small.cache


def test_a_skeleton_takes_no_memory_and_touches_nothing(built):
    model, _ = built
    config = copy.deepcopy(model.config)
    config.dtype = config.get_text_config().dtype = torch.bfloat16
    before = config.to_dict()
    seen = set()
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            seen.add(torch.get_default_dtype())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        made = skeleton(config)
    finally:
        stop.set()
        watcher.join()
    assert {str(p.device) for p in made.parameters()} == {"meta"}
    assert seen == {torch.float32}  # another thread may be answering
    assert config.to_dict() == before
    tower = made.get_submodule(tower_name(made))
    assert type(tower) is type(model.get_submodule(tower_name(model)))


def test_what_is_free_is_free():
    free = available("cpu")
    assert 0 < free < psutil.virtual_memory().total
    held = np.ones(2**27)  # 1 GiB that is written to
    assert available("cpu") < free - held.nbytes / 2


def test_a_fit_says_what_it_needs(tmp_path):
    found = fit(device="cpu")
    assert (found.name, found.frames, found.device, found.download) == ("embedded", 32, "cpu", 0)
    assert found.fits and str(found).startswith("embedded takes about ")
    weights = in_bytes(found.memory.weights)
    assert f"for 32 frames (weights {weights}, cache " in str(found)
    assert str(found).endswith("it fits.")
    model = load(device="cpu").model
    assert found.memory.weights == stored_bytes(model)
    assert fit(device="cpu", frames=8).memory.cache * 4 == found.memory.cache
    assert fit(device="cpu", freed=10**15).free > 10**15
    short = dataclasses.replace(found, free=10**6)
    assert not short.fits and str(short).endswith("cpu has 1 MB left: it does not fit.")
    coming = dataclasses.replace(found, download=16_060_000_000)
    assert str(coming).endswith("it fits. It is a download of 16.1 GB.")
    save(*build(SIZES["even"]), tmp_path / "my-vlm")
    assert fit(tmp_path / "my-vlm", device="cpu").name == "my-vlm"
    with pytest.raises(InputError, match="there is no checkpoint folder"):
        fit("./nowhere")
    assert str(EMBEDDED) not in str(found)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (16_060e6, "16.1 GB"),
        (1.5e12, "1.5 TB"),
        (999_949_999_999, "1.0 TB"),
    ],
)
def test_bytes_in_words(size, words):
    assert in_bytes(size) == words
