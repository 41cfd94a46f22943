"""A conversation about one clip: the turns that the browser keeps, checked when they come back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stc_core.text import readable
from viz.server.job import LONGEST

MOST = 30  # turns; the oldest are forgotten
LONGEST_SAID = 4000  # characters of an answer


@dataclass(frozen=True)
class Turn:
    """Hold a question and its answer, with the key of its trace on the shelf."""

    key: str
    question: str
    answer: str


@dataclass(frozen=True)
class Talk:
    """Hold the turns about one clip, in their order.

    Attributes
    ----------
    clip : str
        Tells the clip from others; '' where nothing was asked.
    turns : tuple of Turn
    """

    clip: str = ""
    turns: tuple[Turn, ...] = ()

    def about(self, clip: str) -> Talk:
        """Return the conversation about a clip: this one, or a new one about another clip."""
        return self if self.clip == clip else Talk(clip)

    def and_then(self, turn: Turn) -> Talk:
        """Return the conversation with one turn more."""
        return Talk(self.clip, (*self.turns, turn)[-MOST:])

    @property
    def history(self) -> tuple[tuple[str, str], ...]:
        """Return (question, answer) of each turn, as ``stc_core.answer`` takes them."""
        return tuple((turn.question, turn.answer) for turn in self.turns)

    def to_json(self) -> dict[str, Any]:
        """Return what the browser keeps."""
        return {"clip": self.clip, "turns": [asdict(turn) for turn in self.turns]}


def clip_of(video: str) -> str:
    """Return what tells a clip from others; it says nothing of its place."""
    return hashlib.sha256(video.encode("utf-8", "surrogatepass")).hexdigest()[:12] if video else ""


def read_talk(value: object) -> Talk:
    """Return the conversation that a browser sent, as far as it is one; anything may come."""
    given = value if isinstance(value, dict) else {}
    clip, turns = given.get("clip"), given.get("turns")
    if not isinstance(clip, str) or not isinstance(turns, Sequence) or isinstance(turns, str):
        return Talk()
    found = (_turn(one) for one in turns[-MOST:])
    return Talk(readable(clip[:20]), tuple(turn for turn in found if turn is not None))


def _turn(given: object) -> Turn | None:
    if not isinstance(given, dict):
        return None
    key, question, answer = (given.get(name) for name in ("key", "question", "answer"))
    if not (isinstance(key, str) and isinstance(question, str) and isinstance(answer, str)):
        return None
    if not re.fullmatch(r"[0-9a-f]{20}", key) or not question.strip():
        return None
    return Turn(key, readable(question[:LONGEST]), readable(answer[:LONGEST_SAID]))
