"""The command line.

``python -m stc_core answer | benchmark | speed | evaluate | train | clips | convert | models |
versions``.

Exit code 0: done; 1: done, but some videos could not be read, or a fault of this program, which
leaves a traceback; 2: the input cannot be used or the output cannot be written, with one sentence
on stderr that says why; 130: interrupted; 141: whoever read the output has closed it. Results go to
stdout, progress to stderr.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from .errors import InputError
from .text import checked_text
from .writing import made_folder, write_whole

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
Device = Annotated[
    str | None,
    typer.Option(help="cuda, mps or cpu, or auto for all GPUs; default: the first there is."),
]
Dtype = Annotated[
    str | None, typer.Option(help="bfloat16, float16 or float32; default: what suits the device.")
]
Attn = Annotated[str, typer.Option(help="sdpa, eager or flash_attention_2.")]
Quantization = Annotated[str | None, typer.Option(help="4bit or 8bit, by bitsandbytes.")]
Frames = Annotated[int | None, typer.Option(help="Frames to sample; default: the model's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@cli.command()
def answer(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    question: Annotated[str, typer.Argument(help="A question about it, in plain text.")],
    model: Model = None,
    method: Annotated[str, typer.Option(help="Compression method.")] = "stc",
    retention: Annotated[float, typer.Option(help="Share of video tokens kept, (0, 1].")] = 0.02,
    tau: Annotated[
        float | None, typer.Option(help="Cosine from which a token is redundant; stc: 0.7.")
    ] = None,
    cluster_ratio: Annotated[
        float | None, typer.Option(help="Share of the budget for clusters; stc: 0.3.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="K; stc: 18/28 of the depth.")] = None,
    keep_inside: Annotated[
        float | None, typer.Option(help="R, share kept after layer K; stc: 0.5.")
    ] = None,
    lam: Annotated[
        float | None, typer.Option(help="Weight of similarity in the relevance; stc: 0.5.")
    ] = None,
    positions: Annotated[str, typer.Option(help="original or compact.")] = "original",
    frames: Frames = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = "sdpa",
    quantization: Quantization = None,
    baseline: Annotated[bool, typer.Option(help="Also answer without compression.")] = False,
    trace: Annotated[Path | None, typer.Option(help="Write the trace to this .npz file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask one question about one video."""
    with _sentences():
        checked_text(question, "the question", sys.maxsize)  # the model says how long it may be
        from .video import check_video

        check_video(video)  # before a model is loaded, and what loads models
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
        if trace is not None and trace.is_dir():
            raise InputError(f"{trace} is a folder; name a file for the trace")
        vlm = load(model, device=device, dtype=dtype, attn=attn, quantization=quantization)
        with _bar() as progress:
            result = ask(
                vlm, video, question, chosen, frames=frames, baseline=baseline,
                record=trace is not None, progress=progress,
            )  # fmt: skip
        if trace is not None:
            result.trace.save(trace)
        found = result.trace
        if as_json:
            record = {
                "answer": result.text,
                "logprob": result.logprob,
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
    evidence: Annotated[
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
        from .shapes.calibration import checked_picture, plot
        from .shapes.evaluate import BLANK_EVERY
        from .shapes.evaluate import evaluate as measure
        from .shapes.world import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS

        if reliability is not None:
            checked_picture(reliability)  # before many minutes of answering
        vlm = load(model, device=device)
        around = None if method is None else lambda stock: compress(stock, method)
        with _bar() as progress:
            report = measure(
                vlm,
                questions,
                frames,
                seeds=DEVELOPMENT_SEEDS if development else HELD_OUT_SEEDS,
                evidence=evidence,
                around=around,
                label="" if method is None else repr(method),
                blank=BLANK_EVERY if blank else 0,
                partial=partial,
                on_progress=lambda done, total: progress("answering", done / total),
            )
        if reliability is not None:
            title = f"{report.model}, {report.frames} frames"
            plot(report.calibration, reliability, title)
        print(json.dumps(report.as_dict()) if as_json else report)


@cli.command()
def benchmark(
    output: Annotated[
        Path, typer.Option(help="Folder for the results; a run that was stopped goes on there.")
    ] = Path("assets/results"),
    model: Model = None,
    method: Annotated[
        list[str] | None, typer.Option(help="A method; again for more. Default: all.")
    ] = None,
    retention: Annotated[
        list[float] | None, typer.Option(help="A retention; again for more. Default: 10 to 1 %.")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="main, ablation, sweep or frames; again for more. Default: all."),
    ] = None,
    questions: Annotated[
        int | None, typer.Option(help="Of the main rows; others take a share of it.")
    ] = None,
    frames: Frames = None,
    development: Annotated[
        bool, typer.Option(help="Development clips, for choosing settings, instead of held-out.")
    ] = False,
    videos: Annotated[
        Path | None, typer.Option(help="Folder of videos to ask about instead; all rows alike.")
    ] = None,
    questions_file: Annotated[
        Path | None,
        typer.Option(
            help="With --videos: JSON lines with video, question, answer; if wanted id, kind, "
            "options, and evidence as boxes [start_s, end_s, left, top, right, bottom], sides 0..1."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="A small grid of few short clips, in three minutes.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; default: one a core for the embedded model on a CPU."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Let Ray share the work out: 'local', on all cores and GPUs of this machine; "
            "'auto', on the cluster that it is part of; or HOST:PORT, on another.",
        ),
    ] = None,
    write_readme: Annotated[
        Path | None,
        typer.Option(help="Also write a section between <!-- benchmark --> and its end mark."),
    ] = None,
    device: Device = None,
) -> None:
    """Compare methods: accuracy, evidence, flips, costs; exit code 1 where a clip was skipped."""
    with _sentences():
        if (videos is None) != (questions_file is None):
            raise InputError("--videos and --questions-file belong together; give both")
        own = videos is not None
        if own:  # before torch and a model are loaded
            from .benchmark.questions_file import checked_questions

            checked_questions(videos, questions_file)
        from .benchmark.cases import Shapes
        from .benchmark.folder import Folder
        from .benchmark.grid import grid, settings
        from .benchmark.readme import check_readme
        from .benchmark.readme import write_readme as into
        from .benchmark.results import write
        from .benchmark.run import default_workers, run
        from .benchmark.score import summarise
        from .benchmark.table import tables
        from .loading import load

        chosen = settings(quick, own, questions, retention, part, frames)
        if write_readme is not None:
            check_readme(write_readme)  # before many minutes of answering
        if ray is not None:
            from .benchmark.cluster import check_ray, open_cluster

            check_ray(ray)
        # with Ray only the workers answer, and the GPUs are theirs
        vlm = load(model, device=device if ray is None else "cpu")
        source = Folder(vlm, videos, questions_file) if own else Shapes(vlm, development)
        if chosen["frames"] is None:
            chosen["frames"] = vlm.frames
        depth = len(vlm.model.get_decoder().layers)
        rows = grid(depth, methods=method, settings=vlm.settings, **chosen)
        with _counter() as (tell, on_answer), ExitStack() as stack:
            if ray is None:
                how = {"workers": default_workers(vlm) if workers is None else workers}
            else:
                opened = open_cluster(model, address=ray, device=device, workers=workers, tell=tell)
                how = {"cluster": stack.enter_context(opened)}
            outcome = run(vlm, source, rows, output, tell=tell, on_answer=on_answer, **how)
        summary = summarise(outcome, rows)
        write(summary, output)
        if write_readme is not None:
            into(write_readme, summary, output)
        print(tables(summary))
        if outcome.skipped:
            print(f"{len(outcome.skipped)} cases were skipped", file=sys.stderr)
            raise typer.Exit(1)


@cli.command()
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
    with _sentences():
        if profile is not None and not profile.parent.is_dir():
            raise InputError(f"the folder {profile.parent} for the profile does not exist; make it")
        from . import speed as instrument

        with _bar() as progress:
            report = instrument.measure(device, quick=quick, frames=frames, progress=progress)
        print(report.as_json() if as_json else report)
        if profile is not None:
            write_whole(profile, instrument.profile(device))


@cli.command()
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
    with _sentences():
        from transformers.utils.logging import disable_progress_bar

        from .shapes.train import train as run

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
        )
        if not where.finished:
            here = f"stopped after step {where.done} of {where.steps}"
            print(f"{here}; go on with --resume", file=sys.stderr)
        print(output)


