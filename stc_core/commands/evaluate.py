"""Examine the embedded model in the world of shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stc_core.models.vlm import VLM

from stc_core.commands.common import AsJson, Device, Frames, method_named, progress_bar, user_errors
from stc_core.errors import InputError


def evaluate(
    questions: Annotated[int, typer.Option(help="Held-out questions, each on its own clip.")] = 500,
    frames: Frames = None,
    model: Annotated[
        str | None, typer.Option(help="Checkpoint folder; default: the embedded model.")
    ] = None,
    retention: Annotated[
        float | None, typer.Option(help="Compress with STC at this ratio; default: not at all.")
    ] = None,
    keep_inside: Annotated[float, typer.Option(help="R, with --retention.")] = 0.5,
    positions: Annotated[str, typer.Option(help="original or compact, with --retention.")] = (
        "original"
    ),
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence", help="Ask with the evidence kept, removed and returned instead."
        ),
    ] = False,
    figure: Annotated[
        Path | None,
        typer.Option(help="With --evidence: draw accuracy by share of the evidence."),
    ] = None,
    familiarity: Annotated[
        bool,
        typer.Option("--familiarity", help="Ask what is told from the model's world instead."),
    ] = False,
    why: Annotated[
        bool,
        typer.Option(
            "--why", help="Search the tokens that turned answers need, and compare with evidence."
        ),
    ] = False,
    real: Annotated[
        Path | None,
        typer.Option(help="With --familiarity: a folder of real videos and pictures, too."),
    ] = None,
    evidence_share: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="Only questions whose evidence is in this share of the tokens, such as 0.001 0.3.",
        ),
    ] = None,
    blank: Annotated[
        bool, typer.Option(help="Ask one question of seven of an empty clip, too.")
    ] = True,
    development: Annotated[
        bool, typer.Option(help="Development clips, for choosing settings, instead of held-out.")
    ] = False,
    partial: Annotated[
        Path | None,
        typer.Option(help="Add answers to this file as they come, and go on from what it holds."),
    ] = None,
    reliability: Annotated[
        Path | None, typer.Option(help="Draw the reliability diagram into this .png or .svg.")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Measure answers in the world of shapes: accuracy, interval, best without looking."""
    with user_errors():
        if questions < 1:
            raise InputError(f"at least one question is needed, not {questions}; try 500")
        if frames is not None and not 1 <= frames <= 64:
            raise InputError(f"the clips of this world have 1 to 64 frames, not {frames}")
        if evidence and (retention is not None or evidence_share or reliability is not None):
            raise InputError(
                "--evidence asks under its own choices of tokens; leave out --retention, "
                "--evidence-share and --reliability"
            )
        if figure is not None and not evidence:
            raise InputError("--figure belongs to --evidence; give both, or neither")
        if real is not None and not familiarity:
            raise InputError("--real belongs to --familiarity; give both, or neither")
        if familiarity and (evidence or retention is not None or evidence_share or reliability):
            raise InputError("--familiarity asks no questions; leave out the options about them")
        if why and (evidence or familiarity or retention is not None or evidence_share):
            raise InputError("--why compresses with STC at 2 %; leave out the other examinations")
        method = None
        if retention is not None:
            method = method_named(
                "stc", retention=retention, keep_inside=keep_inside, positions=positions
            )
        from stc_core.hooks.compression import compress
        from stc_core.models.loading import load
        from stc_core.shapes.exam.asking import BLANK_EVERY
        from stc_core.shapes.exam.calibration import checked_picture, plot
        from stc_core.shapes.exam.evaluation import evaluate as measure
        from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS

        for picture in filter(None, (reliability, figure)):
            checked_picture(picture)  # before many minutes of answering
        vlm = load(model, device=device)
        seeds = DEVELOPMENT_SEEDS if development else HELD_OUT_SEEDS
        if familiarity:
            _familiarity(vlm, questions, real, seeds, as_json)
            return
        if why:
            _why(vlm, questions, frames, seeds, partial, as_json)
            return
        if evidence:
            _examine(vlm, questions, frames, seeds, partial, figure, as_json)
            return
        around = None if method is None else lambda stock: compress(stock, method)
        with progress_bar() as progress:
            report = measure(
                vlm,
                questions,
                frames,
                seeds=seeds,
                evidence=evidence_share,
                around=around,
                label="" if method is None else repr(method),
                blank=BLANK_EVERY if blank else 0,
                partial=partial,
                on_progress=lambda done, total: progress("answering", done / total),
            )
        if reliability is not None:
            if report.calibration is None:
                raise InputError("no answer has a confidence, so no diagram of them can be drawn")
            title = f"{report.model}, {report.frames} frames"
            plot(report.calibration, reliability, title)
        print(json.dumps(report.as_dict()) if as_json else report)


def _examine(
    vlm: VLM,
    questions: int,
    frames: int | None,
    seeds: range,
    partial: Path | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Ask with the evidence kept, removed and returned, and print what was found."""
    from stc_core.shapes.exam.evidence import draw, examine

    with progress_bar() as progress:
        report = examine(
            vlm,
            questions,
            frames,
            seeds=seeds,
            partial=partial,
            on_progress=lambda done, total: progress("answering", done / total),
        )
    if figure is not None:
        draw(report, figure)
    print(json.dumps(report.as_dict()) if as_json else report)


def _why(
    vlm: VLM,
    questions: int,
    frames: int | None,
    seeds: range,
    partial: Path | None,
    as_json: bool,
) -> None:
    """Search what turned answers need, and print how it compares with the evidence."""
    from stc_core.shapes.exam.why_exam import examine_why

    with progress_bar() as progress:
        report = examine_why(
            vlm,
            questions,
            frames,
            seeds=seeds,
            partial=partial,
            on_progress=lambda done, total: progress("searching", done / total),
        )
    print(json.dumps(report.as_dict()) if as_json else report)


def _familiarity(vlm: VLM, clips: int, real: Path | None, seeds: range, as_json: bool) -> None:
    """Count which clips and questions are called foreign, and print it."""
    from stc_core.shapes.exam.familiarity import examine_familiarity

    with progress_bar() as progress:
        report = examine_familiarity(
            vlm,
            clips,
            real,
            seeds=seeds,
            on_progress=lambda done, total: progress("looking", done / total),
        )
    print(json.dumps(report.as_dict()) if as_json else report)
