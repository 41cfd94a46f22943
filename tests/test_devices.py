"""A model spread over two devices: the hooks bring what they use to where it is used."""

import copy

import pytest
import torch
from inputs import clip_frames, prompt
from pretend import machine, put

from stc_core import METHODS, STC, compress

FIRST, SECOND = "cuda:0", "cuda:1"
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real GPU")
METHOD = {
    "both stages": STC(retention=0.4, layer=2, tau=0.99),
    "compact": STC(retention=0.4, layer=2, positions="compact"),
    "inside, after the border": STC(retention=1.0, layer=3, keep_inside=0.4),
    "fastv": METHODS["fastv"](retention=0.4, layer=2),
    "vidcom2": METHODS["vidcom2"](retention=0.4),
}


@pytest.fixture
def spread(tiny):
    """The tower on the second device, the LLM's layers 0 to 2 on the first, the others on the
    second; accelerate's hooks bring the inputs of each part to it."""
    hooks = pytest.importorskip("accelerate.hooks")
    model = copy.deepcopy(tiny[0])
    model.set_attn_implementation("eager")  # fused kernels are chosen by the real device
    body, decoder = model.model, model.model.language_model
    places = {
        body.vision_tower: SECOND,
        body.multi_modal_projector: SECOND,
        decoder.embed_tokens: FIRST,
        decoder.rotary_emb: FIRST,
        decoder.norm: SECOND,
        model.lm_head: SECOND,
        **{layer: FIRST if i < 3 else SECOND for i, layer in enumerate(decoder.layers)},
    }
    with machine():
        put(body, FIRST, recurse=False)
        for part, device in places.items():
            put(part, device)
            hooks.add_hook_to_module(part, hooks.AlignDevicesHook(execution_device=device))
    return model


def padded(inputs, count):
    """The same prompt behind so many places of padding."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    front = ids.new_zeros(1, count)
    return inputs | {
        "input_ids": torch.cat([front, ids], 1),
        "attention_mask": torch.cat([front, mask], 1),
    }


def run(model, inputs, method):
    """Logits of the prompt's last place and of one more token, the cache, the trace."""
    with torch.no_grad(), compress(model, method) as trace:
        first = model(**inputs, use_cache=True, logits_to_keep=1)
        cache = first.past_key_values
        token = first.logits.argmax(-1).to(inputs["input_ids"].device)
        mask = torch.cat([inputs["attention_mask"], torch.ones_like(token)], 1)
        length = inputs["input_ids"].shape[1]
        second = model(
            input_ids=token,
            attention_mask=mask,
            past_key_values=cache,
            position_ids=torch.full_like(token, length),
        )
        return torch.cat([first.logits, second.logits], 1).cpu(), cache, trace.freeze()


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("name", METHOD)
def test_a_model_on_two_devices_is_compressed_as_on_one(tiny, spread, name, padding):
    stock = copy.deepcopy(tiny[0])
    stock.set_attn_implementation("eager")
    inputs = padded(prompt(tiny[1], clip_frames(4)), padding)
    wanted, held, expected = run(stock, inputs, METHOD[name])
    with machine():
        given = {key: value.to(FIRST) for key, value in inputs.items()}
        logits, cache, found = run(spread, given, METHOD[name])
    assert [str(layer.keys.device) for layer in cache.layers] == [FIRST] * 3 + [SECOND] * 2
    lengths = [layer.keys.shape[2] for layer in held.layers]
    assert [layer.keys.shape[2] for layer in cache.layers] == lengths
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=0)
    for name in ("target", "fate", "weight", "contribution"):
        assert (getattr(found, name) == getattr(expected, name)).all(), name


def test_the_pretended_devices_are_apart():
    with machine():
        one, other = torch.arange(6, device=FIRST), torch.arange(6, device=SECOND)
        assert (one + 1).device == torch.device(FIRST)
        assert (one + other.to(FIRST)).cpu().tolist() == [0, 2, 4, 6, 8, 10]
        for wrong in (lambda: one + other, lambda: one[other], lambda: one + torch.arange(6)):
            with pytest.raises(RuntimeError, match="tensors of several devices"):
                wrong()
