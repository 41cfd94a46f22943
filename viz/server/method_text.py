"""Write a method as text, the ``repr`` of its frozen dataclass, and read it back.

The page, its files and the result files of benchmarks name a method by that text; settings that
are left out have their defaults::

    STC(retention=0.02, tau=0.7)
    Edited(method=STC(retention=0.02), remove=(4, 7), add=(), only=None)

Addresses and scripts write a method without edits shorter: ``stc@0.02,tau=0.7``.

A text may come from a browser or from a file. Only names and literals are read; nothing of it is
looked up or run. ``make_method`` alone needs torch.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stc_core.errors import InputError

if TYPE_CHECKING:
    from stc_core import Method

# The classes of ``stc_core.METHODS``, whose import would bring torch.
NAMES = {
    "stc": "STC", "fastv": "FastV", "visionzip": "VisionZip", "fastvid": "FastVID",
    "holitom": "HoliTom", "prunevid": "PruneVid", "vidcom2": "VidCom2", "evs": "EVS",
    "uniform": "Uniform", "random": "Random", "frames": "Frames", "downsample": "Downsample",
}  # fmt: skip
EDITED = "Edited"
EDITS = ("remove", "add", "only")
MOST_SETTINGS = 21  # of a method, the retention ratio included; the largest has fewer
LONGEST = 1 << 20  # characters of a text: an edit may name every token of a long clip
LONGEST_SHORT = 400


@dataclass(frozen=True)
class MethodText:
    """Hold a method as its text names it.

    Only ``make_method`` can tell whether the method has these settings and takes their values.

    Attributes
    ----------
    name : str
        One of ``NAMES``.
    settings : dict
        {setting: bool, int, float, str or None}. ``retention``, the share of the video tokens that
        enter the LLM, must be there: above 0 and at most 1.
    edit : dict or None
        {"remove": tokens, "add": tokens, "only": tokens or None}; a missing entry is empty. Tokens
        are kept as ascending tuples.

    Raises
    ------
    InputError
        On construction: one sentence, for anything else.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    edit: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise InputError(
                f"there is no method {_shown(self.name)}; choose one of {', '.join(NAMES)}"
            )
        if len(self.settings) > MOST_SETTINGS:
            raise InputError(
                f"a method takes at most {MOST_SETTINGS} settings, not {len(self.settings)}"
            )
        retention = self.settings.get("retention")
        if retention is None or not _is_number(retention) or not 0 < retention <= 1:
            raise InputError(f"the retention ratio must be above 0 to 1, not {_shown(retention)}")
        for setting, value in self.settings.items():
            _check_setting(setting, value)
        if self.edit is not None:
            object.__setattr__(self, "edit", _checked_edit(self.edit))

    def __str__(self) -> str:
        """As ``repr`` writes the method, with the settings that are named here."""
        text = f"{NAMES[self.name]}({_arguments(self.settings)})"
        return text if self.edit is None else f"{EDITED}(method={text}, {_arguments(self.edit)})"

    @property
    def short(self) -> str:
        """Return the short form for addresses; ``InputError`` for an edited method."""
        if self.edit is not None:
            raise InputError("an edited method has no short name; share its trace instead")
        others = [
            f",{setting}={value if isinstance(value, str) else json.dumps(value)}"
            for setting, value in self.settings.items()
            if setting != "retention"
        ]
        return f"{self.name}@{json.dumps(self.settings['retention'])}{''.join(others)}"


def read_method(text: object) -> MethodText:
    """Read what ``repr`` of a method or ``str`` of a ``MethodText`` wrote.

    ``InputError`` for anything else.
    """
    name, keywords = _call(text)
    if name != EDITED:
        return MethodText(_short_name(name), _literals(keywords, text))
    edited = [word for word in keywords if word.arg == "method"]
    inner = _parts(edited[0].value) if len(edited) == 1 else None
    if inner is None:
        raise InputError(f"an edited method is written as {EDITED}(method=STC(retention=0.02))")
    edit = _literals([word for word in keywords if word is not edited[0]], text)
    return MethodText(_short_name(inner[0]), _literals(inner[1], text), edit)


def read_call(text: object) -> tuple[str, dict[str, Any]]:
    """Return ("STC", {"retention": 0.02, ...}) of a text of that form, whatever its names are.

    ``InputError`` where the text has another form or a value is no literal.
    """
    name, keywords = _call(text)
    return name, _literals(keywords, text)


