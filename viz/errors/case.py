"""A row of the error table, run again and opened in the workspace."""

from __future__ import annotations

import ast
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import gradio as gr

from stc_core.errors import InputError
from viz.errors.store import ErrorCase
from viz.errors.tab import OpenCase
from viz.page import cards
from viz.page.inspect_tab import VALUES, WORKSPACE
from viz.server.origin import NAMES, Origin, method_spec, rerun, to_text
from viz.server.runner import Runner, Step


def opener(runner: Runner, show: Callable[..., list]) -> OpenCase:
    """What ``errors_tab`` calls: it yields the status line, what ``show`` gives, and the tab.

    ``show(trace, origin, visitor=...)`` gives the values of ``Views.all``.
    """

    def open_case(case: ErrorCase, methods: tuple[str, ...], visitor: str) -> Iterator[list]:
        specs = [spec_of(method) for method in methods if method != "none"]
        if not specs:
            raise InputError("only the uncompressed model was asked here; choose a method as well")
        stay = [gr.skip()] * (VALUES + 1)
        yield [cards.status("Rendering the clip …", "busy", 0.0), *stay]
        found = []
        for number, spec in enumerate(specs):
            origin = replace(origin_of_case(case), spec=spec)
            owner = f"{visitor} case {uuid.uuid4().hex}"
            for news in rerun(runner, owner, origin, spec, baseline=not number):
                if isinstance(news, Step):
                    share = (number + news.fraction) / len(specs)
                    yield [cards.progress(news.stage, share, news.elapsed), *stay]
                else:
                    found.append(show(news.trace, origin, visitor=visitor))
        values, *others = found
        values[WORKSPACE]["others"] = [
            other[WORKSPACE] | {"spec": to_text(spec)}
            for other, spec in zip(others, specs[1:], strict=True)
        ]
        done = cards.status(f"Case {case.id} is open on the page Inspect.", "done")
        yield [done, *values, gr.update(selected="inspect")]

    return open_case


def origin_of_case(case: ErrorCase) -> Origin:
    """Of a case of the world of shapes. ``InputError`` for any other."""
    if case.source != "shapes" or not case.clip.isdecimal():
        raise InputError(
            "this row is about a video of a folder; choose that file on the page Inspect and ask "
            "its question there"
        )
    return Origin(f"shapes {int(case.clip)}", case.question, case.frames)


def spec_of(method: str) -> dict:
    """The plain data of a method from its ``repr``; ``InputError`` for anything else."""
    try:
        call = ast.parse(method, mode="eval").body
        options = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        name = call.func.id.lower()
        if call.args or name not in NAMES:
            raise ValueError(name)
        return method_spec(name, options.pop("retention"), **options)
    except InputError:
        raise
    except (
        SyntaxError, ValueError, KeyError, AttributeError, TypeError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise InputError(
            f"the table names no method that is known here: {method[:60]!r}"
        ) from error
