"""Write a method as text, the ``repr`` of its frozen dataclass, and read it back.

The page, its files, the command line and the result files of benchmarks name a method by that text;
settings that are left out have their defaults::

    STC(retention=0.02, tau=0.7)
    SToP(VisionZip(retention=0.1), strength=10)
    Then(Frames(VisionZip(retention=0.05), keep=8), FastV(retention=0.5))
    Edited(method=STC(retention=0.02), remove=(4, 7), add=(), only=None)

Addresses and scripts write a method without edits shorter: ``stc@0.02,tau=0.7``,
``then(frames(visionzip@0.05),keep=8,fastv@0.5)``.

A text may come from a browser or from a file. Only names and literals are read; nothing of it is
looked up or run. ``make_method`` alone needs torch.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from stc_core.errors import InputError

if TYPE_CHECKING:
    from stc_core import Method

# The classes of ``stc_core.METHODS``, whose import would bring torch.
NAMES = {
    "stc": "STC", "stdpp": "SpaceTimeDPP", "fastv": "FastV", "visionzip": "VisionZip",
    "fastvid": "FastVID", "holitom": "HoliTom", "prunevid": "PruneVid", "vidcom2": "VidCom2",
    "vcast": "VCast", "kitoke": "KiToke", "flashvid": "FlashVID", "tango": "Tango",
    "sttm": "STTM", "infomerge": "InfoMerge", "v2drop": "V2Drop", "evs": "EVS",
    "uniform": "Uniform", "random": "Random", "frames": "Frames", "downsample": "Downsample",
}  # fmt: skip
# Methods around others: {name: (class, the options that are methods)}.
WRAPPERS = {
    "stop": ("SToP", ("method",)),
    "dytok": ("DyToK", ("method",)),
    "then": ("Then", ("method", "inner")),
    "frames": ("Frames", ("method",)),  # without one it is itself a method
}
EDITED = "Edited"
EDITS = ("remove", "add", "only")
MOST_SETTINGS = 21  # of a method, the retention ratio included; the largest has fewer
DEEPEST = 4  # methods around each other
RETENTION = 0.02  # of a method within another, where its text says none
LONGEST = 1 << 20  # characters of a text: an edit may name every token of a long clip
LONGEST_SHORT = 2000


@dataclass(frozen=True)
class MethodText:
    """Hold a method as its text names it.

    Only ``make_method`` can tell whether the method has these settings and takes their values.

    Attributes
    ----------
    name : str
        One of ``NAMES``, or of ``WRAPPERS`` with ``parts``.
    settings : dict
        {setting: bool, int, float, str or None}. ``retention``, the share of the video tokens that
        enter the LLM, must be there: above 0 and at most 1. With ``parts`` it must not: the first
        of them has it.
    edit : dict or None
        {"remove": tokens, "add": tokens, "only": tokens or None}; a missing entry is empty. Tokens
        are kept as ascending tuples.
    parts : dict
        {option: MethodText}, the methods that this one is around.

    Raises
    ------
    InputError
        On construction: one sentence, for anything else.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    edit: Mapping[str, Any] | None = None
    parts: Mapping[str, MethodText] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = isinstance(self.name, str) and self.name in (WRAPPERS if self.parts else NAMES)
        if not known:
            raise InputError(
                f"there is no method {_shown(self.name)}; choose one of {', '.join(NAMES)}"
            )
        if len(self.settings) > MOST_SETTINGS:
            raise InputError(
                f"a method takes at most {MOST_SETTINGS} settings, not {len(self.settings)}"
            )
        if self.parts:
            self._check_parts()
        else:
            retention = self.settings.get("retention")
            if retention is None or not _is_number(retention) or not 0 < retention <= 1:
                raise InputError(
                    f"the retention ratio must be above 0 to 1, not {_shown(retention)}"
                )
        for setting, value in self.settings.items():
            _check_setting(setting, value)
        if self.edit is not None:
            object.__setattr__(self, "edit", _checked_edit(self.edit))

    def _check_parts(self) -> None:
        kind, options = WRAPPERS[self.name]
        for option in options:
            part = self.parts.get(option)
            if not isinstance(part, MethodText) or part.edit is not None:
                raise InputError(
                    f"{kind} needs a method as its {option}; write it as {_form(kind)}"
                )
        if "retention" in self.settings:
            raise InputError(f"{kind} has no retention; give it to the method that it is around")
        if self._depth() > DEEPEST:
            raise InputError(f"methods can be at most {DEEPEST} deep around each other")

    def _depth(self) -> int:
        return 1 + max((part._depth() for part in self.parts.values()), default=0)

    def __str__(self) -> str:
        """As ``repr`` writes the method, with the settings that are named here."""
        kind = WRAPPERS[self.name][0] if self.parts else NAMES[self.name]
        parts = [f"{option}={part}" for option, part in self.parts.items()]
        text = f"{kind}({', '.join(filter(None, [*parts, _arguments(self.settings)]))})"
        return text if self.edit is None else f"{EDITED}(method={text}, {_arguments(self.edit)})"

    @property
    def retention(self) -> float:
        """Return the share of the video tokens that enter the LLM."""
        return self.parts["method"].retention if self.parts else self.settings["retention"]

    @property
    def title(self) -> str:
        """Return the name of the class, with those of the methods in it: "SToP(VisionZip)"."""
        if not self.parts:
            return NAMES[self.name]
        return f"{WRAPPERS[self.name][0]}({', '.join(part.title for part in self.parts.values())})"

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
        if self.parts:
            parts = ",".join(part.short for part in self.parts.values())
            return f"{self.name}({parts}){''.join(others)}"
        return f"{self.name}@{json.dumps(self.settings['retention'])}{''.join(others)}"


