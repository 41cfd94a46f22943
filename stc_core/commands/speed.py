"""Measure what compression costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stc_core.commands.common import AsJson, progress_bar, user_errors
from stc_core.errors import InputError
from stc_core.writing import write_whole


def speed(
    quick: Annotated[
        bool, typer.Option(help="Small tokens, in seconds: ratios and growth, not times.")
    ] = False,
    frames: Annotated[
        list[int] | None,
        typer.Option(
            help="A length in frames of 196 tokens; again for more, however long it takes."
        ),
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Also write the profiler's table into this file.")
    ] = None,
    size: Annotated[
        int, typer.Option(help="Frames of 196 tokens at which stages and methods are measured.")
    ] = 32,
    width: Annotated[
        int | None, typer.Option(help="Width of a token; default: 3584, and 256 with --quick.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Measure nothing: read the speed-*.json of this folder."),
    ] = None,
    write_readme: Annotated[
        Path | None,
        typer.Option(help="With --results: write them here between the marks of 'speed'."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cuda or cpu; default: cuda if any.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what compression costs on this machine: stages, methods, lengths, memory."""
    with user_errors():
        if profile is not None and not profile.parent.is_dir():
            raise InputError(f"the folder {profile.parent} for the profile does not exist; make it")
        if (results is None) != (write_readme is None):
            raise InputError("give --results and --write-readme together, or neither")
        if results is not None and write_readme is not None:
            from stc_core.readme_sections import write_section
            from stc_core.speed.targets import read_reports, section

            write_section(write_readme, "speed", section(read_reports(results)))
            return
        from stc_core.speed import measure as instrument

        with progress_bar() as progress:
            report = instrument.measure(
                device, quick=quick, frames=frames, size=size, width=width, progress=progress
            )
        print(report.as_json() if as_json else report)
        if profile is not None:
            write_whole(profile, instrument.profile(device))
