"""Measure what windows and streams cost in answers, on clips ten times as long as usual."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.answering.answer import Answer
from stc_core.answering.video_stream import POOL, Stream
from stc_core.benchmark.score import difference
from stc_core.benchmark.tables import interval, percent
from stc_core.hooks.run_cache import RunCache
from stc_core.methods import STC
from stc_core.models.vlm import VLM
from stc_core.rates import wilson
from stc_core.readme_sections import markdown
from stc_core.shapes.exam.recorded_clips import recorded_clips
from stc_core.shapes.exam.replying import ANSWER_TOKENS
from stc_core.shapes.world.clip import FRAMES_PER_SECOND, Clip
from stc_core.shapes.world.drawing import render
from stc_core.shapes.world.questions import Question
from stc_core.shapes.world.scenes import HELD_OUT_SEEDS, WORLD, frame_times
from stc_core.text import answer_form

TIMES = 10  # as many frames as a clip has
EXACT = "whole video at once"


@dataclass(frozen=True)
class Way:
    """Describe one way to an answer about a long clip.

    Attributes
    ----------
    method : STC
    pool : int or None
        Tokens that are held at most; None: the video is there as a whole.
    """

    method: STC
    pool: int | None = None


@dataclass(frozen=True)
class LongReport:
    """Hold what different ways answered to the same questions.

    Attributes
    ----------
    frames : int
        Of every clip.
    answers : dict
        {way: {case: {"right": bool, "jaccard": float, "entered": int}}}; the first way is the one
        that the others are compared with, "jaccard" that of their survivors before the LLM.
    """

    frames: int
    answers: dict[str, dict[str, dict[str, Any]]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"frames": self.frames, "ways": {name: self._row(name) for name in self.answers}}

    def __str__(self) -> str:
        head, lines = ["", "tokens in the LLM", "right", "points behind", "same tokens"], []
        for name in self.answers:
            row = self._row(name)
            behind = row["behind"]
            lines.append(
                [
                    name,
                    f"{row['entered']:.0f}",
                    percent(row["right"]) + interval(row["interval95"]),
                    percent(behind["points"]) + interval(behind["interval95"]),
                    f"{row['jaccard']:.2f}",
                ]
            )
        count = len(next(iter(self.answers.values())))
        return f"{markdown(head, lines)}\n\n{count} questions, {self.frames} frames."

    def _row(self, name: str) -> dict[str, Any]:
        reference, mine = next(iter(self.answers.values())), self.answers[name]
        right = sum(answer["right"] for answer in mine.values())
        ours, theirs = (
            np.array([answers[case]["right"] for case in mine], bool)
            for answers in (reference, mine)
        )
        points, ends = difference(ours, theirs)
        return {
            "questions": len(mine),
            "right": right / len(mine),
            "interval95": list(wilson(right, len(mine))),
            "behind": {"points": points, "interval95": list(ends)},
            "jaccard": float(np.mean([answer["jaccard"] for answer in mine.values()])),
            "entered": float(np.mean([answer["entered"] for answer in mine.values()])),
        }


def window_ways(retention: float) -> dict[str, Way]:
    """Return the exact result and those of windows of the default's frames, and of fewer."""
    whole = STC(retention=retention, window=0)
    return {
        EXACT: Way(whole),
        **{f"windows of {n} frames": Way(replace(whole, window=n)) for n in (83, 8)},
    }


def stream_ways(retention: float, frames: int, per_frame: int) -> dict[str, Way]:
    """Return the offline result and those of streams whose pool holds a tenth, and the default."""
    whole = STC(retention=retention, window=0)
    pools = sorted({frames * per_frame // TIMES, POOL})
    return {EXACT: Way(whole), **{f"stream, pool of {n:,}": Way(whole, n) for n in pools}}


def compare(
    vlm: VLM,
    ways: Mapping[str, Way],
    questions: int,
    *,
    seeds: range = HELD_OUT_SEEDS,
    partial: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> LongReport:
    """Ask the same questions about the same clips in several ways.

    The scenes and the questions are those of clips of the model's own number of frames, kinds in
    turn, only questions with evidence; the scenes are drawn with ``TIMES`` as many frames.

    Parameters
    ----------
    vlm
        The embedded model, or one trained in the same world.
    ways
        By name; the others are compared with the first.
    questions
        How many.
    seeds
        Of the clips.
    partial
        File to which answers are added as they come, and from which a later run goes on.
    on_progress
        Called with (asked, all) after every question.
    """
    frames = TIMES * vlm.frames

    def see(clip: Clip, question: Question) -> dict[str, Any]:
        times = frame_times(frames)
        size = clip.frames.shape[1:3]
        pictures = render([clip.scene], times, *size, noise=WORLD.noise)[0].numpy()
        seconds = np.arange(frames) / (TIMES * FRAMES_PER_SECOND)
        return _asked(vlm, ways, pictures, seconds, question)

    found = recorded_clips(
        vlm,
        questions,
        vlm.frames,
        "long video",
        see,
        seeds=seeds,
        world=WORLD,
        partial=partial,
        about={"ways": {name: repr(way) for name, way in ways.items()}, "times": TIMES},
        on_progress=on_progress,
    )
    answers: dict[str, dict[str, Any]] = {name: {} for name in ways}
    for seed, _, seen in found:
        for name in ways:
            answers[name][str(seed)] = seen[name]
    return LongReport(frames, answers)


def _asked(
    vlm: VLM,
    ways: Mapping[str, Way],
    frames: np.ndarray,
    seconds: np.ndarray,
    question: Question,
) -> dict[str, Any]:
    """Return what each way answers about one clip; the vision tower runs once."""
    cache, found = RunCache(), {}
    first: set[int] = set()
    for name, way in ways.items():
        with Stream(vlm, way.method, pool=way.pool, cache=cache) as stream:
            stream.feed(frames, seconds)
            answer: Answer = stream.ask(question.text, max_new_tokens=ANSWER_TOKENS)
        kept = set(answer.trace.outside.survivors.tolist())
        first = first or kept
        found[name] = {
            "right": answer_form(answer.text) == answer_form(question.answer),
            "jaccard": len(kept & first) / len(kept | first),
            "entered": len(kept),
        }
    return found
