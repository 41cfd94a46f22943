"""The example clips of ``assets/clips``, their questions and the right answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stc_core import Trace


@dataclass(frozen=True)
class Example:
    """A clip of ``assets/clips`` with its questions: (text, right answer) each."""

    clip: Path
    questions: tuple[tuple[str, str], ...]


def read_examples(folder: Path) -> list[Example]:
    """The clips that ``clips.json`` lists and that are there, with a question of each kind."""
    index = folder / "clips.json"
    if not index.is_file():
        return []
    listed = json.loads(index.read_text(encoding="utf-8"))["clips"]
    examples = []
    for entry in listed:
        kinds: dict[str, tuple[str, str]] = {}
        for item in entry["questions"]:
            kinds.setdefault(item["kind"], (item["text"], item["answer"]))
        if kinds and (folder / entry["file"]).is_file():
            examples.append(Example(folder / entry["file"], tuple(kinds.values())))
    return examples


def opening(examples: list[Example], saved: list[Path]) -> Example | None:
    """The example to begin with: the one whose trace the page opens on, else the first."""
    if not examples:
        return None
    question = Trace.load(saved[0]).question if saved else ""
    for example in examples:
        if any(text == question for text, _ in example.questions):
            return example
    return examples[0]


def right_answers(examples: list[Example]) -> dict[tuple[str, str], str]:
    """{``asked(clip, question)``: right answer} for all of them."""
    return {
        asked(example.clip, text): right
        for example in examples
        for text, right in example.questions
    }


def asked(clip: str | Path, question: str) -> tuple[str, str]:
    """A clip and a question without what makes no difference: links, case, spaces."""
    return str(Path(clip).resolve()), " ".join(question.lower().split())
