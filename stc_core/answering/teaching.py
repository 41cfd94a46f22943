"""Say where the embedded model cannot be relied on, for the page and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the page names the model's limits before torch is imported
    from torch import Tensor

    from stc_core.models.vlm import VLM

__all__ = ["FOREIGN_CLIP", "FOREIGN_QUESTION", "REAL_MODEL", "TEACHING", "outside_its_world"]

TEACHING = (
    "The built-in model is a small teaching model of a world of colored shapes. Real videos want "
    "a real model"
)
REAL_MODEL = "llava-hf/llava-onevision-qwen2-7b-ov-hf"
FOREIGN_CLIP = (
    "Do not rely on this answer: the clip looks unlike the world of colored shapes, which is all "
    f"that this model knows. Real videos want a real model, such as {REAL_MODEL}."
)
FOREIGN_QUESTION = (
    "Do not rely on this answer: the question has none of the forms that this model has learnt. "
    "Choose one from the examples, or change the names in it."
)


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
