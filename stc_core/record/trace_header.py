"""Define the JSON header of a trace file: one schema, with a limit on everything.

``parsed`` bounds the text before it is parsed; ``checked`` holds what came out of it, or what is
to be written, to the schema. Both raise ``InputError`` with a sentence about the header alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stc_core.errors import InputError
from stc_core.text import LONGEST_QUESTION, checked_text

MAX_HEADER = 4 << 20  # bytes; one of a recorded run has 4 KB
MAX_VALUES = 1 << 18  # numbers and texts in it
MAX_DEPTH = 16  # brackets within brackets; a header has 5
MAX_WORDS = 4096  # of question and answer; each is an element of the page
MAX_NOTES = 64
MAX_STAGES = 2
MAX_SCORES = 1024  # answers whose probability was asked for
MAX_PARTS = 64  # of a cost, by name
MAX_LAYERS = 1024  # of an LLM
MAX_TOKENS_SAID = 1 << 14  # of one answer
MAX_SIDE = 1 << 16  # pixels of a source frame
LONGEST_ANSWER = 1 << 18  # characters, and of what else a run writes: a word, a method
LONGEST_NOTE = 1 << 12
LONGEST_NAME = 1 << 10  # of a model, a part
MAX_COUNT = 1 << 53  # what JavaScript counts exactly
SMALLEST, LARGEST = 1e-60, 1e30  # of costs that are not 0, so that quotients stay numbers
MAX_LOGPROB = 1e9

Check = Callable[[object, str], Any]


def parsed(raw: bytes) -> dict[str, Any]:
    """Parse the header into a dict; its entries are counted here and checked by ``checked``."""
    if len(raw) > MAX_HEADER:
        raise InputError(f"its header has {len(raw)} bytes where {MAX_HEADER} are the most")
    outline = _outline(raw)
    opened, closed = (np.isin(outline, [*signs]) for signs in (b"[{", b"]}"))
    values = int((outline == ord(",")).sum() + opened.sum())
    if values > MAX_VALUES:
        raise InputError(f"its header has {values} values where {MAX_VALUES} are the most")
    if np.cumsum(opened.astype(np.int32) - closed).max(initial=0) > MAX_DEPTH:
        raise InputError(f"its header is nested deeper than {MAX_DEPTH}")
    header = json.loads(raw.decode(), parse_constant=_no_number)
    if not isinstance(header, dict):
        raise InputError("its header is no table")
    return header


def checked(header: Mapping[str, Any]) -> None:
    """Raise ``InputError`` for a header that is not of this version's schema."""
    _HEADER(header, "its header")
    grid = header["grid"]
    if grid.get("seen") is not None:
        _check_seen(grid["seen"], grid["height"], grid["width"])
    for stage in header["stages"]:
        if (stage["layer"] is None) != (stage["name"] == "outside"):
            raise InputError("its inside stage, and only that one, must have a layer")


def _outline(raw: bytes) -> np.ndarray:
    """Return the bytes of a JSON text without its strings, (m,) uint8."""
    unescaped = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return np.frombuffer(re.sub(rb'"[^"]*"?', b"", unescaped), np.uint8)


def _check_seen(seen: list[float], height: int, width: int) -> None:
    """The encoder saw some of the frame; a letterbox around it is at most as wide as the frame."""
    if len(seen) != 4:
        raise InputError("its grid.seen must be four numbers")
    most = 4 * max(height, width)
    for first, last, side in ((seen[0], seen[2], height), (seen[1], seen[3], width)):
        if not (-most <= first < side and 0 < last <= most and last - first >= 1e-3):
            raise InputError("its grid.seen lies outside the frame or is empty")


def _no_number(name: str) -> float:
    raise InputError(f"its header holds {name}, which is no number")


# --- kinds of values -----------------------------------------------------------------------------


