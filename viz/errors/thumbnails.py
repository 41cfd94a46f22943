"""Draw a small picture of a question's clip: a moment in which something of the answer shows."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from stc_core.errors import InputError

SIDE = 112  # pixels, as the clips of the world of shapes have
MOST = 60  # pictures of one request


def pictures(table: dict[str, Any], cases: Any) -> dict[str, dict[str, Any]]:
    """Return {number of a question: {"src": a data URL, "at": seconds}}.

    Only clips of the world of shapes can be drawn: of videos the file holds nothing but the name.

    Parameters
    ----------
    table : dict
        As ``store.payload`` made it.
    cases : list of int
        Numbers of questions; from a browser, so it may be anything.
    """
    questions = table["questions"]
    count = len(questions["id"])
    if not isinstance(cases, list) or len(cases) > MOST:
        raise InputError(f"at most {MOST} pictures are drawn at once")
    found = {}
    for case in cases:
        if type(case) is not int or not 0 <= case < count or table["source"] != "shapes":
            continue
        clip, frames = questions["clip"][case], questions["frames"][case]
        if clip.isdecimal() and len(clip) <= 18 and 1 <= frames <= 64:
            src, at = _picture(int(clip), frames, questions["question"][case])
            found[str(case)] = {"src": src, "at": at}
    return found


@lru_cache(maxsize=2000)
def _picture(seed: int, frames: int, question: str) -> tuple[str, float]:
    """Return the picture and its second: the frame in which most of the evidence shows."""
    from stc_core.shapes.world.clip import make_clip  # torch comes with it

    made = make_clip(seed, frames)
    evidence = next((q.evidence for q in made.questions if q.text == question), ())
    frame = len(made.frames) // 2
    if len(evidence):
        frame = int(np.bincount(np.asarray(evidence)[:, 0]).argmax())
    file = io.BytesIO()
    Image.fromarray(made.frames[frame]).resize((SIDE, SIDE)).save(file, "JPEG", quality=80)
    data = base64.b64encode(file.getvalue()).decode()
    return f"data:image/jpeg;base64,{data}", round(float(made.seconds[frame]), 2)
