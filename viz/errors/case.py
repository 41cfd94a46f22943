"""A row of the error table, run again and opened in the workspace."""

from __future__ import annotations

import ast
import uuid
from collections.abc import Iterator

import gradio as gr

from stc_core.errors import InputError

from .. import cards
from ..examples import Known
from ..rerun import NAMES, method_spec, to_text
from ..runs import Runner, Step
from ..shelf import Shelf
from .store import ErrorCase
from .tab import OpenCase


def opener(runner: Runner, shelf: Shelf) -> OpenCase:
    """What ``errors_tab`` calls: it yields [status, answers, workspace, tabs]."""

    def open_case(case: ErrorCase, methods: tuple[str, ...]) -> Iterator[list]:
        specs = [spec_of(method) for method in methods if method != "none"]
        if not specs:
            raise InputError("only the uncompressed model was asked here; choose a method as well")
        yield [cards.status("Rendering the clip …", "busy", 0.0), *_stay()]
        video, about = clip_of(case)
        found = []
        for number, spec in enumerate(specs):
            run = runner.run(
                uuid.uuid4().hex, video=video, question=case.question, method=spec,
                frames=case.frames, baseline=not number, record=True,
            )  # fmt: skip
            for news in run:
                if isinstance(news, Step):
                    share = (number + news.fraction) / len(specs)
                    words = cards.progress(news.stage, share, news.elapsed)
                    yield [words, *_stay()]
                    continue
                trace = news.trace
                home = shelf.put(trace)
                found.append((trace, shelf.addresses(trace, home, about)))
        (shown, urls), *others = found
        urls["others"] = [
            address | {"spec": to_text(spec)}
            for (_, address), spec in zip(others, specs[1:], strict=True)
        ]
        done = cards.status(f"Case {case.id} is open on the page Inspect.", "done")
        yield [done, cards.answers(shown, about), urls, gr.update(selected="inspect")]

    return open_case


def clip_of(case: ErrorCase):
    """(Video, Known) of a case of the world of shapes. ``InputError`` for any other."""
    if case.source != "shapes" or not case.clip.isdecimal():
        raise InputError(
            "this row is about a video of a folder; choose that file on the page Inspect and ask "
            "its question there"
        )
    from stc_core.shapes import make_clip  # torch
    from stc_core.shapes.clip import FRAMES_PER_SECOND
    from stc_core.video import Video

    clip = make_clip(int(case.clip), case.frames)
    count, height, width = clip.frames.shape[:3]
    video = Video(
        clip.frames, clip.seconds, f"clip {case.clip}", count / FRAMES_PER_SECOND, count,
        FRAMES_PER_SECOND, (height, width), None,
    )  # fmt: skip
    asked = (q.evidence for q in clip.questions if q.text == case.question)
    evidence = next(asked, None)
    if evidence is None:
        return video, Known(case.question, case.expected)
    return video, Known(case.question, case.expected, count, evidence)


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
    except (SyntaxError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"the table names no method that is known here: {method[:60]!r}"
        ) from error


def _stay() -> list:
    return [gr.skip()] * 3