@cli.command()
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
    with _sentences():
        if traces is not None and count is not None:
            raise InputError("--traces are made of the page's examples; leave --count out")
        from .shapes.export import EXAMPLES, export, numbered, save_traces

        chosen = EXAMPLES if count is None else numbered(first, count, side)
        if traces is not None:
            made_folder(traces)  # before minutes of drawing
        with _bar() as progress:
            export(directory, chosen, model, frames=frames, on_progress=progress)
        if traces is not None:
            save_traces(traces, directory, model)
        print(directory / "clips.json")


@cli.command()
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
    with _sentences():
        from .llava_video import convert as into

        with _bar() as progress:
            config = into(checkpoint, output, vision=vision, pool=pool, progress=progress)
        side = config.tokens_per_side
        print(
            f"{output}: {side} x {side} tokens and {side} newlines a frame, "
            f"by {config.spatial_pool_mode} pooling"
        )


@cli.command()
def models(
    write_readme: Annotated[
        Path | None,
        typer.Option(help="Also write the table between <!-- models --> and its end mark."),
    ] = None,
) -> None:
    """List the families of models that this program opens."""
    with _sentences():
        from .models import SECTION, models_table
        from .readme import write_section

        if write_readme is not None:
            write_section(write_readme, SECTION, models_table())
        print(models_table())


