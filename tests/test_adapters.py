"""Adapters (PEFT) that are loaded with a model: they compute, and others are refused by name."""

import copy
import json

import numpy as np
import pytest
import torch
from clips import write_clip
from served import SERVED
from typer.testing import CliRunner

from stc_core import STC, InputError, answer, load
from stc_core.__main__ import cli
from stc_core.answering.video import Video
from stc_core.models import adapter as adapter_module

peft = pytest.importorskip("peft")
QUESTION = "what color is the star ?"


def adapter_of(model, folder, target=("q_proj", "v_proj"), seed=0):
    """Save a LoRA with random weights for a model; return it merged into a copy."""
    adapted = peft.get_peft_model(
        copy.deepcopy(model), peft.LoraConfig(target_modules=list(target), r=2)
    )
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.5 * torch.randn(weight.shape, generator=rng))
    adapted.save_pretrained(folder)
    return adapted.merge_and_unload()


def clip(size):
    frames = np.random.default_rng(0).integers(0, 256, (4, *size, 3)).astype(np.uint8)
    return Video(frames, np.arange(4) / 2, "clip.mp4", 2.0, 4, 2.0, size)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("served") / "llava_onevision"
    place.mkdir()
    SERVED["llava_onevision"].write(place)
    return place


def test_an_adapter_is_loaded_with_its_model(folder, tmp_path):
    plain, shown = load(folder, device="cpu"), clip((48, 64))
    merged = copy.copy(plain)
    merged.model = adapter_of(plain.model, tmp_path / "my-lora")
    vlm = load(folder, device="cpu", adapter=tmp_path / "my-lora")
    assert type(vlm.model) is type(plain.model) and not vlm.model.training
    method = STC(retention=0.1, layer=1)
    found, expected, before = (
        answer(one, shown, QUESTION, method, max_new_tokens=3, score=["red"])
        for one in (vlm, merged, plain)
    )
    assert found.trace.model == "llava_onevision with my-lora"
    assert (found.trace.fate == expected.trace.fate).all()
    assert found.scores["red"] == pytest.approx(expected.scores["red"], abs=1e-3)
    assert abs(found.scores["red"] - before.scores["red"]) > 0.01


def test_the_command_line_takes_an_adapter(folder, tmp_path):
    adapter_of(load(folder, device="cpu").model, tmp_path / "my-lora")
    video = write_clip(tmp_path / "clip.mp4", range(0, 1000, 250))
    ask = [
        "answer", str(video), QUESTION, "--model", str(folder), "--frames=4", "--layer=1",
        "--retention=0.1", "--json",
    ]  # fmt: skip
    adapters = [[], ["--adapter", str(tmp_path / "my-lora")], ["--adapter", str(tmp_path / "none")]]
    runs = [CliRunner().invoke(cli, ask + more) for more in adapters]
    plain, adapted = (json.loads(run.stdout) for run in runs[:2])
    assert adapted["model"] == "llava_onevision with my-lora" and plain["model"] != adapted["model"]
    assert adapted["logprob"] != plain["logprob"]
    assert runs[2].exit_code == 2 and "adapter_config.json is missing" in runs[2].stderr


def test_an_adapter_of_another_model_is_refused(folder, tmp_path):
    other = tmp_path / "internvl"
    other.mkdir()
    SERVED["internvl"].write(other)
    adapter_of(load(other, device="cpu").model, tmp_path / "wider", target=["fc1"])
    with pytest.raises(InputError, match="the adapter 'wider' ") as refused:
        load(folder, device="cpu", adapter=tmp_path / "wider")
    assert "\n" not in str(refused.value) and "that it was trained on" in str(refused.value)


def test_an_adapter_with_other_names_is_refused(folder, tmp_path):
    plain = load(folder, device="cpu").model
    adapter_of(plain, tmp_path / "mine")
    file = tmp_path / "mine" / "adapter_model.safetensors"
    from safetensors.torch import load_file, save_file

    save_file({f"elsewhere.{name}": w for name, w in load_file(file).items()}, file)
    with pytest.raises(InputError, match="the adapter 'mine' belongs to another model"):
        load(folder, device="cpu", adapter=tmp_path / "mine")


@pytest.mark.parametrize("where", ["./nowhere", "a/b/c", "."])
def test_a_folder_without_an_adapter_is_refused(where, folder):
    with pytest.raises(InputError, match=r"adapter_config.json is missing"):
        load(folder, device="cpu", adapter=where)


def test_without_the_package_an_adapter_is_refused(monkeypatch):
    monkeypatch.setattr(adapter_module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install peft"):
        load(adapter="someone/lora")
