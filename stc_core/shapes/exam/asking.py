"""Choose the questions of an examination and the clips they are asked about."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from stc_core.errors import InputError
from stc_core.shapes.world.clip import FRAMES_MOST, Clip, make_clip
from stc_core.shapes.world.drawing import coverage
from stc_core.shapes.world.outside_questions import OUTSIDE
from stc_core.shapes.world.questions import KINDS, UNANSWERABLE, Question, ask
from stc_core.shapes.world.scenes import HELD_OUT_SEEDS, WORLD, Dice, World, frame_times, make_scene

BLANK_EVERY = 7  # every so many questions are asked of an empty clip, too; 7 visits all 13 kinds
CHUNK = 16  # scenes whose coverage is computed at once
GRAY = 127  # every pixel of an empty clip
PATIENCE = 1000  # clips without any question of a kind after which it is asked no more


def exam(
    questions: int,
    frames: int,
    seeds: range = HELD_OUT_SEEDS,
    world: World = WORLD,
    *,
    size: int | tuple[int, int] = 112,
    grid: tuple[int, int] = (7, 7),
    evidence: tuple[float, float] | None = None,
) -> Iterator[tuple[Clip, Question]]:
    """Yield clips with one question each: seeds in order, kinds of question in turn.

    A kind that clips of this length, or with such ``evidence``, never offer is left out.

    Parameters
    ----------
    questions : int
        How many.
    frames : int
        Number of frames T of every clip, 1 to 256.
    seeds : range
        Seeds of the clips.
    world : World
        What the clips are drawn from.
    size, grid
        As for ``make_clip``.
    evidence : (float, float), optional
        Least and most share of the clip's tokens that hold the evidence, 0 to 1.

    Yields
    ------
    (Clip, Question)

    Raises
    ------
    InputError
        A number is out of range, or too few clips offer a question.
    """
    checked_evidence(evidence)
    for seed, question in search_questions(questions, frames, grid, seeds, world, evidence):
        yield make_clip(seed, frames, size, grid=grid, world=world.at_pace(frames)), question


@dataclass(frozen=True)
class Ask:
    """Describe one question to ask of the clip of a seed."""

    part: str  # "exam", "blank" (of an empty clip) or "outside"
    seed: int
    question: Question


def search_questions(
    questions: int,
    frames: int,
    grid: tuple[int, int],
    seeds: range,
    world: World,
    evidence: tuple[float, float] | None,
) -> Iterator[tuple[int, Question]]:
    """Yield (seed, question), the kinds in turn, without rendering a clip; see ``exam``."""
    if not 1 <= frames <= FRAMES_MOST:
        raise InputError(f"the clips of this world have 1 to {FRAMES_MOST} frames, not {frames}")
    low, high = evidence or (0.0, 1.0)
    cells = frames * grid[0] * grid[1]
    turn, missed, found = deque(KINDS), Counter[str](), 0
    scenes = _asked_scenes(frames, grid, seeds, world)
    while turn and found < questions:
        if missed[turn[0]] >= PATIENCE:
            turn.popleft()
            continue
        seed, asked = next(scenes, (None, ()))
        if seed is None:
            raise InputError(f"{len(seeds)} seeds are too few for {questions} questions")
        fitting = [q for q in asked if low <= len(q.evidence) / cells <= high]
        offered = {q.kind for q in fitting}
        for kind in turn:
            missed[kind] = 0 if kind in offered else missed[kind] + 1
        if turn[0] in offered:  # a clip may have no question of the kind whose turn it is
            yield seed, Dice(seed, 7).pick([q for q in fitting if q.kind == turn[0]])
            found += 1
            turn.rotate(-1)
    if found < questions:
        raise InputError(
            f"after {found} questions no clip of {frames} frames offers one more with evidence in "
            f"{low:.2%} to {high:.2%} of its tokens; choose a wider range"
        )


def _asked_scenes(
    frames: int, grid: tuple[int, int], seeds: range, world: World
) -> Iterator[tuple[int, tuple[Question, ...]]]:
    """Yield every seed with all its questions."""
    times, world = frame_times(frames), world.at_pace(frames)
    for start in range(0, len(seeds), CHUNK):
        scenes = [make_scene(seed, world) for seed in seeds[start : start + CHUNK]]
        for scene, share in zip(scenes, coverage(scenes, times, *grid).numpy(), strict=True):
            yield scene.seed, ask(scene, world, times, share)


def sheet(found: Iterable[tuple[int, Question]], blank: int) -> Iterator[Ask]:
    """Yield all that is asked, in order; a shorter examination is the beginning of a longer one.

    Parameters
    ----------
    found : iterable of (int, Question)
        Seeds with their questions, as ``search_questions`` yields them.
    blank : int
        One of so many questions is also asked of an empty clip; 0 for none.
    """
    others = iter([text for group in zip(*OUTSIDE.values(), strict=True) for text in group])
    for number, (seed, question) in enumerate(found):
        yield Ask("exam", seed, question)
        if blank and number % blank == 0:
            yield Ask("blank", seed, question)
        if text := next(others, None):
            nothing = np.zeros((0, 3), np.int64)
            yield Ask("outside", seed, Question("outside", text, UNANSWERABLE, nothing))


def show(
    asked: Ask, frames: int, size: tuple[int, int], grid: tuple[int, int], world: World
) -> Clip:
    clip = make_clip(asked.seed, frames, size, grid=grid, world=world.at_pace(frames))
    if asked.part == "blank":
        return replace(clip, frames=np.full_like(clip.frames, GRAY))
    return clip


def checked_evidence(evidence: tuple[float, float] | None) -> None:
    if evidence is None:
        return
    low, high = evidence
    if not 0.0 <= low <= high <= 1.0:
        raise InputError(
            f"the evidence covers a share of the tokens from 0 to 1, the lower first, "
            f"not {low} to {high}"
        )
