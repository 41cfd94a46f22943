"""Run all cases under all methods, into a file from which a later run goes on."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc_core.answering.generation import warm_up
from stc_core.benchmark.answers_file import open_record
from stc_core.benchmark.cases import Shapes, Skipped
from stc_core.benchmark.jobs import cells_of, configuration_of, jobs_left, machine_of
from stc_core.benchmark.processes import answered
from stc_core.benchmark.ray_workers import Cluster
from stc_core.benchmark.rows import Row, name_of
from stc_core.benchmark.video_folder import Folder
from stc_core.errors import InputError
from stc_core.hooks.compression import compress
from stc_core.models.memory import context_of
from stc_core.models.vlm import VLM

TEXT_TOKENS = 96  # room for a question, its answer and the template around them
FIRST_CASES = 3  # after which the time is estimated

Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """Hold the outcome of a run.

    Attributes
    ----------
    configuration : dict
        The first line of the result file.
    answers : list of dict
        Of this run and those before, for the rows that were asked for; see ``ask.ask``.
    skipped : list of Skipped
        Cases that could not be asked.
    seconds : float
        Of this run.
    """

    configuration: dict[str, Any]
    answers: Answers
    skipped: list[Skipped]
    seconds: float


def default_workers(vlm: VLM) -> int:
    """Return one process per core where the model is small and the device the CPU, else one."""
    return min(os.cpu_count() or 1, 8) if vlm.embedded and vlm.device == "cpu" else 1


def run(
    vlm: VLM,
    source: Shapes | Folder,
    rows: list[Row],
    folder: Path,
    *,
    workers: int = 1,
    cluster: Cluster | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
    on_answer: Callable[[int, int], None] = lambda done, total: None,
) -> Outcome:
    """Answer every case of every row, except those that the folder's result file already holds.

    Parameters
    ----------
    vlm : VLM
    source : Shapes or Folder
        The questions.
    rows : list of Row
        The methods.
    folder : Path
        Gets ``results.jsonl``; see ``answers_file.open_record``.
    workers : int
        Processes that answer, each with a copy of the model and its share of the cores. More than
        one pays on a CPU with a small model; answers may then differ in the last bits of their
        probabilities from those of one process.
    cluster : Cluster, optional
        Answers instead of this process, perhaps on many machines; see ``ray_workers.open_cluster``.
        ``vlm`` then only decides what can be asked.
    tell : callable
        Called with sentences for the user: the plan, the time, what is skipped.
    on_answer : callable
        Called with (answered, to be answered in this run).

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        A method that does not fit the model, more frames than it reads, or a folder or file that
        cannot be used.
    """
    if workers < 1:
        raise InputError(f"at least one worker is needed, not {workers}")
    rows = _checked(vlm, rows, tell)
    started = time.perf_counter()
    skipped: list[Skipped] = []
    machine = machine_of(vlm) if cluster is None else cluster.about()
    configuration = configuration_of(vlm, source, machine)
    with open_record(folder, configuration) as record:
        total = sum(source.count(row.questions) for row in rows)
        methods = len({name_of(row.method) for row in rows})
        cases = sum(
            source.count(max(row.questions for row in rows if row.frames == frames))
            for frames in {row.frames for row in rows}
        )
        keys = {row.key for row in rows}
        known = Counter(key[1:] for key in record.known)
        there = sum(min(known[row.key], source.count(row.questions)) for row in rows)
        tell(
            f"{cases} cases, {methods} methods and settings, {total} answers"
            + (f", {there} of them known already" if there else "")
        )
        total, done, first = total - there, 0, time.perf_counter()
        finished: set[tuple[str, int]] = set()
        told = False
        if total and workers == 1 and cluster is None:
            warm_up(vlm)  # or the first case would pay for what all need
        jobs = jobs_left(source, rows, record)
        if cluster is None:
            found = answered(vlm, jobs, source.answer_tokens, workers)
        else:
            found = cluster.answered(jobs, source.answer_tokens)
        for case, result in found:
            if isinstance(result, Skipped):
                skipped.append(result)
                tell(f"skipped {result.id}: {result.why}")
                continue
            record.add(result)
            done += 1
            on_answer(done, max(total, done))
            if case is not None:
                finished.add((case.id, case.asked_frames))
            if len(finished) > FIRST_CASES and not told:
                minutes = (time.perf_counter() - first) / done * (total - done) / 60
                tell(f"about {minutes:.0f} minutes for the other {total - done} answers")
                told = True
        answers = [answer for key, answer in record.known.items() if key[1:] in keys]
    return Outcome(configuration, answers, skipped, time.perf_counter() - started)


def _checked(vlm: VLM, rows: list[Row], tell: Callable[[str], None]) -> list[Row]:
    """Return the rows whose frames fit into the model; ``InputError`` unless all methods fit.

    Where the tokens of a frame depend on the video, each case is checked when it is asked.
    """
    cells, most = cells_of(vlm), math.inf
    if cells is not None:
        context = context_of(vlm.model.config) - TEXT_TOKENS
        most = context // (cells[0] * cells[1])
    fitting = [row for row in rows if row.frames <= most]
    if rows[0].frames > most:  # the number that was asked for; others belong to the frame sweep
        raise InputError(f"this model reads at most {most} frames, not {rows[0].frames}")
    for frames in sorted({row.frames for row in rows if row.frames > most}):
        tell(f"left out {frames} frames: this model reads at most {most}")
    for row in fitting:
        if row.method is not None:
            with compress(vlm.model, row.method):  # checks all and changes nothing
                pass
    return fitting
