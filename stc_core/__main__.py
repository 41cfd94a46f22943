"""The command line: ``python -m stc_core answer | evaluate | train``. Run it with ``--help``.

Exit code 0: done; 2: the input cannot be used, with one sentence on stderr that says why; 130:
interrupted. Results go to stdout, progress to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .errors import InputError

cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Video-token compression for Video-LLMs, with the fate of every token on record.",
)

Model = Annotated[
    str | None,
    typer.Option(help="Checkpoint folder or hub id; default: the embedded teaching model."),
]
Device = Annotated[str | None, typer.Option(help="cuda, mps or cpu; default: the first there is.")]
Frames = Annotated[int | None, typer.Option(help="Frames to sample; default: the model's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@cli.command()
def answer(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    question: Annotated[str, typer.Argument(help="A question about it, in plain text.")],
    model: Model = None,
    method: Annotated[str, typer.Option(help="Compression method.")] = "stc",
    retention: Annotated[float, typer.Option(help="Share of video tokens kept, (0, 1].")] = 0.02,
    tau: Annotated[float, typer.Option(help="Cosine from which a token is redundant.")] = 0.7,
    cluster_ratio: Annotated[float, typer.Option(help="Share of the budget for clusters.")] = 0.3,
    layer: Annotated[int | None, typer.Option(help="K; default: 18/28 of the depth.")] = None,
    keep_inside: Annotated[float, typer.Option(help="R, share kept after layer K.")] = 0.5,
    lam: Annotated[float, typer.Option(help="Weight of similarity in the relevance.")] = 0.5,
    positions: Annotated[str, typer.Option(help="original or compact.")] = "original",
    frames: Frames = None,
    device: Device = None,
    baseline: Annotated[bool, typer.Option(help="Also answer without compression.")] = False,
    trace: Annotated[Path | None, typer.Option(help="Write the trace to this .npz file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask one question about one video."""
    with _sentences():
        from .answering import answer as ask
        from .loading import load

        chosen = _method(
            method,
            retention=retention,
            tau=tau,
            cluster_ratio=cluster_ratio,
            layer=layer,
            keep_inside=keep_inside,
            lam=lam,
            positions=positions,
        )
        if trace is not None and not trace.parent.is_dir():
            raise InputError(f"the folder {trace.parent} for the trace does not exist; create it")
        from .decoding import checked_file

        checked_file(video)  # before a model is loaded
        vlm = load(model, device=device)
        with _bar() as progress:
            result = ask(
                vlm, video, question, chosen, frames=frames, baseline=baseline, progress=progress
            )
        if trace is not None:
            result.trace.save(trace)
        found = result.trace
        if as_json:
            record = {
                "answer": result.text,
                "uncompressed": found.baseline.get("answer"),
                "question": question,
                "video": str(video),
                "model": found.model,
                "method": found.method,
                "grid": [found.grid.frames, found.grid.rows, found.grid.cols],
                "tokens": found.alive(),
                "fates": found.counts(),
                "costs": found.costs,
                "uncompressed_costs": found.baseline.get("costs"),
                "notes": list(found.notes),
                "trace": None if trace is None else str(trace),
            }
            print(json.dumps(record, ensure_ascii=False))
            return
        print(result.text)
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
        steps = " -> ".join(str(count) for count in found.alive())
        print(f"{steps} video tokens, {found.method}", file=sys.stderr)
        if found.baseline:
            print(f"uncompressed: {found.baseline['answer']}", file=sys.stderr)


@cli.command()
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
    development: Annotated[
        bool, typer.Option(help="Development clips, for choosing settings, instead of held-out.")
    ] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Measure answers in the world of shapes: accuracy, interval, best without looking."""
    with _sentences():
        if questions < 1:
            raise InputError(f"at least one question is needed, not {questions}; try 500")
        if frames is not None and not 1 <= frames <= 64:
            raise InputError(f"the clips of this world have 1 to 64 frames, not {frames}")
        method = None
        if retention is not None:
            method = _method(
                "stc", retention=retention, keep_inside=keep_inside, positions=positions
            )
        from .compression import compress
        from .loading import load
        from .shapes.evaluate import evaluate as measure
        from .shapes.world import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS

        vlm = load(model, device=device)
        around = None if method is None else lambda stock: compress(stock, method)
        with _bar() as progress:
            report = measure(
                vlm,
                questions,
                vlm.frames if frames is None else frames,
                seeds=DEVELOPMENT_SEEDS if development else HELD_OUT_SEEDS,
                around=around,
                label="" if method is None else repr(method),
                on_progress=lambda done, total: progress("answering", done / total),
            )
        print(json.dumps(report.as_dict()) if as_json else report)


@cli.command()
def train(
    output: Annotated[Path, typer.Option(help="Folder for the checkpoint.")] = Path("runs/model"),
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run was stopped.")] = False,
    scale: Annotated[float, typer.Option(help="Factor on the steps of every stage.")] = 1.0,
    device: Device = None,
) -> None:
    """Train the embedded model from nothing."""
    with _sentences():
        from .shapes.train import train as run

        print(run(output, resume=resume, scale=scale, device=device))


def _method(name: str, **settings):
    """The method of that name with these settings."""
    from .methods import METHODS

    if name.lower() not in METHODS:
        raise InputError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
    return METHODS[name.lower()](**settings)


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn what a person can mend into one sentence and exit code 2."""
    try:
        yield
    except ValueError as error:  # InputError is one
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(130) from None


@contextmanager
def _bar():
    """A progress callback (stage, share 0..1) that draws one bar on stderr."""
    from tqdm import tqdm

    with tqdm(total=100, file=sys.stderr, bar_format="{l_bar}{bar}| {elapsed}", leave=False) as bar:

        def progress(stage: str, share: float) -> None:
            bar.update(max(0, round(100 * share) - bar.n))
            if bar.desc != f"{stage}: ":
                bar.set_description(stage)  # and draw, however soon after the stage before

        yield progress


if __name__ == "__main__":
    cli()
