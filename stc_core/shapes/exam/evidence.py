"""Ask questions with their evidence kept, removed and returned: does the answer depend on it?

Every question that has evidence is asked of its clip under many choices of tokens. Chosen tokens
keep their positions and nothing is merged, so that an answer depends only on which tokens remain. A
model that answers because of the evidence is as accurate with the evidence alone as with all
tokens, no better than a guess without the evidence, and accurate again when it is returned.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.answering.generation import generate
from stc_core.answering.prompt import Prompt, build_prompt
from stc_core.answering.reporting import Reporter
from stc_core.errors import InputError
from stc_core.hooks.compression import compress
from stc_core.hooks.run_cache import RunCache
from stc_core.hooks.tower import vision
from stc_core.methods import STC, Edited, Method, Uniform
from stc_core.methods.base import paper_budget
from stc_core.models.vlm import VLM
from stc_core.rates import wilson
from stc_core.record.trace import Trace
from stc_core.shapes.exam.calibration import calibrate, checked_picture, save_picture
from stc_core.shapes.exam.examined import Answered, best_without_looking
from stc_core.shapes.exam.grids import checked_frames
from stc_core.shapes.exam.recorded_clips import recorded_clips
from stc_core.shapes.exam.replying import ANSWER_TOKENS
from stc_core.shapes.model.opened import open_model
from stc_core.shapes.world.clip import Clip
from stc_core.shapes.world.drawing import render
from stc_core.shapes.world.questions import KINDS, Question
from stc_core.shapes.world.scenes import HELD_OUT_SEEDS, WORLD, World, frame_times
from stc_core.text import said_the_same
from stc_core.why.rows import chosen_first

__all__ = ["EvidenceReport", "draw", "examine"]

FILLER = STC(tau=0.8, keep_inside=1.0)  # what fills a budget beside the evidence
SHARES = (0.1, 0.05, 0.02)  # budgets with the evidence in them
PARTS = (0.25, 0.5, 0.75)  # of the evidence
RANDOM = 0.1  # share of random tokens
LEAST_ERROR = 0.03  # expected calibration error that is good enough
REMOVED = ("undrawn", "without 100", "without shown")  # how the evidence is taken away
TURNING = 0.02  # retention at which answers are turned
WITH_EVIDENCE = tuple(kind for kind in KINDS if kind != "unanswerable")


def name_of(share: float) -> str:
    return f"{100 * share:g}"


@dataclass(frozen=True)
class EvidenceCase:
    """Hold one question and the answers to it under each choice of tokens.

    Attributes
    ----------
    seed : int
        Of the clip.
    question : Question
    tokens : int
        N, of the whole clip.
    said : dict
        Name of the choice -> (answer, its probability). "all": every token; "stc R": STC at R %
        without its stage inside the LLM; "kept R": the evidence, and STC's choice up to R %;
        "alone Q": Q % of the evidence and nothing else; "without Q": everything but Q % of it;
        "random": the evidence and random tokens up to 10 %; "undrawn": every token of the clip in
        which the things of the question are not drawn; "without shown": everything but the evidence
        and each token with a pixel that those things change, in any frame. Where STC at 2 % turned
        the answer: "returned": STC's choice and the evidence; "stuffed": as many random tokens
        instead; "swapped": the evidence in place of STC's last choices.
    """

    seed: int
    question: Question
    tokens: int
    said: dict[str, tuple[str, float]]

    def right(self, name: str) -> bool | None:
        """Tell whether the answer under a choice was right; None where it was not asked."""
        found = self.said.get(name)
        return None if found is None else said_the_same(found[0], self.question.answer)


def examine(
    source: Any = None,
    questions: int = 500,
    frames: int | None = None,
    *,
    seeds: range = HELD_OUT_SEEDS,
    world: World = WORLD,
    partial: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> EvidenceReport:
    """Ask questions with their evidence kept, removed and returned.

    Parameters
    ----------
    source : Path, VLM or None
        A checkpoint folder, what ``stc_core.load`` returns, or None for the embedded model.
    questions : int
        How many, each about a clip of its own; only questions that have evidence.
    frames : int, optional
        Frames of every clip; default: as many as the checkpoint records.
    seeds : range
        Seeds of the clips. Leave the default when the numbers are to be reported.
    world : World
        What the clips are drawn from.
    partial : Path, optional
        A file to which answers are added as they come; a later call goes on from it.
    on_progress : callable
        Called with (questions done, questions).

    Returns
    -------
    EvidenceReport

    Raises
    ------
    InputError
        A number is out of range, or the file belongs to another run.
    """
    if questions < 1:
        raise InputError(f"at least one question is needed, not {questions}; try 500")
    vlm = open_model(source)
    frames = vlm.frames if frames is None else frames
    grid = checked_frames(frames, vlm.model.config)
    cells = frames * grid[0] * grid[1]
    cases = []
    for seed, question, line in recorded_clips(
        vlm,
        questions,
        frames,
        "evidence",
        lambda clip, question: {"said": dict(answers(vlm, clip, question, world))},
        seeds=seeds,
        world=world,
        partial=partial,
        about={},
        on_progress=on_progress,
    ):
        said = {name: (text, float(sure)) for name, (text, sure) in line["said"].items()}
        cases.append(EvidenceCase(seed, question, cells, said))
    return EvidenceReport(getattr(vlm, "name", "model"), frames, tuple(cases))


def answers(
    vlm: VLM, clip: Clip, question: Question, world: World
) -> Iterator[tuple[str, tuple[str, float]]]:
    """Yield (name of a choice, (answer, its probability)); see ``EvidenceCase``."""
    prompt = prompt_of(vlm, clip, clip.frames, question)
    dice = np.random.default_rng([clip.seed, 11])
    bare = undrawn(clip, question, world)
    with vision(vlm.model, cache=RunCache(sys.maxsize), methods=[FILLER]):
        whole = uncompressed(vlm, prompt)
        yield "all", whole
        runs = {share: asked(vlm, prompt, replace(FILLER, retention=share)) for share in SHARES}
        trace = runs[TURNING][1]
        n, evidence = trace.grid.size, trace.grid.indices(question.evidence)
        shuffled = dice.permutation(evidence)
        rest = dice.permutation(np.setdiff1d(np.arange(n), evidence))
        for share, (said, _) in runs.items():
            yield f"stc {name_of(share)}", said
        for share, (_, seen) in runs.items():
            budget = paper_budget(share, trace.grid)
            if len(evidence) <= budget:
                beside = chosen_first(seen, evidence)[: budget - len(evidence)]
                yield f"kept {name_of(share)}", only(vlm, prompt, [*evidence, *beside])
        for part in (*PARTS, 1.0):
            some = shuffled[: max(1, round(part * len(evidence)))]
            yield f"alone {name_of(part)}", only(vlm, prompt, some)
            others = np.setdiff1d(np.arange(n), some)
            if len(others):
                yield f"without {name_of(part)}", only(vlm, prompt, others)
        shown = trace.grid.indices(changed_cells(clip.frames, bare, clip.grid))
        others = np.setdiff1d(rest, shown)
        if len(others):
            yield "without shown", only(vlm, prompt, others)
        budget = paper_budget(RANDOM, trace.grid)
        if len(evidence) <= budget:
            yield "random", only(vlm, prompt, [*evidence, *rest[: budget - len(evidence)]])
        turned = said_the_same(whole[0], question.answer) and not said_the_same(
            runs[TURNING][0][0], question.answer
        )
        if turned:
            yield from given_back(vlm, prompt, trace, evidence, rest)
    yield "undrawn", uncompressed(vlm, prompt_of(vlm, clip, bare, question))


def undrawn(clip: Clip, question: Question, world: World) -> np.ndarray:
    """Return the frames (T, H, W, 3) uint8 without the things of the question, else the same."""
    without = tuple(t for i, t in enumerate(clip.scene.things) if i not in question.things)
    height, width = clip.frames.shape[1:3]
    scene = replace(clip.scene, things=without)
    times = frame_times(len(clip.frames))
    return render([scene], times, height, width, noise=world.noise)[0].numpy()


def changed_cells(frames: np.ndarray, others: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return (C, 3) int64, (frame, row, col) of the cells in which any pixel differs.

    Parameters
    ----------
    frames, others : (T, H, W, 3) uint8
    grid : tuple of int
        Rows and columns of cells.
    """
    where, y, x = np.nonzero((frames != others).any(axis=3))
    height, width = frames.shape[1:3]
    cells = np.stack([where, y * grid[0] // height, x * grid[1] // width], axis=1)
    return np.unique(cells, axis=0)


def given_back(
    vlm: VLM, prompt: Prompt, trace: Trace, evidence: np.ndarray, rest: np.ndarray
) -> Iterator[tuple[str, tuple[str, float]]]:
    """Ask with the evidence added to STC's choice, with random tokens added, and with a swap.

    Parameters
    ----------
    vlm : VLM
    prompt : Prompt
    trace : Trace
        Of STC at 2 %.
    evidence : (e,) int64
        Tokens that hold the evidence.
    rest : (r,) int64
        All other tokens of the clip.

    Yields
    ------
    (name of the choice, (answer, its probability))
    """
    method = replace(FILLER, retention=TURNING)
    survivors = trace.outside.survivors
    missing = np.setdiff1d(evidence, survivors)
    yield "returned", asked(vlm, prompt, Edited(method, add=tuple(missing.tolist())))[0]
    others = rest[~np.isin(rest, survivors)][: len(missing)]
    yield "stuffed", asked(vlm, prompt, Edited(method, add=tuple(others.tolist())))[0]
    last = chosen_first(trace, evidence)[::-1][: len(missing)]
    if len(last) == len(missing):
        edit = Edited(method, add=tuple(missing.tolist()), remove=tuple(last))
        yield "swapped", asked(vlm, prompt, edit)[0]


def only(vlm: VLM, prompt: Prompt, tokens: Sequence[int] | np.ndarray) -> tuple[str, float]:
    """Return (answer, its probability) with these tokens of the video alone, unmerged."""
    keep = tuple(sorted(int(token) for token in tokens))
    return asked(vlm, prompt, Edited(Uniform(retention=1.0), only=keep))[0]


def asked(vlm: VLM, prompt: Prompt, method: Method) -> tuple[tuple[str, float], Trace]:
    """Ask under a method; return (answer, its probability) and the trace."""
    with compress(vlm.model, method) as live:
        found = uncompressed(vlm, prompt)
    return found, live.freeze()


def uncompressed(vlm: VLM, prompt: Prompt) -> tuple[str, float]:
    """Return (answer, its probability) of the uncompressed model."""
    said = generate(vlm, prompt, Reporter(vlm.device), ANSWER_TOKENS)
    return said.text, float(min(1.0, np.exp(said.logprob)))


def prompt_of(vlm: VLM, clip: Clip, frames: np.ndarray, question: Question) -> Prompt:
    return build_prompt(vlm, frames, question.text, ANSWER_TOKENS, seconds=clip.seconds)


@dataclass(frozen=True)
class Figure:
    """Hold one number of the report: ``right`` of ``count``, with its target."""

    name: str
    right: int
    count: int
    target: str
    met: bool | None = None

    @property
    def share(self) -> float:
        return self.right / self.count if self.count else float("nan")

    def as_dict(self) -> dict[str, Any]:
        low, high = wilson(self.right, self.count) if self.count else (float("nan"),) * 2
        return {
            "name": self.name,
            "right": self.right,
            "count": self.count,
            "share": self.share,
            "interval95": [low, high],
            "target": self.target,
            "met": self.met,
        }


@dataclass(frozen=True)
class EvidenceReport:
    """Hold the cases of ``examine``; ``str`` makes a table, ``as_dict`` goes into JSON."""

    model: str
    frames: int
    cases: tuple[EvidenceCase, ...]

    def counted(self, name: str, cases: Sequence[EvidenceCase] | None = None) -> tuple[int, int]:
        """Return (right, asked) under a choice of tokens."""
        found = [case.right(name) for case in (self.cases if cases is None else cases)]
        known = [right for right in found if right is not None]
        return sum(known), len(known)

    def relative(self, name: str) -> float:
        """Return accuracy under a choice over that with all tokens, on the same questions."""
        pairs = [(c.right(name), c.right("all")) for c in self.cases if c.right(name) is not None]
        whole = sum(bool(one) for _, one in pairs)
        return sum(bool(one) for one, _ in pairs) / whole if whole else float("nan")

    def kind(self, kind: str) -> list[EvidenceCase]:
        return [case for case in self.cases if case.question.kind == kind]

    def above_guess(self, name: str) -> dict[str, float]:
        """Return by kind the accuracy under a choice minus the best accuracy without looking."""
        found = {}
        for kind in WITH_EVIDENCE:
            cases = [case for case in self.kind(kind) if case.right(name) is not None]
            if cases:
                guess = [Answered(case.seed, case.question, "") for case in cases]
                blind = best_without_looking(guess)[0] / len(cases)
                found[kind] = sum(bool(c.right(name)) for c in cases) / len(cases) - blind
        return found

    def calibration(self, name: str) -> float:
        """Return the expected calibration error under a choice of tokens."""
        pairs = [(c.said[name][1], bool(c.right(name))) for c in self.cases if name in c.said]
        sure, right = zip(*pairs, strict=True)
        return calibrate(sure, right).error

    def calibration_errors(self) -> dict[str, float]:
        """Return the expected calibration error with all tokens and under STC at 10 and 2 %."""
        asked = {name for case in self.cases for name in case.said}
        names = ("all", "stc 10", "stc 2")
        return {name: self.calibration(name) for name in names if name in asked}

    def figures(self) -> list[Figure]:
        """Return the figures that have a target."""
        made = [Figure("all tokens", *self.counted("all"), ">= 95 %")]
        for name, least in (("kept 10", 0.97), ("kept 5", 0.93), ("random", 0.95)):
            share = self.relative(name)
            label = f"{name}, {share:.1%} of all tokens' accuracy"
            made.append(Figure(label, *self.counted(name), f">= {least:.0%} of it", share >= least))
        made.append(Figure("evidence alone", *self.counted("alone 100"), "reported"))
        for name, most in (("undrawn", 0.08), ("without 100", 0.3)):
            above = self.above_guess(name)
            if above:
                worst = max(above, key=above.__getitem__)
                label = f"{name}, at most {above[worst]:+.1%} above a guess ({worst})"
                made.append(
                    Figure(label, *self.counted(name), f"<= {most:+.0%}", above[worst] <= most)
                )
        above = self.above_guess("without shown")
        if above:
            worst = max(above, key=above.__getitem__)
            label = f"without shown, at most {above[worst]:+.1%} above a guess ({worst})"
            made.append(Figure(label, *self.counted("without shown"), "reported"))
        for name, bound, least in (
            ("returned", 0.9, True),
            ("stuffed", 0.15, False),
            ("swapped", 0.8, True),
        ):
            right, count = self.counted(name)
            met = None
            if count:
                met = right >= bound * count if least else right <= bound * count
            made.append(Figure(name, right, count, f"{'>=' if least else '<='} {bound:.0%}", met))
        return made

    def as_dict(self) -> dict[str, Any]:
        names = sorted({name for case in self.cases for name in case.said})
        return {
            "model": self.model,
            "frames": self.frames,
            "questions": len(self.cases),
            "figures": [figure.as_dict() for figure in self.figures()],
            "accuracy": {name: list(self.counted(name)) for name in names},
            "above_guess": {name: self.above_guess(name) for name in REMOVED},
            "calibration_error": self.calibration_errors(),
            "kinds": {
                kind: {name: list(self.counted(name, self.kind(kind))) for name in names}
                for kind in WITH_EVIDENCE
                if self.kind(kind)
            },
        }

    def __str__(self) -> str:
        lines = [f"{self.model}, {self.frames} frames, {len(self.cases)} questions with evidence"]
        for figure in self.figures():
            met = {None: "", True: "met", False: "missed"}[figure.met]
            count = f"{figure.right}/{figure.count}"
            lines.append(
                f"{figure.name:<58} {figure.share:6.1%} {count:>10}  {figure.target:<14} {met}"
            )
        for name, error in self.calibration_errors().items():
            met = "met" if error <= LEAST_ERROR else "missed"
            label = f"calibration error, {name}"
            lines.append(f"{label:<58} {error:6.3f} {'':>10}  {f'<= {LEAST_ERROR}':<14} {met}")
        return "\n".join(lines)


def draw(report: EvidenceReport, path: Path) -> None:
    """Draw accuracy against the share of the evidence that is kept alone or taken away.

    Parameters
    ----------
    report : EvidenceReport
    path : Path
        ``.png`` or ``.svg``; the same report gives the same SVG.

    Raises
    ------
    InputError
        Another suffix, or a folder that does not exist.
    """
    path = checked_picture(Path(path))
    import matplotlib
    from matplotlib.figure import Figure as Sheet

    shares = (*PARTS, 1.0)
    lines = (
        ("this share of the evidence, and nothing else", "alone", "#0072B2", "o-"),
        ("everything but this share of the evidence", "without", "#D55E00", "s--"),
    )
    with matplotlib.rc_context({"font.size": 10, "svg.hashsalt": "stc", "text.parse_math": False}):
        sheet = Sheet(figsize=(6.0, 4.2), layout="constrained")
        axes = sheet.subplots()
        for label, name, color, style in lines:
            counts = [report.counted(f"{name} {name_of(share)}") for share in shares]
            known = [
                (share, *count) for share, count in zip(shares, counts, strict=True) if count[1]
            ]
            mean = np.array([right / count for _, right, count in known])
            low, high = np.array([wilson(right, count) for _, right, count in known]).T
            axes.errorbar(
                [share for share, _, _ in known],
                mean,
                yerr=(mean - low, high - mean),
                fmt=style,
                color=color,
                capsize=3,
                label=label,
            )
        right, count = report.counted("all")
        axes.axhline(right / count, color="#59636E", linewidth=1, label="all tokens")
        axes.set(
            xlim=(0.2, 1.05),
            ylim=(0, 1.02),
            xlabel="share of the evidence tokens",
            ylabel="accuracy",
            title=f"{report.model}, {report.frames} frames, {count} questions",
        )
        axes.legend(frameon=False, loc="lower left")
        save_picture(sheet, path)
