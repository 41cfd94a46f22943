"""Check a file of questions about a folder of videos, before a model or a video is opened.

Nothing here needs torch: an unusable file is refused at once.
"""

from __future__ import annotations

import json
import reprlib
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc_core.errors import InputError
from stc_core.text import answer_form, checked_text, option_letter, readable

INSTRUCTION = "Answer with the option's letter from the given choices directly."
KEYS = {"video", "question", "answer"}
MORE_KEYS = {"id", "kind", "options", "evidence"}
MOST_BYTES = 100 << 20  # of a questions file: a million of ordinary lines
LONGEST_LINE = 1 << 20  # characters
LONGEST_ID = 200  # characters


@dataclass(frozen=True)
class Line:
    """Hold one checked line of a questions file."""

    id: str
    kind: str
    video: str
    path: Path
    question: str
    answer: str
    right: frozenset[str]
    boxes: tuple[tuple[float, ...], ...] | None


def checked_questions(videos: Path, file: Path) -> tuple[Line, ...]:
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
    found: dict[str, Line] = {}
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


def _line_of(videos: Path, content: str, where: str) -> Line:
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
    return Line(name, kind, video, path, question, answer, right, boxes)


def _video(videos: Path, name: str) -> Path:
    """Return the file of that name within the folder.

    A link inside the folder may lead outside, because only the folder's owner can put it there. A
    name may not, because anybody can write a questions file.
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
    """Return the question as it is asked, the answer as it should be said, all that is right."""
    if options is None:
        return question, answer, frozenset([answer_form(answer)])
    texts = isinstance(options, list) and all(isinstance(o, str) and o.strip() for o in options)
    if (
        not texts
        or not 2 <= len(options) <= 26
        or len({answer_form(o) for o in options}) < len(options)
    ):
        raise InputError(f"options must be 2 to 26 different texts, not {reprlib.repr(options)}")
    for option in options:
        checked_text(option, "an option")
    letters = string.ascii_uppercase[: len(options)]
    by_text = {answer_form(option): place for place, option in enumerate(options)}
    place = by_text.get(answer_form(answer))
    if place is None:
        given = option_letter(answer)[1:2].upper()
        if not given or given not in letters:
            raise InputError(
                f"the answer {reprlib.repr(answer)} is none of the options, nor a letter of one"
            )
        place = letters.index(given)
    lines = [f"{name}. {option.strip()}" for name, option in zip(letters, options, strict=True)]
    said, text = letters[place], answer_form(options[place])
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
