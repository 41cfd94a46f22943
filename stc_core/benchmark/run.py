"""The run: all cases under all methods, into a file that a later run goes on with."""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import __version__
from ..compression import compress
from ..errors import InputError
from ..loading import VLM, load
from ..methods import Method
from ..shapes.evaluate import fingerprint
from .ask import ask
from .cases import Case, Shapes, Skipped
from .folder import Folder
from .grid import Row, name_of
from .record import Record, open_record

if TYPE_CHECKING:
    from .cluster import Cluster

TEXT_TOKENS = 96  # room for a question, its answer and the template around them
FIRST_CASES = 3  # after which the time is estimated
AHEAD = 2  # cases rendered in advance for each worker

Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What a run leaves.

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


def configuration_of(vlm: VLM, source: Shapes | Folder, machine: dict[str, Any]) -> dict[str, Any]:
    """All that must be the same for answers to be comparable; ``machine``: see ``machine_of``."""
    return {
        "benchmark": __version__,
        "model": vlm.name,
        **{name: value for name, value in machine.items() if name != "versions"},
        "cells": _cells(vlm),
        "answer_tokens": source.answer_tokens,
        **source.about(),
        "versions": machine["versions"],
    }


def machine_of(vlm: VLM) -> dict[str, Any]:
    """The part of the configuration that depends on the process that answers."""
    return {
        "checkpoint": fingerprint(vlm.model),
        "device": vlm.device.split(":")[0],
        "dtype": str(vlm.model.dtype).removeprefix("torch."),
        "attention": vlm.model.config._attn_implementation,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "numpy")},
        },
    }


def _cells(vlm: VLM) -> list[int] | None:
    """[rows, columns] of every frame; None where the model's processor chooses them per video."""
    shape = vlm.family.cell_shape
    return None if shape is None else list(shape(vlm.model.config))


def default_workers(vlm: VLM) -> int:
    """One process a core where the model is small and the device the CPU, else one."""
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
    """Answer every case of every row, but for those that the folder's result file holds already.

    Parameters
    ----------
    vlm, source, rows
        Model, questions, methods.
    folder
        Gets ``results.jsonl``; see ``record.open_record``.
    workers
        Processes that answer, each with a copy of the model and its share of the cores. More than
        one pays on a CPU with a small model; answers may then differ in the last bits of their
        probabilities from those of one process.
    cluster
        Answers instead, and may be of many machines; see ``cluster.open_cluster``. The model here
        then only says what can be asked.
    tell
        Called with sentences for the person who waits: the plan, the time, what is skipped.
    on_answer
        Called with (answered, to be answered in this run).

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
            vlm.warm_up()  # or the first case would pay for what all need
        jobs = _jobs(source, rows, record)
        if cluster is None:
            found = _answered(vlm, jobs, source.answer_tokens, workers)
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
            finished.add((case.id, case.asked_frames))
            if len(finished) > FIRST_CASES and not told:
                minutes = (time.perf_counter() - first) / done * (total - done) / 60
                tell(f"about {minutes:.0f} minutes for the other {total - done} answers")
                told = True
        answers = [answer for key, answer in record.known.items() if key[1:] in keys]
    return Outcome(configuration, answers, skipped, time.perf_counter() - started)


def _checked(vlm: VLM, rows: list[Row], tell: Callable[[str], None]) -> list[Row]:
    """The rows of frames that the model has room for; ``InputError`` unless all methods fit.

    Where tokens a frame are chosen per video, each case finds out by itself.
    """
    cells, most = _cells(vlm), math.inf
    if cells is not None:
        context = vlm.model.config.text_config.max_position_embeddings - TEXT_TOKENS
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


Job = tuple[Case, list[Method | None]]


def _answered(
    vlm: VLM, jobs: Iterator[Job | Skipped], answer_tokens: int, workers: int
) -> Iterator[tuple[Case | None, dict | Skipped]]:
    """Every answer, in the order of the jobs."""
    if workers == 1:
        for job in jobs:
            if isinstance(job, Skipped):
                yield None, job
            else:
                yield from ((job[0], one) for one in answers_to(vlm, job, answer_tokens))
        return
    with _pool(vlm, workers) as pool:
        waiting: deque[tuple[Case | None, Future | Skipped]] = deque()

        def first() -> Iterator[tuple[Case | None, dict | Skipped]]:
            case, result = waiting.popleft()
            found = [result] if isinstance(result, Skipped) else result.result()
            yield from ((case, one) for one in found)

        for job in jobs:
            if isinstance(job, Skipped):
                waiting.append((None, job))
            else:
                future = pool.submit(_work_there, job, answer_tokens)
                waiting.append((job[0], future))
            if len(waiting) > AHEAD * workers:
                yield from first()
        while waiting:
            yield from first()


def _jobs(source: Shapes | Folder, rows: list[Row], record: Record) -> Iterator[Job | Skipped]:
    """Each case with the methods that it is still to be asked under."""
    for frames in dict.fromkeys(row.frames for row in rows):
        here = [row for row in rows if row.frames == frames]
        most = max(row.questions for row in here)
        for number, case in enumerate(source.cases(most, frames)):
            if isinstance(case, Skipped):
                yield case
                continue
            left = [
                row.method
                for row in here
                if number < row.questions and (case.id, *row.key) not in record.known
            ]
            if left:
                yield case, left


def answers_to(vlm: VLM, job: Job, answer_tokens: int) -> Iterator[dict | Skipped]:
    """One after the other, as ``ask`` gives them."""
    case, methods = job
    try:
        yield from ask(vlm, case, methods, answer_tokens)
    except InputError as error:  # a question that the model cannot read, features that are nan
        yield Skipped(case.id, str(error))


# In the processes that answer ---------------------------------------------------------------------

_there: list[VLM] = []  # the model of this process


def _pool(vlm: VLM, workers: int) -> ProcessPoolExecutor:
    name = None if vlm.embedded else vlm.model.config.name_or_path  # the folder it was read from
    if name == "":
        raise InputError("a model that was not loaded from a checkpoint takes one worker only")
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(name, vlm.device, vlm.model.dtype, threads),
    )


def _begin(name: str | None, device: str, dtype: torch.dtype, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)  # a killed parent cannot end its workers

    threading.Thread(target=follow, daemon=True).start()
    torch.set_num_threads(threads)
    _there.append(load(name, device=device, dtype=dtype))
    _there[0].warm_up()


def _work_there(job: Job, answer_tokens: int) -> list[dict | Skipped]:
    return list(answers_to(_there[0], job, answer_tokens))
