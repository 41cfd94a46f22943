"""Ask one question with evidence about each of many clips, resumably."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stc_core.models.vlm import VLM
from stc_core.shapes.exam.answer_file import AnswerFile
from stc_core.shapes.exam.asking import Ask, search_questions
from stc_core.shapes.exam.grids import checked_frames, frame_size
from stc_core.shapes.model.opened import weights_fingerprint
from stc_core.shapes.world.clip import Clip, make_clip
from stc_core.shapes.world.questions import Question
from stc_core.shapes.world.scenes import World


def recorded_clips(
    vlm: VLM,
    questions: int,
    frames: int,
    name: str,
    see: Callable[[Clip, Question], dict[str, Any]],
    *,
    seeds: range,
    world: World,
    partial: Path | None,
    about: dict[str, Any],
    on_progress: Callable[[int, int], None],
) -> Iterator[tuple[int, Question, dict[str, Any]]]:
    """Yield the seed, the question and what ``see`` found of each clip, or had found before.

    Parameters
    ----------
    questions, frames, seeds, world, partial, on_progress
        As for ``examine``.
    name : str
        What is asked, as the file calls it.
    see : callable
        (clip, question) -> what JSON can hold. Not called for what the file holds already.
    about : dict
        What else tells that a file belongs to this run.
    """
    grid, size = checked_frames(frames, vlm.model.config), frame_size(vlm.processor)
    cells = frames * grid[0] * grid[1]
    asked = search_questions(questions, frames, grid, seeds, world, (1 / cells, 1.0))
    record = None
    if partial is not None:
        header = {
            name: 1,
            "checkpoint": weights_fingerprint(vlm.model),
            "dtype": str(vlm.model.dtype),
            "frames": frames,
            **about,
            "seeds": [seeds.start, seeds.stop],
            "world": repr(world),
        }
        record = AnswerFile(partial, header)
    for number, (seed, question) in enumerate(asked):
        ask = Ask(name, seed, question)
        line = record.next_line(ask) if record else None
        if line is None:
            clip = make_clip(seed, frames, size, grid=grid, world=world.at_pace(frames))
            line = see(clip, question)
            if record:
                record.append(ask, line)
        yield seed, question, line
        on_progress(number + 1, questions)
