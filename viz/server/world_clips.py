"""Make clips of the world of shapes again from their seeds, with what is known of their questions.

The error table is about such clips; no file has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viz.examples import Known

if TYPE_CHECKING:
    from stc_core.answering.video import Video


def clip(seed: int, frames: int) -> Video:
    """Return the clip as a benchmark on the world showed it to the model."""
    from stc_core.answering.video import Video
    from stc_core.shapes import make_clip  # torch comes with it
    from stc_core.shapes.world.clip import FRAMES_PER_SECOND

    made = make_clip(seed, frames)
    count, height, width = made.frames.shape[:3]
    return Video(
        made.frames,
        made.seconds,
        f"clip {seed}",
        count / FRAMES_PER_SECOND,
        count,
        FRAMES_PER_SECOND,
        (height, width),
        None,
    )


def known(seed: int, frames: int, question: str) -> Known | None:
    """Return the right answer and its evidence; None for a question not asked there."""
    from stc_core.shapes import make_clip

    questions = (q for q in make_clip(seed, frames).questions if q.text == question)
    found = next(questions, None)
    return Known(question, found.answer, frames, found.evidence) if found else None
