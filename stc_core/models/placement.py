"""Decide the device of a model, its number type and its attention kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from stc_core.errors import InputError

KERNELS = ("sdpa", "eager", "flash_attention_2")
QUANTIZATIONS = ("4bit", "8bit")
LARGE = 'pip install "stc-core[large]", in a checkout pip install -r requirements-large.txt'
_DTYPES = {
    "bfloat16": torch.bfloat16, "bf16": torch.bfloat16, "float16": torch.float16,
    "fp16": torch.float16, "float32": torch.float32, "fp32": torch.float32,
}  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """Hold what ``load`` was asked for, with every default decided.

    Attributes
    ----------
    device : str
        Such as "cuda:1" or "cpu"; "auto": all GPUs, then the machine's memory.
    dtype : torch.dtype
        Of the weights that are not quantized, and of the activations.
    attn : str
        One of ``KERNELS``.
    quantization : str or None
        One of ``QUANTIZATIONS``.
    """

    device: str
    dtype: torch.dtype
    attn: str = "sdpa"
    quantization: str | None = None

    @classmethod
    def of(
        cls,
        device: str | None = None,
        dtype: torch.dtype | str | None = None,
        attn: str = "sdpa",
        quantization: str | None = None,
    ) -> Placement:
        """Decide, before anything is fetched. ``InputError`` for what this machine cannot do."""
        device = "auto" if device == "auto" else device_named(device)
        kind = (device_named(None) if device == "auto" else device).split(":")[0]
        dtype = dtype_named(dtype, kind)
        if attn not in KERNELS:
            raise InputError(f"there is no attention {attn!r}; use one of {', '.join(KERNELS)}")
        if attn == "flash_attention_2":
            _check_flash_attention(kind, dtype)
        if quantization is not None:
            _check_quantization(kind, quantization)
        if device == "auto" and find_spec("accelerate") is None:
            raise InputError(
                f"device='auto' needs the package accelerate, which is not installed; {LARGE}"
            )
        return cls(device, dtype, attn, quantization)

    @property
    def single(self) -> bool:
        """Tell whether the weights are read as they are and go to one device."""
        return self.device != "auto" and self.quantization is None

    def options(self, tower: Callable[[], str]) -> dict:
        """Return the arguments for ``from_pretrained``; ``tower()`` names the vision tower."""
        options: dict = {"dtype": self.dtype, "attn_implementation": self.attn}
        if not self.single:  # accelerate puts the weights where they belong as they are read
            options["device_map"] = "auto" if self.device == "auto" else {"": self.device}
        if self.quantization is not None:
            from transformers import BitsAndBytesConfig

            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=self.quantization == "4bit",
                load_in_8bit=self.quantization == "8bit",
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=self.dtype,
                # the tower is small, and its attention is what decides on the tokens
                llm_int8_skip_modules=["lm_head", tower()],
            )
        return options


def device_named(device: str | None) -> str:
    """Return the device of a name, None for the best; ``InputError`` where it is not there."""
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


def dtype_named(dtype: torch.dtype | str | None, kind: str) -> torch.dtype:
    """Return the type of a name; None for what suits the kind of device.

    bfloat16 where the GPU computes in it, which has the range that these models were trained in;
    float16 on older GPUs; float32 on a CPU, which is slow in both.
    """
    if isinstance(dtype, torch.dtype) and dtype in _DTYPES.values():
        return dtype
    if dtype is not None:
        if dtype not in _DTYPES:
            raise InputError(f"there is no dtype {dtype!r}; use 'bfloat16', 'float16' or 'float32'")
        return _DTYPES[dtype]
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if kind == "mps":
        native = torch.backends.mps.is_macos_or_newer(14, 0)
        return torch.bfloat16 if native else torch.float16
    return torch.float32


def _check_flash_attention(kind: str, dtype: torch.dtype) -> None:
    if kind != "cuda" or dtype == torch.float32:
        raise InputError(
            f"flash_attention_2 runs on CUDA in bfloat16 or float16, not on {kind} in "
            f"{str(dtype).removeprefix('torch.')}; use attn='sdpa'"
        )
    from transformers.utils import is_flash_attn_2_available

    if not is_flash_attn_2_available():  # transformers would fetch a kernel from the hub instead
        raise InputError(
            "flash_attention_2 needs the package flash-attn, which is not installed for this GPU; "
            "pip install flash-attn --no-build-isolation, or use attn='sdpa'"
        )


def _check_quantization(kind: str, quantization: str) -> None:
    if quantization not in QUANTIZATIONS:
        raise InputError(f"there is no quantization {quantization!r}; use '4bit' or '8bit'")
    if kind == "mps":
        raise InputError("bitsandbytes does not run on mps; load the model without quantization")
    missing = [name for name in ("bitsandbytes", "accelerate") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"quantization needs the package {' and '.join(missing)}, not installed here; {LARGE}"
        )
