"""Answer the jobs of a benchmark in this process, or in several on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import torch

from stc_core.answering.generation import warm_up
from stc_core.benchmark.cases import Case, Skipped
from stc_core.benchmark.jobs import AHEAD, Job, answers_to
from stc_core.errors import InputError
from stc_core.models.loading import load
from stc_core.models.vlm import VLM


def answered(
    vlm: VLM, jobs: Iterator[Job | Skipped], answer_tokens: int, workers: int
) -> Iterator[tuple[Case | None, dict | Skipped]]:
    """Yield every answer, in the order of the jobs."""
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
        if parent is not None:
            parent.join()
        os._exit(1)  # a killed parent cannot end its workers

    threading.Thread(target=follow, daemon=True).start()
    torch.set_num_threads(threads)
    _there.append(load(name, device=device, dtype=dtype))
    warm_up(_there[0])


def _work_there(job: Job, answer_tokens: int) -> list[dict | Skipped]:
    return list(answers_to(_there[0], job, answer_tokens))