def read_short(text: object) -> MethodText:
    """Read what ``MethodText.short`` wrote; ``InputError`` for anything else."""
    form = r"([a-z0-9]+)@([^,=\s]+)((?:,[a-z_]+=[^,=\s]+)*)"
    short = text if isinstance(text, str) and len(text) <= LONGEST_SHORT else ""
    found = re.fullmatch(form, short)
    if found is None:
        raise _no_method(text, "stc@0.02")
    name, retention, rest = found.groups()
    pairs = [pair.split("=") for pair in rest.split(",")[1:]]
    settings = {"retention": _value(retention)} | {key: _value(value) for key, value in pairs}
    if len(settings) != 1 + len(pairs):  # one of them is named twice
        raise _no_method(text, "stc@0.02")
    return MethodText(name, settings)


def make_method(text: str) -> Method:
    """Make the method; ``InputError`` where it has no such setting or does not take the value."""
    from stc_core import METHODS, Edited  # torch comes with them

    read = read_method(text)
    kind = METHODS[read.name]
    unknown = [setting for setting in read.settings if setting not in kind.__dataclass_fields__]
    if unknown:
        raise InputError(f"the method {read.name} has no option {unknown[0]}; leave it out")
    method = kind(**read.settings)
    return method if read.edit is None else Edited(method, **read.edit)


def same_method(one: str, other: str) -> bool:
    """Tell whether two texts name the same method, whichever of its settings they leave out."""
    return one == other or make_method(one) == make_method(other)


def _call(text: object) -> tuple[str, list[ast.keyword]]:
    """Return (name, keywords) of "Name(keyword=value, ...)"; ``InputError`` for anything else."""
    if not isinstance(text, str) or len(text) > LONGEST:
        raise _no_method(text)
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _no_method(text) from None
    parts = _parts(call)
    if parts is None:
        raise _no_method(text)
    return parts


def _parts(node: ast.expr) -> tuple[str, list[ast.keyword]] | None:
    """Return (name, keywords) of a call of a plain name without other arguments, else None."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        return node.func.id, node.keywords
    return None


def _literals(keywords: list[ast.keyword], text: object) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for word in keywords:
        if word.arg is None or word.arg in values:  # **values, or one named twice
            raise _no_method(text)
        try:
            values[word.arg] = ast.literal_eval(word.value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            raise _no_method(text) from None
    return values


def _short_name(name: str) -> str:
    """Return "stc" for "STC"; ``InputError`` for what is no class of a method."""
    for short, known in NAMES.items():
        if known == name:
            return short
    classes = ", ".join(NAMES.values())
    raise InputError(f"there is no method {_shown(name)}; choose one of {classes}")


def _check_setting(setting: object, value: object) -> None:
    if not isinstance(setting, str) or not re.fullmatch(r"[a-z_]{1,40}", setting):
        raise InputError(f"{_shown(setting)} is no name of an option")
    plain = value is None or isinstance(value, (bool, str)) or _is_number(value)
    if not plain or (isinstance(value, str) and not re.fullmatch(r"\w{1,40}", value)):
        raise InputError(f"the option {setting} must be a number or a word, not {_shown(value)}")


def _checked_edit(edit: object) -> dict[str, tuple[int, ...] | None]:
    if not isinstance(edit, Mapping) or set(edit) - set(EDITS):
        raise InputError("an edit has the lists remove, add and only, and nothing else")
    made = {"remove": (), "add": (), "only": None, **edit}
    for name, tokens in made.items():
        if name == "only" and tokens is None:
            continue
        if not isinstance(tokens, (list, tuple)) or not all(map(_is_token, tokens)):
            raise InputError(f"in an edit, {name} must be a list of tokens: whole numbers from 0")
        made[name] = tuple(sorted(set(tokens)))
    return made


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_number(value: object) -> bool:
    """Tell whether a value is a finite number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -1e300 < value < 1e300


def _value(text: str) -> Any:
    """Return a number, true, false or null, else the word itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _no_method(text: object, example: str = "STC(retention=0.02)") -> InputError:
    return InputError(f"{_shown(text)} is no method; write it as {example}")


def _shown(value: object) -> str:
    """Return the start of a value from outside, for a sentence about it."""
    try:
        text = repr(value[:40] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        return "something too long to repeat"
    return text if len(text) <= 40 else f"{text[:37]}..."
