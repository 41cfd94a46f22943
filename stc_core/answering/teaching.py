"""Say where the embedded model cannot be relied on, for the page and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the page names the model's limits before torch is imported
    from torch import Tensor

    from stc_core.models.vlm import VLM

__all__ = [
    "DOUBT",
    "FOREIGN_CLIP",
    "FOREIGN_QUESTION",
    "REAL_MODEL",
    "TEACHING",
    "longer_than_taught",
    "outside_its_world",
    "taught_frames",
]

TEACHING = (
    "The built-in model is a small teaching model of a world of colored shapes. Real videos want "
    "a real model"
)
REAL_MODEL = "llava-hf/llava-onevision-qwen2-7b-ov-hf"
DOUBT = "Do not rely on this answer: "  # with which these notes begin
FOREIGN_CLIP = (
    f"{DOUBT}the clip looks unlike the world of colored shapes, which is all "
    f"that this model knows. Real videos want a real model, such as {REAL_MODEL}."
)
FOREIGN_QUESTION = (
    f"{DOUBT}the question has none of the forms that this model has learnt. "
    "Choose one from the examples, or change the names in it."
)


def taught_frames(vlm: VLM) -> int | None:
    """Return the most frames that the embedded model was trained on, None for other models.

    They are twice as many as its checkpoint records.
    """
    recorded = (getattr(vlm.model.config, "stc", None) or {}).get("frames")
    return 2 * recorded if recorded else None


def longer_than_taught(vlm: VLM, frames: int) -> list[str]:
    """Return a sentence where a prompt holds more frames than the embedded model was taught.

    They stand at positions that it was never trained on.
    """
    most = taught_frames(vlm)
    if most is None or frames <= most:
        return []
    return [f"{DOUBT}this model was trained on at most {most} frames; ask with fewer."]


def outside_its_world(vlm: VLM, question: str, seen: Sequence[Tensor]) -> list[str]:
    """Return a sentence for each of clip and question that the embedded model was not taught.

    Parameters
    ----------
    vlm : VLM
        Any other than the embedded model gets no sentence.
    question : str
    seen : sequence of (T, patches, width) tensors
        What the vision tower gave for the clip; empty where it did not run.
    """
    if not vlm.embedded:
        return []
    from stc_core.shapes.world.question_forms import has_known_form

    notes = []
    if vlm.familiarity is not None and seen and vlm.familiarity.score(seen[0]) > 0:
        notes.append(FOREIGN_CLIP)
    if not has_known_form(question):
        notes.append(FOREIGN_QUESTION)
    return notes
