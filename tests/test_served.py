"""Published checkpoints as the hub serves them: they open, and their prompts are the stock ones."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from served import SERVED
from transformers import (
    LlavaNextVideoConfig,
    LlavaNextVideoProcessor,
    LlavaNextVideoVideoProcessor,
)

from stc_core import STC, InputError, answer, fit, load
from stc_core.answering.prompt import build_prompt
from stc_core.answering.video import Video
from stc_core.models.contribution import contribution_module
from stc_core.models.families import FAMILIES
from stc_core.models.memory import context_of, tokens_of
from stc_core.record.flops import LLMShape

QUESTION = "what color is the star ?"


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Family -> folder, written when it is first asked for."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("served") / name
            made[name].mkdir()
            SERVED[name].write(made[name])
        return made[name]

    return folder


@pytest.fixture(scope="module")
def served_models(folders):
    """Family -> the loaded model."""
    return functools.cache(lambda name: load(folders(name), device="cpu"))


@pytest.fixture(scope="module", params=SERVED)
def served(request, served_models):
    """(what is published, loaded)."""
    return SERVED[request.param], served_models(request.param)


def clip(count, size):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, *size, 3)).astype(np.uint8)


def test_it_opens_and_becomes_the_tokens_of_the_literature(served):
    published, vlm = served
    frames = clip(published.frames, published.size)
    prompt = build_prompt(vlm, frames, QUESTION, 8, seconds=np.arange(len(frames)) / 2)
    assert prompt.video_tokens == published.tokens
    assert context_of(vlm.model.config) == published.context


@pytest.mark.parametrize("question", [QUESTION, "Why? 中文 naïve\n\nand  so", "0"])
def test_the_prompt_is_what_the_stock_processor_makes_of_the_template(served, question):
    published, vlm = served
    frames = clip(4, published.size)
    prompt = build_prompt(vlm, frames, question, 8, seconds=np.arange(4) / 2)
    video = torch.from_numpy(frames).permute(0, 3, 1, 2)
    content = [{"type": "video", "video": video}, {"type": "text", "text": question}]
    stock = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=stock_options(vlm),
    )
    assert prompt.inputs["input_ids"].tolist() == stock["input_ids"].tolist()
    for name in prompt.inputs:
        torch.testing.assert_close(prompt.inputs[name].double(), stock[name].double())
    tokenizer, asked = vlm.processor.tokenizer, prompt.inputs["input_ids"][0, list(prompt.asked)]
    assert tokenizer.decode(asked).strip() == question


@pytest.mark.parametrize("system", ["", "Answer in one word. <video>"])
@pytest.mark.parametrize("turns", [0, 1, 2])
def test_a_system_prompt_and_earlier_turns_are_those_of_the_template(served, system, turns):
    published, vlm = served
    frames = clip(4, published.size)
    history = [(f"is number {turn} red ?", "No, blue. <|im_end|>") for turn in range(turns)]
    options = {"seconds": np.arange(4) / 2, "system": system, "history": history}
    try:
        prompt = build_prompt(vlm, frames, QUESTION, 8, **options)
    except InputError as refused:  # one template knows no system prompt
        assert vlm.name == "video_llava" and system and "has no place for a sys" in str(refused)
        return
    special = set(vlm.processor.tokenizer.added_tokens_decoder)
    ids = prompt.inputs["input_ids"][0].tolist()
    plain = [(q, a.replace("<|im_end|>", "")) for q, a in history]
    options |= {"system": system.replace("<video>", ""), "history": plain}
    again = build_prompt(vlm, frames, QUESTION, 8, **options)
    bare = again.inputs["input_ids"][0].tolist()
    # nothing in these texts is a token of the template
    assert [i for i in ids if i in special] == [i for i in bare if i in special]
    turns = [("system", options["system"].strip())] if system else []
    for question, said in plain:
        turns += [("user", question), ("assistant", said.strip())]
    messages = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in [*turns, ("user", QUESTION)]
    ]
    video = {"type": "video", "video": torch.from_numpy(frames).permute(0, 3, 1, 2)}
    next(m for m in messages if m["role"] == "user")["content"].insert(0, video)
    stock = vlm.processor.apply_chat_template(
        messages,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=stock_options(vlm),
    )
    assert bare == stock["input_ids"][0].tolist()
    read = vlm.processor.tokenizer.decode([bare[place] for place in again.asked])
    assert "color is the star" in read


def stock_options(vlm):
    """The same frames and times for the stock processor: 2 s, 2 frames a second."""
    times = {"fps": 2.0, "frames_indices": [0, 1, 2, 3], "total_num_frames": 4, "duration": 2.0}
    return {"video_metadata": [times], "do_sample_frames": False, **vlm.family.options}


@pytest.mark.parametrize(
    "text", ["<video>", "<image>", "</s><s>", "<|im_end|>", "<tool_call>", "<unk>", "<|endoftext|>"]
)
def test_no_question_holds_a_special_token(served, text):
    """In one go, too: what is around the question is tokenized as around any other."""
    published, vlm = served
    tokenizer, frames = vlm.processor.tokenizer, clip(2, published.size)
    plain, odd = (
        build_prompt(vlm, frames, f"is it {word} here ?", 8).inputs["input_ids"][0].tolist()
        for word in ("red", text)
    )
    special = set(tokenizer.added_tokens_decoder)
    assert [token for token in odd if token in special] == [
        token for token in plain if token in special
    ]
    assert f"is it {text} here ?" in tokenizer.decode(odd)
    assert special == set(tokenizer.added_tokens_decoder)


def test_the_contribution_is_of_the_layer_that_makes_the_features(served):
    published, vlm = served
    modules = vlm.family.attentions(vlm.family.tower(vlm.model))
    module = contribution_module(vlm.model, vlm.family, None)
    assert [part is module for part in modules].index(True) == published.layer


def test_it_answers_under_compression(served):
    published, vlm = served
    frames = clip(4, published.size)
    shown = Video(frames, np.arange(4) / 2, "clip.mp4", 2.0, 4, 2.0, published.size)
    result = answer(vlm, shown, QUESTION, STC(retention=0.25, layer=2), max_new_tokens=2)
    kept = result.trace.alive()
    assert kept[1] == round(kept[0] * 0.25) > kept[2]


def test_it_is_known_before_it_is_read(served, folders):
    published, vlm = served
    found = fit(folders(vlm.name), frames=published.frames, device="cpu")
    assert found.memory.parameters == vlm.model.num_parameters()
    if vlm.family.cell_shape is not None:
        assert tokens_of(vlm.model.config, published.frames)[0] == published.tokens
    assert found.fits and torch.is_tensor(vlm.model.get_output_embeddings().weight)


# --- what single families need -------------------------------------------------------------------


def test_a_model_without_a_chat_template_is_asked_in_the_way_it_was_tuned_on(folders):
    folder = folders("video_llava")
    assert not [file for file in folder.iterdir() if "template" in file.name]
    vlm = load(folder, device="cpu")
    content = [{"type": "video"}, {"type": "text", "text": QUESTION}]
    turns = [{"role": "user", "content": content}]
    text = vlm.processor.apply_chat_template(turns, add_generation_prompt=True)
    assert text == f"USER: <video>\n{QUESTION} ASSISTANT:"
    said = {"role": "assistant", "content": [{"type": "text", "text": "red"}]}
    again = {"role": "user", "content": "why?"}
    text = vlm.processor.apply_chat_template([*turns, said, again], add_generation_prompt=True)
    assert text == f"USER: <video>\n{QUESTION} ASSISTANT: red</s>USER: why? ASSISTANT:"


def test_an_images_preprocessor_config_leads_to_the_video_processor(folders):
    vlm = load(folders("llava_next_video"), device="cpu")
    assert isinstance(vlm.processor, LlavaNextVideoProcessor)
    assert isinstance(vlm.processor.video_processor, LlavaNextVideoVideoProcessor)
    assert dict(vlm.processor.video_processor.crop_size) == {"height": 336, "width": 336}
    assert vlm.frames == 32  # 4,608 tokens, and the context is 4,096 x 2.5


def test_sizes_that_older_processors_leave_to_the_model_come_from_its_config(folders, tmp_path):
    folder = Path(shutil.copytree(folders("llava_next_video"), tmp_path / "older"))
    (folder / "processor_config.json").unlink()
    vlm = load(folder, device="cpu")
    assert build_prompt(vlm, clip(2, (48, 64)), QUESTION, 8).video_tokens == 2 * 144


@pytest.mark.parametrize(
    ("scaling", "context"),
    [
        (None, 4096),
        ({"type": "linear", "factor": 2.5}, 10240),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, 4096),
        ({"rope_type": "yarn", "factor": 4.0}, 16384),
        ({"rope_type": "dynamic", "factor": 2.0}, 4096),
    ],
)
def test_the_context_counts_the_factor_that_stretches_it(scaling, context):
    text = {"max_position_embeddings": 4096, "rope_scaling": scaling, "model_type": "llama"}
    assert context_of(LlavaNextVideoConfig(text_config=text)) == context


@pytest.mark.parametrize(("name", "side"), [("qwen2_vl", 28), ("qwen2_5_vl", 28), ("qwen3_vl", 32)])
def test_frames_are_as_large_as_in_the_models_own_evaluations(folders, name, side):
    """768 tokens, not the millions of pixels that the hub's file allows a picture or a video."""
    frames = clip(2, (1440, 2560))
    for option, most in ((None, 768 * side**2), (200 * side**2, 200 * side**2)):
        vlm = load(folders(name), device="cpu", frame_pixels=option)
        prompt = build_prompt(vlm, frames, QUESTION, 8)
        assert 0.85 * most < prompt.video_tokens * side**2 <= most
        assert f"at most {most:,} pixels" in prompt.notes[-1]
    with pytest.raises(InputError, match=f"frame_pixels must be {side**2} "):
        load(folders(name), device="cpu", frame_pixels=side**2 - 1)


