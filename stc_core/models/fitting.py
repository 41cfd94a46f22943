"""Estimate whether a model fits on a device, before it is loaded or downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from stc_core.errors import InputError
from stc_core.models.checkpoint import PROCESSOR, first_line, full_config
from stc_core.models.families import FAMILIES, family_of
from stc_core.models.hub import Checkpoint, in_bytes
from stc_core.models.loading import (
    Name,
    default_frames,
    described,
    stored_bytes,
)
from stc_core.models.memory import FRAME, Memory, available, estimate, merge_of
from stc_core.models.placement import Placement
from stc_core.models.processors import (
    check_frame_pixels,
    grid_of_video,
    open_video_processor,
)
from stc_core.models.stock import StockConfig

__all__ = ["Fit", "fit"]


@dataclass(frozen=True)
class Fit:
    """Compare a model with a device.

    Attributes
    ----------
    name : str
    frames : int
        Of the video that is asked about.
    size : (height, width) or None
        Of its frames in pixels, where the grid depends on it.
    memory : Memory
    device : str
    free : int
        Bytes that the device has left.
    download : int
        Bytes that are not on this machine yet.
    """

    name: str
    frames: int
    size: tuple[int, int] | None
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
        frames = f"{self.frames} frames"
        if self.size is not None:
            frames += f" of {self.size[1]} x {self.size[0]} pixels"
        words = (
            f"{self.name} takes about {in_bytes(memory.total)} for {frames} (weights "
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
    size: tuple[int, int] = FRAME,
    device: str | None = None,
    dtype: torch.dtype | str | None = None,
    quantization: str | None = None,
    frame_pixels: int | None = None,
    freed: int = 0,
) -> Fit:
    """Estimate what ``load`` with these arguments, and then a question, would take.

    Parameters
    ----------
    name, device, dtype, quantization, frame_pixels
        As for ``load``. Of a model on the hub a few kB are read.
    frames
        Of the video; default: the checkpoint's own number.
    size
        (height, width) of its frames in pixels. It matters where the processor chooses the grid of
        each video, and then the processor is asked.
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
    family = FAMILIES[config["model_type"]]
    check_frame_pixels(family, frame_pixels)
    frames = frames or default_frames(full)
    visual = None
    if family.cell_shape is None:
        visual = _asked(where, shown, full, frames, size, frame_pixels)
    memory = estimate(
        full,
        frames,
        place.dtype,
        place.quantization,
        stored=stored_bytes(where, config, place),
        visual=visual,
    )
    coming = sum(where.missing().values()) if hasattr(where, "missing") else 0
    measured = size if visual else None
    return Fit(
        shown, frames, measured, memory, place.device, available(place.device) + freed, coming
    )


def _asked(
    where: Path | Checkpoint,
    shown: str,
    config: StockConfig,
    frames: int,
    size: tuple[int, int],
    frame_pixels: int | None,
) -> tuple[int, int]:
    """Return the (video tokens, patches) that the checkpoint's processor makes of a video."""
    family = family_of(config)
    folder = where if isinstance(where, Path) else where.small("config.json", *PROCESSOR)
    try:
        video_processor = open_video_processor(folder, family, frame_pixels)
        steps, rows, cols = grid_of_video(
            video_processor, family, family.step(config), frames, size
        )
    except Exception as error:  # files from outside: any kind
        raise InputError(
            f"the processor of {shown!r} does not tell the tokens of {frames} frames of "
            f"{size[1]} x {size[0]} pixels: {first_line(error)}; check its files and the size"
        ) from error
    return steps * rows * cols // merge_of(config) ** 2, steps * rows * cols
