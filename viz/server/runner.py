"""Hold one model and run one question at a time, in a run that can be watched and stopped.

No gradio here, and no torch before the model is wanted: the page is up before they are imported.
"""

from __future__ import annotations

import contextvars
import errno
import logging
import queue
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from stc_core.errors import InputError
from stc_core.text import readable
from viz.server.turns import Turns, visitor_of

log = logging.getLogger(__name__)

LOADING = "loading the model"
WAITING = "waiting for another run to end"
TICK = 0.25  # seconds between two looks at the clock
MOST_EARLY = 1000  # stops that are remembered for runs that have not begun
FOLDERS = re.compile(  # of an absolute path, which may hold spaces where it is quoted
    r"(?<=['\"])/(?:[^/'\"]+/)+(?=[^/'\"])|(?<![\w.:/])/(?:[^/\s'\"]+/)+(?=[^/\s'\"])"
)
FULL = "The disk of the machine that runs this page is full; try again later, or tell who runs it."


@dataclass(frozen=True)
class Step:
    """Report where a run is.

    Attributes
    ----------
    stage : str
    fraction : float
        0 to 1 of the whole run.
    elapsed : float
        Seconds since Run.
    said : dict
        {"uncompressed": text, "compressed": text}, as far as they are written; where the job
        streams.
    """

    stage: str
    fraction: float
    elapsed: float
    said: Mapping[str, str] = field(default_factory=dict)


class Stopped(Exception):
    """Report that the person who started the run has cancelled it."""


class Unavailable(InputError):
    """Report that a model cannot be loaded, which no other question would change."""


class Failure(Exception):
    """Report, in one sentence for the person who started it, that a run ended without an answer."""


class Runner:
    """Hold the loaded model and let one run at a time use it, visitors in turn.

    All runs use one thread: a new one for each run would start torch's own threads and memory
    anew, which a short run feels.

    Parameters
    ----------
    load : callable
        () -> model; called once, on the model's thread.
    answer : callable
        (model, progress=..., **job) -> Answer; ``on_piece``, too, where the job streams.
    turns : Turns, optional
        Who is next, and how many may wait.
    """

    def __init__(
        self, load: Callable[[], Any], answer: Callable[..., Any], turns: Turns | None = None
    ) -> None:
        self._load, self._answer = load, answer
        self._model: Any = None
        self._error: BaseException | None = None
        self._loaded = threading.Event()
        self._starting = threading.Lock()
        self._started = False
        self._turns = turns or Turns()
        self._stops: dict[str, threading.Event] = {}
        self._early: deque[str] = deque(maxlen=MOST_EARLY)
        self._stopping = threading.Lock()

    def start(self) -> None:
        """Begin to load the model, once; returns at once."""
        with self._starting:
            if not self._started:
                self._started = True
                threading.Thread(target=self._serve, daemon=True, name="model").start()

    def wake(self, owner: str) -> Iterator[Step]:
        """Load the model where nobody has; yield where that is, until it can be used.

        Nothing is yielded once it is loaded, and a failure to load is that of the run that follows.

        Raises
        ------
        Stopped
            ``owner`` has cancelled what waits for the model.
        """
        began = time.perf_counter()
        self.start()
        while not self._loaded.is_set():
            if owner in self._early:
                raise Stopped
            yield Step(LOADING, 0.0, time.perf_counter() - began)
            self._loaded.wait(TICK)

    @property
    def state(self) -> str:
        """Return "idle", "loading", "ready" or "failed"."""
        if self._error is not None:
            return "failed"
        return "ready" if self._loaded.is_set() else "loading" if self._started else "idle"

    def stop(self, owner: str) -> None:
        """Stop the run of this owner; return once it reports no more.

        A run that waits in a queue or is on its way ends when it begins: an owner whose next run
        may go on needs another name.
        """
        with self._stopping:
            stop = self._stops.get(owner)
            if stop is None:
                self._early.append(owner)
                return
            stop.set()
        patience = time.perf_counter() + 10 * TICK
        while self._stops.get(owner) is stop and time.perf_counter() < patience:
            time.sleep(TICK / 10)

    def stop_all(self, prefix: str) -> None:
        """Tell all runs of owners whose name begins so to stop, without waiting for them."""
        with self._stopping:
            for owner, stop in self._stops.items():
                if owner.startswith(prefix):
                    stop.set()

    def busy(self, prefix: str) -> bool:
        """Tell whether an owner whose name begins so has a run under way."""
        with self._stopping:
            return any(owner.startswith(prefix) for owner in self._stops)

    def run(self, owner: str, **job: Any) -> Iterator[Step | Any]:
        """Yield a ``Step`` every moment and, last, what ``answer`` returned.

        Closing the iterator stops the run.

        Parameters
        ----------
        owner : str
            Who may stop it. The part before its first space names the visitor, of whom no more than
            ``turns`` allows may run or wait.
        job
            For ``answer``. With ``stream=True`` the steps tell what is said so far.

        Raises
        ------
        Failure
            With a sentence for the visitor.
        TooMany, Full
            Too many runs wait already.
        Stopped
        """
        self.start()
        began, stop, visitor = time.perf_counter(), threading.Event(), visitor_of(owner)
        self._turns.enter(visitor)
        news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        # with the event's context: who asks is read from it where GPUs are lent
        work = partial(contextvars.copy_context().run, self._work, job, stop, news)
        stage, fraction = None, 0.0
        said: dict[str, str] = {}
        try:
            with self._stopping:
                if owner in self._early:
                    raise Stopped
                self._stops[owner] = stop
            self._turns.put(visitor, work)
            while True:
                try:
                    kind, value = news.get(timeout=TICK)
                except queue.Empty:
                    kind = "tick"
                ahead = not news.empty()  # of the browser, which wants the latest
                if kind == "step":
                    same, (stage, fraction) = value[0] == stage, value
                    if same and ahead:
                        continue
                elif kind == "piece":
                    said = {**said, value.run: said.get(value.run, "") + value}
                    if ahead:
                        continue
                elif kind == "answer":
                    yield value
                    return
                elif kind == "error":
                    raise failure(value) from value
                if stop.is_set() or kind == "stopped":
                    raise Stopped
                # A cancelled run holds the model until its next step: the one after it waits.
                waits_for = WAITING if self._loaded.is_set() else LOADING
                yield Step(stage or waits_for, fraction, time.perf_counter() - began, said)
        finally:
            stop.set()
            self._turns.drop(visitor, work)
            self._turns.leave(visitor)
            if self._stops.get(owner) is stop:
                del self._stops[owner]

    def _serve(self) -> None:
        try:
            self._model = self._load()
        except BaseException as error:
            self._error = error
            log.warning("the model could not be loaded: %s", sentence(error))
        self._loaded.set()
        while True:
            self._turns.take()()

    def _work(self, job: dict, stop: threading.Event, news: queue.SimpleQueue) -> None:
        def work(**reports: Any) -> Any:
            if stop.is_set():
                raise Stopped
            if self._error is not None:
                raise self._error
            return self._answer(self._model, **job, **reports)

        tell(work, stop, news, streams=job.pop("stream", False))