def read_method(text: object, retention: float | None = None) -> MethodText:
    """Read what ``repr`` of a method or ``str`` of a ``MethodText`` wrote.

    Parameters
    ----------
    text : str
    retention : float, optional
        Of a method whose text says none. Default: such a text is refused; within another method it
        is ``RETENTION``.

    Raises
    ------
    InputError
        For anything else.
    """
    call = _call(text)
    if _called(call) != EDITED:
        return _read(call, text, retention)
    edited = [word for word in call.keywords if word.arg == "method"]
    inner = edited[0].value if len(edited) == 1 and not call.args else None
    if inner is None or _called(inner) is None or (inner.args and _wrapper(inner) is None):
        raise InputError(f"an edited method is written as {EDITED}(method=STC(retention=0.02))")
    edit = _literals([word for word in call.keywords if word is not edited[0]], text)
    read = _read(inner, text, retention)
    return replace(read, edit=edit)


def _read(call: Any, text: object, retention: float | None, depth: int = 0) -> MethodText:
    """Read a call and the calls in it."""
    if depth > DEEPEST:
        raise InputError(f"methods can be at most {DEEPEST} deep around each other")
    found = _wrapper(call)
    if found is None:
        if call.args:
            raise _no_method(text)
        name, settings = _short_name(call.func.id), _literals(call.keywords, text)
        if retention is not None:
            settings = {"retention": retention} | settings
        return MethodText(name, settings)
    name, options = found
    if len(call.args) > len(options):
        raise InputError(
            f"{call.func.id} is around {len(options)} of other methods, not {len(call.args)}; "
            f"write it as {_form(call.func.id)}"
        )
    named = [word for word in call.keywords if word.arg in options]
    given = [*zip(options, call.args, strict=False), *((word.arg, word.value) for word in named)]
    parts: dict[str, MethodText] = {}
    for option, value in given:
        if option in parts or _called(value) is None:
            raise _no_method(text, _form(call.func.id))
        parts[option] = _read(value, text, retention or RETENTION, depth + 1)
    settings = _literals([word for word in call.keywords if word not in named], text)
    if not parts:
        raise InputError(
            f"{call.func.id} needs a method as its {options[0]}; write it as {_form(call.func.id)}"
        )
    ordered = {option: parts[option] for option in options if option in parts}
    return MethodText(name, settings, parts=ordered)


def _wrapper(call: Any) -> tuple[str, tuple[str, ...]] | None:
    """Return (name, options that are methods) where a call is of a method around others."""
    for name, (kind, options) in WRAPPERS.items():
        if call.func.id == kind:
            named = any(word.arg in options for word in call.keywords)
            if name not in NAMES or call.args or named:
                return name, options
    return None


def _form(kind: str) -> str:
    """Return an example of how a method around others is written."""
    return {
        "Then": "Then(VisionZip(retention=0.1), FastV(retention=0.5))",
        "Frames": "Frames(VisionZip(retention=0.1), keep=8)",
    }.get(kind, f"{kind}(VisionZip(retention=0.1))")


def read_call(text: object) -> tuple[str, dict[str, Any]]:
    """Return ("STC", {"retention": 0.02, ...}) of a text of that form, whatever its names are.

    Of a method around others ("SToP(VisionZip)", {...}), with the values of the first and, named as
    "inner retention", of the second.

    ``InputError`` where the text has another form or a value is no literal.
    """
    return _flat(_call(text), text)


