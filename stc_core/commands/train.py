"""Train the embedded model."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from stc_core.commands.common import user_errors


def train(
    output: Annotated[Path, typer.Option(help="Folder for the checkpoint.")] = Path("runs/model"),
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run was stopped.")] = False,
    scale: Annotated[float, typer.Option(help="Factor on the steps of every stage.")] = 1.0,
    stop_after: Annotated[
        float | None, typer.Option(help="Minutes after which to save and stop, to --resume later.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Checkpoint folder whose weights to begin with.")
    ] = None,
    first_stage: Annotated[
        int, typer.Option(help="Stage to begin with, counted from 0, as with --start.")
    ] = 0,
    compiled: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Default: on a CPU with a C++ compiler."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cuda or cpu; default: cuda if any.")] = None,
) -> None:
    """Train the embedded model from nothing: in one go, or in several with --stop-after."""
    with user_errors():
        from transformers.utils.logging import disable_progress_bar

        from stc_core.shapes.model.training import train as run

        disable_progress_bar()  # one bar is enough
        where = run(
            output,
            resume=resume,
            scale=scale,
            stop_after=math.inf if stop_after is None else stop_after,
            start=start,
            first_stage=first_stage,
            compiled=compiled,
            device=device,
            familiarity=True,
        )
        if not where.finished:
            here = f"stopped after step {where.done} of {where.steps}"
            print(f"{here}; go on with --resume", file=sys.stderr)
        print(output)
