"""Turn a published LLaVA-Video checkpoint into one that stock classes open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stc_core.commands.common import progress_bar, user_errors


def convert(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="Folder or hub id of a published LLaVA-Video, such as "
            "lmms-lab/LLaVA-Video-7B-Qwen2."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="Folder to make, for --model.")],
    vision: Annotated[
        Path | None,
        typer.Option(help="Folder of its SigLIP model, where the checkpoint does not hold it."),
    ] = None,
    pool: Annotated[
        str, typer.Option(help="average (13 x 13 tokens a frame) or bilinear (14 x 14).")
    ] = "average",
) -> None:
    """Turn a published LLaVA-Video checkpoint into one that --model opens."""
    with user_errors():
        from stc_core.models.llava_video.converter import convert as into

        with progress_bar() as progress:
            config = into(checkpoint, output, vision=vision, pool=pool, progress=progress)
        side = config.tokens_per_side
        print(
            f"{output}: {side} x {side} tokens and {side} newlines a frame, "
            f"by {config.spatial_pool_mode} pooling (its config says "
            f"{config.stc['published_pool']}); frame times are "
            f"{'told' if config.stc['times'] else 'not told'} in prompts"
        )
