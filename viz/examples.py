"""Read the example clips of ``assets/clips`` with their questions, right answers and evidence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stc_core import TokenGrid, Trace


@dataclass(frozen=True)
class Known:
    """Hold a question about a clip of the world, with its right answer and its evidence.

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
        """Return the token indices of the evidence on a grid; None where the grid does not fit."""
        if grid.frames != self.frames or not len(self.evidence):
            return None
        if (self.evidence[:, 1:].max(axis=0) >= (grid.rows, grid.cols)).any():
            return None
        return grid.indices(self.evidence)


@dataclass(frozen=True)
class Example:
    """Hold a clip of ``assets/clips``, a question of each kind, and all that are known."""

    clip: Path
    questions: tuple[Known, ...]
    known: tuple[Known, ...] = ()


def read_examples(folder: Path) -> list[Example]:
    """Return the clips that ``clips.json`` lists and that exist, with a question of each kind."""
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
    """Return {name of a saved trace: (its clip, its method as text or None)}, from ``traces.json``.

    The text is one of ``stc_core.method_text``.
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
    """Return the clip and question to begin with: those of the first saved trace.

    If its clip is unknown, this is the first example; without examples, nothing.
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
    """Return {``asked(clip, question)``: what is known} for the questions of all examples."""
    return {
        asked(example.clip, known.text): known for example in examples for known in example.known
    }


def asked(clip: str | Path, question: str) -> tuple[str, str]:
    """Return clip and question in a comparable form: without links, case and extra spaces."""
    return str(Path(clip).resolve()), " ".join(question.lower().split())
