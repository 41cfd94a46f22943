"""Count how many held-out questions the model answers right, with and without looking."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from stc_core.errors import InputError
from stc_core.models.stock import StockModel
from stc_core.shapes.exam.answer_file import AnswerFile
from stc_core.shapes.exam.asking import BLANK_EVERY, checked_evidence, search_questions, sheet, show
from stc_core.shapes.exam.examined import Answered, ExamReport
from stc_core.shapes.exam.grids import checked_frames, frame_size
from stc_core.shapes.exam.replying import replies
from stc_core.shapes.model.opened import open_model, weights_fingerprint
from stc_core.shapes.world.outside_questions import OUTSIDE
from stc_core.shapes.world.scenes import HELD_OUT_SEEDS, WORLD, World


def evaluate(
    source: Any = None,
    questions: int = 500,
    frames: int | None = None,
    *,
    seeds: range = HELD_OUT_SEEDS,
    world: World = WORLD,
    evidence: tuple[float, float] | None = None,
    around: Callable[[StockModel], AbstractContextManager] | None = None,
    label: str = "",
    batch: int | None = None,
    blank: int = BLANK_EVERY,
    partial: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExamReport:
    """Ask ``questions`` held-out questions, the kinds in turn, each about a clip of its own.

    Frames are rendered at the size of the model's own processor, evidence is counted on its token
    grid. The first clips are also asked one question of ``OUTSIDE`` each.

    Parameters
    ----------
    source : Path, VLM or None
        Checkpoint folder (default: the embedded model), or anything with ``model`` and
        ``processor``, such as what ``stc_core.load()`` returns.
    questions : int
        How many.
    frames : int, optional
        Frames of every clip; default: as many as the checkpoint records.
    seeds : range
        Seeds of the clips. Leave the default when the number is to be reported.
    world : World
        What the clips are drawn from.
    evidence : (float, float), optional
        Ask only questions whose evidence is in this share of the clip's tokens: least and most,
        0 to 1.
    around : callable, optional
        Returns a context that is entered around every ``generate()`` call, such as
        ``lambda m: compress(m, STC())``. Clips are then answered one at a time.
    label : str
        What ``around`` does, for the report.
    batch : int, optional
        Clips in one ``generate()`` call. Default: 32 on a GPU; 1 with ``around``, and on a CPU,
        where the mask that padding needs costs more than a batch saves.
    blank : int
        One of so many questions is also asked of an empty clip; 0 for none.
    partial : Path, optional
        File to which answers are added as they come, one JSON object a line. Answers of the same
        configuration that it already holds are taken from there.
    on_progress : callable, optional
        Called with (answered, asked) after every batch. Both count the questions that are asked
        beside ``questions``.

    Returns
    -------
    ExamReport

    Raises
    ------
    InputError
        A number is out of range, no question has evidence within ``evidence``, ``partial`` belongs
        to another run, or the checkpoint does not open.
    """
    if questions < 1:
        raise InputError(f"at least one question is needed, not {questions}; try 500")
    if batch is not None and batch < 1:
        raise InputError(f"a batch holds at least one clip, not {batch}")
    if blank < 0:
        raise InputError(f"one of {blank} questions cannot be asked; 0 asks none of an empty clip")
    checked_evidence(evidence)
    vlm = open_model(source)
    model, processor, name = vlm.model, vlm.processor, getattr(vlm, "name", "model")
    frames = getattr(vlm, "frames", 32) if frames is None else frames
    grid, size = checked_frames(frames, model.config), frame_size(processor)
    if batch is None:
        batch = 1 if around or model.device.type == "cpu" else 32
    started = time.perf_counter()
    found = search_questions(questions, frames, grid, seeds, world, evidence)
    to_ask = sheet(found, blank)
    total = questions + min(questions, sum(map(len, OUTSIDE.values())))
    total += -(-questions // blank) if blank else 0
    record = None
    if partial is not None:
        record = AnswerFile(
            Path(partial),
            {
                "checkpoint": weights_fingerprint(model),
                "frames": frames,
                "size": size,
                "grid": grid,
                "seeds": [seeds.start, seeds.stop],
                "world": repr(world),
                "evidence": evidence,
                "around": label or ("unnamed" if around else ""),
                "blank": blank,
            },
        )
    parts: dict[str, list[Answered]] = {"exam": [], "blank": [], "outside": []}
    done, cells = 0, frames * grid[0] * grid[1]
    while asked := list(islice(to_ask, batch)):
        answers = record.take(asked) if record else []
        if left := asked[len(answers) :]:
            pairs = [(show(a, frames, size, grid, world), a.question) for a in left]
            with around(model) if around else nullcontext():
                new = replies(model, processor, pairs)
            answers += new
            if record:
                record.add(left, new)
        for a, (said, sure) in zip(asked, answers, strict=True):
            share = len(a.question.evidence) / cells
            parts[a.part].append(Answered(a.seed, a.question, said, sure, share))
        done += len(asked)
        if on_progress:
            on_progress(done, total)
    seconds = time.perf_counter() - started
    return ExamReport(
        name,
        label,
        frames,
        seconds,
        tuple(parts["exam"]),
        tuple(parts["blank"]),
        tuple(parts["outside"]),
        evidence,
    )
