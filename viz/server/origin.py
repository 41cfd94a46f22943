"""Asking the question of a shown trace again: with another method, or with an edited one.

What a trace was made of is kept beside it on the shelf, since the trace itself names no file. A
method travels as plain data, a *spec*, so that neither the page nor its addresses need torch::

    {"name": "stc", "options": {"retention": 0.02}, "edit": None}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc_core.errors import InputError
from stc_core.writing import written_whole
from viz.examples import Known, asked
from viz.server import world_clips
from viz.server.quota import PAGE

if TYPE_CHECKING:
    from stc_core import Answer, Method, Trace
    from viz.server.runner import Runner, Step
    from viz.server.shelf import Shelf

# Of ``stc_core.METHODS``, whose import would bring torch.
NAMES = (
    "stc", "fastv", "visionzip", "fastvid", "holitom", "prunevid", "vidcom2", "evs", "uniform",
    "random", "frames", "downsample",
)  # fmt: skip
MOST_OPTIONS = 20  # of a method; the largest has half as many
LONGEST = 400  # characters of a spec as text
RECORD = "origin.json"


@dataclass(frozen=True)
class Origin:
    """What a trace was made of.

    Attributes
    ----------
    video : str
        The file, which may be gone by now, or "shapes SEED" for a clip of the world of shapes.
    question : str
    frames : int or None
        As asked for; None: the model's own number.
    spec : dict or None
        The method, where a run on this page made the trace.
    model : str or None
        As chosen from the menu; None: the page's first model.
    """

    video: str
    question: str
    frames: int | None = None
    spec: dict[str, Any] | None = None
    model: str | None = None

    @property
    def seed(self) -> int | None:
        """Of a clip that is made anew; None for a file."""
        found = re.fullmatch(r"shapes (\d{1,18})", self.video)
        return int(found[1]) if found else None


def shelve(
    shelf: Shelf, trace: Trace, origin: Origin | None,
    known: Mapping[tuple[str, str], Known], source: Path | None = None, *, later: bool = False,
    visitor: str = PAGE,
) -> tuple[Path, dict[str, Any]]:  # fmt: skip
    """Put a trace on the shelf together with its origin.

    Parameters
    ----------
    known : mapping
        What is known of questions about files, as ``known_questions`` gives it.
    source : Path, optional
        The file that the trace was read from.
    later : bool
        Whether the trace's file may come after the call.
    visitor : str
        For whom it counts; default: for the page itself.

    Returns
    -------
    (Path, dict)
        The trace's file, and what the workspace is given: the addresses of the shelf, and "again",
        whether its question can be asked again.
    """
    home = shelf.put(trace, source, later=later, visitor=visitor)
    if origin is None:
        return home, shelf.addresses(trace, home)
    remember(home, origin)
    file = None if origin.seed is not None else Path(origin.video)
    return home, shelf.addresses(trace, home, about(origin, known), file) | {"again": True}


def about(origin: Origin, known: Mapping[tuple[str, str], Known]) -> Known | None:
    """What is known of the question of an origin."""
    if origin.seed is not None:
        return world_clips.known(origin.seed, origin.frames, origin.question)
    return known.get(asked(origin.video, origin.question))


def remember(home: Path, origin: Origin) -> None:
    """Keep the origin of a trace; ``home`` is what ``Shelf.put`` returned."""
    with written_whole(home.with_name(RECORD)) as partial:
        partial.write_text(json.dumps(asdict(origin)), encoding="utf-8")


def recall(folder: Path, key: object) -> Origin | None:
    """The origin of the trace with that key; None where none is kept or the key is no key."""
    if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f]{20}", key):
        return None
    try:
        return Origin(**json.loads((folder / key / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def method_spec(
    name: str, retention: float, edit: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """A method as plain data; ``InputError`` where it cannot be one.

    Whether the method has such options, and whether their values make sense to it, only
    ``make_method`` can tell.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    retention : float
        Share of the video tokens that enter the LLM, above 0 and at most 1.
    edit : mapping, optional
        {"remove": tokens, "add": tokens, "only": tokens or None}; what is left out is empty.
    options : bool, int, float, str or None
    """
    if name not in NAMES:
        raise InputError(f"there is no method {_short(name)}; choose one of {', '.join(NAMES)}")
    if not _is_number(retention) or not 0 < retention <= 1:
        raise InputError(f"the retention ratio must be above 0 to 1, not {_short(retention)}")
    if len(options) > MOST_OPTIONS:
        raise InputError(f"a method takes at most {MOST_OPTIONS} options, not {len(options)}")
    for option, value in options.items():
        if not re.fullmatch(r"[a-z_]{1,40}", str(option)):
            raise InputError(f"{_short(option)} is no name of an option")
        plain = value is None or isinstance(value, (bool, str)) or _is_number(value)
        if not plain or (isinstance(value, str) and not re.fullmatch(r"\w{1,40}", value)):
            raise InputError(f"the option {option} must be a number or a word, not {_short(value)}")
    options = {"retention": retention, **options}
    return {"name": name, "options": options, "edit": None if edit is None else _edit(edit)}


def checked(spec: object) -> dict[str, Any]:
    """A spec from a browser or a file, made anew; ``InputError`` for anything else."""
    if not isinstance(spec, Mapping) or not isinstance(spec.get("options"), Mapping):
        raise InputError("a method is given as its name and its options")
    options = dict(spec["options"])
    if not all(isinstance(option, str) for option in options) or options.keys() & {"name", "edit"}:
        raise InputError("the options of a method have names of their own")
    retention = options.pop("retention", None)
    return method_spec(spec.get("name"), retention, spec.get("edit"), **options)


def to_text(spec: Mapping[str, Any]) -> str:
    """A spec without edits in a few characters, for addresses: ``"stc@0.02,keep_inside=1"``."""
    if spec["edit"] is not None:
        raise InputError("an edited method has no short name; share its trace instead")
    options = dict(spec["options"])
    parts = [f"{spec['name']}@{json.dumps(options.pop('retention'))}"]
    parts += [
        f"{option}={value if isinstance(value, str) else json.dumps(value)}"
        for option, value in options.items()
    ]
    return ",".join(parts)


def from_text(text: object) -> dict[str, Any]:
    """What ``to_text`` wrote; ``InputError`` for anything else."""
    form = r"([a-z0-9]+)@([^,=\s]+)((?:,[a-z_]+=[^,=\s]+)*)"
    found = re.fullmatch(form, text) if isinstance(text, str) and len(text) <= LONGEST else None
    if found is None:
        raise InputError(f"{_short(text)} is no method; write it as stc@0.02")
    name, retention, rest = found.groups()
    options = dict(pair.split("=") for pair in rest.split(",")[1:])
    if options.keys() & {"retention", "edit", "name"}:
        raise InputError(f"{_short(text)} is no method; write it as stc@0.02")
    return method_spec(name, _value(retention), **{o: _value(v) for o, v in options.items()})


def make_method(spec: Mapping[str, Any]) -> Method:
    """The method itself; ``InputError`` where it has no such option or does not take the value."""
    from stc_core import METHODS, Edited  # torch comes with them

    spec = checked(spec)
    kind = METHODS[spec["name"]]
    unknown = [option for option in spec["options"] if option not in kind.__dataclass_fields__]
    if unknown:
        raise InputError(f"the method {spec['name']} has no option {unknown[0]}; leave it out")
    method = kind(**spec["options"])
    return method if spec["edit"] is None else Edited(method, **spec["edit"])


def rerun(
    runner: Runner, owner: str, origin: Origin, spec: Mapping[str, Any], *,
    baseline: bool = False, score: Sequence[str] = (),
) -> Iterator[Step | Answer]:  # fmt: skip
    """Ask the question of ``origin`` with another method; yields what ``Runner.run`` does.

    Raises ``InputError`` before the run where the video is gone or the spec is none.

    Parameters
    ----------
    owner : str
        Who may stop the run.
    baseline : bool
        Also run uncompressed.
    score : sequence of str
        Answers whose probability is wanted; empty ones, which no model can be asked for, are left
        out.
    """
    spec = checked(spec)
    if origin.seed is not None:
        video = world_clips.clip(origin.seed, origin.frames)
    elif Path(origin.video).is_file():
        video = origin.video
    else:
        raise InputError(
            "the clip of this trace is no longer here; upload it and run the question again"
        )
    wanted = tuple(dict.fromkeys(text for text in score if text.strip()))
    chosen = {"model": origin.model} if origin.model else {}
    return runner.run(
        owner, video=video, question=origin.question, method=spec, frames=origin.frames,
        baseline=baseline, score=wanted, record=True, **chosen,
    )  # fmt: skip


def _edit(edit: object) -> dict[str, Any]:
    if not isinstance(edit, Mapping) or set(edit) - {"remove", "add", "only"}:
        raise InputError("an edit has the lists remove, add and only, and nothing else")
    made = {"remove": [], "add": [], "only": None, **edit}
    for name, tokens in made.items():
        if name == "only" and tokens is None:
            continue
        if not isinstance(tokens, (list, tuple)) or not all(map(_is_token, tokens)):
            raise InputError(f"in an edit, {name} must be a list of tokens: whole numbers from 0")
        made[name] = sorted(set(tokens))
    return made


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    """A finite number; True and False are none."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and -1e300 < value < 1e300


def _value(text: str) -> Any:
    """A number, true, false or null, else the word itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
