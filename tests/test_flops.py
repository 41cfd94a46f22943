"""The arithmetic of every family against torch's own counter, on the tiny models."""

import numpy as np
import pytest
import torch
import transformers
from counter import counter as flop_counter
from inputs import clip_frames
from packaging.version import Version
from tiny import BUILDERS

from stc_core.answering.prompt import build_prompt
from stc_core.models.families import FAMILIES, vision_shape
from stc_core.models.memory import tokens_of
from stc_core.models.vlm import VLM
from stc_core.record.flops import LLMShape, VisionShape, real_flops

OLDER = Version(transformers.__version__) < Version("5.20")
SHAPES = {"square": (40, 40), "wide": (36, 92), "tall": (92, 36)}


def asked(family, height, width, frames=5):
    """(model, prompt) of a tiny model and a clip of this size."""
    model, processor = BUILDERS[family]()
    vlm = VLM(model, processor, "tiny", "cpu")
    clip = np.resize(clip_frames(frames, side=92), (frames, height, width, 3))
    return model, build_prompt(vlm, clip, "what color is the star ?", 4)


@torch.no_grad()
def counted(model, prompt):
    with flop_counter() as counter:
        model(**prompt.inputs, logits_to_keep=1)
    return counter.get_total_flops()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", BUILDERS)
def test_tower_projector_and_prefill_are_what_torch_counts(family, shape):
    """To the last operation, but for rotary angles, which older releases take from a product."""
    model, prompt = asked(family, *SHAPES[shape])
    config, layers = model.config, len(model.get_decoder().layers)
    llm = LLMShape.from_config(config)
    expected = real_flops(
        llm,
        [prompt.video_tokens] * layers,
        prompt.text_tokens,
        1,
        vision=vision_shape(config),
        frames=prompt.layout.frames,
        patches=prompt.patches,
    )
    places, unasked = prompt.inputs["input_ids"].shape[1], 0
    if family == "video_llama_3":  # its stock class gives logits of every place of the prompt
        unasked = llm.head_flops(places - 1)
    angles = 2 * places * (llm.head_dim // 2)  # of one axis; M-RoPE has three
    rest = counted(model, prompt) - expected["total"] - unasked
    assert rest == 0 or (OLDER and rest in (angles, 3 * angles))


def test_every_family_is_counted():
    assert BUILDERS.keys() == FAMILIES.keys()


@pytest.mark.parametrize("family", [name for name in BUILDERS if FAMILIES[name].cell_shape])
def test_the_memory_estimate_knows_the_tokens_of_a_prompt(family):
    model, prompt = asked(family, 40, 40)
    patches = prompt.layout.frames * prompt.patches[0] * prompt.patches[1]
    assert tokens_of(model.config, 5) == (prompt.video_tokens, patches)


def test_pairs_within_windows_equal_loops():
    shape = VisionShape(3, 8, 8, 2, 12, patches=0, window=4, whole=1)
    for rows, cols in ((4, 4), (8, 12), (5, 4), (6, 11), (2, 3)):
        window = [(row // 4, col // 4) for row in range(rows) for col in range(cols)]
        within = sum(one == other for one in window for other in window)
        whole = len(window) ** 2
        rest = VisionShape(3, 8, 8, 2, 12, patches=0).tower_flops(2, (rows, cols))
        less = rest - shape.tower_flops(2, (rows, cols))
        assert less == 2 * 4 * 8 * 2 * (whole - within)
    assert shape.tower_flops(2, 96) == shape.tower_flops(2, (8, 12))
