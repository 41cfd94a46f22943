"""Open a Video-LLM: the embedded one, a checkpoint folder, or a name on the model hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from stc_core.assets_folder import assets_folder
from stc_core.errors import InputError
from stc_core.models.adapter import attach, check_adapter, name_of
from stc_core.models.checkpoint import (
    check_files,
    check_processor,
    check_torchvision,
    check_weights,
    classes_of,
    config_in,
    data_bytes,
    family_in,
    first_line,
    full_config,
)
from stc_core.models.familiarity import Familiarity
from stc_core.models.families import FAMILIES
from stc_core.models.hub import Checkpoint, announce, find, in_bytes
from stc_core.models.memory import available, context_of, estimate, skeleton, tokens_of, tower_name
from stc_core.models.placement import Placement, device_named
from stc_core.models.processors import check_frame_pixels, open_processor
from stc_core.models.stock import StockConfig, StockModel
from stc_core.models.vlm import DEFAULT_FRAMES, VLM
from stc_core.versions import warn_once

__all__ = ["DEFAULT_FRAMES", "EMBEDDED", "VLM", "default_frames", "device_named", "load"]

EMBEDDED = assets_folder() / "model"

Name = str | os.PathLike | Checkpoint | None


def load(
    name: Name = None,
    *,
    device: str | None = None,
    dtype: torch.dtype | str | None = None,
    attn: str = "sdpa",
    quantization: str | None = None,
    adapter: str | os.PathLike | None = None,
    vision_batch: int | None = None,
    frame_pixels: int | None = None,
    on_download: Callable[[str, int], None] | None = announce,
) -> VLM:
    """Open a Video-LLM of a known family.

    A model of the hub is downloaded once, into the hub's own cache; after that no network is
    needed. What it is, and whether it fits, is known before the download begins.

    Parameters
    ----------
    name
        None for the embedded teaching model, a checkpoint folder, or a hub id such as
        "llava-hf/llava-onevision-qwen2-7b-ov-hf". What ``hub.find`` gives is never a folder.
    device
        "cuda", "cuda:1", "mps" or "cpu"; default: the first of these that is there. "auto" spreads
        the layers over all GPUs and the machine's memory, for a model that no single GPU holds; it
        needs the package accelerate.
    dtype
        Or its name; default: bfloat16 on a GPU that computes in it, float16 on others, float32 on
        the CPU.
    attn
        Attention kernel: "sdpa", "eager", or "flash_attention_2" with the package flash-attn.
    quantization
        "4bit" (NF4) or "8bit" (LLM.int8()) for the LLM's layers, by the package bitsandbytes; the
        vision tower is left as it is.
    adapter
        Folder or hub id of a PEFT adapter (LoRA and the like) that was trained on this model; it
        needs the package peft.
    vision_batch
        Frames that the vision tower sees at once, 1 or more; default: as many as it works on in
        1 GiB. Fewer take less memory and change features by rounding at most.
    frame_pixels
        Most pixels of a frame for Qwen2-VL, Qwen2.5-VL and Qwen3-VL; default: those of 768 tokens,
        as in qwen-vl-utils.
    on_download
        Called with the name and the bytes to come before a download; the default says so on stderr.
        What it raises ends it.

    Raises
    ------
    InputError
        In one sentence: no such model, a gated or half-downloaded one, the hub out of reach, not a
        Video-LLM of a known family, a damaged checkpoint or one without some of its weights, a
        device or a package that is not there, too little memory.
    """
    place = Placement.of(device, dtype, attn, quantization)
    if vision_batch is not None and vision_batch < 1:
        raise InputError(f"vision_batch must be 1 frame or more, not {vision_batch}")
    check_torchvision()
    if adapter is not None:
        check_adapter(adapter)
    folder, shown, config = _checkpoint(name, place, frame_pixels, on_download)
    kind, model_class, processor_class = classes_of(config["model_type"])
    warn_once("transformers", "torch")
    try:
        full = kind.from_pretrained(folder)
        family = FAMILIES[config["model_type"]]
        processor = open_processor(folder, family, processor_class, full, frame_pixels)
        check_processor(processor, shown)
        model, found = model_class.from_pretrained(
            folder,
            config=full,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            **place.options(lambda: tower_name(skeleton(full))),
        )
        check_weights(found, shown)
        model = model.eval()
        if adapter is not None:
            attach(model, adapter, shown)
            shown = f"{shown} with {name_of(adapter)}"
        if place.single:
            model = model.to(place.device)
    except InputError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise InputError(
            f"the model {shown!r} does not fit into the memory of {place.device}; "
            f"choose a smaller one, quantization='4bit', or another device"
        ) from error
    except ImportError as error:
        raise InputError(
            f"the model {shown!r} needs a package that is missing: {first_line(error)}; "
            f"install stc-core again, in a checkout with pip install -r requirements.txt"
        ) from error
    except Exception as error:  # safetensors and tokenizers raise types of their own
        raise InputError(
            f"the model in {shown!r} does not open: {first_line(error)}; "
            f"download it again, or choose another"
        ) from error
    if name is not None or adapter is not None:
        model.name_or_path = shown  # traces name the model, never a folder of this machine
    recorded = getattr(full, "stc", None) or {}
    return VLM(
        model,
        processor,
        shown,
        _first_device(model, place),
        default_frames(full),
        dict(recorded.get("settings", {})),
        times=bool(recorded.get("times", False)),
        vision_batch=vision_batch,
        familiarity=Familiarity.of(recorded.get("familiarity")),
    )


def default_frames(config: StockConfig) -> int:
    """Return the frames that a checkpoint records, else 32, 16 or 8, as its context allows.

    An eighth of the context is left to the question and the answer.
    """
    recorded = (getattr(config, "stc", None) or {}).get("frames")
    if recorded is not None:
        return int(recorded)
    room = context_of(config) * 7 // 8
    frames = DEFAULT_FRAMES
    while frames > 1 and tokens_of(config, frames)[0] > room:
        frames //= 2
    return frames


def _checkpoint(
    name: Name,
    place: Placement,
    frame_pixels: int | None,
    on_download: Callable[[str, int], None] | None,
) -> tuple[Path, str, dict]:
    """Return the folder of a model, its name and its config.json, checked and complete."""
    where, shown, config = described(name)
    check_frame_pixels(FAMILIES[config["model_type"]], frame_pixels)
    if name is not None:
        _check_memory(where, config, shown, place)
    if isinstance(where, Path):
        if name is not None:
            check_files(where, shown)
        return where, shown, config
    folder = where.fetch(on_download)
    cure = "download it again"
    if where.cached is not None:
        cure = f"and the model hub {where.reason}; load it once with the hub at hand"
    check_files(folder, shown, cure)
    return folder, shown, config


def described(name: Name) -> tuple[Path | Checkpoint, str, dict]:
    """Return where a model is, its name and its config.json; read nothing large.

    Raises ``InputError`` where it is nowhere, or no Video-LLM of a known family.
    """
    if name is None:
        return EMBEDDED, "embedded", config_in(EMBEDDED, "embedded")
    where: Path | Checkpoint
    if isinstance(name, Checkpoint):
        where, shown = name, name.name
    else:
        where, shown = Path(name).expanduser(), os.fspath(name)
        path = isinstance(name, os.PathLike) or shown.startswith((".", "/", "~"))
        if where.is_dir():
            shown = where.resolve().name
        elif path or shown.count("/") > 1:
            raise InputError(f"there is no checkpoint folder {shown!r}; check the path")
        else:
            where = find(shown)
    config = config_in(where, shown) if isinstance(where, Path) else where.config()
    family_in(config, shown)
    return where, shown, config


def stored_bytes(where: Path | Checkpoint, config: dict, place: Placement) -> int:
    """Return the bytes of a checkpoint's weights, in its files; 0 where they do not stay so.

    Those on the hub count with the headers of their files, which are a few kB. Away from a GPU
    transformers turns FP8 weights into those of a model that is not quantized.
    """
    quantized = config.get("quantization_config") or {}
    if quantized.get("quant_method") == "fp8" and not place.device.startswith(("cuda", "auto")):
        return 0
    if isinstance(where, Checkpoint) and where.cached is None:
        return sum(size for name, size in where.sizes.items() if name.endswith(".safetensors"))
    folder = where if isinstance(where, Path) else where.cached
    assert folder is not None  # the case above
    return sum(map(data_bytes, folder.glob("model*.safetensors")))


def _check_memory(where: Path | Checkpoint, config: dict, shown: str, place: Placement) -> None:
    """Raise ``InputError`` where the weights alone are more than the device has left."""
    needed = estimate(
        full_config(config),
        1,
        place.dtype,
        place.quantization,
        stored=stored_bytes(where, config, place),
    ).weights
    free = available(place.device)
    if needed > free:
        ways = ["a smaller model"]
        if place.quantization is None:
            ways.append("quantization='4bit'")
        if place.device.startswith("cuda"):
            ways.append("device='auto' for all devices together")
        raise InputError(
            f"the weights of {shown!r} take {in_bytes(needed)} and {place.device} has "
            f"{in_bytes(free)} left; choose {' or '.join(ways)}"
        )


def _first_device(model: StockModel, place: Placement) -> str:
    """Return the device of the embeddings, which is where inputs go."""
    placed = getattr(model, "hf_device_map", None)
    if placed is None:
        return str(model.device) if place.device == "auto" else place.device
    first = next((where for where in placed.values() if where not in ("cpu", "disk")), "cpu")
    return f"cuda:{first}" if isinstance(first, int) else str(first)
