"""Ask one question at many settings of a method: ``sweep``, and the plan behind it.

Frames, vision tower and uncompressed run are worked out once. ``Plan`` decides what is run next and
runs nothing itself, so that a page can give each run its turn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from stc_core.answering.answer import Answer, answer
from stc_core.answering.reporting import Progress
from stc_core.answering.video import Video
from stc_core.errors import InputError
from stc_core.hooks.run_cache import RunCache
from stc_core.methods import STC, Edited, Method
from stc_core.methods.base import check_method
from stc_core.models.vlm import VLM
from stc_core.record.sweep import AXES, Stop, Sweep
from stc_core.record.trace import Trace
from stc_core.record.trace_header import MAX_STOPS

# About even steps of the logarithm; the paper's 2 % among them.
RETENTIONS = (
    0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.17, 0.25, 0.35, 0.5, 0.7, 1.0,
)  # fmt: skip
TAUS = tuple(round(0.25 + 0.05 * step, 2) for step in range(16))
MOST = 16  # stops that are chosen here
MOST_ANSWERS = 24  # candidates whose probabilities are asked for
WORDS = {"retention": "retention ratio", "tau": "tau", "layer": "layer K"}


@dataclass(frozen=True)
class Task:
    """Describe one run that a plan wants.

    Attributes
    ----------
    value : float
        Of the axis.
    method : Method
    baseline : bool
        Whether also to run uncompressed.
    score : tuple of str
        Answers whose probability is wanted.
    """

    value: float
    method: Method
    baseline: bool
    score: tuple[str, ...]


class Plan:
    """Decide which setting is run next; hold what is known so far.

    The present value comes first, then both ends, then always the middle of the widest gap: from
    coarse to fine. With all stops there, those between which the answer turns are refined, and
    runs are asked again for the probability of answers that came up after them.

    Parameters
    ----------
    method : Method
        At its present value.
    depth : int
        Decoder layers of the model.
    over, stops, expected, refine
        As ``sweep`` takes them.
    answers : sequence of str
        Further answers whose probability is wanted from the first run on.
    known : Sweep, optional
        What an earlier pass has computed; it is not run again.

    Attributes
    ----------
    sweep : Sweep or None
        None before the first run, where nothing is known.
    halvings : int
        How often turns will still be refined; 0 ends it.

    Raises
    ------
    InputError
        The method has no such setting, or a stop is no value of it; ``known`` is of another sweep.
    """

    def __init__(
        self,
        method: Method,
        depth: int,
        over: str = "retention",
        stops: Sequence[float] | None = None,
        *,
        expected: str | None = None,
        answers: Sequence[str] = (),
        refine: int = 0,
        known: Sweep | None = None,
    ) -> None:
        self.method, self.over, self._expected = method, over, expected
        self._hints = tuple(text for text in (expected, *answers) if text and text.strip())
        self.present = present_value(method, depth, over)
        chosen = default_stops(over, depth) if stops is None else stops
        if not 1 <= len(chosen) <= MAX_STOPS // 2:
            raise InputError(f"a sweep takes 1 to {MAX_STOPS // 2} stops, not {len(chosen)}")
        values = {_checked(method, depth, over, value) for value in chosen} | {self.present}
        self._depth, self.halvings = depth, refine
        self._planned = tuple(sorted(values))
        self._asked_again: set[float] = set()
        self.sweep: Sweep | None = None
        if known is not None:
            self._take_over(known)

    def next(self) -> Task | None:
        """Return what to run next; None where all is known."""
        waiting = self._planned if self.sweep is None else self.sweep.waiting
        if not waiting:
            waiting = self._refined()
        if waiting:
            return self._task(self._first(waiting), self._candidates)
        return self._again()

    def take(self, task: Task, trace: Trace) -> Sweep:
        """Take over the trace that a task led to; return what is known now.

        Raises ``InputError`` where it is of another model or clip than the runs before.
        """
        before = self.sweep or Sweep(
            grid=trace.grid,
            over=self.over,
            present=self.present,
            planned=self._planned,
            method=repr(self.method),
            model=trace.model,
            question=trace.question,
            expected=self._expected,
        )
        about = before.grid, before.model, before.question
        if (trace.grid, trace.model, trace.question) != about:
            raise InputError(
                f"the stops of this sweep were made by the model {before.model!r} on another clip "
                f"or question than this run of {trace.model!r}; start a new sweep"
            )
        stop, old = _stop_of(task.value, trace), before.stop(task.value)
        if old is not None:  # asked again for probabilities alone: its times stay
            stop = replace(old, scores=old.scores | stop.scores)
        others = [other for other in before.stops if other.value != task.value]
        self.sweep = replace(
            before,
            stops=tuple(sorted([*others, stop], key=lambda each: each.value)),
            baseline=_joined(before.baseline, trace.baseline),
            latest=stop,
        )
        return self.sweep

    def refuse(self, task: Task, error: InputError) -> Sweep:
        """Note that a stop cannot be computed; return what is known now.

        Raises ``error`` where it is the first run: then no other will do better.
        """
        if self.sweep is None:
            raise error
        if self.sweep.stop(task.value) is not None:  # asked again for probabilities alone
            return self.sweep
        refused = self.sweep.refused | {task.value: str(error)}
        self.sweep = replace(self.sweep, refused=refused, latest=None)
        return self.sweep

    @property
    def share(self) -> float:
        """Return the share of the planned stops that is known, 0 to 1."""
        if self.sweep is None:
            return 0.0
        return 1 - len(self.sweep.waiting) / len(self.sweep.planned)

    @property
    def _candidates(self) -> tuple[str, ...]:
        found = () if self.sweep is None else self.sweep.answers
        return tuple(dict.fromkeys((*self._hints, *found)))[:MOST_ANSWERS]

    def _take_over(self, known: Sweep) -> None:
        same = known.over == self.over and known.method == repr(self.method)
        if not same:
            raise InputError(
                f"the sweep to go on with is one of {known.method} over {known.over}; start a new "
                f"one, or give that method"
            )
        planned = {*self._planned, *(stop.value for stop in known.stops)}
        refused = {value: words for value, words in known.refused.items() if value in planned}
        self.sweep = replace(
            known,
            planned=tuple(sorted(planned)),
            refused=refused,
            expected=known.expected if self._expected is None else self._expected,
        )

    def _first(self, waiting: Sequence[float]) -> float:
        """Return the value that is most worth knowing: present, both ends, the widest gap."""
        planned = self._planned if self.sweep is None else self.sweep.planned
        for value in (self.present, planned[0], planned[-1]):
            if value in waiting:
                return value
        places = {value: place for place, value in enumerate(planned)}
        known = [place for value, place in places.items() if value not in waiting]
        return max(waiting, key=lambda value: min(abs(places[value] - place) for place in known))

    def _task(self, value: float, score: tuple[str, ...]) -> Task:
        stop = _at(self.method, self.over, value)
        return Task(value, stop, self.sweep is None or not self.sweep.baseline, score)

    def _refined(self) -> tuple[float, ...]:
        """Return new values in the middle of each turn, once for each halving that is left."""
        if self.sweep is None or self.halvings <= 0:
            return ()
        self.halvings -= 1
        planned = set(self.sweep.planned)
        middles = [_middle(self.over, turn.low, turn.high) for turn in self.sweep.turns]
        new = {middle for middle in middles if middle is not None} - planned
        if len(planned | new) > MAX_STOPS:
            return ()
        self.sweep = replace(self.sweep, planned=tuple(sorted(planned | new)))
        return tuple(value for value in self.sweep.waiting)

    def _again(self) -> Task | None:
        """Return a run for the probabilities that are missing at a stop."""
        if self.sweep is None:
            return None
        for stop in self.sweep.stops:
            known = {*stop.scores, stop.answer}
            missing = tuple(text for text in self._candidates if text not in known)
            if missing and stop.value not in self._asked_again:
                self._asked_again.add(stop.value)
                return self._task(stop.value, missing)
        return None


def sweep(
    vlm: VLM,
    video: str | os.PathLike | Video,
    question: str,
    method: Method | None = None,
    *,
    over: str = "retention",
    stops: Sequence[float] | None = None,
    frames: int | None = None,
    expected: str | None = None,
    refine: int = 0,
    known: Sweep | None = None,
    max_new_tokens: int = 64,
    cache: RunCache | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Sweep]:
    """Ask a question at many settings of a method, from coarse to fine.

    Parameters
    ----------
    vlm, video, question, method, frames, max_new_tokens
        As ``answer`` takes them.
    over : str
        "retention", "tau" or "layer": the setting that changes from stop to stop.
    stops : sequence of float, optional
        Its values; one that is there twice counts once, and the present value is always among them.
        Default: about 16 over the whole range, 0.5 % to 100 % for the retention ratio.
    expected : str, optional
        The right answer, whose probability is wanted too.
    refine : int
        How often the interval in which the answer turns is halved, for each turn.
    known : Sweep, optional
        An earlier pass over the same clip and question to go on with, from ``Sweep.load``.
    cache : RunCache, optional
        Default: one of this sweep alone.
    progress
        Called with a stage and the share of all planned stops, 0 to 1.
    cancelled : callable
        Asked during every run; once it returns True the sweep ends with what it has.

    The uncompressed run is one of the first, so that it knows the probabilities of its own answer
    and of those given alone. Where an answer comes up at a later stop, the earlier ones are asked
    again for its probability.

    Yields
    ------
    Sweep
        What is known after each run: the present value first, then both ends. Its ``latest`` is
        the stop that came, or whose probabilities were completed. Each stop is what an independent
        ``answer`` gives.

    Raises
    ------
    InputError
        The method has no such setting, a value or another argument cannot be used. A value that
        only this clip refuses is noted in ``Sweep.refused`` instead.
    """
    method = STC() if method is None else method
    depth = len(vlm.model.get_decoder().layers)
    plan = Plan(method, depth, over, stops, expected=expected, refine=refine, known=known)
    job = {
        "vlm": vlm,
        "video": video,
        "question": question,
        "frames": frames,
        "max_new_tokens": max_new_tokens,
        "cache": RunCache() if cache is None else cache,
    }
    return _run(plan, cancelled, progress or (lambda stage, share: None), job)


class _Cancelled(Exception):
    """Leave a run in which nobody is interested any more."""


def _run(
    plan: Plan, cancelled: Callable[[], bool], report: Progress, job: dict[str, Any]
) -> Iterator[Sweep]:
    def tell(stage: str, share: float) -> None:
        if cancelled():
            raise _Cancelled
        each = 1 / len(plan.sweep.planned) if plan.sweep else 0.0
        report(stage, min(1.0, plan.share + share * each * (plan.share < 1)))

    while not cancelled() and (task := plan.next()) is not None:
        run: Answer
        try:
            run = answer(
                method=task.method, baseline=task.baseline, score=task.score, progress=tell, **job
            )
        except _Cancelled:
            return
        except InputError as error:
            yield plan.refuse(task, error)
            continue
        yield plan.take(task, run.trace)


def present_value(method: Method, depth: int, over: str) -> float:
    """Return the value of an axis that a method has in a model of ``depth`` layers.

    Raises ``InputError`` where the axis is none, or the method has no such setting.
    """
    if over not in AXES:
        raise InputError(f"a sweep goes over {', '.join(AXES[:-1])} or {AXES[-1]}, not {over!r}")
    check_method(method)
    name = type(method).__name__
    if isinstance(method, Edited):
        raise InputError(
            "an edited method cannot be swept: its edits name tokens of one setting; go back to "
            "the run without edits"
        )
    if over not in {each.name for each in fields(method)}:
        raise InputError(
            f"{name} has no {WORDS[over]}, so there is nothing to sweep; choose another axis"
        )
    value = getattr(method, over)
    if over != "layer":
        return float(value)
    layer = method.inside_layer(depth)
    if layer is None:
        raise InputError(
            f"{name} with these settings changes nothing inside the LLM, so its layer K means "
            f"nothing; choose another axis"
        )
    return layer


def default_stops(over: str, depth: int) -> tuple[float, ...]:
    """Return about 16 values of an axis over its whole range, ascending."""
    if over == "retention":
        return RETENTIONS
    if over == "tau":
        return TAUS
    last = depth - 2  # at least one layer follows K
    count = min(MOST, last + 1)
    return tuple(sorted({round(last * step / max(1, count - 1)) for step in range(count)}))


def _checked(method: Method, depth: int, over: str, value: Any) -> float:
    """Return a value as the axis counts; ``InputError`` where the method does not take it."""
    whole = over == "layer"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"a stop of the {WORDS[over]} must be a number, not {value!r}")
    if whole and value != int(value):
        raise InputError(f"a stop of the layer K must be a whole number, not {value!r}")
    number = int(value) if whole else float(value)
    _at(method, over, number).inside_layer(depth)
    return number


def _at(method: Method, over: str, value: float) -> Method:
    """Return the method with that value; as it is where it has it already."""
    changed: dict[str, Any] = {over: value}
    return method if getattr(method, over) == value else replace(method, **changed)


def _middle(over: str, low: float, high: float) -> float | None:
    """Return the value between two, None where there is none; ratios have their mean of logs."""
    if over == "layer":
        return (int(low) + int(high)) // 2 if high - low > 1 else None
    middle = (low * high) ** 0.5 if over == "retention" else (low + high) / 2
    short = float(f"{middle:.3g}")
    return short if low < short < high else None


def _stop_of(value: float, trace: Trace) -> Stop:
    return Stop(
        value, trace.answer, float(trace.logprob or 0.0), dict(trace.scores), trace.stages,
        trace.costs,
    )  # fmt: skip


def _joined(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the uncompressed run with the probabilities of both."""
    if not now:
        return before
    first = before or {name: now[name] for name in ("answer", "costs", "logprob")}
    return first | {"scores": before.get("scores", {}) | now["scores"]}
