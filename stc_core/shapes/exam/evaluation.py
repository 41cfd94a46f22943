"""How many held-out questions the model answers right, and how many it would without looking.

Every question comes from a clip of its own, so answers are independent and Wilson's interval holds.
Answers are generated greedily by the ordinary processor and `generate()` and must match exactly.
Beside the accuracy: what can be had without looking, how often the model refuses where it should
and where it should not, whether its probabilities can be believed, and how all this depends on the
share of the clip that holds the evidence.
"""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stc_core.answering.generation import greedy
from stc_core.errors import InputError
from stc_core.models.families import family_of
from stc_core.shapes.exam.calibration import Calibration, calibrate, wilson
from stc_core.shapes.model.opened import open_model, weights_fingerprint
from stc_core.shapes.world.clip import FRAMES_MOST, Clip, make_clip
from stc_core.shapes.world.drawing import coverage
from stc_core.shapes.world.outside_questions import OUTSIDE
from stc_core.shapes.world.questions import KINDS, PHRASINGS, UNANSWERABLE, Question, ask
from stc_core.shapes.world.scenes import (
    COLORS,
    FILLS,
    HELD_OUT_SEEDS,
    SHAPES,
    SIZES,
    WORLD,
    Dice,
    World,
    frame_times,
    make_scene,
)

ANSWER_TOKENS = 4  # three words and the end
TEXT_TOKENS = 64  # room for question, answer and the template around them
GREY = 127  # every pixel of an empty clip
BLANK_EVERY = 7  # every so many questions are asked of an empty clip, too; 7 visits all 13 kinds
PATIENCE = 1000  # clips without any question of a kind after which it is asked no more
FREE_SIZE = (320, 320)  # pixels of a clip for models that take frames of any size
CHUNK = 16  # scenes whose coverage is computed at once
SAME_CHOICES = 5  # questions that offer the same answers, on average, to count as a group
EDGES = (0.003, 0.01, 0.03, 0.1)  # of the share of tokens with evidence
BANDS = ("none", "< 0.3 %", "0.3 - 1 %", "1 - 3 %", "3 - 10 %", "> 10 %")
# Whatever else stands in a question makes it unanswerable, for one who goes by the words.
WORDS = {
    *" ".join(p for kind in KINDS if kind != UNANSWERABLE for p in PHRASINGS[kind])
    .replace("?", " ")
    .replace(",", " ")
    .split(),
    *(*SHAPES, *COLORS, *FILLS, *SIZES, "object", "an"),
}


@dataclass(frozen=True)
class Score:
    """Share of right answers to one kind of question, and what is to be had without looking.

    `blind` counts the right answers of one who always says the same to a kind of question and knows
    which answer is best: the most common one, or the one offered first or second, for questions
    that offer small and large apart from those that offer solid and striped. "unanswerable" has one
    answer only: there `blind` counts the questions that a word no other kind uses gives away.
    """

    questions: int
    right: int
    blind: int
    blind_answer: str = ""  # what is always said; empty where several kinds are added up
    blank_questions: int = 0  # asked of the model with an empty clip of as many frames
    blank_right: int = 0

    @property
    def accuracy(self) -> float:
        return self.right / self.questions

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson(self.right, self.questions)

    @property
    def blank_accuracy(self) -> float | None:
        """What the model reaches with an empty clip; None if it was not asked."""
        return self.blank_right / self.blank_questions if self.blank_questions else None

    @property
    def without_looking(self) -> float:
        """The better of the two ways to do without the clip."""
        return max(self.blind / self.questions, self.blank_accuracy or 0.0)


@dataclass(frozen=True)
class Answered:
    """One question, the right answer and the one given.

    `confidence` is the probability the model gave its whole answer, end included, NaN if unknown;
    `share` that of the clip's tokens that hold the evidence.
    """

    seed: int
    question: Question
    said: str
    confidence: float = math.nan
    share: float = 0.0

    @property
    def right(self) -> bool:
        return self.said == self.question.answer

    @property
    def band(self) -> str:
        """One of BANDS."""
        return BANDS[1 + bisect_left(EDGES, self.share) if self.share else 0]


