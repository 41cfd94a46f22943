"""Write clips of the world of shapes as videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stc_core.commands.common import Model, progress_bar, user_errors
from stc_core.errors import InputError
from stc_core.writing import made_folder


def clips(
    directory: Annotated[Path, typer.Argument(help="Folder for the videos and clips.json.")],
    count: Annotated[
        int | None, typer.Option(help="How many; default: the examples of the page.")
    ] = None,
    first: Annotated[int, typer.Option(help="Number of the first development clip.")] = 0,
    frames: Annotated[int, typer.Option(help="Frames of a clip, at 4 a second.")] = 32,
    side: Annotated[int, typer.Option(help="Height and width in pixels, with --count.")] = 320,
    traces: Annotated[
        Path | None, typer.Option(help="Folder for the page's saved traces, made of its examples.")
    ] = None,
    model: Model = None,
) -> None:
    """Write clips of the world of shapes as mp4, with questions, answers and evidence as JSON."""
    with user_errors():
        if traces is not None and count is not None:
            raise InputError("--traces are made of the page's examples; leave --count out")
        from stc_core.shapes.exam.example_clips import EXAMPLES, export, numbered, save_traces

        chosen = EXAMPLES if count is None else numbered(first, count, side)
        if traces is not None:
            made_folder(traces)  # before minutes of drawing
        with progress_bar() as progress:
            export(directory, chosen, model, frames=frames, on_progress=progress)
        if traces is not None:
            save_traces(traces, directory, model)
        print(directory / "clips.json")
