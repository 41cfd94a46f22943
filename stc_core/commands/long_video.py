"""Measure what is made for long videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stc_core.commands.common import Device, Model, answer_counter, method_named, user_errors
from stc_core.errors import InputError

long_video = typer.Typer(no_args_is_help=True, help="Measure what is made for long videos.")


@long_video.callback()
def _several() -> None:
    """Keep the name of a command necessary, also where there is one only."""


@long_video.command()
def auto(
    questions: Annotated[int, typer.Option(help="Questions, one about each clip.")] = 260,
    world: Annotated[
        str, typer.Option(help="brief: things are there for a moment; slow: for long.")
    ] = "brief",
    retention: Annotated[
        float, typer.Option(help="Share of the tokens of the model's uniform frames, (0, 1].")
    ] = 0.02,
    method: Annotated[str, typer.Option(help="Compression method.")] = "stc",
    development: Annotated[
        bool, typer.Option(help="Development clips, for choosing settings, instead of held-out.")
    ] = False,
    partial: Annotated[
        Path | None, typer.Option(help="File of answers, from which a stopped run goes on.")
    ] = None,
    model: Model = None,
    device: Device = None,
) -> None:
    """Compare `--frames auto` with uniform frames at equal LLM tokens, on clips of 256 frames."""
    with user_errors():
        from stc_core.benchmark.long_auto import WORLDS, measure, table
        from stc_core.models.loading import load

        if world not in WORLDS:
            raise InputError(f"there is no world {world!r}; choose {' or '.join(WORLDS)}")
        chosen = method_named(method, retention=retention)
        vlm = load(model, device=device)
        with answer_counter() as (_, on_answer):
            ways = measure(
                vlm,
                chosen,
                questions,
                WORLDS[world],
                development=development,
                partial=partial,
                on_answer=on_answer,
            )
        print(table(ways))