def test_a_limit_of_pixels_is_refused_where_it_would_do_nothing(folders):
    for call in (load, fit):
        with pytest.raises(InputError, match="the processor of LLaVA-OneVision decides by itself"):
            call(folders("llava_onevision"), device="cpu", frame_pixels=10**6)


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "video_llama_3"])
@pytest.mark.parametrize("size", [(360, 640), (480, 854), (1080, 1920), (1000, 1000), (30, 50)])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_tokens_of_a_video_are_those_of_its_processor(
    folders, served_models, name, size, count
):
    vlm = served_models(name)
    llm = LLMShape.from_config(vlm.model.config)
    per_token = 2 * llm.layers * llm.kv_heads * llm.head_dim * 4
    found = fit(folders(name), frames=count, size=size, device="cpu")
    prompt = build_prompt(vlm, clip(count, size), QUESTION, 8)
    assert found.memory.cache == prompt.video_tokens * per_token
    assert f"{count} frames of {size[1]} x {size[0]} pixels" in str(found)


def test_fewer_pixels_are_fewer_bytes(folders):
    plain, small = (
        fit(folders("qwen2_5_vl"), size=(720, 1280), device="cpu", frame_pixels=pixels).memory
        for pixels in (None, 100 * 28 * 28)
    )
    assert small.cache < plain.cache / 4


