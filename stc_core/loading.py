"""Open a Video-LLM: the embedded one, a checkpoint folder, or a name on the model hub."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .errors import InputError
from .families import FAMILIES, Family, family_of
from .prompt import build_prompt

EMBEDDED = Path(__file__).resolve().parent.parent / "assets" / "model"
DEFAULT_FRAMES = 32


@dataclass
class VLM:
    """A Video-LLM ready to answer.

    Attributes
    ----------
    model : stock ``...ForConditionalGeneration`` in evaluation mode
    processor : its processor (tokenizer, video processor, chat template)
    name : str
        Hub id, the folder's name, or "embedded".
    device : str
    frames : int
        Frames to sample where nobody says otherwise.
    settings : dict
        Options of ``STC`` that suit this checkpoint better than the paper's, chosen on development
        clips and recorded in ``config.stc``; empty where none are. Nothing uses them unasked.
    """

    model: nn.Module
    processor: object
    name: str
    device: str
    frames: int = DEFAULT_FRAMES
    settings: dict[str, float] = field(default_factory=dict)
    _warm: bool = field(default=False, repr=False)

    @property
    def family(self) -> Family:
        return family_of(self.model.config)

    @property
    def embedded(self) -> bool:
        """True for the small teaching model that this repository ships."""
        return self.name == "embedded"

    def warm_up(self) -> None:
        """Run once on a black frame, so that a timed run does not pay for first-time work."""
        if self._warm:
            return
        black = np.zeros((1, 64, 64, 3), np.uint8)
        inputs = build_prompt(self, black, "what is this", 2, strict=False).inputs
        with torch.no_grad():
            self.model.generate(**inputs, do_sample=False, max_new_tokens=2, top_k=None)
        self._warm = True


def load(
    name: str | os.PathLike | None = None,
    *,
    device: str | None = None,
    dtype: torch.dtype | None = None,
) -> VLM:
    """Open a Video-LLM of a known family.

    Parameters
    ----------
    name
        None for the embedded teaching model, a checkpoint folder, or a hub id such as
        "llava-hf/llava-onevision-qwen2-7b-ov-hf".
    device
        "cuda", "cuda:1", "mps" or "cpu"; default: the first of these that is there.
    dtype
        Default: bfloat16 on a GPU, float32 on the CPU.

    Raises
    ------
    InputError
        No such model, the hub out of reach, not a Video-LLM of a known family, an incomplete or
        damaged checkpoint, a device that is not there, too little memory on it.
    """
    device = device_named(device)
    dtype = dtype or (torch.float32 if device == "cpu" else torch.bfloat16)
    source = str(EMBEDDED if name is None else name)
    shown = "embedded" if name is None else (Path(source).name or source)
    if "/" in source and not Path(source).exists():
        shown = source  # a hub id keeps its organisation
    try:
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        config = AutoConfig.from_pretrained(source)
        family = family_of(config)
        architecture = (config.architectures or ["none"])[0]
        if architecture not in family.architectures:
            raise InputError(
                f"the model {shown!r} is a {architecture}, not a {family.architectures[0]}; "
                f"choose a Video-LLM checkpoint"
            )
        processor = AutoProcessor.from_pretrained(source)
        model = AutoModelForImageTextToText.from_pretrained(source, dtype=dtype).to(device).eval()
    except InputError:
        raise
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the model {shown!r} does not fit into the memory of {device}; "
            f"choose a smaller one, or the device 'cpu'"
        ) from error
    except ImportError as error:
        raise InputError(
            f"the processor of {shown!r} needs a package that is missing; "
            f"install the requirements again (pip install -r requirements.txt)"
        ) from error
    except Exception as error:  # safetensors and tokenizers raise types of their own
        raise InputError(_why(source, shown)) from error
    recorded = getattr(config, "stc", None) or {}
    frames = int(recorded.get("frames", DEFAULT_FRAMES))
    return VLM(model, processor, shown, device, frames, dict(recorded.get("settings", {})))


def device_named(device: str | None) -> str:
    """The device of that name, None for the best there is. ``InputError`` where it is not there."""
    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise InputError(f"{device!r} is not a device; use 'cuda', 'mps' or 'cpu'") from None
    there = {
        "cpu": True,
        "cuda": (kind.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(kind.type, False):
        raise InputError(f"there is no device {device!r} on this machine; use 'cpu'")
    return str(kind)


def _why(source: str, shown: str) -> str:
    """One sentence on a model that does not open."""
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            return (
                f"the folder {shown!r} holds no model: config.json is missing; "
                f"choose a Hugging Face checkpoint folder"
            )
        known = ", ".join(record.name for record in FAMILIES.values())
        return (
            f"the model in {shown!r} is incomplete, damaged or of an unknown kind; "
            f"download it again, or choose one of {known}"
        )
    if folder.exists() or source.startswith((".", "/", "~")) or source.count("/") > 1:
        return f"there is no checkpoint folder {source!r}; check the path"
    return (
        f"the model {shown!r} is neither on this machine nor to be had from the model hub; check "
        f"the name and the network, or pass a checkpoint folder"
    )
