"""Turn what was typed on the page into the arguments of ``answer``, or into a sentence about it.

``make_method`` checks, when the run makes the method, whether a number suits it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stc_core.errors import InputError
from stc_core.method_text import MethodText
from stc_core.text import checked_text
from viz.server.method_fields import FIELDS
from viz.server.origin import Origin

LONGEST = 2000  # characters of a question: far more than any; 10,000 words are a mistake
MOST_FRAMES = 128
BIGGEST = 500 << 20  # bytes of a video
NUMBERS = ("retention", "keep_inside", "tau", "cluster_ratio", "lam")  # fields of the method


def job_of(
    video,
    question,
    retention,
    frames,
    keep_inside,
    baseline,
    tau,
    cluster_ratio,
    layer,
    lam,
    method="stc",
    model=None,
) -> dict:
    """Return the keyword arguments of ``answer``; ``InputError`` names what is missing or wrong.

    The method becomes a text (``stc_core.method_text``), with those of the fields that it has.
    ``model`` is a label of ``page.model_menu.Models``; without one the page's first model answers.
    """
    if not video:
        raise InputError("choose an example clip or upload a video first")
    text = (question or "").strip()
    if not text:
        raise InputError("the question is empty; type one or choose one below the clip")
    if len(text) > LONGEST:
        raise InputError(
            f"the question has {len(text)} characters; {LONGEST} is the most this page takes"
        )
    checked_text(text, "the question", LONGEST)
    frames = _whole(frames, "the number of frames")
    if frames is not None and not 1 <= frames <= MOST_FRAMES:
        given = str(frames)[:20]
        raise InputError(f"the number of frames must be 1 to {MOST_FRAMES}; it is {given}")
    fields = {
        "retention": retention,
        "tau": tau,
        "cluster_ratio": cluster_ratio,
        "layer": layer,
        "keep_inside": keep_inside,
        "lam": lam,
    }
    chosen = _method(method, fields)
    job = {
        "video": str(video),
        "question": text,
        "method": str(chosen),
        "frames": frames,
        "baseline": bool(baseline),
        "record": True,
    }
    return job | {"model": str(model)} if model else job


def origin_of(job: Mapping[str, Any]) -> Origin:
    """Return the origin of the trace that this job makes."""
    return Origin(job["video"], job["question"], job["frames"], job["method"], job.get("model"))


def recorded(checkpoint: Path) -> dict[str, float]:
    """Return settings that suit a checkpoint better than the paper's, as its folder records them.

    They are those of ``VLM.settings``, read without opening the model, as far as the page has
    fields for them; {} where there are none.
    """
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        settings = config.get("stc", {}).get("settings", {})
        return {name: float(settings[name]) for name in NUMBERS if name in settings}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # whoever opens the model says what is wrong with it


def _method(name: Any, fields: Mapping[str, Any]) -> MethodText:
    """Return the method with those fields that it has; an empty layer K is its own default."""
    has = FIELDS.get(name, {}) if isinstance(name, str) else {}
    settings = {field: fields[field] for field in fields if field == "retention" or field in has}
    if "layer" in settings:
        layer = _whole(settings["layer"], "layer K")
        settings["layer"] = has["layer"] if layer is None else layer
    return MethodText(name, settings)


def _whole(text, name: str) -> int | None:
    """Return a whole number typed as text; None where nothing was typed."""
    text = str(text or "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        raise InputError(f"{name} must be a whole number or empty; it is {text[:20]!r}") from None