def tell(
    work: Callable[..., Any], stop: threading.Event, news: queue.SimpleQueue, *, streams: bool
) -> None:
    """Call ``work`` and put into a queue what it reports.

    That is ("step", (stage, fraction)) and ("piece", text), and last ("answer", result), ("error",
    exception) or ("stopped", None).

    Parameters
    ----------
    work : callable
        (progress=...) -> result; ``on_piece``, too, with ``streams``.
    stop : Event
        Ends the work when it next reports a step.
    """

    def report(stage: str, fraction: float) -> None:
        if stop.is_set():
            raise Stopped
        news.put(("step", (stage, fraction)))

    more = {"on_piece": lambda piece: news.put(("piece", piece))} if streams else {}
    try:
        news.put(("answer", work(progress=report, **more)))
    except Stopped:
        news.put(("stopped", None))
    except BaseException as error:
        news.put(("error", error))


def failure(error: BaseException) -> Failure:
    """Return one sentence for the visitor; the traceback of an unexpected error goes to the log.

    The visitor can correct an ``InputError``, whose message is written for people; any other
    ``ValueError`` is a fault of the program. A full disk is neither.
    """
    if isinstance(error, Failure):
        return error
    if disk_is_full(error):
        log.error("the disk is full: %s", error)
        return Failure(FULL)
    if isinstance(error, InputError):
        return Failure(without_folders(sentence(error)))
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return Failure("There is not enough memory for this run; try fewer frames.")
    run = uuid.uuid4().hex[:8]
    log.error("run %s failed", run, exc_info=error)
    return Failure(
        f"Something broke here, and what you gave is not to blame; tell who runs this page that "
        f"its log says more under number {run}."
    )


def disk_is_full(error: BaseException | None) -> bool:
    """Tell whether an error, or one that led to it, means a full disk."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def without_folders(text: str) -> str:
    """Return the text with file names only: a visitor need not know this machine's folders."""
    return FOLDERS.sub("", text)


def sentence(error: BaseException) -> str:
    """Return the error's text as one line with a capital and a full stop."""
    text = " ".join(readable(str(error)).split()) or type(error).__name__
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
