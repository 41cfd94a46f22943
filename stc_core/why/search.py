"""Find the smallest set of lost tokens whose return brings an answer back.

Tokens are tried by falling influence: the first 1, 2, 4 ... until the answer is back, then every
part is taken out again that is not needed. The path depends on nothing but the order and the
outcomes, and these are kept: a search that ran out of time goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Tokens = tuple[int, ...]
Outcome = tuple[bool, float]  # whether the answer is back, and its probability


class _OutOfTime(Exception):
    """Report that the time of one ``run`` is over."""


@dataclass
class Search:
    """Hold what a search has tried.

    Attributes
    ----------
    order : tuple of int
        Lost tokens, the most influential first.
    tried : dict
        Set of tokens as an ascending tuple -> (answer back, its probability).
    done : bool
        Whether there is nothing left to try.
    best : tuple of int
        Ascending: the smallest set so far that brings the answer back; where none does, the one
        with the highest probability.
    restored : bool
        Whether ``best`` brings it back.
    seconds : float
        Spent, over all runs.
    """

    order: Tokens
    tried: dict[Tokens, Outcome] = field(default_factory=dict)
    done: bool = False
    best: Tokens = ()
    restored: bool = False
    seconds: float = 0.0

    def run(
        self,
        test: Callable[[Tokens], Outcome],
        seconds: float,
        progress: Callable[[int, bool, int], None] = lambda tried, restored, size: None,
    ) -> Search:
        """Look for at most so many seconds, plus the test under way; return this search.

        Parameters
        ----------
        test : callable
            Tokens given back -> (whether the answer is back, its probability). What it raises ends
            the run; what was tried stays known.
        seconds : float
        progress : callable
            Called before every test with (sets tried, answer back, size of the best set).
        """
        began = time.perf_counter()

        def known(tokens: Sequence[int]) -> bool:
            key = tuple(sorted(tokens))
            if key not in self.tried:
                if time.perf_counter() - began >= seconds:
                    raise _OutOfTime
                progress(len(self.tried), self.restored, len(self.best))
                self.tried[key] = test(key)
            self._note(key)
            return self.tried[key][0]

        try:
            self._follow(known)
            self.done = True
        except _OutOfTime:
            pass
        finally:
            self.seconds += time.perf_counter() - began
        return self

    def _note(self, key: Tokens) -> None:
        back, chance = self.tried[key]
        if back:
            if not self.restored or (len(key), key) < (len(self.best), self.best):
                self.best, self.restored = key, True
        elif not self.restored and (not self.best or chance > self.tried[self.best][1]):
            self.best = key

    def _follow(self, known: Callable[[Sequence[int]], bool]) -> None:
        """Walk the whole path; ``known`` tells of a set whether it brings the answer back."""
        for size in _doubling(len(self.order)):
            if known(self.order[:size]):
                _pruned(list(self.order[:size]), known)
                return


def _doubling(most: int) -> Iterator[int]:
    """Yield 1, 2, 4 ... and last ``most``."""
    size = 1
    while size < most:
        yield size
        size *= 2
    if most:
        yield most


def _pruned(tokens: list[int], known: Callable[[Sequence[int]], bool]) -> list[int]:
    """Return what is left when no single token can be spared; the least influential go first."""
    part = max(1, len(tokens) // 2)
    while len(tokens) > 1:
        spared = False
        for end in range(len(tokens), 0, -part):
            rest = tokens[: max(0, end - part)] + tokens[end:]
            if rest and known(rest):
                tokens, spared = rest, True
        if part == 1 and not spared:
            break
        part = max(1, part // 2)
    return tokens
