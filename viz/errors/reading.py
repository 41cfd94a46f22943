"""Read a result file into columns, within bounds; check every line and name a wrong one.

The file is what ``python -m stc_core benchmark`` writes, plain or gzipped, or anybody's JSON lines
with at least ``case``, ``method``, ``answer`` and ``right``. No torch, no gradio.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import reprlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from stc_core.errors import InputError
from stc_core.method_text import read_call
from stc_core.why.report import CAUSES

MOST_BYTES = 100 << 20  # unpacked
MOST_LINES = 200_000
LONGEST_LINE = 64 << 10  # bytes
MOST_METHODS = 500
LONGEST_METHOD = 1000  # characters
LIMITS = (
    f"at most {MOST_BYTES >> 20} MiB unpacked, {MOST_LINES:,} lines, "
    f"{LONGEST_LINE >> 10} KiB a line, {MOST_METHODS} methods"
)
UNCOMPRESSED = "none"  # as a result line names the stock model
UNKNOWN = -1  # in a column: not in the file

EVIDENCE = ("cells", "door", "door_carried", "end", "end_carried")
TOKENS = ("tokens", "tokens_door", "tokens_end")
SAME = ("checkpoint", "source", "split", "questions_sha256")  # files of which share their notes
COLUMNS = ("case", "method", "answer", "right", *EVIDENCE, *TOKENS, "log_right", "why", "reason")
WHYS = tuple(CAUSES.values())  # names of causes, as the column "why" has them


class QuestionRow(NamedTuple):
    """Hold what all answers to one case share.

    Attributes
    ----------
    id, frames
        Name of the case, and frames that were to be sampled (0: not in the file).
    clip, kind, question, expected
        Clip, kind of question, the question as it was asked, the right answer; "" where unknown.
    """

    id: str
    frames: int
    clip: str
    kind: str
    question: str
    expected: str


@dataclass(frozen=True)
class Setting:
    """Describe a method as the file names it: its ``repr``, a short label, any retention."""

    repr: str
    label: str
    retention: float | None


@dataclass(frozen=True)
class Results:
    """Hold the content of a result file.

    Attributes
    ----------
    configuration : dict
        The first line; empty where the file has none.
    settings : tuple of Setting
    questions : tuple of QuestionRow
    texts : tuple of str
        Every answer once.
    reasons : tuple of str
        Every sentence about a cause once.
    columns : dict of lists
        One entry an answer. ``case``, ``method`` and ``answer`` are places in the three above;
        ``right`` is 0 or 1; the counts of ``EVIDENCE`` and ``TOKENS`` are as in
        ``stc_core.benchmark.ask``, -1 where unknown; ``log_right`` is a float or None;
        ``why`` is a place in ``WHYS`` and ``reason`` in ``reasons``, -1 where the file tells none.
    torn : bool
        Whether the last line was incomplete, as after a kill, and left out.
    """

    configuration: dict[str, Any]
    settings: tuple[Setting, ...]
    questions: tuple[QuestionRow, ...]
    texts: tuple[str, ...]
    columns: dict[str, list]
    torn: bool = False
    reasons: tuple[str, ...] = ()

    def key(self) -> str:
        """Return sixteen hexadecimal digits that files about the same model and questions share."""
        about = [self.told(name) for name in SAME]
        if not any(about):
            about = [question.id for question in self.questions]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]

    def told(self, name: str) -> str:
        """Return a text of the configuration; "" where it says nothing."""
        value = self.configuration.get(name)
        return _whole(value) if isinstance(value, str) else ""


def read_results(path: Path) -> Results:
    """Read a result file.

    Raises
    ------
    InputError
        It is no result file, it is too large, or a line cannot be used: its number is named.
    """
    gathered, configuration, torn = _Gathered(), {}, False
    for number, line, whole in _lines(path):
        try:
            record = _record(line)
        except InputError as error:
            if not whole and number > 1:
                torn = True
                break
            raise InputError(f"line {number} of {path.name} is {error}") from None
        if number == 1 and "method" not in record and "checkpoint" in record:
            configuration = record
            continue
        try:
            gathered.add(record)
        except InputError as error:
            raise InputError(f"line {number} of {path.name}: {error}") from None
    if not gathered.places:
        raise InputError(
            f"{path.name} holds no answer; choose the results.jsonl or results.jsonl.gz that "
            f"python -m stc_core benchmark writes"
        )
    return Results(
        configuration,
        tuple(settings_of(gathered.methods)),
        tuple(QuestionRow(*key, **about) for key, about in gathered.questions.items()),
        tuple(gathered.texts),
        gathered.columns,
        torn,
        tuple(gathered.reasons),
    )


def parse_method(text: str) -> tuple[str, dict[str, Any]] | None:
    """Return ("STC", {"retention": 0.02, ...}) of a method's ``repr``; None for any other text.

    Only names and literals are read; nothing is looked up or run.
    """
    try:
        return read_call(text)
    except InputError:
        return None


def settings_of(methods: Iterable[str]) -> Iterator[Setting]:
    """Yield a label for each: its name, and those options that set it apart in this file.

    An option whose value most settings of the same method share is left out. One that some of them
    do not name has its default there, so it is told wherever it is named.
    """
    parsed = {text: parse_method(text) for text in methods}
    values: dict[tuple[str, str], Counter] = defaultdict(Counter)
    named: Counter[str] = Counter()
    for found in filter(None, parsed.values()):
        name, options = found
        named[name] += 1
        for option, value in options.items():
            values[name, option][repr(value)] += 1
    usual = {
        (name, option): counts.most_common(1)[0][0]
        for (name, option), counts in values.items()
        if counts.total() == named[name]
    }
    for text, found in parsed.items():
        if found is None:
            plain = text == UNCOMPRESSED
            yield Setting(text, "uncompressed" if plain else text, 1.0 if plain else None)
            continue
        name, options = found
        changed = [
            f"{option}={value!r}"
            for option, value in options.items()
            if option != "retention" and repr(value) != usual.get((name, option))
        ]
        kept = options.get("retention")
        share = float(kept) if _number(kept) and 0 < kept <= 1 else None
        yield Setting(text, name + (f" ({', '.join(changed)})" if changed else ""), share)


@dataclass
class _Gathered:
    """Columns in the making; a repeated answer replaces the one before, as in a resumed run."""

    methods: dict[str, int] = field(default_factory=dict)
    questions: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)
    cases: dict[tuple[str, int], int] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    places: dict[tuple[int, int], int] = field(default_factory=dict)
    columns: dict[str, list] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(self, record: dict[str, Any]) -> None:
        method = _text(record, "method")
        if len(method) > LONGEST_METHOD:
            raise InputError(f"the method's name is longer than {LONGEST_METHOD} characters")
        key = _text(record, "case"), _count(record.get("frames", 0), "frames")
        right = record.get("right")
        if not isinstance(right, bool):
            raise InputError(f'"right" must be true or false, not {reprlib.repr(right)}')
        about = {name: _text(record, name, "") for name in QuestionRow._fields[2:]}
        known = self.questions.setdefault(key, about)
        for name, text in about.items():
            known[name] = known[name] or text
        case = self.cases.setdefault(key, len(self.cases))
        number = self.methods.setdefault(method, len(self.methods))
        if number >= MOST_METHODS:
            raise InputError(f"more than {MOST_METHODS} methods; split the file")
        text = _text(record, "answer")
        answer = self.texts.setdefault(text, len(self.texts))
        row = (
            case,
            number,
            answer,
            int(right),
            *_evidence(record.get("evidence")),
            *_tokens(record.get("tokens")),
            _logarithm(record.get("log_right")),
            *self._why(record.get("why")),
        )
        place = self.places.setdefault((case, number), len(self.places))
        for column, value in zip(self.columns.values(), row, strict=True):
            if place == len(column):
                column.append(value)
            else:
                column[place] = value

    def _why(self, found: Any) -> tuple[int, int]:
        """Return the places of the cause and of its sentence."""
        if found is None:
            return UNKNOWN, UNKNOWN
        if not isinstance(found, dict) or found.get("cause") not in WHYS:
            raise InputError(
                f'"why" must be null or an object whose "cause" is one of {", ".join(WHYS)}, not '
                f"{reprlib.repr(found)}"
            )
        reason = _text(found, "sentence", "")
        place = self.reasons.setdefault(reason, len(self.reasons)) if reason else UNKNOWN
        return WHYS.index(found["cause"]), place


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(number, line, whether it ends as a line does) of what is not blank, within the bounds."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if zipped else raw as file:
                number = size = 0
                while line := file.readline(LONGEST_LINE + 1):
                    number += 1
                    size += len(line)
                    if len(line) > LONGEST_LINE:
                        raise InputError(
                            f"line {number} of {path.name} is longer than "
                            f"{LONGEST_LINE >> 10} KiB; this is no result file"
                        )
                    if number > MOST_LINES or size > MOST_BYTES:
                        raise InputError(f"{path.name} is too large: {LIMITS}; split the file")
                    if number == 1:
                        line = line.removeprefix(b"\xef\xbb\xbf")  # as Windows' editors begin
                    if line.strip():
                        yield number, line, line.endswith(b"\n")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path.name} is a damaged gzip file; make or download it again") from None
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror or error}") from None


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # not UTF-8 is a ValueError too
        words = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"not JSON ({words}); each line must be one JSON object") from None
    if not isinstance(record, dict):
        raise InputError("not a JSON object; each line must be one")
    return record


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _text(record: dict[str, Any], key: str, default: str | None = None) -> str:
    value = record.get(key, default)
    if not isinstance(value, str):
        said = "is missing" if key not in record else f"must be text, not {reprlib.repr(value)}"
        raise InputError(f'"{key}" {said}')
    return _whole(value)


def _whole(text: str) -> str:
    """Return the text as UTF-8 can hold it: JSON may give half a character."""
    return text.encode("utf-8", "replace").decode()


def _count(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise InputError(f'"{name}" must be a whole number, 0 or more, not {reprlib.repr(value)}')
    return value


def _evidence(found: Any) -> tuple[int, ...]:
    if found is None:
        return (UNKNOWN,) * len(EVIDENCE)
    if not isinstance(found, dict):
        raise InputError(f'"evidence" must be null or an object, not {reprlib.repr(found)}')
    cells, *left = counts = tuple(_count(found.get(name), name) for name in EVIDENCE)
    door, _, end, _ = left
    if not cells or max(left) > cells or end > door:
        raise InputError(f'"evidence" counts more tokens than there are: {reprlib.repr(found)}')
    return counts


def _tokens(found: Any) -> tuple[int, ...]:
    if found is None:
        return (UNKNOWN,) * len(TOKENS)
    if not isinstance(found, list) or len(found) != len(TOKENS):
        raise InputError(f'"tokens" must be three numbers, not {reprlib.repr(found)}')
    return tuple(_count(value, "tokens") for value in found)


def _logarithm(value: Any) -> float | None:
    if value is None:
        return None
    if not _number(value):
        raise InputError(f'"log_right" must be a number, not {reprlib.repr(value)}')
    return float(value)


def _number(value: Any) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and abs(value) < 1e300 and math.isfinite(value)
