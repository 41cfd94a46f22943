"""Find the token grid and the frame size of a model."""

from __future__ import annotations

from typing import Any

from stc_core.errors import InputError
from stc_core.models.families import family_of
from stc_core.models.memory import context_of
from stc_core.models.stock import StockProcessor

FRAMES_MOST = 64  # of the clips of an evaluation
TEXT_TOKENS = 64  # room for question, answer and the template around them
FREE_SIZE = (320, 320)  # pixels of a clip for models that take frames of any size


def checked_frames(frames: int, config: Any) -> tuple[int, int]:
    """Return rows and columns of the token grid if so many frames fit into the model's context.

    Raises
    ------
    InputError
        The number of frames is out of range, or the grid differs from video to video.
    """
    if not 1 <= frames <= FRAMES_MOST:
        raise InputError(f"an evaluation's clips have 1 to {FRAMES_MOST} frames, not {frames}")
    rows, cols = fixed_cells(config)
    most = (context_of(config) - TEXT_TOKENS) // (rows * cols)
    if frames > most:
        raise InputError(f"this model reads at most {most} frames, not {frames}")
    return rows, cols


def fixed_cells(config: Any) -> tuple[int, int]:
    """Return rows and columns of the token grid of every frame.

    Raises
    ------
    InputError
        The grid differs from video to video.
    """
    family = family_of(config)
    if family.cell_shape is None:
        raise InputError(
            f"the tokens of a frame differ from video to video in {family.name}; ask it by "
            f"python -m stc_core benchmark --model NAME"
        )
    return family.cell_shape(config)


def frame_size(processor: StockProcessor) -> tuple[int, int]:
    """Return the height and width in pixels to which the processor brings every frame.

    Models that take frames of any size give ``FREE_SIZE``.
    """
    video = processor.video_processor
    for size in (getattr(video, "crop_size", None), video.size):
        if size and size.get("height"):
            return size["height"], size["width"]
    return FREE_SIZE
