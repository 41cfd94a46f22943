"""Measure the search of ``stc_core.why`` where the evidence is known.

Questions are asked of held-out clips. Where compression turns a right answer, the search looks for
the smallest set of lost tokens whose return brings it back, without knowing the evidence; what it
finds is compared with the evidence, and with random sets of the same size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.answering.prompt import build_prompt
from stc_core.errors import InputError
from stc_core.hooks.run_cache import RunCache
from stc_core.methods import STC
from stc_core.models.vlm import VLM
from stc_core.rates import wilson
from stc_core.shapes.exam.recorded_clips import recorded_clips
from stc_core.shapes.exam.replying import ANSWER_TOKENS
from stc_core.shapes.model.opened import open_model
from stc_core.shapes.world.clip import Clip
from stc_core.shapes.world.questions import Question
from stc_core.shapes.world.scenes import HELD_OUT_SEEDS, WORLD, World
from stc_core.text import said_the_same
from stc_core.why.bench import Bench
from stc_core.why.explain import order_of, trial
from stc_core.why.report import CAUSES, Found
from stc_core.why.rows import lost, plans
from stc_core.why.search import Search
from stc_core.why.sentence import cause_of

METHOD = STC(retention=0.02)
SECONDS = 10.0  # of one search
NEEDED = ("back", "random", "inside off", "back, inside off")  # rows that tell the cause
DRAWS = 5


@dataclass(frozen=True)
class WhyCase:
    """Hold what was found about one question whose right answer compression turned.

    Attributes
    ----------
    seed : int
        Of the clip.
    kind : str
        Of the question.
    cause : str
        A key of ``CAUSES``, by the known evidence.
    evidence : int
        Tokens of it that were lost before the LLM.
    n : int
        Tokens that were lost before the LLM.
    restored : bool
        Whether the search brought the answer back.
    found : int
        Tokens of the smallest set that did.
    hits : int
        Of these, how many are evidence.
    near : int
        Of these, how many are evidence or touch it: next to it in the same frame, or in the same
        cell of the frame before or after.
    ranked : int
        Evidence among as many of the most influential lost tokens as there is lost evidence.
    chance_near : float
        ``near / found`` that a random set of lost tokens has on average.
    random : int
        How many of ``draws`` random sets of the size ``found`` brought the answer back.
    draws : int
    tested : int
        Sets that the search tried.
    seconds : float
        That it took.
    done : bool
        Whether it came to its end.
    """

    seed: int
    kind: str
    cause: str
    evidence: int
    n: int
    restored: bool
    found: int
    hits: int
    near: int
    ranked: int
    chance_near: float
    random: int
    draws: int
    tested: int
    seconds: float
    done: bool


def examine_why(
    source: Any = None,
    questions: int = 200,
    frames: int | None = None,
    *,
    seconds: float = SECONDS,
    seeds: range = HELD_OUT_SEEDS,
    world: World = WORLD,
    partial: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> WhyReport:
    """Ask questions with STC at 2 %, and search where a right answer was turned.

    Parameters
    ----------
    source : Path, VLM or None
        A checkpoint folder, what ``stc_core.load`` returns, or None for the embedded model.
    questions : int
        How many, each about a clip of its own; only questions that have evidence.
    frames : int, optional
        Frames of every clip; default: as many as the checkpoint records.
    seconds : float
        Longest search of one case.
    seeds : range
        Seeds of the clips. Leave the default when the numbers are to be reported.
    world : World
        What the clips are drawn from.
    partial : Path, optional
        A file to which cases are added as they come; a later call goes on from it.
    on_progress : callable
        Called with (questions done, questions).

    Returns
    -------
    WhyReport

    Raises
    ------
    InputError
        A number is out of range, or the file belongs to another run.
    """
    if questions < 1:
        raise InputError(f"at least one question is needed, not {questions}; try 200")
    vlm = open_model(source)
    frames = vlm.frames if frames is None else frames

    def see(clip: Clip, question: Question) -> dict[str, Any]:
        good, case = examined(vlm, clip, question, seconds)
        return {"good": good, "case": None if case is None else asdict(case)}

    cases, right = [], 0
    for _, _, line in recorded_clips(
        vlm,
        questions,
        frames,
        "why",
        see,
        seeds=seeds,
        world=world,
        partial=partial,
        about={"seconds": seconds},
        on_progress=on_progress,
    ):
        right += line["good"]
        cases += [] if line["case"] is None else [WhyCase(**line["case"])]
    return WhyReport(getattr(vlm, "name", "model"), frames, questions, right, tuple(cases))


def examined(
    vlm: VLM, clip: Clip, question: Question, seconds: float
) -> tuple[bool, WhyCase | None]:
    """Return whether all tokens give the right answer; the case, if STC then turns it."""
    prompt = build_prompt(vlm, clip.frames, question.text, ANSWER_TOKENS, seconds=clip.seconds)
    bench = Bench(vlm, prompt, METHOD, ANSWER_TOKENS, {})
    with bench.opened(RunCache()):
        full, compressed = bench.first(
            lambda whole, said: [
                question.answer,
                *(text for text in dict.fromkeys((whole, said)) if text != question.answer),
            ]
        )
        wanted = question.answer
        good = said_the_same(full.answer, wanted)
        if not good or said_the_same(compressed.answer, wanted):
            return good, None
        trace = bench.trace
        evidence = trace.grid.indices(question.evidence)
        rows = [full.row("full", ""), compressed.row("compressed", "")]
        rows += [
            run().row(kind, label)
            for kind, label, run, _ in plans(bench, evidence, clip.seed)
            if kind in NEEDED
        ]
        cause = cause_of(rows, wanted, lost(trace, evidence, METHOD), Found("known"), True)
        search = Search(order_of(bench, wanted))
        search.run(trial(bench, wanted), seconds)
        found = np.array(search.best if search.restored else (), np.int64)
        gone = np.setdiff1d(evidence, trace.outside.survivors)
        near = around(evidence, trace.grid)
        drawn = 0
        dice = np.random.default_rng([clip.seed, 13])
        draws = DRAWS if len(found) else 0
        for _ in range(draws):
            some = dice.choice(search.order, len(found), replace=False)
            drawn += trial(bench, wanted)(tuple(sorted(some.tolist())))[0]
    return good, WhyCase(
        clip.seed,
        question.kind,
        cause,
        len(gone),
        len(search.order),
        search.restored,
        len(found),
        int(np.isin(found, evidence).sum()),
        int(near[found].sum()),
        int(np.isin(search.order[: len(gone)], gone).sum()),
        float(near[list(search.order)].mean()) if search.order else 0.0,
        drawn,
        draws,
        len(search.tried),
        round(search.seconds, 2),
        search.done,
    )


def around(tokens: np.ndarray, grid: Any) -> np.ndarray:
    """Return (N,) bool: the tokens and what touches them in space or in time."""
    here = np.zeros((grid.frames, grid.rows, grid.cols), bool)
    here.reshape(-1)[tokens] = True
    wide = np.pad(here, 1)
    t, r, c = (slice(1, -1),) * 3
    near = wide[:-2, r, c] | wide[2:, r, c]
    for row in (slice(0, -2), r, slice(2, None)):
        for col in (slice(0, -2), c, slice(2, None)):
            near = near | wide[t, row, col]
    return near.reshape(-1)


@dataclass(frozen=True)
class WhyReport:
    """Hold the cases of ``examine_why``; ``str`` makes a table, ``as_dict`` goes into JSON."""

    model: str
    frames: int
    questions: int
    right: int
    cases: tuple[WhyCase, ...]

    @property
    def causes(self) -> dict[str, int]:
        """Return how many cases have each cause, by its name in result files."""
        counted = Counter(case.cause for case in self.cases)
        return {CAUSES[cause]: counted[cause] for cause in CAUSES if counted[cause]}

    def figures(self, cases: Sequence[WhyCase] | None = None) -> dict[str, tuple[float, float]]:
        """Return {figure: (of the search, of random tokens)} as shares, over these cases."""
        cases = self.cases if cases is None else cases
        back = [case for case in cases if case.restored]
        with_lost = [case for case in back if case.evidence]
        draws = sum(case.draws for case in back)
        return {
            "answer brought back": (
                _share(len(back), len(cases)),
                _share(sum(case.random for case in back), draws),
            ),
            "found tokens that are evidence": (
                _mean(case.hits / case.found for case in with_lost),
                _mean(case.evidence / case.n for case in with_lost),
            ),
            "found tokens that are evidence or touch it": (
                _mean(case.near / case.found for case in with_lost),
                _mean(case.chance_near for case in with_lost),
            ),
            "cases with evidence among the found": (
                _share(sum(case.hits > 0 for case in with_lost), len(with_lost)),
                _mean(1 - (1 - case.evidence / case.n) ** case.found for case in with_lost),
            ),
            "lost evidence in the smallest set (recall)": (
                _mean(case.hits / case.evidence for case in with_lost),
                _mean(case.found / case.n for case in with_lost),
            ),
            "lost evidence among as many most influential tokens": (
                _mean(case.ranked / case.evidence for case in cases if case.evidence),
                _mean(case.evidence / case.n for case in cases if case.evidence),
            ),
        }

    def as_dict(self) -> dict[str, Any]:
        back = [case for case in self.cases if case.restored]
        return {
            "model": self.model,
            "frames": self.frames,
            "method": repr(METHOD),
            "questions": self.questions,
            "right with all tokens": self.right,
            "turned": len(self.cases),
            "causes": self.causes,
            "figures": {
                name: [None if math.isnan(share) else share for share in pair]
                for name, pair in self.figures().items()
            },
            "restored interval95": list(wilson(len(back), len(self.cases))) if self.cases else None,
            "cases": [asdict(case) for case in self.cases],
        }

    def __str__(self) -> str:
        lines = [
            f"{self.model}, {self.frames} frames, {self.questions} questions with evidence: "
            f"{self.right} right with all tokens, {len(self.cases)} of them turned by STC at 2 %",
            f"{'':<56} {'search':>8} {'random':>8}",
        ]
        for name, (ours, chance) in self.figures().items():
            shown = ("–" if math.isnan(one) else f"{one:.1%}" for one in (ours, chance))
            lines.append(f"{name:<56} {' '.join(f'{one:>8}' for one in shown)}")
        back = [case for case in self.cases if case.restored]
        if back:
            sizes = [case.found for case in back]
            spent = [case.seconds for case in self.cases]
            lines.append(
                f"smallest set: median {np.median(sizes):g} tokens, most {max(sizes)}; "
                f"search: median {np.median([c.tested for c in self.cases]):g} sets, "
                f"{np.median(spent):.1f} s; "
                f"{sum(not case.done for case in self.cases)} ran out of time"
            )
        lines += [f"{name}: {count}" for name, count in self.causes.items()]
        return "\n".join(lines)


def _share(count: int, of: int) -> float:
    return count / of if of else float("nan")


def _mean(values: Iterator[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else float("nan")
