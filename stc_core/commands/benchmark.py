"""Compare methods on the same questions."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stc_core.benchmark.cases import Shapes
    from stc_core.benchmark.rows import Row
    from stc_core.benchmark.video_folder import Folder
    from stc_core.models.vlm import VLM

from stc_core.commands.common import Device, Frames, Model, answer_counter, user_errors
from stc_core.errors import InputError


def benchmark(
    output: Annotated[
        Path, typer.Option(help="Folder for the results; a run that was stopped goes on there.")
    ] = Path("assets/results"),
    model: Model = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A method, or several in each other: 'SToP(VisionZip())'; again for more. "
            "Default: all."
        ),
    ] = None,
    retention: Annotated[
        list[float] | None, typer.Option(help="A retention; again for more. Default: 10 to 1 %.")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="main, flops, ablation, sweep or frames; again for more. Default: all."),
    ] = None,
    questions: Annotated[
        int | None,
        typer.Option(
            help="Of the main rows; others take a share of it. With --why: most turned questions "
            "of each row."
        ),
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
    why: Annotated[
        bool,
        typer.Option(
            "--why",
            help="Answer nothing; add to the results in --output why answers were turned. Default: "
            "the main rows of STC at 2 %, and their first 200 turned questions; again to go on.",
        ),
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
    track: Annotated[
        str | None,
        typer.Option(
            metavar="TRACKER:PROJECT",
            help="Also log the table as a run: trackio:PROJECT or wandb:PROJECT (offline unless "
            "WANDB_MODE says otherwise).",
        ),
    ] = None,
    device: Device = None,
) -> None:
    """Compare methods: accuracy, evidence, flips, costs; exit code 1 where a clip was skipped."""
    with user_errors():
        if (videos is None) != (questions_file is None):
            raise InputError("--videos and --questions-file belong together; give both")
        if why and (ray is not None or workers is not None or write_readme is not None or quick):
            raise InputError(
                "--why explains answers in this process; leave out --quick, --ray, --workers and "
                "--write-readme"
            )
        if why and track is not None:
            raise InputError("--why makes no table; leave out --track")
        own = videos is not None
        if own and part and "flops" in part:
            raise InputError("--part flops compares on clips of one size; leave out --videos")
        if videos is not None and questions_file is not None:  # before torch and a model are loaded
            from stc_core.benchmark.questions_file import checked_questions

            checked_questions(videos, questions_file)
        from stc_core.benchmark.cases import Shapes
        from stc_core.benchmark.equal_flops import cost_on
        from stc_core.benchmark.readme_section import check_readme
        from stc_core.benchmark.readme_section import write_readme as into
        from stc_core.benchmark.result_files import write
        from stc_core.benchmark.rows import CLOSE, grid, settings
        from stc_core.benchmark.run import default_workers, run
        from stc_core.benchmark.score import summarize
        from stc_core.benchmark.tables import tables
        from stc_core.benchmark.video_folder import Folder
        from stc_core.models.loading import load
        from stc_core.record.flops import LLMShape

        if why:
            method, part = method or ["stc"], part or ["main"]
            retention, most, questions = retention or [CLOSE], questions, None
        chosen = settings(quick, own, questions, retention, part, frames)
        if write_readme is not None:
            check_readme(write_readme)  # before many minutes of answering
        if ray is not None:
            from stc_core.benchmark.ray_workers import check_ray, open_cluster

            check_ray(ray)
        tracked = None
        if track is not None:
            from stc_core.benchmark.tracking import check_tracker
            from stc_core.benchmark.tracking import track as log

            tracked = check_tracker(track)
        # with Ray only the workers answer, and the GPUs are theirs
        vlm = load(model, device=device if ray is None else "cpu")
        source: Shapes | Folder = Shapes(vlm, development)
        if videos is not None and questions_file is not None:
            source = Folder(vlm, videos, questions_file)
        if chosen["frames"] is None:
            chosen["frames"] = vlm.frames
        depth = len(vlm.model.get_decoder().layers)
        cost = None
        # ``grid`` refuses a number of frames below 1
        if "flops" in chosen["parts"] and isinstance(source, Shapes) and chosen["frames"] > 0:
            shape = LLMShape.from_config(vlm.model.config)
            cost = cost_on(shape, source.grid(chosen["frames"]))
        rows = grid(depth, methods=method, settings=vlm.settings, cost=cost, **chosen)
        if why:
            _explain(vlm, source, rows, output, most)
            return
        with answer_counter() as (tell, on_answer), ExitStack() as stack:
            how: dict[str, Any]
            if ray is None:
                how = {"workers": default_workers(vlm) if workers is None else workers}
            else:
                opened = open_cluster(model, address=ray, device=device, workers=workers, tell=tell)
                how = {"cluster": stack.enter_context(opened)}
            outcome = run(vlm, source, rows, output, tell=tell, on_answer=on_answer, **how)
        summary = summarize(outcome, rows)
        write(summary, output)
        if write_readme is not None:
            into(write_readme, summary, output)
        if tracked is not None:
            log(summary, tracked[0], project=tracked[1])
        print(tables(summary))
        if outcome.skipped:
            print(f"{len(outcome.skipped)} cases were skipped", file=sys.stderr)
            raise typer.Exit(1)


def _explain(
    vlm: VLM, source: Shapes | Folder, rows: list[Row], output: Path, most: int | None
) -> None:
    """Find the causes of turned answers, and print how many there are of each."""
    from stc_core.benchmark.causes import MOST, cause_table, explain_turned

    with answer_counter() as (tell, on_answer):
        found, skipped = explain_turned(
            vlm,
            source,
            rows,
            output,
            most=MOST if most is None else most,
            tell=tell,
            on_answer=on_answer,
        )
    print(cause_table(found))
    if skipped:
        print(f"{len(skipped)} answers could not be explained", file=sys.stderr)
        raise typer.Exit(1)
