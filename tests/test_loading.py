"""Opening a model: where it goes, from where it comes, and one sentence where it does not."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from hub_server import serving
from inputs import SIZES, clip_frames
from safetensors.torch import load_file, save_file
from transformers import LlavaNextVideoConfig, LlavaOnevisionConfig, VideoLlavaConfig

from stc_core import STC, InputError, answer, fit, load
from stc_core.answering.video import Video
from stc_core.models import loading as loading_module
from stc_core.models.hub import in_bytes
from stc_core.models.loading import default_frames
from stc_core.models.memory import estimate
from stc_core.models.placement import device_named, dtype_named
from stc_core.models.vlm import VLM
from stc_core.shapes.model.sizes import build, save

QUESTION = "what color is the star?"
METHOD = STC(retention=0.4, layer=2, tau=0.99)
NAME = "some-org/tiny-vlm"


def clip():
    return Video(clip_frames(6), np.arange(6) / 2, "clip.mp4", 3.0, 6, 2.0, (40, 40))


@pytest.fixture(scope="module")
def saved(tiny_models, tmp_path_factory):
    """A folder with the tiny model; not to be changed."""
    folder = tmp_path_factory.mktemp("saved") / "tiny-vlm"
    save(*tiny_models["even"], folder)
    return folder


@pytest.fixture
def checkpoint(saved, tmp_path):
    """A folder with the tiny model, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "tiny-vlm"))


@pytest.fixture
def hub(saved, tmp_path, monkeypatch):
    """A hub on loopback with the tiny model, and an empty cache."""
    constants = huggingface_hub.constants
    with serving() as server:
        server.models[NAME] = saved
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        move(server.url, monkeypatch)
        yield server


