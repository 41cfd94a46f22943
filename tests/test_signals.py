"""What the contribution can be, against eager attention, on towers of every kind."""

import copy

import numpy as np
import pytest
import torch
from helpers.masked import generate, masked_logits, snapshot
from inputs import clip_frames, prompt
from transformers import CLIPVisionConfig, LlavaOnevisionForConditionalGeneration

from stc_core import STC, compress

METHOD = {"retention": 0.2, "layer": 1}


@pytest.fixture(scope="module")
def towers(tiny_models):
    """Name -> (model, processor): LLaVA-OneVision around CLIP, and SigLIP with its pooling head."""
    stock, processor = tiny_models["even"]
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    clip = copy.deepcopy(stock.config)
    clip.vision_config = CLIPVisionConfig(
        **sizes, num_attention_heads=4, image_size=32, patch_size=4
    )
    clip.vision_feature_layer, clip.vision_feature_select_strategy = -2, "default"
    head = copy.deepcopy(stock.config)
    head.vision_config.vision_use_head = True
    made = {}
    for name, config in (("clip", clip), ("head", head)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = LlavaOnevisionForConditionalGeneration(config).eval()
        model.generation_config = copy.deepcopy(stock.generation_config)
        made[name] = model, processor
    return made


def on_the_grid(scores):
    """(T, 64) -> (T * 16,), as ``apply_pooling`` brings 8 x 8 features to 4 x 4."""
    image = scores.view(-1, 1, 8, 8)
    return torch.nn.functional.interpolate(image, size=(4, 4), mode="bilinear").flatten().numpy()


def contribution(model, inputs, **options):
    model.set_attn_implementation("sdpa")
    with compress(model, STC(**METHOD, **options)) as trace:
        model(**inputs)
    return trace


@pytest.mark.parametrize(("layer", "index"), [(None, -2), (0, 0)])
@torch.no_grad()
def test_the_class_token_and_the_patches_of_clip(towers, layer, index):
    model, processor = towers["clip"]
    inputs = prompt(processor, clip_frames())
    cls = contribution(model, inputs, signal="cls", contribution_layer=layer)
    received = contribution(model, inputs, contribution_layer=layer)
    model.set_attn_implementation("eager")
    tower = model.get_encoder(modality="image")
    weights = tower(inputs["pixel_values_videos"][0], output_attentions=True).attentions[index]
    assert weights.shape == (4, 4, 65, 65)
    np.testing.assert_allclose(
        cls.contribution, on_the_grid(weights[:, :, 0, 1:].mean(1)), atol=1e-7
    )
    np.testing.assert_allclose(
        received.contribution, on_the_grid(weights.mean(dim=(1, 2))[:, 1:]), atol=1e-7
    )
    assert not np.allclose(cls.contribution, received.contribution, atol=1e-6)


@torch.no_grad()
def test_the_probe_of_siglips_pooling_head(towers):
    model, processor = towers["head"]
    inputs = prompt(processor, clip_frames())
    trace = contribution(model, inputs, signal="head")
    tower = model.get_encoder(modality="image")
    patches = tower(inputs["pixel_values_videos"][0]).last_hidden_state.double()
    head = tower.head
    q_weight, k_weight, _ = head.attention.in_proj_weight.double().chunk(3)
    q_bias, k_bias, _ = head.attention.in_proj_bias.double().chunk(3)
    query = (head.probe[0].double() @ q_weight.T + q_bias).view(4, 8)  # heads, head_dim
    key = (patches @ k_weight.T + k_bias).view(4, 64, 4, 8)
    weights = torch.einsum("hd,tphd->thp", query, key).mul(8**-0.5).softmax(-1).mean(1)
    np.testing.assert_allclose(trace.contribution, on_the_grid(weights), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "signal"), [("clip", "cls"), ("clip", "received"), ("head", "head")]
)
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@torch.no_grad()
def test_generation_equals_the_masked_reference_and_leaves_nothing(towers, name, signal, kernel):
    model, processor = towers[name]
    model.set_attn_implementation(kernel)
    inputs = prompt(processor, clip_frames())
    stock = generate(model, inputs)
    before = snapshot(model)
    with compress(model, STC(**METHOD, signal=signal)) as trace:
        out = generate(model, inputs)
    assert snapshot(model) == before
    assert torch.equal(generate(model, inputs).logits[-1], stock.logits[-1])
    for step in (0, 5):
        ids = out.sequences[:, : inputs["input_ids"].shape[1] + step]
        logits, _ = masked_logits(model, inputs, trace, ids)
        torch.testing.assert_close(out.logits[step][0], logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "signal", "message"),
    [
        ("head", "cls", "has no class token; use signal='received'"),
        ("clip", "head", "has no pooling head; use signal='received'"),
    ],
)
def test_a_signal_that_the_tower_does_not_have_is_refused_at_once(towers, name, signal, message):
    model, _ = towers[name]
    before = snapshot(model)
    with pytest.raises(ValueError, match=message) as error:
        with compress(model, STC(**METHOD, signal=signal)):
            pass
    assert "\n" not in str(error.value)
    assert snapshot(model) == before


def test_the_stock_checkpoints_have_no_pooling_head(tiny):
    with pytest.raises(ValueError, match="has no pooling head"):
        with compress(tiny[0], STC(**METHOD, signal="head")):
            pass
