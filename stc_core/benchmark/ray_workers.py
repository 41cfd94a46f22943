"""Answer a benchmark with workers on all cores and GPUs of one or many machines, by Ray (optional).

Ray starts the processes, moves clips and answers, and notices what dies (arXiv 1712.05889). Jobs
are assigned here, one per worker, so that a worker's end names the job that it had.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from stc_core.answering.generation import warm_up
from stc_core.benchmark.cases import Case, Skipped
from stc_core.benchmark.jobs import AHEAD, Job, answers_to, machine_of
from stc_core.errors import InputError
from stc_core.models.loading import load

TRIES = 2  # workers that may die of one job before it is given up
REACH = 5.0  # seconds for a cluster to take a call
LOCAL = {  # the environment of a Ray of one's own
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system: it keeps to the loopback
    "RAY_worker_niceness": "0",  # times are measured: workers are as urgent as any process
}


@dataclass(frozen=True)
class Share:
    """Tell how many workers there are and how much of a machine each has.

    More than one of ``gpus`` are for a model that accelerate spreads over them.
    """

    workers: int
    threads: int
    gpus: int

    def __str__(self) -> str:
        each = f"{self.gpus} GPU" if self.gpus else f"{self.threads} thread"
        count = self.gpus or self.threads
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{workers} of {each}{'s' * (count > 1)}"


def share_of(
    machines: Iterable[tuple[int, int]], *, workers: int | None, device: str | None, small: bool
) -> Share:
    """Divide machines among workers, to the last core.

    Parameters
    ----------
    machines : iterable of (int, int)
        (cores, GPUs) of each.
    workers : int or None
        None: one per GPU; with the device "auto", or without GPUs, one per machine; but one per
        core where the model is small.
    device : str or None
        "cuda", "cpu", "mps"; "auto": accelerate spreads each model over the worker's GPUs; None:
        GPUs if there are any.
    small : bool
        Whether the model is small.

    Returns
    -------
    Share

    Raises
    ------
    InputError
        No GPU, or no room for so many workers.
    """
    machines = list(machines)
    gpus = sum(gpu for _, gpu in machines)
    if device is not None and device.startswith("cuda"):
        if device != "cuda":
            raise InputError(f"Ray gives each worker a GPU of its own; say 'cuda', not {device!r}")
        if not gpus:
            raise InputError("no machine of the cluster has a GPU; use the device 'cpu'")

    def room(threads: int, each: int) -> int:
        return sum(
            min(cores // threads, gpu // each) if each else cores // threads
            for cores, gpu in machines
        )

    on_gpus = gpus > 0 and device in (None, "cuda", "auto")
    if workers is None:
        if on_gpus:
            workers = sum(gpu > 0 for _, gpu in machines) if device == "auto" else gpus
        else:
            workers = room(1, 0) if small else len(machines)
    least = int(on_gpus)
    if not 1 <= workers <= room(1, least):
        kind = "GPUs" if on_gpus else "cores"
        raise InputError(
            f"the {kind} of the cluster have room for {room(1, least)} workers, not {workers}"
        )
    each = least
    while device == "auto" and on_gpus and room(1, each + 1) >= workers:
        each += 1
    threads = 1
    while room(threads + 1, each) >= workers:
        threads += 1
    return Share(workers, threads, each)


class Worker:
    """Run in a process of its own, by Ray: one model that answers one job after the other."""

    def begin(self, model: str | None, device: str | None, threads: int) -> dict[str, Any]:
        """Open the model and return what must be the same for all workers."""
        torch.set_num_threads(threads)
        self._vlm = load(model, device=device)
        warm_up(self._vlm)
        return machine_of(self._vlm)

    def answer(self, job: Job, answer_tokens: int) -> list[dict[str, Any] | Skipped]:
        return list(answers_to(self._vlm, job, answer_tokens))


@contextmanager
def open_cluster(
    model: str | None = None,
    *,
    address: str = "local",
    device: str | None = None,
    workers: int | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Cluster]:
    """Open the same model in several workers, for ``run``; at the end nothing is left of them.

    Parameters
    ----------
    model, device : str or None
        As for ``load``. A folder must be on every machine, and so must this package.
    address : str
        As for ``ray.init``: "local" for a Ray of this run's own, which only this machine reaches,
        "auto" for the cluster that runs on this machine, or its "host:port". Where the program
        has called ``ray.init`` itself, that cluster is used.
    workers : int or None
        See ``share_of``.
    tell : callable
        Called with sentences for the user: how many workers there are, which died.

    Yields
    ------
    Cluster

    Raises
    ------
    InputError
        Ray is not installed, there is no cluster at the address, or no room.
    """
    with _connected(address) as ray:
        machines = [
            (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
            for node in ray.nodes()
            if node["Alive"]
        ]
        share = share_of(machines, workers=workers, device=device, small=model is None)
        if model is not None and Path(model).is_dir():
            model = str(Path(model).resolve())  # workers may stand in another folder
        tell(str(share))
        cluster = Cluster(ray, share, (model, device, share.threads), tell)
        try:
            yield cluster
        finally:
            cluster.close()


class Cluster:
    """Hold workers that open their models, wait or answer; made by ``open_cluster``."""

    def __init__(
        self, ray: Any, share: Share, beginning: tuple, tell: Callable[[str], None]
    ) -> None:
        self.share = share
        self._ray, self._beginning, self._tell = ray, beginning, tell
        self._kind = ray.remote(Worker).options(
            num_cpus=share.threads, num_gpus=share.gpus, scheduling_strategy="SPREAD"
        )
        self._about: dict[str, Any] | None = None
        self._queue: deque[_Task] = deque()  # not given to a worker yet
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, _Task | None]] = {}  # without a task it opens its model
        for _ in range(share.workers):
            self._start()

    def about(self) -> dict[str, Any]:
        """Wait for the first worker and return its ``machine_of``, the same on all workers."""
        while self._about is None:
            self._turn()
        return self._about

    def answered(
        self, jobs: Iterable[Job | Skipped], answer_tokens: int
    ) -> Iterator[tuple[Case | None, dict[str, Any] | Skipped]]:
        """Yield every answer, in the order of the jobs.

        The job of a worker that died is done again by another. A case on which two died is skipped.
        """
        self._queue.clear()
        order: deque[_Task] = deque()
        for job in jobs:
            if isinstance(job, Skipped):
                order.append(_Task(None, found=[job]))
            else:
                order.append(_Task(job[0], (job, answer_tokens)))
                self._queue.append(order[-1])
            self._turn(wait=False)
            while len(order) > AHEAD * self.share.workers:
                yield from self._answers(order.popleft())
        while order:
            yield from self._answers(order.popleft())

    def close(self) -> None:
        """End all workers."""
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            self._ray.kill(worker)

    def _answers(self, task: _Task) -> Iterator[tuple[Case | None, dict[str, Any] | Skipped]]:
        while task.found is None:
            self._turn()
        for one in task.found:
            yield task.case, one

    def _turn(self, wait: bool = True) -> None:
        """Take what is ready, then give tasks to all workers that have none."""
        if self._busy:
            ready, _ = self._ray.wait(list(self._busy), timeout=None if wait else 0)
            for reference in ready:
                self._take(reference)
        while self._idle and self._queue:
            worker, task = self._idle.pop(), self._queue.popleft()
            self._busy[worker.answer.remote(*task.arguments)] = worker, task

    def _take(self, reference: Any) -> None:
        worker, task = self._busy[reference]
        errors = self._ray.exceptions
        try:
            found = self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause from error
        except (errors.RayActorError, errors.ObjectLostError) as error:
            del self._busy[reference]
            self._ray.kill(worker)  # it may only be out of reach
            self._lost(task, error)
            return
        if task is None:
            self._agree(found)
        else:
            task.found = found
        del self._busy[reference]
        self._idle.append(worker)

    def _lost(self, task: _Task | None, error: Exception) -> None:
        if task is None:  # another would hardly fare better
            why = str(error).strip().rpartition("\n")[2].rstrip(".")
            if not self._busy and not self._idle:
                raise InputError(
                    f"all workers died while they opened the model ({why}); every machine needs "
                    f"the same packages, and memory for its workers"
                )
            self._tell(f"a worker died while it opened the model ({why})")
            return
        task.deaths += 1
        if task.deaths < TRIES:
            self._tell(f"a worker died on {task.id}; another does it again")
            self._queue.appendleft(task)
        else:
            why = f"{TRIES} workers died of it; there may be too little memory for it"
            task.found = [Skipped(task.id, why)]
        self._start()

    def _start(self) -> None:
        worker = self._kind.remote()
        self._busy[worker.begin.remote(*self._beginning)] = worker, None

    def _agree(self, about: dict[str, Any]) -> None:
        self._about = self._about or about
        differs = [name for name, value in about.items() if value != self._about[name]]
        if differs:
            raise InputError(
                f"the workers differ in {', '.join(differs)}; give every machine the same packages "
                f"and the same model"
            )


@dataclass(eq=False)
class _Task:
    """Follow a job on its way to its answers."""

    case: Case | None
    arguments: tuple[Job, int] | tuple[()] = ()  # of Worker.answer
    found: list[dict[str, Any] | Skipped] | None = None
    deaths: int = 0

    @property
    def id(self) -> str:
        """Of the case; "" of a task that no worker gets, because its case was skipped before."""
        return "" if self.case is None else self.case.id


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Yield the ``ray`` module, connected; what ``ray.init`` changes in this process is undone."""
    before, on_term = _variables(), signal.getsignal(signal.SIGTERM)
    os.environ.update(LOCAL if address == "local" else {})
    try:
        check_ray(address)
        import ray

        if ray.is_initialized():
            yield ray
            return
        try:
            ray.init(
                address=address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # of many types
            raise InputError(f"Ray does not start at {address!r}: {error}") from error
        try:
            yield ray
        finally:
            ray.shutdown(wait_for_processes=True)
    finally:
        for name in _variables():
            del os.environ[name]
        os.environ.update(before)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)


def _variables() -> dict[str, str]:
    """Return those of the environment that Ray sets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("RAY_") or name == "PYTHONBREAKPOINT"
    }


def check_ray(address: str) -> None:
    """Raise ``InputError`` where Ray is not installed or nobody answers at the address."""
    if find_spec("ray") is None:
        raise InputError(
            'the package ray is not installed; pip install "stc-core[ray]", in a checkout '
            "pip install -r requirements-ray.txt"
        )
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address:
        return
    try:  # Ray itself would try for minutes
        socket.create_connection((host, int(port)), timeout=REACH).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Ray cluster answers at {address!r} ({error}); start one with 'ray start', or say "
            f"'local' for a Ray on this machine alone"
        ) from None
