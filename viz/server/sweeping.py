"""Plan a scrub of a trace on the shelf, and run one of its stops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc_core.errors import InputError
from stc_core.method_text import make_method, read_method
from stc_core.record.sweep import AXES, Sweep
from stc_core.record.trace import Trace
from viz.examples import Known
from viz.server.origin import Origin, recall
from viz.server.runner import Failure, Runner, Step
from viz.server.shelf import Shelf

if TYPE_CHECKING:
    from stc_core.answering.sweep import Plan, Task

HALVINGS = 1  # of the interval in which an answer turns


@dataclass(frozen=True)
class Asked:
    """Hold what a visitor wants to scrub: a trace of the shelf, what it was made of, an axis."""

    home: Path
    trace: Trace
    origin: Origin
    over: str

    @property
    def record(self) -> Path:
        """Return the file of the sweep."""
        return record_of(self.home, self.over)

    @property
    def packed(self) -> Path:
        """Return the file for the browser; ``scrub.js`` knows its name."""
        return self.home.with_name(f"scrub-{self.over}.bin")

    @property
    def method(self) -> str:
        """Return the method of the trace as text."""
        return self.origin.method or self.trace.method


def read(shelf: Shelf, sent: Mapping[str, Any]) -> Asked:
    """Return what a browser asks to scrub; ``InputError`` for what cannot be."""
    home = shelf.found(sent.get("key"))
    over = sent.get("over")
    if over not in AXES:
        raise InputError(f"a scrub goes over one of {', '.join(AXES)}")
    origin = recall(shelf.folder, home.parent.name)
    if origin is None:
        raise InputError(
            "the clip of this trace is not known here, so it cannot be run at other settings; run "
            "the question on this page, then scrub"
        )
    if origin.before:
        raise InputError(
            "the model read earlier turns or a system prompt before this question, and a scrub "
            "asks without them; ask the question in a new conversation, then scrub"
        )
    return Asked(home, Trace.load(home), origin, over)


def plan_of(asked: Asked, known: Known | None) -> Plan:
    """Return the plan of a sweep; it goes on with what an earlier pass has left."""
    from stc_core.answering.sweep import Plan  # torch comes with it

    trace, method = asked.trace, make_method(str(read_method(asked.method)))
    layers = trace.costs.get("tokens_per_layer") or []
    if not layers and asked.over == "layer":
        raise InputError("this trace does not say how many layers its model has; run it again")
    earlier = Sweep.load(asked.record) if asked.record.is_file() else None
    if earlier is not None and earlier.method != repr(method):
        earlier = None
    return Plan(
        method,
        len(layers) or 1024,
        asked.over,
        expected=known.answer if known else None,
        answers=[text for text in (trace.baseline.get("answer"), trace.answer) if text],
        refine=HALVINGS,
        known=earlier,
    )


def record_of(home: Path, over: str) -> Path:
    """Return the file of a sweep of the trace at ``home``."""
    return home.with_name(f"sweep-{over}.npz")


def run_stop(runner: Runner, owner: str, asked: Asked, video: Any, task: Task) -> Iterator[Any]:
    """Yield the steps of one stop and, last, its ``Answer`` or the ``InputError`` that ended it."""
    origin = asked.origin
    chosen = {"model": origin.model} if origin.model else {}
    said: Any = None
    try:
        for step in runner.run(
            owner,
            video=video,
            question=origin.question,
            method=repr(task.method),
            frames=origin.frames,
            baseline=task.baseline,
            score=task.score,
            record=False,
            **chosen,
        ):
            if isinstance(step, Step):
                yield step
            else:
                said = step
    except Failure as failed:
        if not isinstance(failed.__cause__, InputError):
            raise
        said = failed.__cause__
    yield said  # after the run has ended: a Cancel from here on is one of the next run
