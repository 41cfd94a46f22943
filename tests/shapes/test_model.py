"""Tokenizer, processor and checkpoint of the embedded model are ordinary transformers ones."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
)

from stc_core.models.loading import EMBEDDED, load
from stc_core.shapes import make_clip
from stc_core.shapes.model.sizes import Size, build, build_tokenizer, save
from stc_core.shapes.world.questions import words

TINY = Size(
    frame=32, patch=8, vision_width=16, vision_layers=2, vision_heads=2, vision_ffn=16,
    width=32, layers=2, heads=2, kv_heads=1, ffn=32,
)  # fmt: skip


def conversation(text: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}]


def test_every_word_goes_through_the_tokenizer_and_back():
    tokenizer = build_tokenizer()
    for word in words():
        ids = tokenizer(word).input_ids
        assert len(ids) == 1 and tokenizer.decode(ids) == word
    text = "what color is the red star ?"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer("What COLOUR is the red star?").input_ids == tokenizer(text).input_ids
    an, a = tokenizer("is there an orange ring?"), tokenizer("is there a orange ring?")
    assert an.input_ids == a.input_ids and tokenizer.unk_token_id not in an.input_ids


def test_unknown_words_and_other_scripts_become_unk():
    tokenizer = build_tokenizer()
    for text in ("giraffe", "星星", "\N{ROCKET}"):
        assert set(tokenizer(text).input_ids) == {tokenizer.unk_token_id}


def test_the_templates_own_marks_are_special_tokens():
    tokenizer = build_tokenizer()
    for mark in ("<|im_start|>", "<|im_end|>", "<video>", "<image>", "<pad>"):
        assert tokenizer.convert_tokens_to_ids(mark) in tokenizer.all_special_ids
        assert mark in tokenizer.get_added_vocab()


def test_the_prompt_has_one_video_token_per_cell_and_a_newline():
    _, processor = build(TINY)
    prompt = processor.apply_chat_template(conversation("is it red?"), add_generation_prompt=True)
    assert prompt == ("<|im_start|>user <video>\nis it red?<|im_end|><|im_start|>assistant\n")
    frames = make_clip(0, 3, 32).frames
    inputs = processor(text=[prompt], videos=[frames], return_tensors="pt")
    video = processor.tokenizer.convert_tokens_to_ids("<video>")
    assert (inputs.input_ids == video).sum() == 3 * TINY.side**2 + 1


def test_a_saved_checkpoint_is_loaded_by_the_auto_classes(tmp_path):
    model, processor = build(TINY, seed=3)
    save(model, processor, tmp_path, {"contribution_layer": -2, "frames": 8})
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, local_files_only=True)
    again = AutoProcessor.from_pretrained(tmp_path, local_files_only=True)
    assert type(loaded) is LlavaOnevisionForConditionalGeneration
    assert type(again) is LlavaOnevisionProcessor
    assert loaded.config.stc == {"contribution_layer": -2, "frames": 8}
    for (name, a), (_, b) in zip(
        model.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name
    prompt = processor.apply_chat_template(conversation("is it red?"), add_generation_prompt=True)
    assert prompt == again.apply_chat_template(
        conversation("is it red?"), add_generation_prompt=True
    )
    frames = make_clip(0, 3, 48).frames
    first, second = (
        p(text=[prompt], videos=[frames], return_tensors="pt") for p in (processor, again)
    )
    assert torch.equal(first.input_ids, second.input_ids)
    assert torch.equal(first.pixel_values_videos, second.pixel_values_videos)
    with torch.no_grad():
        assert torch.equal(model.eval()(**first).logits, loaded.eval()(**second).logits)
    assert loaded.generate(**second, max_new_tokens=2, do_sample=False).shape[0] == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_is_read_in_float32(tmp_path, dtype):
    model, processor = build(TINY, seed=3)
    save(model, processor, tmp_path / "model", dtype=dtype)
    assert model.dtype == torch.float32
    assert json.loads((tmp_path / "model/config.json").read_text())["dtype"] in str(dtype)
    vlm = load(tmp_path / "model", device="cpu")
    assert vlm.model.dtype == torch.float32
    for (name, a), (_, b) in zip(
        model.state_dict().items(), vlm.model.state_dict().items(), strict=True
    ):
        assert torch.equal(a.to(dtype).float(), b), name


def test_a_checkpoint_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "model"
    model, processor = build(TINY, seed=1)
    save(model, processor, target)
    (target / "README.md").write_text("a card")
    former = {file.name: file.read_bytes() for file in target.iterdir()}

    def killed(*_):
        raise KeyboardInterrupt

    other = build(TINY, seed=2)[0]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(processor), "save_pretrained", killed)
        save(other, processor, target)
    assert {file.name: file.read_bytes() for file in target.iterdir()} == former

    save(other, processor, target)
    assert [folder.name for folder in tmp_path.iterdir()] == ["model"]
    assert (target / "README.md").read_text() == "a card"
    assert (target / "model.safetensors").read_bytes() != former["model.safetensors"]


def test_a_checkpoint_lost_between_two_renames_is_found_again(tmp_path, monkeypatch):
    target = tmp_path / "model"
    model, processor = build(TINY, seed=1)
    save(model, processor, target)
    former = (target / "model.safetensors").read_bytes()
    target.rename(tmp_path / ".model.old")  # as a kill at the worst moment leaves it

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(processor), "save_pretrained", killed)
        save(build(TINY, seed=2)[0], processor, target)
    assert (target / "model.safetensors").read_bytes() == former


def test_the_size_has_room_for_64_frames_and_is_small_on_disk():
    size = Size()
    model, processor = build(size)
    assert size.side == 7
    for room in (size.positions, processor.tokenizer.model_max_length):
        assert room >= 64 * size.side**2 + 1 + 1000
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) < 30e6


def test_building_is_deterministic_and_leaves_the_global_random_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b = build(TINY, seed=1)[0].state_dict(), build(TINY, seed=1)[0].state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("numbers", [{"frame": 80, "patch": 7}, {"width": 100, "heads": 3}])
def test_sizes_that_do_not_fit_are_refused(numbers):
    with pytest.raises(ValueError, match="divisible"):
        Size(**numbers)


def test_the_shipped_checkpoint_is_small_complete_and_ordinary():
    directory = EMBEDDED
    assert sum(f.stat().st_size for f in directory.iterdir()) < 30e6
    assert (directory / "model.safetensors").exists() and (directory / "README.md").exists()
    config = json.loads((directory / "config.json").read_text())
    assert config["architectures"] == ["LlavaOnevisionForConditionalGeneration"]
    depth = config["vision_config"]["num_hidden_layers"]
    assert -depth <= config["stc"]["contribution_layer"] <= -1
    assert config["stc"]["frames"] >= 1
    tokenizer = AutoProcessor.from_pretrained(directory, local_files_only=True).tokenizer
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
