"""Questions about a folder of videos, from a file of JSON lines."""

from __future__ import annotations

import hashlib
import json
import reprlib
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..grid import TokenGrid
from ..loading import VLM
from ..prompt import grid_of
from ..shapes.questions import EVIDENCE_SHARE
from ..text import checked_text, readable
from ..video import read_video
from .cases import Case, Skipped, letter, plain

INSTRUCTION = "Answer with the option's letter from the given choices directly."
KEYS = {"video", "question", "answer"}
MORE_KEYS = {"id", "kind", "options", "evidence"}
LONG_ANSWER = 32  # tokens; what a model may say about a video of one's own
MOST_BYTES = 100 << 20  # of a questions file: a million of ordinary lines
LONGEST_LINE = 1 << 20  # characters
LONGEST_ID = 200  # characters


@dataclass(frozen=True)
class _Line:
    """One checked line of a questions file."""

    id: str
    kind: str
    video: str
    path: Path
    question: str
    answer: str
    right: frozenset[str]
    boxes: tuple[tuple[float, ...], ...] | None


@dataclass(frozen=True)
class Folder:
    """A folder of videos and a file of questions, one JSON object a line.

    Each holds ``video`` (a path within the folder), ``question`` and ``answer``, and perhaps

    * ``options``: the answers to choose from, which are put to the model with letters; the right
      answer is one of them or its letter;
    * ``evidence``: boxes ``[start_s, end_s, left, top, right, bottom]``, times in seconds, sides
      as shares of the frame, 0 to 1 from its top left corner. A token is evidence where a box
      covers a quarter of its cell or more, or more of it than of any other cell, in a sampled
      frame between start and end;
    * ``kind``: a group to report it with; ``id``: a name of its own (default: "line 12").

    Raises
    ------
    InputError
        The folder or file is missing, or a line cannot be used: it names its number.
    """

    vlm: VLM
    videos: Path
    file: Path
    answer_tokens: int = LONG_ANSWER
    lines: tuple[_Line, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", checked_questions(self.videos, self.file))

    def about(self) -> dict[str, Any]:
        """What tells these questions from others, for the first line of a result file."""
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
        return {"source": self.file.name, "split": "own", "questions_sha256": digest}

    def count(self, questions: int) -> int:
        """How many of so many questions there are."""
        return min(questions, len(self.lines))

    def cases(self, questions: int, frames: int) -> Iterator[Case | Skipped]:
        """The first ``questions`` lines, those about one video together."""
        chosen: dict[Path, list[_Line]] = {}
        for line in self.lines[:questions]:
            chosen.setdefault(line.path, []).append(line)
        step = self.vlm.family.step(self.vlm.model.config)
        for path, lines in chosen.items():
            try:
                video = read_video(path, frames)
                located = any(line.boxes is not None for line in lines)
                grid = grid_of(self.vlm, video.frames, video.source_size) if located else None
            except InputError as error:
                yield from (Skipped(line.id, str(error)) for line in lines)
                continue
            for line in lines:
                evidence = None
                if line.boxes is not None:
                    evidence = cells_of(line.boxes, video.seconds, grid, step)
                yield Case(
                    id=line.id,
                    clip=line.video,
                    kind=line.kind,
                    asked_frames=frames,
                    frames=video.frames,
                    question=line.question,
                    answer=line.answer,
                    right=line.right,
                    evidence=evidence,
                    seconds=video.seconds,
                    duration=video.duration,
                )


def checked_questions(videos: Path, file: Path) -> tuple[_Line, ...]:
    """Read a file of questions about a folder of videos, without opening any of these.

    Raises
    ------
    InputError
        As ``Folder`` does.
    """
    if not videos.is_dir():
        raise InputError(f"there is no folder {str(videos)!r} of videos; check the path")
    try:
        text = _text_of(file)
    except UnicodeDecodeError:
        raise InputError(f"{str(file)!r} is not UTF-8 text; save it as such") from None
    except OSError as error:
        raise InputError(
            f"the questions file {str(file)!r} cannot be read: {error.strerror}"
        ) from None
    found: dict[str, _Line] = {}
    asked: dict[tuple[Path, str], str] = {}
    # not splitlines(): JSON may hold other characters that break lines
    for number, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        where = f"line {number}"
        try:
            line = _line_of(videos, content, where)
            if line.id in found:
                raise InputError(f"the id {line.id!r} was used before; give each its own")
            same = asked.get((line.path, line.question))
            if same is not None:
                raise InputError(f"{same} asks the same of the same video; drop one of them")
        except InputError as error:
            raise InputError(f"{where} of {file.name}: {error}") from None
        found[line.id] = line
        asked[line.path, line.question] = where
    if not found:
        raise InputError(f"{str(file)!r} holds no question; write one JSON object a line")
    return tuple(found.values())


def _line_of(videos: Path, content: str, where: str) -> _Line:
    if len(content) > LONGEST_LINE:
        raise InputError(f"longer than {LONGEST_LINE:,} characters; write one object a line")
    try:
        record = json.loads(content, parse_constant=_no_constant)
    except ValueError as error:
        raise InputError(f"not JSON ({error}); write one object a line") from None
    except RecursionError:
        raise InputError("nested too deeply; write one flat object a line") from None
    if not isinstance(record, dict):
        raise InputError('not a JSON object such as {"video": ...}')
    missing, unknown = KEYS - record.keys(), record.keys() - KEYS - MORE_KEYS
    if missing or unknown:
        names = ", ".join(readable(name)[:40] for name in sorted(missing or unknown)[:9])
        raise InputError(
            f"{names} {'missing' if missing else 'not known'}; it needs video, question and "
            f"answer and may have {', '.join(sorted(MORE_KEYS))}"
        )
    for key in (*KEYS, "kind"):
        value = record.get(key, "")
        if not isinstance(value, str) or (key in KEYS and not value.strip()):
            raise InputError(f"{key} must be text, not {reprlib.repr(value)}")
        checked_text(value, key)
    name = record.get("id", where)
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise InputError(f"id must be text or a whole number, not {reprlib.repr(name)}")
    name = checked_text(str(name), "id", LONGEST_ID)
    path = _video(videos, record["video"])
    question, answer = record["question"].strip(), record["answer"].strip()
    question, answer, right = _with_options(question, answer, record.get("options"))
    boxes = _boxes(record.get("evidence"))
    kind, video = record.get("kind", ""), record["video"]
    return _Line(name, kind, video, path, question, answer, right, boxes)


def _video(videos: Path, name: str) -> Path:
    """The file of that name within the folder.

    A link that lies in the folder may lead elsewhere: whoever keeps the folder put it there. A
    name may not, since the questions file can come from anybody.
    """
    if Path(name).anchor or ".." in name.replace("\\", "/").split("/"):
        raise InputError(
            f"the video {name!r} is not within the folder of videos; name it by its path from "
            f"there, without '..'"
        )
    path = videos / name
    try:
        found = path.is_file()
    except OSError:  # a name that is too long
        found = False
    if not found:
        raise InputError(f"there is no video {name!r} in {str(videos)!r}")
    return path


def _text_of(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{str(file)!r} has more than {MOST_BYTES >> 20} MiB; split it, or check that it is a "
            f"questions file"
        )
    return content.decode("utf-8-sig")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _with_options(question: str, answer: str, options: Any) -> tuple[str, str, frozenset[str]]:
    """The question as it is put, the right answer as it should be said, all that is right."""
    if options is None:
        return question, answer, frozenset([plain(answer)])
    texts = isinstance(options, list) and all(isinstance(o, str) and o.strip() for o in options)
    if not texts or not 2 <= len(options) <= 26 or len({plain(o) for o in options}) < len(options):
        raise InputError(f"options must be 2 to 26 different texts, not {reprlib.repr(options)}")
    for option in options:
        checked_text(option, "an option")
    letters = string.ascii_uppercase[: len(options)]
    by_text = {plain(option): place for place, option in enumerate(options)}
    place = by_text.get(plain(answer))
    if place is None:
        given = letter(answer)[1:2].upper()
        if not given or given not in letters:
            raise InputError(
                f"the answer {reprlib.repr(answer)} is none of the options, nor a letter of one"
            )
        place = letters.index(given)
    lines = [f"{name}. {option.strip()}" for name, option in zip(letters, options, strict=True)]
    said, text = letters[place], plain(options[place])
    right = {text, f"({said.lower()})", f"{said.lower()}. {text}"}
    return "\n".join([question, *lines, INSTRUCTION]), said, frozenset(right)


def _boxes(evidence: Any) -> tuple[tuple[float, ...], ...] | None:
    if evidence is None:
        return None
    if not isinstance(evidence, list):
        raise InputError("evidence must be a list of boxes")
    for box in evidence:
        numbers = isinstance(box, list) and len(box) == 6
        if not numbers or not all(
            isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < 1e300 for x in box
        ):
            raise InputError(
                f"the evidence {reprlib.repr(box)} is not "
                f"[start_s, end_s, left, top, right, bottom]"
            )
        start, end, left, top, right, bottom = box
        if not (0 <= start <= end and 0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise InputError(
                f"the evidence {reprlib.repr(box)} must end after it starts and have sides from "
                f"0 to 1"
            )
    return tuple(tuple(map(float, box)) for box in evidence)


def cells_of(
    boxes: tuple[tuple[float, ...], ...], seconds: np.ndarray, grid: TokenGrid, step: int
) -> np.ndarray:
    """(E, 3) int64, sorted: time step, row and column of the cells that the boxes cover.

    seconds (T,) are the times of the frames, ``step`` of which share a time step of the grid. What
    the model does not see of a frame is no evidence.
    """
    found = np.zeros((grid.frames, grid.rows, grid.cols), bool)
    seen_top, seen_left, seen_bottom, seen_right = grid.seen
    for start, end, left, top, right, bottom in boxes:
        shown = np.flatnonzero((seconds >= start) & (seconds <= end)) // step
        tall = _covered(top, bottom, seen_top / grid.height, seen_bottom / grid.height, grid.rows)
        wide = _covered(left, right, seen_left / grid.width, seen_right / grid.width, grid.cols)
        share = np.outer(tall, wide)
        # cells that are covered alike differ in the last bits of their shares
        enough = min(EVIDENCE_SHARE, share.max()) * (1 - 1e-9)
        found[shown] |= (share >= enough) & (share > 0)
    return np.argwhere(found)


def _covered(low: float, high: float, first: float, last: float, parts: int) -> np.ndarray:
    """(parts,): the share of each of so many equal parts of first..last between low and high."""
    edges = first + (last - first) * np.arange(parts + 1) / parts
    inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.clip(inside, 0, None) * parts / (last - first)