@dataclass(frozen=True)
class Report:
    """Result of `evaluate`; `str(report)` is a table, `report.as_dict()` goes into JSON."""

    model: str
    around: str  # what compressed the model, "" for nothing
    frames: int
    seconds: float  # of this run, without what an earlier one had answered
    answers: tuple[Answered, ...] = field(repr=False)
    blank: tuple[Answered, ...] = field(default=(), repr=False)  # of an empty clip
    outside: tuple[Answered, ...] = field(default=(), repr=False)  # to questions of OUTSIDE
    evidence: tuple[float, float] | None = None  # only questions with such a share were asked

    @property
    def kinds(self) -> dict[str, Score]:
        return {kind: self._score(kind) for kind in KINDS if _of(kind, self.answers)}

    @property
    def overall(self) -> Score:
        scores = self.kinds.values()
        return Score(
            sum(s.questions for s in scores),
            sum(s.right for s in scores),
            sum(s.blind for s in scores),
            "",
            sum(s.blank_questions for s in scores),
            sum(s.blank_right for s in scores),
        )

    @property
    def accuracy(self) -> float:
        return self.overall.accuracy

    @property
    def without_looking(self) -> float:
        """The better way of every kind, all kinds together."""
        scores = self.kinds.values()
        return sum(s.without_looking * s.questions for s in scores) / len(self.answers)

    @property
    def bands(self) -> dict[str, tuple[int, int]]:
        """(questions, right answers) for every share of evidence that was asked."""
        asked = Counter(a.band for a in self.answers)
        right = Counter(a.band for a in self.answers if a.right)
        return {band: (asked[band], right[band]) for band in BANDS if asked[band]}

    @property
    def false_refusals(self) -> tuple[int, int]:
        """(questions that have an answer, how many were called unanswerable)."""
        return _refused(a for a in self.answers if a.question.answer != UNANSWERABLE)

    @property
    def refusals_outside(self) -> dict[str, tuple[int, int]]:
        """(questions, called unanswerable) for each group of OUTSIDE that was asked."""
        groups = {
            name: _refused(a for a in self.outside if a.question.text in texts)
            for name, texts in OUTSIDE.items()
        }
        return {name: counts for name, counts in groups.items() if counts[0]}

    @property
    def calibration(self) -> Calibration | None:
        """Of the questions of the world; None where no confidence is known."""
        known = [a for a in self.answers if not math.isnan(a.confidence)]
        if not known:
            return None
        return calibrate([a.confidence for a in known], [a.right for a in known])

    def _score(self, kind: str) -> Score:
        asked, blank = _of(kind, self.answers), _of(kind, self.blank)
        blind, answer = _constant(asked)
        right, empty = sum(a.right for a in asked), sum(a.right for a in blank)
        return Score(len(asked), right, blind, answer, len(blank), empty)

    def as_dict(self) -> dict[str, Any]:
        """Plain values only; shares of 1, times in seconds."""

        def plain(score: Score, without_looking: float) -> dict[str, Any]:
            return {
                **asdict(score),
                "accuracy": score.accuracy,
                "interval95": list(score.interval),
                "without_looking": without_looking,
                "best_constant": score.blind / score.questions,
                "blank_accuracy": score.blank_accuracy,
            }

        def share(asked: int, count: int, name: str) -> dict[str, Any] | None:
            if not asked:
                return None
            return {
                "questions": asked,
                name: count,
                "share": count / asked,
                "interval95": list(wilson(count, asked)),
            }

        outside = share(*_refused(self.outside), "unanswerable")
        if outside:
            outside["groups"] = {
                name: share(*counts, "unanswerable")
                for name, counts in self.refusals_outside.items()
            }
            outside["answers"] = [
                {"question": a.question.text, "said": a.said, "seed": a.seed} for a in self.outside
            ]
        return {
            "model": self.model,
            "around": self.around,
            "frames": self.frames,
            "seconds": self.seconds,
            "evidence": None if self.evidence is None else list(self.evidence),
            "overall": plain(self.overall, self.without_looking),
            "kinds": {k: plain(score, score.without_looking) for k, score in self.kinds.items()},
            "evidence_share": {b: share(*counts, "right") for b, counts in self.bands.items()},
            "false_refusals": share(*self.false_refusals, "unanswerable"),
            "outside": outside,
            "calibration": self.calibration and self.calibration.as_dict(),
        }

    def __str__(self) -> str:
        head = f"{'kind':<12} {'questions':>9} {'right':>7} {'95 % interval':>16}"
        head += f"  {'without looking'}"
        lines = [head, "-" * (len(head) + 17)]
        scores = {kind: (score, score.without_looking) for kind, score in self.kinds.items()}
        scores["overall"] = self.overall, self.without_looking
        for kind, (score, blind) in scores.items():
            how = score.blind_answer
            if (score.blank_accuracy or 0.0) > score.blind / score.questions:
                how = "the model, empty clip"
            how = f" ({how})" if kind != "overall" else ""
            lines.append(f"{kind:<12} {_cells(score.questions, score.right)}  {blind:>6.1%}{how}")
        lines += ["", f"{'evidence':<12} {head[13:47]}"]
        lines += [f"{band:<12} {_cells(*counts)}" for band, counts in self.bands.items()]
        refusals = {"though there is an answer": self.false_refusals}
        refusals |= {f"outside, {name}": n for name, n in self.refusals_outside.items()}
        lines += ["", f"{'said to be unanswerable':<42} {'questions':>9} {'share':>7}"]
        lines += [f"{name:<42} {_cells(*n)}" for name, n in refusals.items() if n[0]]
        if found := self.calibration:
            lines += ["", f"calibration error {found.error:.3f}, Brier score {found.brier:.3f}"]
        with_what = f", {self.around}" if self.around else ""
        if self.evidence:
            low, high = self.evidence
            with_what += f", evidence in {low:.2%} to {high:.2%} of the tokens"
        lines.append(f"{self.model}, {self.frames} frames{with_what}, {self.seconds:.0f} s")
        return "\n".join(lines)


