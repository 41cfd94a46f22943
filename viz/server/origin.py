"""Keep beside each trace on the shelf what it was made of, since the trace itself names no file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc_core.writing import written_whole
from viz.examples import Known, asked
from viz.server import world_clips
from viz.server.quota import PAGE

if TYPE_CHECKING:
    from stc_core import Trace
    from viz.server.shelf import Shelf

RECORD = "origin.json"


@dataclass(frozen=True)
class Origin:
    """Describe what a trace was made of.

    Attributes
    ----------
    video : str
        The file, which may be gone by now, or "shapes SEED" for a clip of the world of shapes.
    question : str
    frames : int or None
        As asked for; None: the model's own number.
    method : str or None
        As text (``stc_core.method_text``), where a run on this page made the trace.
    model : str or None
        As chosen from the menu; None: the page's first model.
    history : tuple of (str, str)
        Earlier questions and answers that the model read before this question.
    system : str
        The system prompt that stood before them; '' for none.
    """

    video: str
    question: str
    frames: int | None = None
    method: str | None = None
    model: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    system: str = ""

    @property
    def before(self) -> dict[str, Any]:
        """Return what the model read before the question, as arguments of ``answer``."""
        found = {"history": self.history, "system": self.system}
        return {name: value for name, value in found.items() if value}

    @property
    def seed(self) -> int | None:
        """Return the seed of a clip of the world of shapes; None for a file."""
        found = re.fullmatch(r"shapes (\d{1,18})", self.video)
        return int(found[1]) if found else None


def shelve(
    shelf: Shelf,
    trace: Trace,
    origin: Origin | None,
    known: Mapping[tuple[str, str], Known],
    source: Path | None = None,
    *,
    later: bool = False,
    visitor: str = PAGE,
) -> tuple[Path, dict[str, Any]]:
    """Put a trace on the shelf together with its origin.

    Parameters
    ----------
    known : mapping
        What is known of questions about files, as ``known_questions`` gives it.
    source : Path, optional
        The file that the trace was read from.
    later : bool
        Whether the trace's file may come after the call.
    visitor : str
        For whom it counts; default: for the page itself.

    Returns
    -------
    (Path, dict)
        The trace's file, and what the workspace is given: the addresses of the shelf, and "again",
        whether its question can be asked again.
    """
    home = shelf.put(trace, source, later=later, visitor=visitor)
    if origin is None:
        return home, shelf.addresses(trace, home)
    remember(home, origin)
    file = None if origin.seed is not None else Path(origin.video)
    return home, shelf.addresses(trace, home, about(origin, known), file) | {"again": True}


def about(origin: Origin, known: Mapping[tuple[str, str], Known]) -> Known | None:
    """Return what is known of the question of an origin."""
    if origin.seed is not None and origin.frames is not None:
        return world_clips.known(origin.seed, origin.frames, origin.question)
    return known.get(asked(origin.video, origin.question))


def remember(home: Path, origin: Origin) -> None:
    """Keep the origin of a trace; ``home`` is what ``Shelf.put`` returned."""
    with written_whole(home.with_name(RECORD)) as partial:
        partial.write_text(json.dumps(asdict(origin)), encoding="utf-8")


def recall(folder: Path, key: object) -> Origin | None:
    """Return the origin of the trace with that key; None where there is none."""
    if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f]{20}", key):
        return None
    try:
        record = json.loads((folder / key / RECORD).read_text(encoding="utf-8"))
        record["history"] = tuple(map(tuple, record.get("history", ())))
        return Origin(**record)
    except FileNotFoundError:
        return None
