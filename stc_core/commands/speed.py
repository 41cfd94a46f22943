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
    device: Annotated[str | None, typer.Option(help="cuda or cpu; default: cuda if any.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what compression costs on this machine: stages, methods, lengths, memory."""
    with user_errors():
        if profile is not None and not profile.parent.is_dir():
            raise InputError(f"the folder {profile.parent} for the profile does not exist; make it")
        from stc_core.speed import measure as instrument

        with progress_bar() as progress:
            report = instrument.measure(device, quick=quick, frames=frames, progress=progress)
        print(report.as_json() if as_json else report)
        if profile is not None:
            write_whole(profile, instrument.profile(device))
