"""Take visitors in turn, so that one visitor's many runs delay another's by one at most."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable

from stc_core.errors import InputError

PLACES = 4  # of one visitor, the run that is under way included
PLACES_IN_ALL = 24  # each of them takes a thread of the server's forty
# Of every event that runs the model: who waits does so here, in turn, not in Gradio's queue, which
# serves whoever came first.
MODEL = {"concurrency_id": "model", "concurrency_limit": PLACES_IN_ALL}

Job = Callable[[], None]


class TooMany(InputError):
    """Report that a visitor has as many runs as one may have."""


class Full(InputError):
    """Report that all visitors together have as many runs as there are places."""


class Turns:
    """Hold a queue with a lane for each visitor, and serve the lanes in turn.

    Parameters
    ----------
    own, in_all : int
        Places of one visitor and of all, including jobs that are under way.
    """

    def __init__(self, own: int = PLACES, in_all: int = PLACES_IN_ALL) -> None:
        self._own, self._in_all = own, in_all
        self._taken: Counter[str] = Counter()
        self._lanes: dict[str, deque[Job]] = {}  # by the order in which they began; none is empty
        self._served: dict[str, int] = {}  # of visitors with a place: the number of the last turn
        self._turn = 0
        self._change = threading.Condition()

    def enter(self, visitor: str) -> None:
        """Take a place; ``TooMany`` where the visitor, ``Full`` where all have none left."""
        with self._change:
            if self._taken[visitor] >= self._own:
                raise TooMany(
                    f"you have {self._taken[visitor]} runs waiting or under way, as many as one "
                    f"visitor may; wait for one to end, or cancel it"
                )
            if self._taken.total() >= self._in_all:
                raise Full("too many runs are waiting on this page; try again in some minutes")
            self._taken[visitor] += 1

    def leave(self, visitor: str) -> None:
        """Give a place back."""
        with self._change:
            self._taken[visitor] -= 1
            if self._taken[visitor] <= 0:
                del self._taken[visitor]
                self._served.pop(visitor, None)

    def put(self, visitor: str, job: Job) -> None:
        """Append a job to the visitor's lane."""
        with self._change:
            self._lanes.setdefault(visitor, deque()).append(job)
            self._change.notify()

    def drop(self, visitor: str, job: Job) -> None:
        """Take back a job that has not begun."""
        with self._change:
            lane = self._lanes.get(visitor, deque())
            if job in lane:
                lane.remove(job)
                if not lane:
                    del self._lanes[visitor]

    def take(self) -> Job:
        """Wait for a job; return that of the visitor whose last turn is longest ago."""
        with self._change:
            while not self._lanes:
                self._change.wait()
            visitor = min(self._lanes, key=lambda one: self._served.get(one, 0))
            self._turn += 1
            self._served[visitor] = self._turn
            job = self._lanes[visitor].popleft()
            if not self._lanes[visitor]:
                del self._lanes[visitor]
            return job


def visitor_of(owner: str) -> str:
    """Return the visitor in a run's owner: the part before the space of "3f0c2a live 7"."""
    return owner.partition(" ")[0]
