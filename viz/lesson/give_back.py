"""Ask the failure of the lesson again: with the tokens of its evidence, or with random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from stc_core.errors import InputError
from stc_core.text import said_the_same
from viz.examples import Known
from viz.lesson.lesson_tab import Give, LessonCase
from viz.page import run_events
from viz.page.what_if import ask_again
from viz.server.origin import Origin, remember
from viz.server.runner import Runner, Step
from viz.server.shelf import Shelf

SEED = 5  # of the random tokens: the lesson says the same to everybody


def connector(
    runner: Runner,
    shelf: Shelf,
    known: Mapping[tuple[str, str], Known],
    origins: Mapping[str, tuple[Path, str | None]],
) -> Give:
    """Return what connects the lesson's event ``give_back``; its news are ``tokens-give_back``.

    The news are "stage", "fraction" and "elapsed", and in the end "done": "answer", "right", how
    many tokens were given back and entered ("tokens", "entered"), and "urls" for the workspace.

    Parameters
    ----------
    runner, shelf, known
        As for ``viz.page.what_if``.
    origins : mapping
        What the saved traces were made of, as ``read_origins`` gives it.
    """

    def connect(page: gr.HTML, failure: Callable[[], LessonCase | None]) -> None:
        def work(owner: str, sent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
            case = failure()
            if case is None or case.known is None or case.path.name not in origins:
                raise InputError("the lesson has no failure that can be asked again")
            tokens = chosen(case, sent.get("random") is True)
            home = shelf.put(case.trace, case.path)
            clip, method = origins[case.path.name]
            frames = case.trace.grid.frames
            remember(home, Origin(str(clip), case.trace.question, frames, method))
            asked = {"key": home.parent.name, "remove": [], "add": tokens, "only": None}
            for step in ask_again(runner, shelf, known, owner, asked):
                if isinstance(step, Step):
                    yield run_events.progress(step)
                    continue
                yield {
                    "done": {
                        "answer": step["answer"],
                        "right": said_the_same(step["answer"], case.known.answer),
                        "tokens": len(tokens),
                        "entered": case.trace.alive()[1] + len(tokens),
                        "urls": step["urls"],
                    }
                }

        run_events.wire(page, "give_back", runner, ("random",), work)

    return connect


def chosen(case: LessonCase, at_random: bool) -> list[int]:
    """Return the lost tokens that show the answer; or as many lost ones that do not, by chance."""
    trace = case.trace
    evidence = case.known.tokens(trace.grid) if case.known else None
    if evidence is None:
        raise InputError("the evidence of this question is not known")
    survivors = trace.stages[0].survivors
    lost = np.setdiff1d(evidence, survivors)
    if at_random:
        others = np.setdiff1d(np.arange(trace.grid.size), np.union1d(survivors, evidence))
        lost = np.sort(np.random.default_rng(SEED).choice(others, len(lost), replace=False))
    return [int(token) for token in lost]