def move(url, monkeypatch):
    """What HF_ENDPOINT does at the start of a process."""
    constants, stock = huggingface_hub.constants, huggingface_hub.constants.ENDPOINT
    form = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(stock, url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", form)
    monkeypatch.setattr(constants, "ENDPOINT", url)


def told(name=NAME, **options):
    """The one sentence with which a model is refused."""
    with pytest.raises(InputError) as error:
        load(name, device="cpu", on_download=None, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- a folder ------------------------------------------------------------------------------------


def test_a_checkpoint_folder_loads_as_from_the_hub(saved, tiny_models):
    vlm = load(saved, device="cpu")
    assert (vlm.name, vlm.frames, vlm.device) == ("tiny-vlm", 32, "cpu")
    assert not vlm.model.training and vlm.family.name == "LLaVA-OneVision"
    for (name, one), (_, other) in zip(
        vlm.model.named_parameters(), tiny_models["even"][0].named_parameters(), strict=True
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


@pytest.mark.parametrize(
    ("config", "context", "frames"),
    [
        (VideoLlavaConfig, 4096, 8),
        (LlavaNextVideoConfig, 4096, 16),
        (LlavaOnevisionConfig, 32768, 32),
        (LlavaOnevisionConfig, 16, 1),
    ],
)
def test_frames_by_default_leave_room_in_the_context(config, context, frames):
    """Those on which Video-LLaVA was tuned, and no more than LLaVA-NeXT-Video can read."""
    config = config()
    config.get_text_config().max_position_embeddings = context
    assert default_frames(config) == frames


def test_the_embedded_model_is_the_default():
    vlm = load(device="cpu")
    assert vlm.embedded and vlm.name == "embedded"
    assert loading_module.EMBEDDED.joinpath("model.safetensors").stat().st_size < 30e6
    assert vlm.model.num_parameters() > 1e6


def change_config(**values):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


def only_config(**values):
    return lambda folder: (folder / "config.json").write_text(json.dumps(values))


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def drop(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def halve_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose_a_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00003.safetensors")
    parts = {f"weight{i}": f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def other_weights(folder):

    save_file({"something.else": torch.zeros(2)}, folder / "model.safetensors")


def change_weights(change):
    """Write the weights anew after ``change`` of {name: tensor}."""

    def damage(folder):
        weights = load_file(folder / "model.safetensors")
        save_file(change(weights), folder / "model.safetensors", {"format": "pt"})

    return damage


def without_a_layer(weights):
    # as published, "language_model.model.layers": transformers renames them as it reads
    return {name: value for name, value in weights.items() if "model.layers.2." not in name}


def tower_under_another_name(weights):
    return {name.replace("vision_tower", "eyes"): value for name, value in weights.items()}


def narrower_projector(weights):
    return {
        name: value[:-1].clone() if "multi_modal_projector.linear_2" in name else value
        for name, value in weights.items()
    }


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8000000\n"
KNOWN = r"LLaVA-OneVision, .*Qwen2\.5-VL.* stc_core/families.py"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("config.json"), "config.json is missing; choose a Hugging Face checkpoint folder"),
        (write("config.json", b'{"model_type": '), "config.json of 'tiny-vlm' is damaged"),
        (drop("model.safetensors"), "1 of 1 weight files are missing, model.safetensors among"),
        (lose_a_shard, "2 of 3 weight files are missing, model-00002-of-00003.safetensors among"),
        (halve_weights, "model.safetensors of 'tiny-vlm' is damaged or only half here"),
        (write("model.safetensors", b"not weights"), "damaged or only half here; download it"),
        (write("model.safetensors", LFS), "cloned without Git LFS, .* run `git lfs pull`"),
        (write("model.safetensors.index.json", b"{}"), "index.json of 'tiny-vlm' is damaged"),
        (drop("processor_config.json"), "without its processor"),
        (drop("chat_template.jinja"), "has no chat template"),
        (drop("tokenizer.json"), "'tiny-vlm'"),
        (only_config(model_type="qwen2"), f"'qwen2' .* has no vision tower; use one of {KNOWN}"),
        (only_config(model_type="llava", vision_config={}), f"'llava' is not a Video-.* {KNOWN}"),
        (only_config(), f"None is not a Video-LLM .* {KNOWN}"),
        (only_config(model_type="llava_qwen"), "convert a LLaVA-Video checkpoint with: python -m"),
        (change_weights(without_a_layer), r"lack 12 .*\(model.language_model.layers.2.input"),
        (change_weights(tower_under_another_name), "lack .*vision_tower.* such as .*eyes"),
        (change_weights(narrower_projector), r"2 weights .*linear_2.bias is \(31,\) in"),
        (other_weights, "lack .* and [0-9]+ more.*hold others .*such as something.else"),
        (change_config(architectures=["LlavaOnevisionModel"]), "is a LlavaOnevisionModel, not a"),
        (change_config(architectures=None), "is a model without a head, not a Llava"),
    ],
)
def test_a_folder_that_is_no_model_is_one_sentence(checkpoint, damage, message):
    damage(checkpoint)
    with pytest.raises(InputError, match=message) as error:
        load(checkpoint, device="cpu")
    assert "\n" not in str(error.value) and str(checkpoint) not in str(error.value)


@pytest.mark.parametrize("name", ["./no/such/folder", "a/b/c", "~/no-such", Path("nowhere")])
def test_a_folder_that_is_not_there_is_one_sentence(name):
    assert "there is no checkpoint folder" in told(name)


def test_a_file_is_no_checkpoint(saved):
    assert "there is no checkpoint folder" in told(str(saved / "config.json"))


# --- the processors' torchvision -----------------------------------------------------------------


def test_a_missing_torchvision_says_what_to_install(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert "need torchvision, which is not installed; pip install torchvision" in told(saved)


def test_a_torchvision_of_another_torch_says_what_to_install(saved, tmp_path, monkeypatch):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    sentence = told(saved)
    assert f"does not fit torch {torch.__version__.split('+')[0]}" in sentence
    assert sentence.endswith("pip install -U torch torchvision")


# --- device, numbers, kernel ---------------------------------------------------------------------


@pytest.mark.parametrize("device", ["tpu9000", "cuda:99", "warp"])
def test_a_device_that_is_not_there_is_one_sentence(device):
    with pytest.raises(InputError, match="device"):
        load(device=device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int3"}, "there is no dtype 'int3'; use 'bfloat16'"),
        ({"dtype": torch.int8}, "there is no dtype torch.int8"),
        ({"attn": "magic"}, "there is no attention 'magic'; use one of sdpa, eager, flash"),
        ({"attn": "flash_attention_2"}, "runs on CUDA in bfloat16 or float16, not on cpu"),
        ({"quantization": "3bit"}, "there is no quantization '3bit'; use '4bit' or '8bit'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(options, message):
    with pytest.raises(InputError, match=message):
        load("nowhere/at-all", device="cpu", **options)


@pytest.mark.parametrize(
    ("options", "package"),
    [({"device": "auto"}, "accelerate"), ({"quantization": "4bit"}, "bitsandbytes")],
)
def test_a_package_that_is_not_installed_is_named(options, package, monkeypatch):
    find_spec = loading_module.Placement.of.__globals__["find_spec"]
    monkeypatch.setattr(
        "stc_core.models.placement.find_spec",
        lambda name: None if name == package else find_spec(name),
    )
    with pytest.raises(InputError, match=f"{package}.* pip install -r requirements-large.txt"):
        load(**options)


@pytest.mark.parametrize(
    ("kind", "has_bfloat16", "expected"),
    [
        ("cpu", True, torch.float32),
        ("cuda", True, torch.bfloat16),
        ("cuda", False, torch.float16),
        ("mps", True, torch.bfloat16),
        ("mps", False, torch.float16),
    ],
)
def test_the_numbers_suit_the_device(kind, has_bfloat16, expected, monkeypatch):
    """Neither GPU is here: torch's own questions about them are answered for it."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bfloat16)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: has_bfloat16)
    assert dtype_named(None, kind) == expected
    assert dtype_named("fp16", kind) == dtype_named(torch.float16, kind) == torch.float16


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_a_model_runs_in_the_numbers_and_with_the_kernel_asked_for(saved, attn):
    vlm = load(saved, device="cpu", dtype="bf16", attn=attn)
    assert vlm.model.dtype == torch.bfloat16
    for part in (vlm.model.get_decoder(), vlm.model.get_encoder(modality="image")):
        assert part.config._attn_implementation == attn
    result = answer(vlm, clip(), QUESTION, METHOD, max_new_tokens=2)
    assert result.trace.alive() == [96, 38, 19]


def test_a_model_too_large_for_the_memory_is_refused_before_it_is_read(
    saved, tiny_models, monkeypatch
):
    monkeypatch.setattr(loading_module, "available", lambda device: 100_000)
    weights = in_bytes(4 * tiny_models["even"][0].num_parameters())
    sentence = told(saved)
    assert f"take {weights} and cpu has 100 kB left; choose a smaller model or quant" in sentence


def test_a_model_that_does_not_fit_after_all_is_one_sentence(saved, monkeypatch):
    def full(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    assert "does not fit into the memory of cpu; choose a smaller one" in told(saved)


# --- several devices, fewer bits -----------------------------------------------------------------


def traced(model, processor):
    """An answer of this model, its layers wherever they are."""
    vlm = VLM(model, processor, "tiny", "cpu", frames=6)
    return answer(vlm, clip(), QUESTION, METHOD, record=True, max_new_tokens=4)


@pytest.mark.filterwarnings("ignore:The following device_map keys")  # the newline is no module
@pytest.mark.parametrize("spread", ["in memory", "on disk", "both"])
def test_a_model_whose_weights_wait_elsewhere_answers_alike(spread, saved, tmp_path):
    """What ``device_map="auto"`` does with what a GPU does not hold: between calls weights are
    nowhere (on the meta device), and accelerate's hooks bring them as each module runs."""
    accelerate = pytest.importorskip("accelerate")
    vlm = load(saved, device="cpu")
    expected = traced(vlm.model, vlm.processor)
    for name in ("vision_tower", "multi_modal_projector", "language_model"):
        part = getattr(vlm.model.model, name)
        if spread == "in memory":
            accelerate.cpu_offload(part, execution_device="cpu")
        elif spread == "on disk":
            accelerate.disk_offload(part, str(tmp_path / name), execution_device="cpu")
    if spread == "both":
        layers = {f"model.language_model.layers.{i}": "disk" if i > 2 else "cpu" for i in range(5)}
        rest = [
            "model.vision_tower",
            "model.multi_modal_projector",
            "model.image_newline",
            "lm_head",
        ]
        rest += [f"model.language_model.{name}" for name in ("embed_tokens", "norm", "rotary_emb")]
        accelerate.dispatch_model(
            vlm.model,
            layers | dict.fromkeys(rest, "cpu"),
            main_device="cpu",
            offload_dir=str(tmp_path / "disk"),
            force_hooks=True,
        )
    waiting = {str(p.device) for p in vlm.model.get_decoder().layers[4].parameters()}
    assert waiting == {"meta"}
    found = traced(vlm.model, vlm.processor)
    assert found.text == expected.text
    # weights from a file lie at other addresses, and sums may come out a bit apart
    assert found.logprob == pytest.approx(expected.logprob, abs=1e-5)
    for name in ("target", "fate", "weight", "contribution", "relevance", "attention"):
        one, other = getattr(found.trace, name), getattr(expected.trace, name)
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_a_model_spread_by_itself_answers_alike(saved):
    pytest.importorskip("accelerate")
    vlm = load(saved, device="auto", dtype="float32")
    plain = load(saved, device="cpu")
    assert vlm.device == device_named(None)
    found = answer(vlm, clip(), QUESTION, METHOD, max_new_tokens=4)
    expected = answer(plain, clip(), QUESTION, METHOD, max_new_tokens=4)
    assert found.text == expected.text


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model of matrices 64 and 128 wide: bitsandbytes packs blocks of 64 numbers."""
    size = dataclasses.replace(SIZES["even"], vision_width=64, width=64, ffn=128)
    folder = tmp_path_factory.mktemp("wide") / "wide"
    save(*build(size, seed=1), folder)
    return folder


@pytest.mark.parametrize(
    ("quantization", "kind"), [("4bit", "Linear4bit"), ("8bit", "Linear8bitLt")]
)
def test_fewer_bits_for_the_layers_of_the_llm_alone(wide, quantization, kind):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    vlm = load(wide, quantization=quantization)
    quantized = {
        name: module
        for name, module in vlm.model.named_modules()
        if isinstance(module, getattr(bitsandbytes.nn, kind))
    }
    assert len([name for name in quantized if "language_model.layers" in name]) == 7 * 5
    assert not [name for name in quantized if "vision_tower" in name or "lm_head" in name]
    scales = 0
    if quantization == "4bit":  # in no list of parameters
        scales = sum(module.weight.quant_state.absmax.nbytes for module in quantized.values())
    plain = load(wide, device=vlm.device, dtype=vlm.model.dtype)
    expected = estimate(plain.model.config, 6, vlm.model.dtype, quantization).weights
    assert vlm.model.get_memory_footprint() + scales == pytest.approx(expected, rel=0.01)
    one, other = (answer(m, clip(), QUESTION, METHOD, max_new_tokens=2) for m in (vlm, plain))
    assert one.trace.alive() == other.trace.alive()
    # what is outside the LLM is not touched
    np.testing.assert_allclose(one.trace.contribution, other.trace.contribution, atol=1e-6)


# --- the hub -------------------------------------------------------------------------------------


def test_a_model_of_the_hub_says_its_size_and_is_downloaded_once(hub, saved, tmp_path):
    (saved.parent / "extra").mkdir(exist_ok=True)
    sizes = {file.name: file.stat().st_size for file in saved.iterdir()}
    said = []
    vlm = load(NAME, device="cpu", on_download=lambda *told: said.append(told))
    wanted = sum(
        size
        for name, size in sizes.items()
        if name.endswith((".json", ".jinja")) or name == "model.safetensors"
    )
    assert said == [(NAME, wanted - sizes["config.json"])]  # that one came first, to be looked at
    assert vlm.name == NAME
    first = answer(vlm, clip(), QUESTION, METHOD, max_new_tokens=2).trace
    assert first.model == NAME
    hub.asked.clear()
    again = load(NAME, device="cpu", on_download=lambda *told: said.append(told))
    assert len(said) == 1
    assert not any("safetensors" in path for _, path in hub.asked)
    second = answer(again, clip(), QUESTION, METHOD, max_new_tokens=2).trace
    np.testing.assert_array_equal(first.target, second.target)


def test_what_is_no_video_llm_is_refused_before_its_weights_come(hub, checkpoint):
    only_config(model_type="qwen2")(checkpoint)
    hub.models["some-org/text"] = checkpoint
    assert "has no vision tower" in told("some-org/text")
    assert not any("safetensors" in path for _, path in hub.asked)


def test_a_model_too_large_for_the_memory_is_refused_before_its_weights_come(hub, monkeypatch):
    monkeypatch.setattr(loading_module, "available", lambda device: 100_000)
    assert "the weights of 'some-org/tiny-vlm' take" in told()
    assert not any("safetensors" in path for _, path in hub.asked)


def test_a_disk_without_room_is_said_before_the_download(hub, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    assert "and the disk has 100 kB left; make room, or set HF_HOME" in told()
    assert not any("safetensors" in path for _, path in hub.asked)


def test_a_download_can_be_declined(hub):
    def no(name, size):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(NAME, device="cpu", on_download=no)
    assert not any("safetensors" in path for _, path in hub.asked)


def test_a_missing_a_gated_and_a_bare_repository_are_one_sentence_each(hub, checkpoint):
    assert "there is no model 'some-org/none' on the model hub, or it is" in told("some-org/none")
    drop("model.safetensors")(checkpoint)
    hub.models["some-org/bare"] = checkpoint
    assert "holds no model in the format of transformers" in told("some-org/bare")
    hub.gated = True
    sentence = told()
    assert f"is gated: accept its terms at {hub.url}/{NAME}, then log in" in sentence


@pytest.mark.parametrize(
    "name", ["a b c", "some-org/ti ny", "some-org/..", "--", "org/" + "x" * 99]
)
def test_what_is_no_name_never_reaches_the_hub(hub, name):
    assert "is neither a folder nor a name on the model hub" in told(name)
    assert not hub.asked


def unreachable(hub, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = free.getsockname()[1]
    move(f"http://127.0.0.1:{nobody}", monkeypatch)


def silent(hub, monkeypatch):
    hub.delay = 60
    monkeypatch.setattr("stc_core.models.hub.PATIENCE", 2)


def broken(hub, monkeypatch):
    hub.status = 503


def behind_socks(hub, monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    monkeypatch.setattr("stc_core.proxies.find_spec", lambda name: None)


def offline(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def withdrawn(hub, monkeypatch):
    hub.models.clear()


TROUBLE = {
    unreachable: "is not wholly on this machine and the model hub cannot be reached",
    silent: "is not wholly on this machine and the model hub cannot be reached",
    broken: "the model hub answered 503",
    behind_socks: "names a SOCKS proxy .all_proxy., which needs one more package",
    offline: r"is not on this machine and the model hub is switched off \(HF_HUB_OFFLINE\)",
    withdrawn: "there is no model .* or it is private",
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_without_the_hub_a_model_that_is_here_loads_and_another_is_one_sentence(
    hub, trouble, monkeypatch
):
    load(NAME, device="cpu", on_download=None)
    trouble(hub, monkeypatch)
    start = time.perf_counter()
    vlm = load(NAME, device="cpu", on_download=None)
    with pytest.raises(InputError, match=TROUBLE[trouble]) as error:
        load("some-org/other", device="cpu")
    assert "\n" not in str(error.value)
    assert time.perf_counter() - start < 25  # nobody waits half a minute for nothing
    assert vlm.name == NAME


@pytest.mark.parametrize("trouble", [unreachable, offline])
def test_a_half_downloaded_model_is_one_sentence_without_the_hub(hub, trouble, monkeypatch):
    hub.cut = 5000
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's library waits to try again
    assert "the model hub cannot be reached; check the network and try again" in told()
    trouble(hub, monkeypatch)
    sentence = told()
    assert "only half here: 1 of 1 weight files are missing" in sentence
    assert sentence.endswith("load it once with the hub at hand")


def test_a_half_downloaded_model_is_completed_with_the_hub(hub, monkeypatch):
    hub.cut = 5000
    with monkeypatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        told()
    hub.cut = None
    assert answer(load(NAME, device="cpu"), clip(), QUESTION, METHOD, max_new_tokens=1).text


def test_the_command_line_says_the_size_and_needs_no_network_the_second_time(hub, tmp_path):
    clip_file = next((loading_module.EMBEDDED.parent / "clips").glob("*.mp4"))
    options = ["--model", NAME, "--frames", "2", "--device", "cpu", "--retention", "0.5"]
    options = ["--model", NAME, "--frames", "2", "--device", "cpu", "--retention", "0.5"]
    command = [sys.executable, "-m", "stc_core", "answer", clip_file, QUESTION, *options]
    setting = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    for offline in ("0", "1"):
        done = subprocess.run(
            command,
            env=setting | {"HF_HUB_OFFLINE": offline},
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent.parent,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        assert (f"downloading {NAME}, " in done.stderr) == (offline == "0")


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}


def test_quantized_files_are_estimated_at_their_own_size(hub, checkpoint):
    """FP8 and AWQ repositories: not the number of weights at 2 or 4 bytes each."""
    plain = fit(checkpoint, frames=4, device="cpu").memory
    change_config(quantization_config=AWQ)(checkpoint)
    file = checkpoint / "model.safetensors"
    weights = {name: weight.to(torch.int8) for name, weight in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    hub.models[NAME] = checkpoint
    tensors = sum(weight.nbytes for weight in weights.values())
    for name, size in ((checkpoint, tensors), (NAME, file.stat().st_size)):
        found = fit(name, frames=4, device="cpu").memory
        assert found.weights == size < plain.weights / 3
        assert (found.cache, found.activations) == (plain.cache, plain.activations)


def test_the_files_say_whether_a_quantized_checkpoint_fits(checkpoint, monkeypatch):
    change_config(quantization_config=AWQ)(checkpoint)
    size = fit(checkpoint, device="cpu").memory.weights
    monkeypatch.setattr(loading_module, "available", lambda device: size - 1)
    assert f"the weights of 'tiny-vlm' take {in_bytes(size)} and cpu has " in told(checkpoint)
    monkeypatch.setattr(loading_module, "available", lambda device: size)
    assert "the weights of" not in told(checkpoint)  # and then it needs a package for AWQ


def test_fp8_weights_are_wide_again_where_no_gpu_is(checkpoint):
    plain = fit(checkpoint, device="cpu").memory.weights
    change_config(quantization_config={"quant_method": "fp8"})(checkpoint)
    file = checkpoint / "model.safetensors"
    weights = {name: weight.to(torch.float8_e4m3fn) for name, weight in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    assert fit(checkpoint, device="cpu").memory.weights == plain
