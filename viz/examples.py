"""The example clips of ``assets/clips``: their questions, the right answers and the evidence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stc_core import TokenGrid, Trace


@dataclass(frozen=True)
class Known:
    """A question of which the world that made the clip knows everything.

    Attributes
    ----------
    text, answer : str
    frames : int
        Frames in which the evidence is counted.
    evidence : (E, 3) int array
        (frame, row, column) of the cells without which it cannot be answered.
    """

    text: str
    answer: str
    frames: int = 0
    evidence: np.ndarray = field(default_factory=lambda: np.empty((0, 3), int), compare=False)

    def tokens(self, grid: TokenGrid) -> np.ndarray | None:
        """Indices of the evidence on a grid of as many frames; None where it does not fit."""
        if grid.frames != self.frames or not len(self.evidence):
            return None
        if (self.evidence[:, 1:].max(axis=0) >= (grid.rows, grid.cols)).any():
            return None
        return grid.indices(self.evidence)


@dataclass(frozen=True)
class Example:
    """A clip of ``assets/clips``, a question of each kind, and all that are known."""

    clip: Path
    questions: tuple[Known, ...]
    known: tuple[Known, ...] = ()


def read_examples(folder: Path) -> list[Example]:
    """The clips that ``clips.json`` lists and that are there, with a question of each kind."""
    index = folder / "clips.json"
    if not index.is_file():
        return []
    listed = json.loads(index.read_text(encoding="utf-8"))
    examples = []
    for entry in listed["clips"]:
        kinds: dict[str, Known] = {}
        every = []
        for item in entry["questions"]:
            cells = np.array(item.get("evidence") or [], int).reshape(-1, 3)
            known = Known(item["text"], item["answer"], listed.get("frames", 0), cells)
            kinds.setdefault(item["kind"], known)
            every.append(known)
        if kinds and (folder / entry["file"]).is_file():
            file = folder / entry["file"]
            examples.append(Example(file, tuple(kinds.values()), tuple(every)))
    return examples


def read_origins(folder: Path, clips: Path) -> dict[str, tuple[Path, str | None]]:
    """{name of a saved trace: (its clip, its method as text or None)}, from ``traces.json``.

    The text is one of ``viz.server.method_text``.
    """
    index = folder / "traces.json"
    if not index.is_file():
        return {}
    found: dict[str, tuple[Path, str | None]] = {}
    for name, entry in json.loads(index.read_text("utf-8")).items():
        made: dict[str, Any] = {"clip": entry} if isinstance(entry, str) else entry
        found[name] = clips / made["clip"], made.get("method")
    return found


def opening(examples: list[Example], saved: list[Path]) -> tuple[Example | None, str]:
    """Return what to begin with: the clip and the question of the first saved trace.

    Where its clip is not known the first example, where there is none nothing.
    """
    if not examples:
        return None, ""
    if saved:
        origins = read_origins(saved[0].parent, examples[0].clip.parent)
        clip, _ = origins.get(saved[0].name, (None, None))
        for example in examples:
            if example.clip == clip:
                return example, Trace.load(saved[0]).question
    return examples[0], examples[0].questions[0].text


def known_questions(examples: list[Example]) -> dict[tuple[str, str], Known]:
    """{``asked(clip, question)``: what is known} for all of them."""
    return {
        asked(example.clip, known.text): known for example in examples for known in example.known
    }


def asked(clip: str | Path, question: str) -> tuple[str, str]:
    """Return a clip and a question without what makes no difference: links, case, spaces."""
    return str(Path(clip).resolve()), " ".join(question.lower().split())
