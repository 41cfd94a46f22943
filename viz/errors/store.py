"""Write tables as files that the browser fetches, and read the one case that it asks for.

A table lies in Gradio's temporary directory under a name made of its content. The server keeps
nothing else: a browser that wants a case names the table, the case and the methods.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc_core.errors import InputError
from stc_core.record.stages import Fate
from stc_core.writing import written_whole
from viz.errors.reading import UNCOMPRESSED, WHYS, QuestionRow, Results, read_results
from viz.pictures import palette
from viz.server.quota import PAGE, Ledger, Limits

LIMITS = Limits(own_things=4, own_bytes=128 << 20, things=20, bytes=512 << 20)  # of tables

# What became of the evidence, in the order of results.js: words, short words for the table, looks.
# Colors and glyphs are those of the fates that a token meets there.
EVIDENCE = (
    ("kept to the end", "kept", palette.CODES[Fate.KEPT]),
    ("lost inside the LLM", "lost inside", palette.CODES[Fate.DROPPED_INSIDE]),
    ("lost before the LLM", "lost before", palette.CODES[Fate.DROPPED]),
    ("unknown or none", "unknown", None),
)


@dataclass(frozen=True)
class ErrorCase:
    """Hold a question that was chosen from a table.

    Attributes
    ----------
    id, clip, kind : str
        ``clip`` is the seed of a clip of the world of shapes or the path of a video in its folder,
        as ``source`` says; "" where the file does not tell.
    frames : int
        Frames that were sampled; 0 where the file does not tell.
    question, expected : str
        The question as it was asked, and the right answer.
    source, split : str
        Of the questions, as in the first line of the result file: "shapes" and "held-out".
    answers : dict
        {``repr`` of a method, "none" for the uncompressed model: its answer}.
    """

    id: str
    clip: str
    kind: str
    frames: int
    question: str
    expected: str
    source: str
    split: str
    answers: dict[str, str]


class Tables:
    """Keep the tables of one folder, which must lie in Gradio's temporary directory."""

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ledger = Ledger(limits)
        self._last: tuple[str, dict[str, Any]] | None = None  # name and content
        self._known: dict[tuple, str] = {}  # file, time and size -> table
        self._reading = threading.Lock()  # the same file is read once, not once a visitor

    def add(self, path: Path, visitor: str = PAGE) -> str:
        """Read a result file and return the name of its table, which counts for ``visitor``.

        ``InputError`` where it cannot be used.
        """
        with self._reading:
            try:
                found = path.stat()
            except OSError as error:
                raise InputError(f"{path.name} cannot be read: {error.strerror}") from None
            key = str(path), found.st_mtime_ns, found.st_size
            name = self._known.get(key)
            if name is None or not self.path(name).is_file():
                name = self._known[key] = self._write(read_results(path), path.name)
            self._keep(name, visitor)
        return name

    def path(self, name: str) -> Path:
        """Return the path of a table, whether or not it exists."""
        return self.folder / f"{name}.json"

    def read(self, name: Any) -> dict[str, Any]:
        """Return the content of a table, as ``payload`` made it; a browser sends the name.

        The last one stays in memory: whoever filters asks again and again.
        """
        gone = InputError("this table is not there any more; open the result file again")
        if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{20}", name):
            raise gone
        with self._reading:
            if self._last is None or self._last[0] != name or not self.path(name).is_file():
                try:
                    self._last = name, json.loads(self.path(name).read_text(encoding="utf-8"))
                except OSError:
                    raise gone from None
            return self._last[1]

    def case(self, name: Any, case: Any, methods: Any) -> tuple[ErrorCase, tuple[str, ...]]:
        """Return the case of this number and the ``repr`` of these methods; a browser sends them.

        Raises
        ------
        InputError
            There is no such table, case or method, or one of the methods was not asked this case.
        """
        table = self.read(name)
        count = len(table["questions"]["id"])
        if not _place(case, count) or not isinstance(methods, list) or len(methods) > 3:
            raise InputError("this table has no such question; choose a row of it")
        said: dict[int, str] = {}
        answers = table["answers"]
        for place, answered in enumerate(answers["case"]):
            if answered == case:
                said[answers["method"][place]] = table["texts"][answers["answer"][place]]
        if not methods or any(type(method) is not int or method not in said for method in methods):
            raise InputError("these methods were not asked this question; choose another row")
        names = tuple(table["methods"][method]["repr"] for method in methods)
        about = {column: table["questions"][column][case] for column in QuestionRow._fields}
        return ErrorCase(
            **about,
            source=table["source"],
            split=table["split"],
            answers={one: said[method] for one, method in zip(names, methods, strict=True)},
        ), names

    def _write(self, results: Results, name: str) -> str:
        content = json.dumps(payload(results, name), separators=(",", ":")).encode()
        digest = hashlib.sha256(content).hexdigest()[:20]
        with written_whole(self.path(digest)) as partial:
            partial.write_bytes(content)
        return digest

    def _keep(self, name: str, visitor: str) -> None:
        self._ledger.add(name, visitor, self.path(name).stat().st_size)
        for old in self._ledger.excess(visitor):
            self.path(old).unlink(missing_ok=True)
        self._known = {key: name for key, name in self._known.items() if self.path(name).is_file()}


def payload(results: Results, name: str) -> dict[str, Any]:
    """Return what the browser is sent: columns, all lists of questions or answers in one order."""
    questions = results.questions
    return {
        "name": name,
        "key": results.key(),
        "about": about(results),
        "source": results.told("source"),
        "split": results.told("split"),
        "evidence": [
            {
                "label": label,
                "short": short,
                "color": code.color if code else None,
                "glyph": code.glyph if code else "?",
            }
            for label, short, code in EVIDENCE
        ],
        "methods": [
            {
                "repr": one.repr,
                "label": one.label,
                "retention": one.retention,
                "uncompressed": one.repr == UNCOMPRESSED,
            }
            for one in results.settings
        ],
        "questions": {
            column: [getattr(one, column) for one in questions] for column in QuestionRow._fields
        },
        "texts": list(results.texts),
        "whys": list(WHYS),
        "reasons": list(results.reasons),
        "answers": results.columns,
    }


def about(results: Results) -> str:
    """Return one sentence about a table: how much there is, of which model and questions."""
    parts = [f"{len(results.questions):,} questions, {len(results.columns['case']):,} answers"]
    if model := results.told("model"):
        parts.append(f"model {model} ({results.told('checkpoint')[:12]})")
    if source := results.told("source"):
        parts.append(f"{results.told('split')} questions of {source}".strip())
    if results.torn:
        parts.append("the last line was incomplete and is left out")
    return "; ".join(parts) + "."


def _place(value: Any, count: int) -> bool:
    return type(value) is int and 0 <= value < count