@cli.command()
def versions() -> None:
    """Compare the installed packages with those this program was tested with.

    Exit code 1 where one is missing or outside the tested releases.
    """
    with _sentences():
        from .versions import installed

        found = installed()
        for one in found:
            print(one)
        if not all(one.tested for one in found):
            raise typer.Exit(1)


def _method(name: str, **settings):
    """The method of that name with those of these settings that are not None."""
    from .methods import METHODS

    if name.lower() not in METHODS:
        raise InputError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
    kind = METHODS[name.lower()]
    given = {field: value for field, value in settings.items() if value is not None}
    for field in given:
        if field not in kind.__dataclass_fields__:
            option = field.replace("_", "-")
            raise InputError(f"the method {name.lower()} has no --{option}; leave it out")
    return kind(**given)


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn what a person can mend into one sentence and exit code 2; a fault stays a traceback."""
    try:
        yield
    except InputError as error:
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


@contextmanager
def _counter():
    """Two callbacks, (sentence) and (done, total), that share stderr with one bar."""
    from tqdm import tqdm

    with tqdm(file=sys.stderr, unit=" answers", leave=False, dynamic_ncols=True) as bar:

        def on_answer(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield lambda sentence: bar.write(sentence, file=sys.stderr), on_answer


class _Unwritten(Exception):
    """Stdout took no more; the cause is the ``OSError``."""


class _Output:
    """Stdout, whose errors can be told from those of any other file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._checked():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._checked():
            self._stream.flush()

    def give_up(self) -> None:
        """Let what is left in the buffer go nowhere, so that nobody complains at the exit."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    @staticmethod
    @contextmanager
    def _checked() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _Unwritten from error


def main() -> None:
    """Run the command line in this process, to its exit."""
    if sys.stdout is None:  # closed by the caller: then nothing is printed
        cli()
    sys.stdout.reconfigure(errors="backslashreplace")  # an answer may not fit into its encoding
    output = sys.stdout = _Output(sys.stdout)
    try:
        try:
            cli()
        finally:
            output.flush()
    except _Unwritten as unwritten:
        error = unwritten.__cause__
        output.give_up()
        if error.errno == errno.EPIPE:
            sys.exit(141)  # as a shell reports whoever writes into a closed pipe
        print(f"error: cannot write the output: {error.strerror or error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
