"""Say what each method does in one line, and which of the page's fields it has.

A test compares this with the classes of ``stc_core.METHODS``, whose import would bring torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stc_core.method_text import NAMES, MethodText

__all__ = ["FIELDS", "IDEAS", "idea", "missing", "stated"]

IDEAS = {
    "stc": "One pool of attended, unlike tokens for the whole video; the rest is clustered, and "
    "the question merges once more inside the LLM.",
    "stdpp": "Attended tokens that together span the most; what is far in time or place is not "
    "alike. This project's own.",
    "fastv": "All tokens enter the LLM; after its layer 2 those that the prompt's last token "
    "attends to stay.",
    "visionzip": "In each frame the most attended tokens, and means of the others.",
    "fastvid": "The video is cut where it changes; each segment keeps attended tokens and means "
    "on anchor frames.",
    "holitom": "Places that stand still become one token over time; the rest is thinned, then "
    "merged inside the LLM.",
    "prunevid": "All tokens enter the LLM; a third of the way up those that the question attends "
    "to stay.",
    "vidcom2": "Tokens least like their frame and the video; unusual frames keep more.",
    "vcast": "Tokens unlike their frame and long ones; more where the video changes its course.",
    "kitoke": "Drawn by how alone a token is in the whole video; the rest is merged into them.",
    "flashvid": "In each frame attended tokens unlike each other; the rest is joined into trees "
    "over time, and most is dropped inside the LLM.",
    "tango": "Attended tokens of different kinds, and means of the others; what is near in time "
    "and place is alike.",
    "sttm": "Like neighbors in a frame become larger cells, like cells of consecutive frames one "
    "token.",
    "infomerge": "As FastVID; a place that stands still goes on once, and segments that say more "
    "get more means.",
    "v2drop": "All tokens enter the LLM; after its layer 2 those that this layer changed most "
    "stay.",
    "evs": "The first frame, then what changes from frame to frame.",
    "uniform": "Baseline: tokens at equal distances, whatever they show.",
    "random": "Baseline: tokens drawn by lot.",
    "frames": "Baseline: all tokens of a few frames.",
    "downsample": "Baseline: a coarser grid, means of neighboring tokens.",
}
# {method: {field: its default}}; None for layer: a share of the model's depth.
FIELDS: Mapping[str, Mapping[str, Any]] = {name: {} for name in NAMES} | {
    "stc": {"keep_inside": 0.5, "tau": 0.7, "cluster_ratio": 0.3, "layer": None, "lam": 0.5},
    "fastv": {"layer": 2},
    "fastvid": {"tau": 0.9},
    "holitom": {"keep_inside": 0.5, "tau": 0.65, "layer": None},
    "prunevid": {"layer": None},
    "flashvid": {"keep_inside": 0.3, "tau": 0.9, "layer": None},
    "tango": {"tau": 0.65},
    "infomerge": {"tau": 0.9},
    "v2drop": {"layer": 2},
}
LABELS = {
    "keep_inside": "R", "tau": "tau", "cluster_ratio": "cluster ratio", "layer": "K",
    "lam": "lambda",
}  # fmt: skip


def stated(method: MethodText) -> dict[str, Any]:
    """Return what the page's fields say of a method: {"retention": ..., ...}, defaults filled in.

    Settings that have no field are left out, and so are those of methods around others, which the
    page's fields cannot say.
    """
    if method.parts:
        return {"retention": method.retention}
    fields = {"retention": None, **FIELDS[method.name]}
    return {name: method.settings.get(name, default) for name, default in fields.items()}


def missing(name: str) -> list[str]:
    """Return the fields that a method does not have."""
    return [field for field in LABELS if field not in FIELDS.get(name, {})]


def idea(name: str) -> str:
    """Return what a method does, and which of the settings it does not have, in words."""
    without = [LABELS[field] for field in missing(name)]
    if not without:
        return IDEAS[name]
    words = " or ".join(filter(None, [", ".join(without[:-1]), without[-1]]))
    return f"{IDEAS[name]} It has no {words}."
