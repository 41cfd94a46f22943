"""Estimate whether a model fits on a device, before it is loaded or downloaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from stc_core.models.checkpoint import full_config
from stc_core.models.hub import Checkpoint, in_bytes
from stc_core.models.loading import Name, default_frames, described
from stc_core.models.memory import Memory, available, estimate
from stc_core.models.placement import Placement

__all__ = ["Fit", "fit"]


@dataclass(frozen=True)
class Fit:
    """Compare a model with a device.

    Attributes
    ----------
    name : str
    frames : int
        Of the video that is asked about.
    memory : Memory
    device : str
    free : int
        Bytes that the device has left.
    download : int
        Bytes that are not on this machine yet.
    """

    name: str
    frames: int
    memory: Memory
    device: str
    free: int
    download: int

    @property
    def fits(self) -> bool:
        """Tell whether an uncompressed answer has room, as far as the estimate goes."""
        return self.memory.total <= self.free

    def __str__(self) -> str:
        """Say it in a sentence or two."""
        memory = self.memory
        words = (
            f"{self.name} takes about {in_bytes(memory.total)} for {self.frames} frames (weights "
            f"{in_bytes(memory.weights)}, cache {in_bytes(memory.cache)}, work "
            f"{in_bytes(memory.activations)}); {self.device} has {in_bytes(self.free)} left: "
            f"it {'fits' if self.fits else 'does not fit'}."
        )
        if self.download:
            words += f" It is a download of {in_bytes(self.download)}."
        return words


def fit(
    name: Name = None,
    *,
    frames: int | None = None,
    device: str | None = None,
    dtype: torch.dtype | str | None = None,
    quantization: str | None = None,
    freed: int = 0,
) -> Fit:
    """Estimate what ``load`` with these arguments, and then a question, would take.

    Parameters
    ----------
    name, device, dtype, quantization
        As for ``load``. Of a model on the hub a few kB are read.
    frames
        Of the video; default: the checkpoint's own number.
    freed
        Bytes on the device that will be free by then, such as those of a model that makes room.

    Raises
    ------
    InputError
        As ``load``, as far as the config tells.
    """
    place = Placement.of(device, dtype, quantization=quantization)
    where, shown, config = described(name)
    full = full_config(config)
    frames = frames or default_frames(full)
    memory = estimate(full, frames, place.dtype, place.quantization)
    if config.get("quantization_config"):  # FP8, AWQ: the files say what the weights take
        memory = replace(memory, weights=_stored(where))
    coming = sum(where.missing().values()) if hasattr(where, "missing") else 0
    return Fit(shown, frames, memory, place.device, available(place.device) + freed, coming)


def _stored(where: Path | Checkpoint) -> int:
    """Return the bytes of a checkpoint's weight files."""
    if isinstance(where, Checkpoint) and where.cached is None:
        return sum(size for name, size in where.sizes.items() if name.endswith(".safetensors"))
    folder = where if isinstance(where, Path) else where.cached
    assert folder is not None  # the case above
    return sum(file.stat().st_size for file in folder.glob("model*.safetensors"))
