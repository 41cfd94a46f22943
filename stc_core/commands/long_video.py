"""Measure what is particular to long video: frames from the budget, windows, a stream, an hour."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stc_core.commands.common import (
    AsJson,
    Device,
    Model,
    answer_counter,
    method_named,
    progress_bar,
    user_errors,
)
from stc_core.errors import InputError

if TYPE_CHECKING:
    from stc_core.benchmark.long_video import Way
    from stc_core.models.vlm import VLM

Questions = Annotated[int, typer.Option(help="Questions, each about a clip of its own.")]
Retention = Annotated[float, typer.Option(help="Share of the video tokens that enter the LLM.")]
Development = Annotated[
    bool, typer.Option(help="Development clips, for choosing settings, instead of held-out.")
]
Partial = Annotated[
    Path | None,
    typer.Option(help="Add answers to this file as they come, and go on from what it holds."),
]

long_video = typer.Typer(
    no_args_is_help=True, help="Measure what is particular to long video, as Markdown tables."
)


@long_video.command()
def auto(
    questions: Questions = 260,
    world: Annotated[
        str, typer.Option(help="brief: things are there for a moment; slow: for long.")
    ] = "brief",
    retention: Retention = 0.02,
    method: Annotated[str, typer.Option(help="Compression method.")] = "stc",
    development: Development = False,
    partial: Partial = None,
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


@long_video.command()
def windows(
    questions: Questions = 200,
    retention: Retention = 0.02,
    development: Development = False,
    partial: Partial = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Compare STC's windows with the whole video at once, at ten times the clip length."""
    with user_errors():
        _check(questions)
        from stc_core.benchmark.long_video import window_ways
        from stc_core.models.loading import load

        vlm = load(device=device)
        _compare(vlm, window_ways(retention), questions, development, partial, as_json)


@long_video.command()
def stream(
    questions: Questions = 200,
    retention: Retention = 0.02,
    development: Development = False,
    partial: Partial = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Compare streams of bounded pools with the whole video, at ten times the clip length."""
    with user_errors():
        _check(questions)
        from stc_core.benchmark.long_video import TIMES, stream_ways
        from stc_core.models.loading import load
        from stc_core.shapes.exam.grids import fixed_cells

        vlm = load(device=device)
        rows, cols = fixed_cells(vlm.model.config)
        ways = stream_ways(retention, TIMES * vlm.frames, rows * cols)
        _compare(vlm, ways, questions, development, partial, as_json)


@long_video.command()
def hour(
    questions: Annotated[int, typer.Option(help="Processes that answer one each.")] = 1,
    frames: Annotated[int, typer.Option(help="Frames of the video, one a second.")] = 3600,
    as_json: AsJson = False,
) -> None:
    """Measure time and memory of one question about an hour of video."""
    with user_errors():
        from stc_core.benchmark.hour import measure_hour

        report = measure_hour(frames, questions)
        print(json.dumps(report.as_dict()) if as_json else report)


def _check(questions: int) -> None:
    """Refuse no question before a model is loaded."""
    if questions < 1:
        raise InputError(f"at least one question is needed, not {questions}; try 200")


def _compare(
    vlm: VLM,
    ways: dict[str, Way],
    questions: int,
    development: bool,
    partial: Path | None,
    as_json: bool,
) -> None:
    """Ask, and print the table."""
    from stc_core.benchmark.long_video import compare
    from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS

    with progress_bar() as progress:
        report = compare(
            vlm,
            ways,
            questions,
            seeds=DEVELOPMENT_SEEDS if development else HELD_OUT_SEEDS,
            partial=partial,
            on_progress=lambda done, total: progress("answering", done / total),
        )
    print(json.dumps(report.as_dict()) if as_json else report)
