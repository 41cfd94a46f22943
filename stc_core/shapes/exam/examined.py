"""Hold the result of an examination: accuracy by kind, intervals, accuracy without looking."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from stc_core.rates import wilson
from stc_core.shapes.exam.calibration import Calibration, calibrate
from stc_core.shapes.world.outside_questions import OUTSIDE
from stc_core.shapes.world.questions import KINDS, PHRASINGS, UNANSWERABLE, Question
from stc_core.shapes.world.scenes import COLORS, FILLS, SHAPES, SIZES
from stc_core.text import said_the_same

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
    """Count right answers to one kind of question, and those to be had without looking at the clip.

    ``blind`` counts the right answers of the best constant answer: the most common one, or the one
    offered first or second, counted apart for questions that offer different answers (small and
    large, solid and striped). "unanswerable" has one answer only: there ``blind`` counts the
    questions that contain a word which no other kind uses.
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
        """Return Wilson's 95 % interval of the accuracy."""
        return wilson(self.right, self.questions)

    @property
    def blank_accuracy(self) -> float | None:
        """Return the model's accuracy on empty clips; None if none was asked."""
        return self.blank_right / self.blank_questions if self.blank_questions else None

    @property
    def without_looking(self) -> float:
        """Return the better accuracy of the two ways to answer without the clip."""
        return max(self.blind / self.questions, self.blank_accuracy or 0.0)


@dataclass(frozen=True)
class Answered:
    """Hold one question and the answer given to it.

    Attributes
    ----------
    seed : int
        Of the clip.
    question : Question
    said : str
    confidence : float
        Probability that the model gave its whole answer, end included; NaN if unknown.
    share : float
        Share of the clip's tokens that hold the evidence.
    """

    seed: int
    question: Question
    said: str
    confidence: float = math.nan
    share: float = 0.0

    @property
    def right(self) -> bool:
        return said_the_same(self.said, self.question.answer)

    @property
    def band(self) -> str:
        """Return the one of ``BANDS`` that the share of evidence falls into."""
        return BANDS[1 + bisect_left(EDGES, self.share) if self.share else 0]


@dataclass(frozen=True)
class ExamReport:
    """Hold the result of ``evaluate``; ``str`` makes a table, ``as_dict`` goes into JSON."""

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
        """Return the best accuracy without the clip, over all kinds together."""
        scores = self.kinds.values()
        return sum(s.without_looking * s.questions for s in scores) / len(self.answers)

    @property
    def bands(self) -> dict[str, tuple[int, int]]:
        """Return (questions, right answers) for every band of evidence that was asked."""
        asked = Counter(a.band for a in self.answers)
        right = Counter(a.band for a in self.answers if a.right)
        return {band: (asked[band], right[band]) for band in BANDS if asked[band]}

    @property
    def false_refusals(self) -> tuple[int, int]:
        """Return (questions that have an answer, how many were called unanswerable)."""
        return _refused(a for a in self.answers if a.question.answer != UNANSWERABLE)

    @property
    def refusals_outside(self) -> dict[str, tuple[int, int]]:
        """Return (questions, called unanswerable) for each group of OUTSIDE that was asked."""
        groups = {
            name: _refused(a for a in self.outside if a.question.text in texts)
            for name, texts in OUTSIDE.items()
        }
        return {name: counts for name, counts in groups.items() if counts[0]}

    @property
    def calibration(self) -> Calibration | None:
        """Return the calibration of the answers about the world; None without confidences."""
        known = [a for a in self.answers if not math.isnan(a.confidence)]
        if not known:
            return None
        return calibrate([a.confidence for a in known], [a.right for a in known])

    def _score(self, kind: str) -> Score:
        asked, blank = _of(kind, self.answers), _of(kind, self.blank)
        blind, answer = best_without_looking(asked)
        right, empty = sum(a.right for a in asked), sum(a.right for a in blank)
        return Score(len(asked), right, blind, answer, len(blank), empty)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that go into JSON; shares of 1, times in seconds."""

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


def _of(kind: str, answers: Iterable[Answered]) -> list[Answered]:
    return [a for a in answers if a.question.kind == kind]


def _refused(answers: Iterable[Answered]) -> tuple[int, int]:
    said = [a.said == UNANSWERABLE for a in answers]
    return len(said), sum(said)


def best_without_looking(asked: list[Answered]) -> tuple[int, str]:
    """Return the right answers of the best constant answer, and that answer; see ``Score``."""
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