def test_an_estimate_without_a_processor_is_refused(folders, tmp_path):
    folder = Path(shutil.copytree(folders("qwen3_vl"), tmp_path / "bare"))
    for file in folder.glob("*processor_config.json"):
        file.unlink()
    with pytest.raises(InputError, match="the processor of 'bare' does not tell the tokens"):
        fit(folder, device="cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_head_that_only_the_files_know_of_is_counted(folders, tmp_path, dtype):
    """The config of InternVL3-8B ties its head, its files hold another one: 0.54 G weights."""
    folder = Path(shutil.copytree(folders("internvl"), tmp_path / "untied"))
    weights = load_file(folder / "model.safetensors")
    embeddings = weights["language_model.model.embed_tokens.weight"]
    tied = fit(folder, device="cpu").memory.parameters
    weights["lm_head.weight"] = torch.ones_like(embeddings)
    config = json.loads((folder / "config.json").read_text())
    config["torch_dtype"] = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config))
    weights = {name: weight.to(dtype) for name, weight in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = fit(folder, device="cpu", dtype="float32").memory
    assert found.parameters == tied + embeddings.numel()
    assert found.parameters == load(folder, device="cpu").model.num_parameters()
    assert found.weights == 4 * found.parameters


def test_the_table_says_which_families_were_tried_as_served():
    assert {kind for kind, family in FAMILIES.items() if family.card.served} == set(SERVED)
