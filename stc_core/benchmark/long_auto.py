"""Compare chosen frames with uniform ones at equal LLM tokens, on clips longer than a model reads.

Each question of the world of shapes is asked about one clip of 256 frames in several ways, all of
which let as many video tokens into the LLM: uniform frames, the model's own number and more of them
at a lower retention, and ``frames="auto"`` at several numbers of candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from stc_core.answering.answer import answer
from stc_core.answering.equal_tokens import at_equal_tokens, grid_of_size
from stc_core.answering.frame_selection import AUTO
from stc_core.answering.generation import warm_up
from stc_core.answering.video import Video, choose_frames
from stc_core.benchmark.score import difference
from stc_core.errors import InputError
from stc_core.methods import Method
from stc_core.models.vlm import VLM
from stc_core.readme_sections import markdown
from stc_core.shapes.exam.answer_file import AnswerFile
from stc_core.shapes.exam.asking import Ask, search_questions
from stc_core.shapes.exam.grids import fixed_cells, frame_size
from stc_core.shapes.exam.replying import ANSWER_TOKENS
from stc_core.shapes.model.opened import weights_fingerprint
from stc_core.shapes.world.clip import make_clip
from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS, WORLD, World
from stc_core.text import answer_form

LENGTH = 256  # frames of a clip
CANDIDATES = (32, 64, 128, 256)
DENSER = (2, 4)  # times as many uniform frames as the model reads
WORLDS = {
    # as many frames of a clip show an event as in a clip of 32: what happens is slow
    "slow": WORLD,
    # most things are there for 5 to 38 of the 256 frames, what flashes for 1 or 2
    "brief": replace(WORLD, flash=(1 / LENGTH, 2 / LENGTH), lasting=(0.02, 0.15), always=0.2),
}

Asker = Callable[[Video, str], tuple[str, "Cost"]]


@dataclass(frozen=True)
class Cost:
    """Hold what one answer took.

    Attributes
    ----------
    frames, tokens : int
        Frames that the model saw; video tokens that entered the LLM.
    flops, vision : float
        Real FLOPs of everything, and of the vision tower alone.
    seconds : float
        Wall time with the look at the candidates and without reading a file.
    """

    frames: int
    tokens: int
    flops: float
    vision: float
    seconds: float


@dataclass
class Way:
    """Hold the answers of one way to take frames."""

    name: str
    right: list[bool] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    def mean(self, name: str) -> float:
        """Return the mean of one field of the costs."""
        return float(np.mean([getattr(cost, name) for cost in self.costs]))


def measure(
    vlm: VLM,
    method: Method,
    questions: int,
    world: World,
    *,
    development: bool = False,
    partial: Path | None = None,
    on_answer: Callable[[int, int], None] = lambda done, total: None,
) -> list[Way]:
    """Ask the questions in every way.

    Parameters
    ----------
    vlm : VLM
    method : Method
        Its retention is that of uniform frames in the model's own number.
    questions : int
        One per clip, the kinds in turn.
    world : World
        What the clips are drawn from.
    development : bool
        Development clips instead of the held-out ones.
    partial : Path, optional
        File that gets every answer at once; with the same arguments a stopped run goes on there.
    on_answer : callable
        Called with (questions asked, all of them).

    Returns
    -------
    list of Way
        The first is that of uniform frames in the model's own number.

    Raises
    ------
    InputError
        No question, a model whose tokens of a frame differ from video to video, or a file of
        answers to something else.
    """
    if questions < 1:
        raise InputError(f"at least one question is needed, not {questions}")
    cells, size = fixed_cells(vlm.model.config), frame_size(vlm.processor)
    seeds = DEVELOPMENT_SEEDS if development else HELD_OUT_SEEDS
    ways = dict(_ways(vlm, method))
    record = None
    if partial is not None:
        header = {
            "of": "long-video auto",
            "checkpoint": weights_fingerprint(vlm.model),
            "method": repr(method),
            "world": repr(world),
            "seeds": [seeds.start, seeds.stop],
            "ways": list(ways),
        }
        record = AnswerFile(partial, header)
    found = [Way(name) for name in ways]
    warm_up(vlm)
    searched = search_questions(questions, LENGTH, cells, seeds, world, None)
    for done, (seed, question) in enumerate(searched, 1):
        asked = Ask("exam", seed, question)
        line = record.next_line(asked) if record else None
        if line is None:
            clip = make_clip(seed, LENGTH, size, grid=cells, world=world)
            video = Video.from_frames(clip.frames, clip.seconds, name=str(seed))
            line = {"said": {}, "cost": {}}
            for name, ask in ways.items():
                line["said"][name], cost = ask(video, question.text)
                line["cost"][name] = asdict(cost)
            if record:
                record.append(asked, line)
        for way in found:
            way.right.append(answer_form(line["said"][way.name]) == answer_form(question.answer))
            way.costs.append(Cost(**line["cost"][way.name]))
        on_answer(done, questions)
    return found


def _ways(vlm: VLM, method: Method) -> Iterator[tuple[str, Asker]]:
    """Yield the name of each way to take frames, and what asks so."""

    def uniform(count: int) -> Asker:
        def ask(video: Video, question: str) -> tuple[str, Cost]:
            size, depth = video.frames.shape[1:3], len(vlm.model.get_decoder().layers)
            usual, denser = (grid_of_size(vlm, frames, size) for frames in (vlm.frames, count))
            places = choose_frames(video.seconds, count)
            fewer = replace(video, frames=video.frames[places], seconds=video.seconds[places])
            return _asked(vlm, fewer, question, at_equal_tokens(method, usual, denser, depth), {})

        return ask

    def chosen(candidates: int) -> Asker:
        options = {"frames": AUTO, "candidates": candidates}
        return lambda video, question: _asked(vlm, video, question, method, options)

    for times in (1, *DENSER):
        yield f"{times * vlm.frames} uniform", uniform(times * vlm.frames)
    for candidates in CANDIDATES:
        if candidates >= vlm.frames:
            yield f"auto, {candidates} candidates", chosen(candidates)


def _asked(
    vlm: VLM, video: Video, question: str, method: Method, options: dict
) -> tuple[str, Cost]:
    result = answer(vlm, video, question, method, max_new_tokens=ANSWER_TOKENS, **options)
    costs, flops = result.costs, result.costs.real_flops
    cost = Cost(
        result.trace.grid.frames * vlm.family.step(vlm.model.config),
        costs.tokens_llm,
        flops["total"],
        flops["vision"],
        sum(costs.seconds.values()),
    )
    return result.text, cost


def table(ways: list[Way]) -> str:
    """Return a table in Markdown: accuracy against the first way, FLOPs and time of an answer."""
    first = ways[0]
    head = (
        "frames", "shown", "tokens", "right", f"against {first.name}", "GFLOPs", "of these tower",
        "ms",
    )  # fmt: skip
    rows = []
    for way in ways:
        ours, theirs = np.array(way.right), np.array(first.right)
        share, (low, high) = difference(ours, theirs)
        points = f"{100 * share:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        rows.append(
            [
                way.name,
                f"{way.mean('frames'):.1f}",
                f"{way.mean('tokens'):.1f}",
                f"{100 * ours.mean():.1f} %",
                "" if way is first else points,
                f"{way.mean('flops') / 1e9:.2f}",
                f"{way.mean('vision') / 1e9:.2f}",
                f"{1e3 * way.mean('seconds'):.0f}",
            ]
        )
    return markdown(head, rows)
