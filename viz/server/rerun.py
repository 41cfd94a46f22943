"""Ask the question of a shown trace again: with another method, or with an edited one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from viz.server.method_text import read_method
from viz.server.origin import Origin
from viz.server.stand_ins import video_of

if TYPE_CHECKING:
    from stc_core import Answer
    from viz.server.runner import Runner, Step


def rerun(
    runner: Runner,
    owner: str,
    origin: Origin,
    method: str,
    *,
    baseline: bool = False,
    score: Sequence[str] = (),
) -> Iterator[Step | Answer]:
    """Ask the question of ``origin`` with another method; yield what ``Runner.run`` does.

    Parameters
    ----------
    owner : str
        Who may stop the run.
    method : str
        As text (``viz.server.method_text``).
    baseline : bool
        Also run uncompressed.
    score : sequence of str
        Answers whose probability is wanted; empty ones, which no model can be asked for, are left
        out.

    Raises
    ------
    InputError
        Before the run: the video is gone, or ``method`` is no method.
    """
    method = str(read_method(method))
    video = video_of(origin)
    wanted = tuple(dict.fromkeys(text for text in score if text.strip()))
    chosen = {"model": origin.model} if origin.model else {}
    return runner.run(
        owner,
        video=video,
        question=origin.question,
        method=method,
        frames=origin.frames,
        baseline=baseline,
        score=wanted,
        record=True,
        **chosen,
    )
