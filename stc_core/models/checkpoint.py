"""Find out what a checkpoint is and whether it is complete, before its weights are read."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stc_core.errors import InputError
from stc_core.models.families import FAMILIES, Family
from stc_core.models.stock import StockClass, StockConfig, StockProcessor

GIT_LFS = b"version https://git-lfs"  # how the stand-in for a large file begins in a git clone
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
PROCESSOR = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")


def config_in(folder: Path, shown: str) -> dict:
    """Read the config.json of a checkpoint folder; ``shown`` is what to call it in a sentence."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"the folder {shown!r} holds no model: config.json is missing; "
            f"choose a Hugging Face checkpoint folder"
        ) from None
    except (OSError, ValueError, RecursionError):
        raise InputError(
            f"the config.json of {shown!r} is damaged; download the model again"
        ) from None


def family_in(config: dict, shown: str) -> Family:
    """Return the family of a config.json; ``InputError`` where it is of no known one."""
    kind = config.get("model_type")
    # published as "llava_qwen" or, with transformers' own "llava", under another class
    if kind == "llava_qwen" or "LlavaQwenForCausalLM" in (config.get("architectures") or ()):
        raise InputError(
            f"the model {shown!r} is in LLaVA's own format, which transformers does not read; "
            f"convert a LLaVA-Video checkpoint with: python -m stc_core convert FOLDER NEW_FOLDER"
        )
    if kind not in FAMILIES:
        known = ", ".join(record.name for record in FAMILIES.values())
        if isinstance(kind, str) and "vision_config" in config:
            what = f"{kind!r} is not a Video-LLM this program knows"
        else:
            what = f"{kind!r} is not a Video-LLM this program knows: it has no vision tower"
        raise InputError(f"{what}; use one of {known}, or add a record to stc_core/families.py")
    family = FAMILIES[kind]
    architecture = (config.get("architectures") or ["model without a head"])[0]
    if architecture not in family.architectures:
        raise InputError(
            f"the model {shown!r} is a {architecture}, not a {family.architectures[0]}; "
            f"choose a Video-LLM checkpoint"
        )
    return family


def classes_of(kind: str) -> tuple[StockClass, StockClass, StockClass]:
    """Return the classes of config, model and processor for a ``model_type`` of a known family."""
    family = FAMILIES[kind]
    if family.classes is not None:
        return family.classes()
    import transformers

    try:
        model = getattr(transformers, family.architectures[0])
    except AttributeError:
        raise InputError(
            f"transformers {transformers.__version__} does not know {family.name}; "
            f"pip install -U transformers"
        ) from None
    return model.config_class, model, transformers.AutoProcessor


def full_config(config: dict) -> StockConfig:
    """Return the config object of a config.json, every default filled in."""
    return classes_of(config["model_type"])[0].from_dict(config)


def check_files(folder: Path, shown: str, cure: str = "download it again") -> None:
    """Raise ``InputError`` where a file of the checkpoint is missing or cut off.

    Only the beginning of each file is read: the header of a safetensors file says how long it is.
    """
    if not any((folder / name).is_file() for name in PROCESSOR):
        raise InputError(
            f"the model {shown!r} comes without its processor ({PROCESSOR[1]} is missing); {cure}"
        )
    wanted = _weight_files(folder, shown, cure)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"the model {shown!r} is only half here: {len(missing)} of {len(wanted)} weight files "
            f"are missing, {missing[0]} among them; {cure}"
        )
    for name in wanted:
        _check_weights(folder / name, shown, cure)


def _weight_files(folder: Path, shown: str, cure: str) -> list[str]:
    if not (folder / INDEX).is_file():
        return [WEIGHTS]
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return sorted(set(index["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"the file {INDEX} of {shown!r} is damaged; {cure}") from None


def _check_weights(path: Path, shown: str, cure: str) -> None:
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        if file.read(len(GIT_LFS)) == GIT_LFS:
            raise InputError(
                f"the weights of {shown!r} were cloned without Git LFS, {path.name} is a "
                f"stand-in; run `git lfs pull` in the folder"
            )
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError):
        raise InputError(
            f"the file {path.name} of {shown!r} is damaged or only half here; {cure}"
        ) from None


def data_bytes(path: Path) -> int:
    """Return the bytes of the tensors in a safetensors file: all but its header."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    return max(0, path.stat().st_size - 8 - header)


def check_processor(processor: StockProcessor, shown: str) -> None:
    """Raise ``InputError`` where a processor lacks what a prompt is made with."""
    parts = {
        "tokenizer": "tokenizer",
        "video_processor": "video processor",
        "chat_template": "chat template",
    }
    for name, words in parts.items():
        if getattr(processor, name, None) is None:
            raise InputError(
                f"the processor of {shown!r} has no {words}; download the model again with all "
                f"its .json and .jinja files, or choose one that answers questions about videos"
            )


def check_weights(found: Mapping[str, Any], shown: str) -> None:
    """Raise ``InputError`` where weights of the model were not in its files, or in another shape.

    transformers fills them with random numbers and goes on.

    Parameters
    ----------
    found
        What ``from_pretrained`` gives with ``output_loading_info=True``.
    """
    cure = "download it again, or choose another"
    missing = sorted(found["missing_keys"])
    if missing:
        unknown = sorted(found["unexpected_keys"])[:1]
        others = "".join(f", and hold others that it has not, such as {name}" for name in unknown)
        raise InputError(
            f"the files of {shown!r} lack {len(missing)} of its weights ({some(missing)})"
            f"{others}; {cure}"
        )
    odd = sorted(found["mismatched_keys"])
    if odd:
        name, stored, wanted = odd[0]
        raise InputError(
            f"{len(odd)} weights of {shown!r} do not have the shapes of its config "
            f"({some([key for key, *_ in odd])}): {name} is {tuple(stored)} in the files and "
            f"{tuple(wanted)} by the config; {cure}"
        )


def some(names: Sequence[str]) -> str:
    """Name at most three, and say how many more there are."""
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")


def check_torchvision() -> None:
    """Raise ``InputError`` where torchvision is missing or was made for another torch."""
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise InputError(
            "the processors need torchvision, which is not installed; "
            "pip install torchvision (from where torch came from)"
        ) from None
    except (ImportError, OSError, RuntimeError):
        pair = [f"{name} {importlib.metadata.version(name)}" for name in ("torchvision", "torch")]
        raise InputError(
            f"{pair[0]} does not fit {pair[1]}; install a pair of one release: "
            f"pip install -U torch torchvision"
        ) from None


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, or its class, without a full stop."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    line = line if len(line) <= 160 else f"{line[:157]}..."
    return line.rstrip(".:")
