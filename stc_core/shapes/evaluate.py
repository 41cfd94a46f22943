"""How many held-out questions the model answers right, and how many it would without looking.

Every question comes from a clip of its own, so answers are independent and Wilson's interval holds.
Answers are generated greedily by the ordinary processor and `generate()` and must match exactly.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from stc_core.loading import load
from stc_core.shapes.clip import Clip, make_clip
from stc_core.shapes.questions import KINDS, Question
from stc_core.shapes.world import HELD_OUT_SEEDS, WORLD, Dice, World

Z95 = 1.959963984540054  # standard normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Score:
    """Share of right answers to one kind of question."""

    questions: int
    right: int
    blind: int  # right answers of one who always says the most common one, knowing which that is
    blind_answer: str = ""  # that answer; empty where several kinds are added up

    @property
    def accuracy(self) -> float:
        return self.right / self.questions

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson(self.right, self.questions)


@dataclass(frozen=True)
class Answered:
    """One question, the right answer and the one given."""

    seed: int
    question: Question
    said: str

    @property
    def right(self) -> bool:
        return self.said == self.question.answer


@dataclass(frozen=True)
class Report:
    """Result of `evaluate`; `str(report)` is a table, `report.as_dict()` goes into JSON."""

    model: str
    around: str  # what compressed the model, "" for nothing
    frames: int
    seconds: float
    answers: tuple[Answered, ...] = field(repr=False)

    @property
    def kinds(self) -> dict[str, Score]:
        return {kind: self._score(kind) for kind in KINDS if self._of(kind)}

    @property
    def overall(self) -> Score:
        scores = self.kinds.values()
        return Score(
            sum(s.questions for s in scores),
            sum(s.right for s in scores),
            sum(s.blind for s in scores),
        )

    @property
    def accuracy(self) -> float:
        return self.overall.accuracy

    def _of(self, kind: str) -> list[Answered]:
        return [a for a in self.answers if a.question.kind == kind]

    def _score(self, kind: str) -> Score:
        asked = self._of(kind)
        # The first of equally common answers in the order of the alphabet: reproducible.
        common = Counter(sorted(a.question.answer for a in asked)).most_common(1)[0]
        return Score(len(asked), sum(a.right for a in asked), common[1], common[0])

    def as_dict(self) -> dict[str, Any]:
        """Plain values only; shares of 1, times in seconds."""

        def plain(score: Score) -> dict[str, Any]:
            return {
                **asdict(score),
                "accuracy": score.accuracy,
                "interval95": list(score.interval),
                "without_looking": score.blind / score.questions,
            }

        return {
            "model": self.model,
            "around": self.around,
            "frames": self.frames,
            "seconds": self.seconds,
            "overall": plain(self.overall),
            "kinds": {kind: plain(score) for kind, score in self.kinds.items()},
        }

    def __str__(self) -> str:
        head = f"{'kind':<10} {'questions':>9} {'right':>7} {'95 % interval':>15}"
        head += f" {'without looking':>22}"
        lines = [head, "-" * len(head)]
        for kind, score in [*self.kinds.items(), ("overall", self.overall)]:
            low, high = score.interval
            blind = f"{score.blind / score.questions:.1%}"
            if score.blind_answer:
                blind += f" ({score.blind_answer})"
            lines.append(
                f"{kind:<10} {score.questions:>9} {score.accuracy:>7.1%} "
                f"{f'{low:.1%} - {high:.1%}':>15} {blind:>22}"
            )
        with_what = f", {self.around}" if self.around else ""
        lines.append(f"{self.model}, {self.frames} frames{with_what}, {self.seconds:.0f} s")
        return "\n".join(lines)


def evaluate(
    source: Any = None,
    questions: int = 500,
    frames: int = 16,
    *,
    seeds: range = HELD_OUT_SEEDS,
    world: World = WORLD,
    around: Callable[[torch.nn.Module], AbstractContextManager] | None = None,
    label: str = "",
    batch: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Ask `questions` held-out questions, the kinds in turn, one a clip.

    Args:
        source: checkpoint directory (the shipped one by default), or anything with `model` and
            `processor`, such as what `stc_core.load()` returns.
        questions: how many.
        frames: frames in every clip.
        seeds: where the clips come from; leave it alone when the number is to be reported.
        world: what the clips are made of.
        around: entered around every `generate()` call, e.g. `lambda m: compress(m, STC())`. Clips
            are then answered one at a time.
        label: what `around` does, for the report.
        batch: clips in one `generate()` call; 25 by default, 1 with `around`.
        on_progress: called with (answered, asked) after every batch.
    """
    if questions < 1:
        raise ValueError(f"at least one question is needed, not {questions}")
    batch = batch or (1 if around else 25)
    if batch < 1:
        raise ValueError(f"a batch holds at least one clip, not {batch}")
    vlm = open_model(source)
    model, processor, name = vlm.model, vlm.processor, getattr(vlm, "name", "model")
    started, answers, waiting = time.perf_counter(), [], []
    for asked, pair in enumerate(exam(questions, frames, seeds, world), 1):
        waiting.append(pair)
        if len(waiting) == batch or asked == questions:
            with around(model) if around else nullcontext():
                said = reply(model, processor, waiting)
            answers += [
                Answered(clip.seed, question, word)
                for (clip, question), word in zip(waiting, said, strict=True)
            ]
            waiting = []
            if on_progress:
                on_progress(asked, questions)
    seconds = time.perf_counter() - started
    return Report(name, label, frames, seconds, tuple(answers))


def exam(
    questions: int, frames: int, seeds: range = HELD_OUT_SEEDS, world: World = WORLD
) -> Iterator[tuple[Clip, Question]]:
    """`questions` pairs of clip and question: seeds in order, kinds in turn, one a clip."""
    asked = 0
    for seed in seeds:
        if asked == questions:
            return
        clip = make_clip(seed, frames, world=world)
        fitting = [q for q in clip.questions if q.kind == KINDS[asked % len(KINDS)]]
        if fitting:  # a clip may have no question of the kind whose turn it is
            yield clip, Dice(seed, 7).pick(fitting)
            asked += 1
    if asked < questions:
        raise ValueError(f"{len(seeds)} seeds are too few for {questions} questions")


@torch.no_grad()
def reply(model: torch.nn.Module, processor: Any, pairs: list[tuple[Clip, Question]]) -> list[str]:
    """The model's greedy answers to pairs of clip and question, all with as many frames."""
    prompts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [{"type": "video"}, {"type": "text", "text": question.text}],
                }
            ],
            add_generation_prompt=True,
        )
        for _, question in pairs
    ]
    inputs = processor(
        text=prompts,
        videos=[clip.frames for clip, _ in pairs],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    ).to(model.device, model.dtype)
    output = model.generate(**inputs, do_sample=False, max_new_tokens=4)
    said = processor.batch_decode(output[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in said]


def wilson(right: int, asked: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share; stays within 0 and 1 and is honest at the ends."""
    share, spread = right / asked, z * z / asked
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (share * (1 - share) / asked + spread / (4 * asked)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def open_model(source: Any) -> Any:
    """What has `model` and `processor`: `source` itself, or what `stc_core.load` makes of it."""
    return source if hasattr(source, "model") else load(source)
