"""Turn a published LLaVA-Video checkpoint into one that stock classes open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stc_core.commands.common import progress_bar, user_errors


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(help="Folder of a published LLaVA-Video (LlavaQwenForCausalLM).")
    ],
    output: Annotated[Path, typer.Argument(help="Folder to make, for --model.")],
    vision: Annotated[
        Path | None,
        typer.Option(help="Folder of its SigLIP model, where the checkpoint does not hold it."),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(help="average (13 x 13 tokens a frame) or bilinear; default: as its config."),
    ] = None,
) -> None:
    """Turn a published LLaVA-Video checkpoint into one that --model opens."""
    with user_errors():
        from stc_core.models.llava_video.converter import convert as into

        with progress_bar() as progress:
            config = into(checkpoint, output, vision=vision, pool=pool, progress=progress)
        side = config.tokens_per_side
        print(
            f"{output}: {side} x {side} tokens and {side} newlines a frame, "
            f"by {config.spatial_pool_mode} pooling"
        )