def _whole(low: int, high: int) -> Check:
    def check(value: object, what: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise InputError(f"{what} must be a whole number from {low} to {high}")

    return check


def _number(low: float, high: float, smallest: float = 0.0) -> Check:
    def check(value: object, what: str) -> None:
        if type(value) is not int and type(value) is not float or not low <= value <= high:
            raise InputError(f"{what} must be a number from {low:g} to {high:g}")
        if 0 < abs(value) < smallest:
            raise InputError(f"{what} must be 0 or at least {smallest:g}")

    return check


def _text(longest: int, controls: bool = False) -> Check:
    return lambda value, what: checked_text(value, what, longest, controls=controls)


def _one_of(*choices: str) -> Check:
    def check(value: object, what: str) -> None:
        if not isinstance(value, str) or value not in choices:
            raise InputError(f"{what} must be {' or '.join(map(repr, choices))}")

    return check


def _optional(inner: Check) -> Check:
    return lambda value, what: None if value is None else inner(value, what)


def _many(inner: Check, most: int) -> Check:
    def check(value: object, what: str) -> None:
        if not isinstance(value, (list, tuple)) or len(value) > most:
            raise InputError(f"{what} must be a list of at most {most}")
        for item in value:
            inner(item, f"an entry of {what}")

    return check


def _table(inner: Check, most: int, longest: int, controls: bool = False) -> Check:
    """Check a dict of any names."""

    def check(value: object, what: str) -> None:
        if not isinstance(value, dict) or len(value) > most:
            raise InputError(f"{what} must be a table of at most {most} entries")
        for name, item in value.items():
            checked_text(name, f"a name in {what}", longest, controls=controls)
            inner(item, f"an entry of {what}")

    return check


def _record(entries: dict[str, Check], *needed: str) -> Check:
    """Check a dict of these names alone, with all that are ``needed``."""

    def check(value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise InputError(f"{what} must be a table")
        if missing := set(needed) - value.keys():
            raise InputError(f"{what} has no {min(missing)}")
        if value.keys() - entries.keys():
            raise InputError(f"{what} has an entry that this version does not know")
        for name, item in value.items():
            entries[name](item, f"its {name}" if what == "its header" else f"{what}.{name}")

    return check


# --- the schema ----------------------------------------------------------------------------------

_COUNT = _whole(0, MAX_COUNT)
_COST = _number(0, LARGEST, SMALLEST)
_TIME = _number(-1e-6, LARGEST, SMALLEST)  # a clock's rounding may leave less than nothing
_LAYER = _optional(_whole(0, MAX_LAYERS - 1))
_LOGPROB = _optional(_number(-MAX_LOGPROB, MAX_LOGPROB))
_SCORES = _table(_number(-MAX_LOGPROB, MAX_LOGPROB), MAX_SCORES, LONGEST_ANSWER, controls=True)
_SAID = _text(LONGEST_ANSWER, controls=True)
_WORD = _record({"text": _SAID, "kind": _one_of("question", "answer"), "logprob": _LOGPROB},
                "text", "kind")  # fmt: skip
_WORDS = _many(_WORD, MAX_WORDS)
_COSTS = _record(  # ``costs.Costs``; older versions wrote fewer entries
    {
        "tokens_full": _COUNT,
        "tokens_llm": _COUNT,
        "tokens_end": _COUNT,
        "tokens_per_layer": _many(_COUNT, MAX_LAYERS),
        "text_tokens": _COUNT,
        "generated_tokens": _COUNT,
        "paper_flops": _COST,
        "real_flops": _table(_COST, MAX_PARTS, LONGEST_NAME),
        "kv_bytes": _COUNT,
        "seconds": _table(_TIME, MAX_PARTS, LONGEST_NAME),
        "seconds_per_token": _many(_TIME, MAX_TOKENS_SAID),
        "time_to_first_token": _optional(_TIME),
        "peak_memory_bytes": _optional(_COUNT),
    }
)
_BASELINE = _record(
    {"answer": _SAID, "costs": _COSTS, "logprob": _LOGPROB, "scores": _SCORES, "words": _WORDS}
)
_SIDE = _whole(1, MAX_SIDE)
_GRID = _record(
    {
        "frames": _COUNT,
        "rows": _COUNT,
        "cols": _COUNT,
        "height": _SIDE,
        "width": _SIDE,
        "seen": _optional(_many(_number(-4 * MAX_SIDE, 4 * MAX_SIDE), 4)),
    },
    "frames", "rows", "cols", "height", "width",
)  # fmt: skip
_STAGE = _record({"name": _one_of("outside", "inside"), "layer": _LAYER}, "name", "layer")
_FIRST = {  # of every format
    "format": _whole(1, 1 << 16),
    "grid": _GRID,
    "stages": _many(_STAGE, MAX_STAGES),
    "method": _text(LONGEST_ANSWER),
    "model": _text(LONGEST_NAME),
    "question": _text(LONGEST_QUESTION),
    "answer": _SAID,
    "positions": _one_of("original", "compact"),
    "notes": _many(_text(LONGEST_NOTE), MAX_NOTES),
    "costs": _COSTS,
    "baseline": _BASELINE,
}
_HEADER = _record(
    _FIRST | {"logprob": _LOGPROB, "scores": _SCORES, "words": _WORDS, "attention_layer": _LAYER},
    *_FIRST,
)

# --- sweeps --------------------------------------------------------------------------------------

MAX_STOPS = 128
_VALUE = _number(-1, MAX_LAYERS)
_STOP = {
    "value": _VALUE,
    "answer": _SAID,
    "logprob": _number(-MAX_LOGPROB, MAX_LOGPROB),
    "scores": _SCORES,
    "costs": _COSTS,
    "stages": _many(_STAGE, MAX_STAGES),
}
_SWEEP = {
    "format": _whole(1, 1),
    "grid": _GRID,
    "over": _text(LONGEST_NAME),
    "present": _VALUE,
    "planned": _many(_VALUE, MAX_STOPS),
    "method": _text(LONGEST_ANSWER),
    "model": _text(LONGEST_NAME),
    "question": _text(LONGEST_QUESTION),
    "baseline": _BASELINE,
    "expected": _optional(_SAID),
    "refused": _many(_many(lambda value, what: None, 2), MAX_STOPS),
    "stops": _many(_record(_STOP, *_STOP), MAX_STOPS),
}
_CHECK_SWEEP = _record(_SWEEP, *_SWEEP)


def checked_sweep(header: Mapping[str, Any]) -> None:
    """Raise ``InputError`` for a header that is not of a sweep of this version."""
    _CHECK_SWEEP(header, "its header")
    if header["grid"].get("seen") is not None:
        _check_seen(header["grid"]["seen"], header["grid"]["height"], header["grid"]["width"])
    for entry in header["refused"]:
        if len(entry) != 2:
            raise InputError("an entry of its refused must be a value and a sentence")
        _VALUE(entry[0], "a value of its refused")
        _text(LONGEST_NOTE)(entry[1], "a sentence of its refused")
