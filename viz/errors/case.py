"""Run a row of the error table again and open it in the workspace."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import gradio as gr

from stc_core.errors import InputError
from stc_core.method_text import MethodText, read_method
from viz.errors.errors_tab import News, OpenCase
from viz.errors.store import ErrorCase
from viz.page import cards
from viz.page.shown import Showing, Values
from viz.server.origin import Origin
from viz.server.rerun import rerun
from viz.server.runner import Runner, Step


def opener(
    runner: Runner,
    showing: Showing,
    tabs: gr.Tabs,
    left: Callable[..., Values] | None = None,
) -> OpenCase:
    """Return what ``errors_tab`` calls: it yields the status line and, last, the views and the tab.

    ``left(origin, words, visitor=...)`` gives the values of what stands beside the views: the clip,
    its question and settings, and a line that names the case.
    """

    def open_case(case: ErrorCase, methods: tuple[str, ...], visitor: str) -> Iterator[News]:
        asked = [read_method(method) for method in methods if method != "none"]
        if not asked:
            raise InputError("only the uncompressed model was asked here; choose a method as well")
        yield cards.status("Rendering the clip …", "busy", 0.0), {}
        found: list[Values] = []
        runner.stop_all(f"{visitor} case ")  # the case chosen before
        for number, method in enumerate(asked):
            origin = replace(origin_of_case(case), method=str(method))
            owner = f"{visitor} case {uuid.uuid4().hex}"
            for news in rerun(runner, owner, origin, str(method), baseline=not number):
                if isinstance(news, Step):
                    share = (number + news.fraction) / len(asked)
                    yield cards.progress(news.stage, share, news.elapsed), {}
                else:
                    found.append(showing.trace(news.trace, origin, visitor=visitor))
        done = cards.status(f"Case {case.id} is open on the page Inspect.", "done")
        values = _beside(found, asked, showing) | {tabs: gr.update(selected="inspect")}
        if left is not None:
            origin = replace(origin_of_case(case), method=str(asked[0]))
            values |= left(origin, _words(case, asked), visitor=visitor)
        yield done, values

    return open_case


def _beside(found: list[Values], asked: list[MethodText], showing: Showing) -> Values:
    """Return the first run in the views, the others beside it in the workspace."""
    values, *others = found
    workspace = showing.views.workspace
    values[workspace]["ran"] = True  # the settings are followed from here
    values[workspace]["others"] = [
        other[workspace] | {"spec": method.short}
        for other, method in zip(others, asked[1:], strict=True)
    ]
    return values


def _words(case: ErrorCase, asked: list[MethodText]) -> str:
    names = " and ".join(f"{one.title} at {100 * one.retention:g} %" for one in asked)
    return f"Case {case.id} of the error table: {names}."


def origin_of_case(case: ErrorCase) -> Origin:
    """Return the origin of a case of the world of shapes; ``InputError`` for any other case."""
    if case.source != "shapes" or not case.clip.isdecimal():
        raise InputError(
            "this row is about a video of a folder; choose that file on the page Inspect and ask "
            "its question there"
        )
    return Origin(f"shapes {int(case.clip)}", case.question, case.frames)
