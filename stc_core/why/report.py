"""Hold what was found about a compressed answer: rows of runs, a cause, a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stc_core.text import said_the_same

CAUSES = {
    "same": "not turned by compression",
    "model": "the uncompressed model is wrong too",
    "helped": "compression made the answer right",
    "tau": "lost by tau",
    "capacity": "lost by capacity",
    "inside": "lost inside",
    "number": "too few tokens, whichever",
    "reading": "not the evidence",
    "unknown": "not found",
}  # a cause and its name in result files


@dataclass(frozen=True)
class Row:
    """Hold one run of the question.

    Attributes
    ----------
    kind : str
        "full": all tokens; "compressed": the run in question; "back": the needed tokens added;
        "swap": the same in place of the last survivors; "away": all tokens but the needed ones;
        "random": as many random tokens added; "inside off", "tau off": that part of the method off;
        "back, inside off"; "baseline": another method at the same retention.
    label : str
        What was done, in words.
    answer : str
    probabilities : dict of str to float
        Candidate answer -> its probability, its end included.
    tokens : int
        Video tokens that enter the LLM.
    budget : str
        What that is against the budget of the compressed run: "within the budget",
        "3 over the budget".
    edit : dict or None
        ``remove``, ``add`` and ``only`` of the compressed run's method, where the row is an edit.
    method : str
        ``repr`` of the row's method, where it is another one.
    """

    kind: str
    label: str
    answer: str
    probabilities: Mapping[str, float]
    tokens: int
    budget: str = ""
    edit: Mapping[str, Any] | None = None
    method: str = ""

    def turned(self, wanted: str) -> bool:
        """Tell whether the answer is the wanted one."""
        return said_the_same(self.answer, wanted)


@dataclass(frozen=True)
class Lost:
    """Count where the needed tokens went before the LLM, and after layer K.

    Attributes
    ----------
    kept : int
        Entered as themselves, or as the center of a cluster.
    tau : int
        Refused by the pool: their cosine to a pool token reached tau.
    capacity : int
        Never reached: the pool was full before their turn. With a method that has no walk: not
        chosen.
    merged : int
        Of the refused and unreached ones, how many went into a mean; the others were dropped.
    inside : int
        Entered, and merged or dropped after layer K.
    cosine : float or None
        Median of the refused ones' highest cosine to the pool.
    tau_at : float or None
        The method's threshold.
    layer : int or None
        K.
    """

    kept: int = 0
    tau: int = 0
    capacity: int = 0
    merged: int = 0
    inside: int = 0
    cosine: float | None = None
    tau_at: float | None = None
    layer: int | None = None

    @property
    def outside(self) -> int:
        """Return how many did not enter the LLM."""
        return self.tau + self.capacity


@dataclass(frozen=True)
class Found:
    """Hold how the needed tokens are known.

    Attributes
    ----------
    how : str
        "known": given as evidence; "search": found as the smallest set whose return brings the
        answer back; "none": neither known nor found.
    done : bool
        Whether the search came to its end; a search that did not can go on.
    tested : int
        Sets of tokens that the search tried.
    seconds : float
        That it took.
    """

    how: str = "none"
    done: bool = True
    tested: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Why:
    """Answer why a compressed model says what it says.

    Attributes
    ----------
    cause : str
        A key of ``CAUSES``.
    sentence : str
        The answer in words, with its proof.
    wanted : str
        The answer that should come back: the right one where it is known, else the uncompressed.
    right : str or None
        The right answer, where it was given.
    rows : tuple of Row
        "full" and "compressed" first.
    tokens : tuple of int
        The needed tokens, ascending.
    times : tuple of float
        Seconds at which they are seen, ascending.
    lost : Lost
    found : Found
    method, model : str
        ``repr`` of the method in question; name of the model.
    """

    cause: str
    sentence: str
    wanted: str
    right: str | None
    rows: tuple[Row, ...]
    tokens: tuple[int, ...] = ()
    times: tuple[float, ...] = ()
    lost: Lost = field(default_factory=Lost)
    found: Found = field(default_factory=Found)
    method: str = ""
    model: str = ""

    def row(self, kind: str) -> Row | None:
        """Return the first row of a kind; None where there is none."""
        return next((row for row in self.rows if row.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        """Return a dict of plain values; ``Why.from_json`` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Why:
        """Build what ``to_json`` described."""
        plain = dict(data)
        return cls(
            **plain
            | {
                "rows": tuple(Row(**row) for row in plain["rows"]),
                "tokens": tuple(plain["tokens"]),
                "times": tuple(plain["times"]),
                "lost": Lost(**plain["lost"]),
                "found": Found(**plain["found"]),
            }
        )