def evaluate(
    source: Any = None,
    questions: int = 500,
    frames: int | None = None,
    *,
    seeds: range = HELD_OUT_SEEDS,
    world: World = WORLD,
    evidence: tuple[float, float] | None = None,
    around: Callable[[torch.nn.Module], AbstractContextManager] | None = None,
    label: str = "",
    batch: int | None = None,
    blank: int = BLANK_EVERY,
    partial: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Ask `questions` held-out questions, the kinds in turn, one a clip.

    Frames are rendered at the size of the model's own processor, evidence is counted on its token
    grid. The first clips are also asked one question of `OUTSIDE` each.

    Args:
        source: checkpoint directory (the shipped one by default), or anything with `model` and
            `processor`, such as what `stc_core.load()` returns.
        questions: how many.
        frames: frames in every clip; by default as many as the checkpoint records.
        seeds: where the clips come from; leave it alone when the number is to be reported.
        world: what the clips are made of.
        evidence: ask only what this share of the clip's tokens answers: least and most, 0 to 1.
        around: entered around every `generate()` call, e.g. `lambda m: compress(m, STC())`. Clips
            are then answered one at a time.
        label: what `around` does, for the report.
        batch: clips in one `generate()` call; by default 1 on a CPU, where the mask that padding
            needs costs more than a batch saves, and with `around`; 32 on a GPU.
        blank: one of so many questions is also asked of an empty clip; 0 for none.
        partial: a file to which answers are added as they come, one JSON object a line. If it holds
            answers of the same configuration already, they are taken from there.
        on_progress: called with (answered, asked) after every batch, what is asked beside the
            `questions` included.

    Raises:
        ValueError: a number is out of range, no question has evidence within `evidence`, `partial`
            belongs to another run, or the checkpoint does not open.
    """
    if questions < 1:
        raise InputError(f"at least one question is needed, not {questions}; try 500")
    if batch is not None and batch < 1:
        raise InputError(f"a batch holds at least one clip, not {batch}")
    if blank < 0:
        raise InputError(f"one of {blank} questions cannot be asked; 0 asks none of an empty clip")
    _checked_evidence(evidence)
    vlm = open_model(source)
    model, processor, name = vlm.model, vlm.processor, getattr(vlm, "name", "model")
    frames = getattr(vlm, "frames", 32) if frames is None else frames
    grid, size = _checked_frames(frames, model.config), frame_size(processor)
    if batch is None:
        batch = 1 if around or model.device.type == "cpu" else 32
    started = time.perf_counter()
    found = _search(questions, frames, grid, seeds, world, evidence)
    sheet, total = _sheet(found, blank), questions + min(questions, sum(map(len, OUTSIDE.values())))
    total += -(-questions // blank) if blank else 0
    record = None
    if partial is not None:
        record = _Record(
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
    while asked := list(islice(sheet, batch)):
        answers = record.take(asked) if record else []
        if left := asked[len(answers) :]:
            pairs = [(_show(a, frames, size, grid, world), a.question) for a in left]
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
    return Report(
        name,
        label,
        frames,
        seconds,
        tuple(parts["exam"]),
        tuple(parts["blank"]),
        tuple(parts["outside"]),
        evidence,
    )


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
    """`questions` pairs of clip and question: seeds in order, kinds in turn, one a clip.

    A kind that clips of so few frames, or such `evidence`, never offer is left out. `size` and
    `grid` are those of `make_clip`.

    Raises:
        ValueError: a number is out of range, or too few clips offer a question.
    """
    _checked_evidence(evidence)
    for seed, question in _search(questions, frames, grid, seeds, world, evidence):
        yield make_clip(seed, frames, size, grid=grid, world=world.at_pace(frames)), question


def reply(model: torch.nn.Module, processor: Any, pairs: list[tuple[Clip, Question]]) -> list[str]:
    """The model's greedy answers to pairs of clip and question, all with as many frames."""
    return [said for said, _ in replies(model, processor, pairs)]


@torch.inference_mode()
def replies(
    model: torch.nn.Module, processor: Any, pairs: list[tuple[Clip, Question]]
) -> list[tuple[str, float]]:
    """The model's greedy answers, each with the probability the model gave it, end included."""
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
    _, new, sure = greedy(model, inputs, ANSWER_TOKENS)
    ends = model.generation_config.eos_token_id
    ended = torch.isin(new, torch.tensor(ends, device=new.device)).cumsum(1)
    # Padding follows the first end; the end itself belongs to the answer.
    before = torch.cat([torch.zeros_like(ended[:, :1]), ended[:, :-1]], dim=1)
    chances = sure.masked_fill(before > 0, 0.0).sum(1).exp().clamp(max=1.0).tolist()
    said = processor.batch_decode(new, skip_special_tokens=True)
    return [(text.strip(), chance) for text, chance in zip(said, chances, strict=True)]


# What is asked ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ask:
    part: str  # "exam", "blank" (of an empty clip) or "outside"
    seed: int
    question: Question


def _search(
    questions: int,
    frames: int,
    grid: tuple[int, int],
    seeds: range,
    world: World,
    evidence: tuple[float, float] | None,
) -> Iterator[tuple[int, Question]]:
    """Seeds with one question each, the kinds in turn. Nothing is rendered for it."""
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
    """Every seed with all its questions."""
    times, world = frame_times(frames), world.at_pace(frames)
    for start in range(0, len(seeds), CHUNK):
        scenes = [make_scene(seed, world) for seed in seeds[start : start + CHUNK]]
        for scene, share in zip(scenes, coverage(scenes, times, *grid).numpy(), strict=True):
            yield scene.seed, ask(scene, world, times, share)


def _sheet(found: Iterable[tuple[int, Question]], blank: int) -> Iterator[_Ask]:
    """All that is asked, in order: what one run asks is the beginning of what a longer one asks."""
    others = iter([text for group in zip(*OUTSIDE.values(), strict=True) for text in group])
    for number, (seed, question) in enumerate(found):
        yield _Ask("exam", seed, question)
        if blank and number % blank == 0:
            yield _Ask("blank", seed, question)
        if text := next(others, None):
            nothing = np.zeros((0, 3), np.int64)
            yield _Ask("outside", seed, Question("outside", text, UNANSWERABLE, nothing))


def _show(
    asked: _Ask, frames: int, size: tuple[int, int], grid: tuple[int, int], world: World
) -> Clip:
    clip = make_clip(asked.seed, frames, size, grid=grid, world=world.at_pace(frames))
    if asked.part == "blank":
        return replace(clip, frames=np.full_like(clip.frames, GREY))
    return clip


class _Record:
    """Answers in a file: a line that says of what, then a line for each, in the order of asking."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        header = json.loads(json.dumps(header))
        if not path.parent.is_dir():
            raise InputError(f"the folder {str(path.parent)!r} does not exist; create it")
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]  # a kill may have torn the last line
            lines = [json.loads(line) for line in whole.splitlines()]
        except (OSError, ValueError, RecursionError):  # not text, not JSON, a folder
            raise InputError(f"{str(path)!r} is not a file of answers; choose another") from None
        self.known = deque(lines[1:])
        if not lines:
            if text:
                raise InputError(f"{str(path)!r} is not a file of answers; choose another")
            self._write([header])
        elif lines[0] != header:
            self._refuse(lines[0], header)
        elif whole != text:
            path.write_text(whole, encoding="utf-8")

    def take(self, asked: list[_Ask]) -> list[tuple[str, float]]:
        """The answers to the first of `asked`, as far as they are known."""
        taken = []
        while self.known and len(taken) < len(asked):
            line, a = self.known.popleft(), asked[len(taken)]
            if not isinstance(line, dict) or not self._line(a).items() <= line.items():
                raise InputError(
                    f"{str(self.path)!r} holds answers to other questions; choose another file"
                )
            taken.append((str(line["said"]), float(line["confidence"])))
        return taken

    def add(self, asked: list[_Ask], answers: list[tuple[str, float]]) -> None:
        self._write(
            self._line(a) | {"said": said, "confidence": sure}
            for a, (said, sure) in zip(asked, answers, strict=True)
        )

    def _line(self, a: _Ask) -> dict[str, Any]:
        answer = a.question.answer
        return {"part": a.part, "seed": a.seed, "question": a.question.text, "answer": answer}

    def _write(self, lines: Iterable[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def _refuse(self, found: Any, header: dict[str, Any]) -> None:
        differs = [k for k in header if not isinstance(found, dict) or found.get(k) != header[k]]
        raise InputError(
            f"{str(self.path)!r} holds answers of another configuration ({', '.join(differs)}); "
            "choose another file"
        )


# What comes of it ---------------------------------------------------------------------------------


def _of(kind: str, answers: Iterable[Answered]) -> list[Answered]:
    return [a for a in answers if a.question.kind == kind]


def _refused(answers: Iterable[Answered]) -> tuple[int, int]:
    said = [a.said == UNANSWERABLE for a in answers]
    return len(said), sum(said)


def _constant(asked: list[Answered]) -> tuple[int, str]:
    """Right answers of who always says the same, and what that is; see `Score`."""
    if asked[0].question.kind == UNANSWERABLE:
        return sum(not _plain_words(a) <= WORDS for a in asked), "told by an unusual word"
    groups: dict[frozenset[str], list[Question]] = {}
    for a in asked:
        groups.setdefault(frozenset(a.question.choices), []).append(a.question)
    if len(asked) < SAME_CHOICES * len(groups):  # every pair of things is a group of its own
        groups = {frozenset(): [a.question for a in asked]}
    right, said = 0, []
    for group in groups.values():
        # The first of equally common answers in the order of the alphabet: reproducible.
        answer, count = Counter(sorted(q.answer for q in group)).most_common(1)[0]
        if all(q.choices for q in group):
            places = Counter(q.choices.index(q.answer) for q in group)
            place, there = max(sorted(places.items()), key=lambda item: item[1])
            if there > count:
                answer, count = f"the {('first', 'second', 'third')[place]} offered", there
        right += count
        said.append(answer)
    return right, ", ".join(sorted(set(said)))


def _plain_words(a: Answered) -> set[str]:
    return set(a.question.text.replace("?", " ").replace(",", " ").split())


def _cells(asked: int, count: int) -> str:
    low, high = wilson(count, asked)
    return f"{asked:>9} {count / asked:>7.1%} {f'{low:.1%} - {high:.1%}':>16}"


def _checked_evidence(evidence: tuple[float, float] | None) -> None:
    if evidence is None:
        return
    low, high = evidence
    if not 0.0 <= low <= high <= 1.0:
        raise InputError(
            f"the evidence covers a share of the tokens from 0 to 1, the lower first, "
            f"not {low} to {high}"
        )


def _checked_frames(frames: int, config: Any) -> tuple[int, int]:
    """Rows and columns of the token grid, if so many frames of it fit into the model's context."""
    if not 1 <= frames <= FRAMES_MOST:
        raise InputError(f"the clips of this world have 1 to {FRAMES_MOST} frames, not {frames}")
    rows, cols = fixed_cells(config)
    most = (config.text_config.max_position_embeddings - TEXT_TOKENS) // (rows * cols)
    if frames > most:
        raise InputError(f"this model reads at most {most} frames, not {frames}")
    return rows, cols


def fixed_cells(config: Any) -> tuple[int, int]:
    """Rows and columns of the token grid of every frame; ``InputError`` where videos differ."""
    family = family_of(config)
    if family.cell_shape is None:
        raise InputError(
            f"the tokens of a frame differ from video to video in {family.name}; ask it by "
            f"python -m stc_core benchmark --model NAME"
        )
    return family.cell_shape(config)


def frame_size(processor: Any) -> tuple[int, int]:
    """Height and width in pixels to which the processor brings every frame.

    ``FREE_SIZE`` where that depends on the frame.
    """
    video = processor.video_processor
    for size in (getattr(video, "crop_size", None), video.size):
        if size and size.get("height"):
            return size["height"], size["width"]
    return FREE_SIZE