def _flat(call: Any, text: object, depth: int = 0) -> tuple[str, dict[str, Any]]:
    """Return the name and the values of a call, and of the methods in it."""
    options = (_wrapper(call) or ("", ()))[1]
    if depth > DEEPEST or len(call.args) > len(options):
        raise _no_method(text)
    named = [word for word in call.keywords if word.arg in options]
    inner = dict(zip(options, call.args, strict=False)) | {w.arg: w.value for w in named}
    names: list[str] = []
    values: dict[str, Any] = {}
    for place, (option, node) in enumerate(inner.items()):
        if _called(node) is None:
            raise _no_method(text)
        name, found = _flat(node, text, depth + 1)
        names.append(name)
        values |= {f"{option} {key}" if place else key: value for key, value in found.items()}
    values |= _literals([word for word in call.keywords if word not in named], text)
    return f"{call.func.id}({', '.join(names)})" if names else call.func.id, values


def read_short(text: object) -> MethodText:
    """Read what ``MethodText.short`` wrote; ``InputError`` for anything else."""
    short = text if isinstance(text, str) and len(text) <= LONGEST_SHORT else ""
    read, end = _read_short(short, 0, text)
    if end != len(short):
        raise _no_method(text, "stc@0.02")
    return read


def _read_short(short: str, start: int, text: object, depth: int = 0) -> tuple[MethodText, int]:
    """Return the method that begins at ``start``, and where what follows it begins."""
    head = re.compile(r"([a-z0-9]+)(?:@([^,=()\s]+)|(\())").match(short, start)
    if head is None or depth > DEEPEST:
        raise _no_method(text, "stc@0.02")
    name, retention, opened = head.groups()
    end, inner = head.end(), []
    while opened:
        part, end = _read_short(short, end, text, depth + 1)
        inner.append(part)
        following, end = short[end : end + 1], end + 1
        if following not in (",", ")"):
            raise _no_method(text, "stc@0.02")
        opened = following == ","
    pairs = []
    while setting := re.compile(r",([a-z_0-9]+)=([^,=()\s]+)").match(short, end):
        pairs.append(setting.groups())
        end = setting.end()
    settings = {"retention": _value(retention)} if retention is not None else {}
    settings |= {key: _value(value) for key, value in pairs}
    if len(settings) != (retention is not None) + len(pairs):  # one of them is named twice
        raise _no_method(text, "stc@0.02")
    if not inner:
        return MethodText(name, settings), end
    options = WRAPPERS.get(name, ("", ()))[1]
    if len(inner) != len(options):
        raise _no_method(text, "stop(visionzip@0.02)")
    return MethodText(name, settings, parts=dict(zip(options, inner, strict=True))), end


def make_method(text: str, retention: float | None = None) -> Method:
    """Make the method; ``InputError`` where it has no such setting or does not take the value.

    ``retention`` is that of methods whose text says none, as for ``read_method``.
    """
    from stc_core.methods import Edited  # torch comes with them

    read = read_method(text, retention)
    method = _made(read)
    return method if read.edit is None else Edited(method, **read.edit)


def _made(read: MethodText) -> Method:
    from stc_core.methods import METHODS, DyToK, Frames, SToP, Then

    around = {"stop": SToP, "dytok": DyToK, "then": Then, "frames": Frames}
    kind: type[Method] = around[read.name] if read.parts else METHODS[read.name]
    options = {option.name for option in fields(kind) if option.init}
    unknown = [setting for setting in read.settings if setting not in options]
    if unknown:
        raise InputError(f"the method {read.name} has no option {unknown[0]}; leave it out")
    return kind(**{name: _made(part) for name, part in read.parts.items()}, **read.settings)


def same_method(one: str, other: str) -> bool:
    """Tell whether two texts name the same method, whichever of its settings they leave out."""
    return one == other or make_method(one) == make_method(other)


def _call(text: object) -> Any:
    """Return the call of "Name(keyword=value, ...)"; ``InputError`` for anything else."""
    if not isinstance(text, str) or len(text) > LONGEST:
        raise _no_method(text)
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _no_method(text) from None
    if not isinstance(call, ast.Call) or _called(call) is None:
        raise _no_method(text)
    if call.args and _wrapper(call) is None:
        raise _no_method(text)
    return call


def _called(node: ast.expr) -> str | None:
    """Return the name where a node is a call of a plain name, else None."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
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
