"""From a file and a question to an answer and its trace, on tiny and on the embedded model."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from conftest import clip_frames, prompt

from stc_core import STC, InputError, answer, load
from stc_core import loading as loading_module
from stc_core.loading import VLM
from stc_core.memory import frames_that_fit, working_bytes
from stc_core.prompt import build_prompt, encode_text
from stc_core.shapes.model import save
from stc_core.video import Video

SPECIAL = ["<video>", "<image>", "<|im_start|>", "<|im_end|>", "<pad>", "<unk>"]


@pytest.fixture
def vlm(tiny):
    model, processor = tiny
    return VLM(model, processor, "tiny", "cpu", frames=4)


def clip(frames=6, height=24, width=40, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (frames, height, width, 3)).astype(np.uint8)
    times = np.arange(frames) * 0.5
    return Video(pixels, times, "clip.mp4", frames * 0.5, frames, 2.0, (height, width))


# --- the prompt ----------------------------------------------------------------------------------


def test_an_ordinary_question_gives_the_processors_own_inputs(vlm):
    frames = clip_frames()
    ours = build_prompt(vlm, frames, "what color is the star?", 8)
    stock = prompt(vlm.processor, frames, "what color is the star?")
    assert set(ours.inputs) == set(stock)
    for name in stock:
        torch.testing.assert_close(ours.inputs[name], stock[name], atol=1e-6, rtol=0)
    assert (ours.frames, ours.video_tokens) == (4, 64)
    assert ours.text_tokens == stock["input_ids"].shape[1] - 64


@pytest.mark.parametrize("word", SPECIAL)
def test_nothing_in_a_question_becomes_a_special_token(vlm, word):
    tokenizer = vlm.processor.tokenizer
    question = f"what color{word}is the {word} star?{word}"
    plain = build_prompt(vlm, clip_frames(), "what color is the star?", 8).inputs["input_ids"]
    ids = build_prompt(vlm, clip_frames(), question, 8).inputs["input_ids"]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

    def count(tensor):
        return sum(int((tensor == token).sum()) for token in special)

    assert count(ids) == count(plain)
    with_special = tokenizer(question)["input_ids"]
    assert count(torch.tensor(with_special)) == 3 or word == "<unk>"  # it would have, unguarded
    assert not set(encode_text(tokenizer, question)) & special


@pytest.mark.parametrize("question", ["", "   \n\t", None, 7])
def test_an_empty_question_is_refused(vlm, question):
    with pytest.raises(InputError, match="question is empty"):
        build_prompt(vlm, clip_frames(), question, 8)


def test_a_question_of_ten_thousand_words_is_refused_with_numbers(vlm):
    with pytest.raises(InputError, match=r"10\d\d\d text\) and the model reads 8184; ask a short"):
        build_prompt(vlm, clip_frames(), "star " * 10_000, 8)


def test_a_video_too_long_for_the_context_says_how_many_frames_fit(vlm):
    frames = clip_frames(600, side=8)
    with pytest.raises(InputError, match=r"use at most (\d+) frames") as error:
        build_prompt(vlm, frames, "is there a star?", 8)
    fit = int(str(error.value).split("at most ")[1].split()[0])
    assert build_prompt(vlm, frames[:fit], "is there a star?", 8).frames == fit
    with pytest.raises(InputError):
        build_prompt(vlm, frames[: fit + 1], "is there a star?", 8)


def test_a_question_of_unknown_words_is_refused_and_some_are_noted(vlm):
    with pytest.raises(InputError, match="knows no word of this question"):
        build_prompt(vlm, clip_frames(), "星星是什么颜色", 8)
    notes = build_prompt(vlm, clip_frames(), "what color is the zeppelin?", 8).notes
    assert len(notes) == 1 and "does not know 1 of the question's 6 words" in notes[0]
    assert build_prompt(vlm, clip_frames(), "what color is the star?", 8).notes == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 3), (3, 200), (2, 5), (64, 3), (4, 4)])
def test_frames_of_any_size_reach_the_model(vlm, size):
    video = clip(2, *size)
    result = answer(vlm, video, "is there a star?", STC(retention=0.2), max_new_tokens=2)
    assert (result.trace.grid.height, result.trace.grid.width) == size
    assert result.trace.grid.size == 32


def test_a_small_frame_is_told_from_its_transpose(vlm):
    """Three pixels a side could be read as three channels: rows must stay rows."""
    frames = np.zeros((1, 3, 3, 3), np.uint8)
    frames[:, 0] = 255
    pixels = build_prompt(vlm, frames, "is there a star?", 2).inputs["pixel_values_videos"]
    assert pixels[0, 0, :, :4].mean() > 0.5 > pixels[0, 0, :, -4:].mean()


# --- answering -----------------------------------------------------------------------------------


def test_an_answer_carries_its_trace_and_costs(vlm):
    told = []
    result = answer(
        vlm, clip(), "what color is the star?", STC(retention=0.1), baseline=True,
        max_new_tokens=3, progress=lambda stage, share: told.append((stage, share)),
    )  # fmt: skip
    trace, costs = result.trace, result.costs
    assert type(trace).__name__ == "Trace" and trace.costs == costs.to_json()
    json.dumps(trace.costs)
    assert trace.alive() == [costs.tokens_full, costs.tokens_llm, costs.tokens_end] == [96, 10, 5]
    assert costs.tokens_per_layer == (10, 10, 10, 10, 5)
    assert trace.question == "what color is the star?" and trace.model == "tiny"
    assert trace.answer == result.text and "answer" in trace.baseline
    assert trace.baseline["costs"]["tokens_llm"] == 96
    assert trace.frames.shape == (6, 24, 40, 3)
    np.testing.assert_array_equal(trace.seconds, clip().seconds)
    assert {"decode", "vision", "compression", "prefill"} <= set(costs.seconds)
    assert "compression" not in trace.baseline["costs"]["seconds"]
    assert costs.real_flops["compression"] > 0 == trace.baseline["costs"]["real_flops"][
        "compression"
    ]
    stages = [stage for stage, _ in told]
    for stage in ("uncompressed: vision", "uncompressed: prefill", "vision", "compression",
                  "prefill", "answer"):  # fmt: skip
        assert stage in stages
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_the_baseline_is_the_stock_model(vlm):
    video = clip()
    result = answer(vlm, video, "what color is the star?", baseline=True, max_new_tokens=5)
    inputs = prompt(vlm.processor, video.frames, "what color is the star?")
    ids = vlm.model.generate(**inputs, do_sample=False, max_new_tokens=5)
    said = vlm.processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert result.trace.baseline["answer"] == said.strip()


def test_the_same_input_gives_the_same_trace_bit_for_bit(vlm):
    traces = [answer(vlm, clip(), "is there a star?", max_new_tokens=2).trace for _ in range(2)]
    for name in ("fate", "target", "weight", "contribution", "similarity", "relevance"):
        np.testing.assert_array_equal(*(getattr(trace, name) for trace in traces))


@pytest.mark.parametrize("stage", ["decode", "vision", "compression", "prefill", "answer"])
def test_an_exception_in_progress_cancels_and_leaves_the_model_clean(vlm, tmp_path, stage):
    from clips import write_clip

    path = write_clip(tmp_path / "a.mp4", range(0, 3000, 500))

    class Cancelled(Exception):
        pass

    def cancel(name, share):
        if name == stage:
            raise Cancelled

    before = [len(module._forward_pre_hooks) for module in vlm.model.modules()]
    with pytest.raises(Cancelled):
        answer(vlm, path, "is there a star?", STC(), progress=cancel, max_new_tokens=3)
    assert [len(module._forward_pre_hooks) for module in vlm.model.modules()] == before
    assert answer(vlm, path, "is there a star?", STC(), max_new_tokens=3).text is not None


def test_settings_that_do_not_fit_are_refused_before_the_video_is_read(vlm):
    with pytest.raises(InputError, match="layer 9 is outside this model"):
        answer(vlm, "missing.mp4", "is there a star?", STC(layer=9))


def test_a_video_warning_becomes_a_note(vlm):
    video = dataclasses.replace(clip(), warning="The file is cut off after 3 s.")
    assert answer(vlm, video, "is there a star?", max_new_tokens=1).trace.notes == (
        "The file is cut off after 3 s.",
    )


def test_out_of_memory_says_what_would_fit(vlm, monkeypatch):
    class Properties:
        total_memory = vlm.model.get_memory_footprint() + working_bytes(vlm, 3)

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(vlm.model.model.vision_tower, "forward", full)
    with pytest.raises(InputError, match="too little for 6 frames .* about 2 frames would fit"):
        answer(vlm, clip(), "is there a star?")
    monkeypatch.setattr(Properties, "total_memory", vlm.model.get_memory_footprint() + 10)
    assert "use a smaller model" in frames_that_fit(vlm, 6)


# --- loading -------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tiny, tmp_path):
    model, processor = tiny
    save(model, processor, tmp_path / "tiny-vlm")
    return tmp_path / "tiny-vlm"


def test_a_checkpoint_folder_loads_as_from_the_hub(checkpoint, tiny):
    vlm = load(checkpoint, device="cpu")
    assert (vlm.name, vlm.frames, vlm.device) == ("tiny-vlm", 32, "cpu")
    assert not vlm.model.training and vlm.family.name == "LLaVA-OneVision"
    for (name, one), (_, other) in zip(
        vlm.model.named_parameters(), tiny[0].named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    result = answer(vlm, clip(), "is there a star?", max_new_tokens=1)
    assert result.trace.model == "tiny-vlm"  # no path of this machine


def test_defaults_recorded_in_a_checkpoint_are_used(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    config["stc"] = {"contribution_layer": 0, "frames": 5}
    (checkpoint / "config.json").write_text(json.dumps(config))
    vlm = load(checkpoint, device="cpu")
    assert vlm.frames == 5
    assert vlm.model.config.stc["contribution_layer"] == 0


def break_weights(folder):
    (folder / "model.safetensors").write_bytes(b"not weights")


def drop_weights(folder):
    (folder / "model.safetensors").unlink()


def drop_config(folder):
    (folder / "config.json").unlink()


def text_only(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "hidden_size": 8}))


def unknown_kind(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))


def other_architecture(folder):
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["LlavaOnevisionModel"]
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_weights, "incomplete, damaged or of an unknown kind"),
        (drop_weights, "incomplete, damaged or of an unknown kind"),
        (drop_config, "config.json is missing"),
        (text_only, "'qwen2' is not a Video-LLM this program knows"),
        (unknown_kind, "of an unknown kind"),
        (other_architecture, "is a LlavaOnevisionModel, not a"),
    ],
)
def test_a_folder_that_is_no_model_is_one_sentence(checkpoint, damage, message):
    damage(checkpoint)
    with pytest.raises(InputError, match=message) as error:
        load(checkpoint, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-org/no-such-model", "neither on this machine nor to be had from the model hub"),
        ("./no/such/folder", "there is no checkpoint folder"),
        ("a b c", "neither on this machine"),
    ],
)
def test_a_model_that_is_nowhere_is_one_sentence(name, message):
    with pytest.raises(InputError, match=message):
        load(name, device="cpu")


@pytest.mark.parametrize("device", ["tpu9000", "cuda:99", "warp"])
def test_a_device_that_is_not_there_is_one_sentence(device):
    with pytest.raises(InputError, match="device"):
        load(device=device)


def test_a_model_too_large_for_the_gpu_is_one_sentence(checkpoint, monkeypatch):
    def full(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(InputError, match="does not fit into the memory of cpu; choose a smaller"):
        load(checkpoint, device="cpu")


def test_the_embedded_model_is_the_default():
    vlm = load(device="cpu")
    assert vlm.embedded and vlm.name == "embedded"
    assert loading_module.EMBEDDED.joinpath("model.safetensors").stat().st_size < 30e6
    assert vlm.model.num_parameters() > 1e6
