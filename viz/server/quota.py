"""Limit how much of a place that all visitors share each may use, and choose what is removed.

A visitor over the limit loses the oldest things. Where all together are over the limit, the visitor
who uses most loses the oldest: many small things of one visitor push out no other visitor's.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass

PAGE = ""  # the visitor's name of what belongs to the page itself


@dataclass(frozen=True)
class Limits:
    """Say how much of a place one visitor may use, and all together.

    Attributes
    ----------
    own_things, own_bytes, things, bytes : int
    """

    own_things: int
    own_bytes: int
    things: int
    bytes: int


@dataclass
class _Thing:
    size: int
    owners: dict[str, int]  # visitor -> when last used; empty for nobody's
    used: int


class Ledger:
    """Keep account of what lies in a place, its size and who uses it.

    A thing that several visitors use counts for each of them and goes when the last one loses it.
    The ledger knows nothing of files: the caller of ``excess`` removes what it names.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._things: dict[str, _Thing] = {}
        self._now = 0
        self._lock = threading.RLock()

    def __contains__(self, key: str) -> bool:
        return key in self._things

    def add(self, key: str, visitor: str, size: int) -> None:
        """Note that a visitor uses a thing, now, and that it has ``size`` bytes."""
        with self._lock:
            self._now += 1
            thing = self._things.setdefault(key, _Thing(size, {}, 0))
            thing.size, thing.used = size, self._now
            thing.owners[visitor] = self._now

    def resize(self, key: str, size: int) -> None:
        """Note that a known thing has another size now."""
        with self._lock:
            if key in self._things:
                self._things[key].size = size

    def owners(self, key: str) -> list[str]:
        """Return the visitors who use a thing."""
        with self._lock:
            thing = self._things.get(key)
            return [] if thing is None else list(thing.owners)

    def remove(self, key: str) -> None:
        """Forget a thing that is gone."""
        with self._lock:
            self._things.pop(key, None)

    def used(self, visitor: str | None = None) -> tuple[int, int]:
        """Count (things, bytes) of a visitor; None: of all, each thing once."""
        with self._lock:
            sizes = [
                thing.size
                for thing in self._things.values()
                if visitor is None or visitor in thing.owners
            ]
            return len(sizes), sum(sizes)

    def excess(self, visitor: str, extra: int = 0) -> list[str]:
        """Remove what is too much from the account; return the keys that nobody uses any more.

        The thing that was added last stays, however large it is.

        Parameters
        ----------
        visitor : str
            The one who adds something, and loses first.
        extra : int
            Bytes of one more thing of this visitor that is about to come; 0: none comes.
        """
        limits, more = self.limits, int(extra > 0)
        with self._lock:
            gone: list[str] = []
            if visitor != PAGE:
                while self._too_much(
                    self.used(visitor), limits.own_things - more, limits.own_bytes - extra
                ):
                    if not self._take(visitor, gone):
                        break
            while self._too_much(self.used(), limits.things - more, limits.bytes - extra):
                if not any(self._take(one, gone) for one in self._by_share(visitor)):
                    break
            return gone

    @staticmethod
    def _too_much(used: tuple[int, int], things: int, size: int) -> bool:
        return used[0] > things or used[1] > size

    def _take(self, visitor: str, gone: list[str]) -> bool:
        """Take the oldest thing from a visitor; return whether there was one."""
        mine = [
            (thing.owners[visitor], key)
            for key, thing in self._things.items()
            if visitor in thing.owners and thing.used < self._now
        ]
        if not mine:
            return False
        _, key = min(mine)
        del self._things[key].owners[visitor]
        if not self._things[key].owners:
            del self._things[key]
            gone.append(key)
        return True

    def _by_share(self, visitor: str) -> list[str]:
        """Sort all visitors by their share of a limit, largest first; of equals this one."""
        things: dict[str, int] = defaultdict(int)
        size: dict[str, int] = defaultdict(int)
        for thing in self._things.values():
            for owner in thing.owners:
                things[owner] += 1
                size[owner] += thing.size

        def share(one: str) -> tuple[float, bool]:
            return max(things[one] / self.limits.things, size[one] / self.limits.bytes), (
                one == visitor
            )

        return sorted(things, key=share, reverse=True)
