"""Ask the question of a shown trace at many settings, and hand the stops to the browser.

Each stop is a run of its own, so that other visitors have their turns between them. What is known
stays in the folder of the trace: ``sweep-retention.npz`` to go on with, ``scrub-retention.bin`` for
the browser and its links.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import gradio as gr

from stc_core.errors import InputError
from stc_core.record.sweep import AXES, Sweep
from stc_core.record.trace import Trace
from stc_core.writing import written_whole
from viz.examples import Known
from viz.page import run_events
from viz.pictures.sweep_words import value_words
from viz.server.origin import about
from viz.server.runner import Runner, Step
from viz.server.shelf import Shelf, served
from viz.server.stand_ins import video_of
from viz.server.sweeping import Asked, plan_of, read, record_of, run_stop
from viz.workspace.sweep_bundle import pack_sweep, summary

CHEAP = 2.0  # seconds that a run may take where turns are refined
FORMS = {"png": "curve", "svg": "curve", "mp4": "film", "gif": "film"}


def wire(
    workspace: gr.HTML, runner: Runner, shelf: Shelf, known: Mapping[tuple[str, str], Known]
) -> None:
    """Connect the workspace's events ``scrub``, ``stop_scrub`` and ``scrub_file``.

    ``known`` is what is known of questions, as ``known_questions`` gives it.
    """
    run_events.wire(
        workspace, "scrub", runner, ("key", "over"), partial(scrub, runner, shelf, known)
    )
    files = partial(file_of, shelf)
    slot = {"concurrency_id": "exports"}  # needs no model
    run_events.wire(workspace, "scrub_file", runner, ("key", "over", "form"), files, slot)


def scrub(
    runner: Runner,
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    owner: str,
    sent: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Run the stops of a sweep one after the other.

    Parameters
    ----------
    owner : str
        Who may stop it.
    sent : mapping
        From a browser, so it may hold anything: ``key`` of the trace on the shelf, ``over``.

    Yields
    ------
    dict
        News: "stage", "fraction" and "elapsed" during a run; after each run "sweep", the summary,
        and "file", the address of its stops; in the end "done".

    Raises
    ------
    InputError
        One sentence, for whatever cannot be run.
    """
    asked = read(shelf, sent)
    plan = plan_of(asked, about(asked.origin, known))
    elapsed = 0.0
    if plan.sweep is not None:
        yield _told(asked, plan, elapsed, whole=True)
    video = video_of(asked.origin)
    while (task := plan.next()) is not None:
        before = elapsed
        for step in run_stop(runner, owner, asked, video, task):
            if isinstance(step, Step):
                elapsed = before + step.elapsed
                yield _progress(plan, task, step, elapsed)
            elif isinstance(step, InputError):
                plan.refuse(task, step)
            else:
                _take(asked, plan, task, step.trace)
                slow = len(plan.sweep.stops) > 1 and elapsed - before > CHEAP  # the first may load
                plan.halvings = 0 if slow else plan.halvings
                yield _told(asked, plan, elapsed)
    yield _told(asked, plan, elapsed, whole=True) | {"done": True}


def file_of(shelf: Shelf, owner: str, sent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Draw the sweep of a trace as a figure or a film; yield {"file": address, "done": True}.

    Raises ``InputError`` where there is no such sweep or form.
    """
    home = shelf.found(sent.get("key"))
    over, form = sent.get("over"), sent.get("form")
    if over not in AXES or form not in FORMS:
        raise InputError(f"a scrub is saved as one of {', '.join(FORMS)}")
    record = record_of(home, over)
    if not record.is_file():
        raise InputError("this scrub is no longer on the server; press the button again")
    path = home.with_name(f"{FORMS[form]}-{over}.{form}")
    if not path.is_file() or path.stat().st_mtime < record.stat().st_mtime:
        from viz.pictures import curve, sweep_film  # matplotlib and OpenCV: not before

        sweep = Sweep.load(record)
        if FORMS[form] == "curve":
            picture = curve.render(sweep)
            with written_whole(path) as partial:
                partial.write_bytes(picture.png if form == "png" else picture.svg)
        else:
            for share in sweep_film.steps(sweep, Trace.load(home), path):
                yield {"stage": f"Drawing {path.name}", "fraction": share}
    yield {"file": served(path), "name": path.name, "done": True}


def _take(asked: Asked, plan: Any, task: Any, trace: Trace) -> None:
    """Hand a run to the plan and keep what is known."""
    if trace.model != asked.trace.model or trace.grid != asked.trace.grid:
        raise InputError(
            f"the trace was made by the model {asked.trace.model!r}, but this page runs "
            f"{trace.model!r}; press Run and scrub the trace of that run"
        )
    plan.take(task, trace).save(asked.record)


def _progress(plan: Any, task: Any, step: Step, elapsed: float) -> dict[str, Any]:
    news = run_events.progress(step)
    waiting = len(plan.sweep.waiting) if plan.sweep else 0
    planned = len(plan.sweep.planned) if plan.sweep else 0
    where = f"Stop {planned - waiting + 1} of {planned}" if waiting else "Probabilities"
    where = where if planned else "First stop"
    each = step.fraction / planned if waiting else 0.0
    return {
        "stage": f"{where}, {value_words(plan.over, task.value)}: {news['stage']}",
        "fraction": min(1.0, plan.share + each),
        "elapsed": round(elapsed, 1),
    }


def _told(asked: Asked, plan: Any, elapsed: float, *, whole: bool = False) -> dict[str, Any]:
    """Return the news of what is known; the file holds the last stop, or ``whole`` all of them."""
    sweep = plan.sweep
    if sweep is None:
        return {"elapsed": round(elapsed, 1)}
    latest = sweep.latest
    if whole or latest is None:
        path, data = asked.packed, pack_sweep(sweep)
    else:
        path = asked.home.with_name(f"scrub-{asked.over}-{latest.value:g}.bin")
        data = pack_sweep(sweep, [latest])
    with written_whole(path) as partial:
        partial.write_bytes(data)
    return {"sweep": summary(sweep), "file": served(path), "elapsed": round(elapsed, 1)}
