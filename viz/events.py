"""What happens on a click: every function gets what it needs and returns what is shown.

Nothing of a visitor is kept here, and every event on the model shares one place in the queue.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from stc_core import InputError, Trace

from . import cards
from .examples import Example, Known, asked, known_questions
from .job import job_of
from .parts import ORDER, Controls, Views
from .runs import Runner, Step, Stopped, failure, sentence
from .shelf import Shelf


def wire(
    demo: gr.Blocks, runner: Runner, shelf: Shelf, examples: list[Example], saved: list[Path],
    origins: dict[str, Path], controls: Controls, views: Views,
) -> None:  # fmt: skip
    """Connect the page's parts.

    ``saved`` are the traces of the project, the first opens; ``origins`` name the clip of each.
    """
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    known = known_questions(examples)
    keep = [gr.skip() for _ in views.first], [gr.skip() for _ in views.later]
    idle = [gr.update(interactive=True), gr.update(interactive=False)]
    busy = [gr.update(interactive=False), gr.update(interactive=True)]

    def show(trace: Trace, about: Known | None = None) -> Iterator[tuple[list, list]]:
        """The pictures first, what can be downloaded a moment later."""
        home = shelf.put(trace)
        first = [
            cards.answers(trace, about), cards.run_line(trace), cards.notes(trace),
            gr.update(value=str(home), interactive=True),
        ]  # fmt: skip
        for name in ORDER:
            path, words = shelf.shown(trace, home, name)
            first.append(gr.update(value=path, alt_text=words))
        yield first, [gr.update(interactive=False) for _ in views.later]
        files = itertools.chain.from_iterable(
            shelf.downloads(trace, home, name) for name in ORDER
        )
        yield keep[0], [gr.update(value=path, interactive=True) for path in files]

    def load(path: Path) -> tuple[Trace, Known | None]:
        trace, clip = Trace.load(path), origins.get(path.name) if path in saved else None
        return trace, known.get(asked(clip, trace.question)) if clip else None

    def opened(path: Path) -> Iterator[list]:
        words = cards.status(f"Shows the trace {path.name}.", "done")
        try:
            for first, later in show(*load(path)):
                yield [words, *first, *later]
        except Exception as error:
            yield [cards.status(str(failure(error)), "error"), *keep[0], *keep[1]]

    def open_saved(name: str) -> Iterator[list]:
        chosen = next((path for path in saved if path.name == name), None)
        if chosen is not None:
            yield from opened(chosen)

    def open_upload(path: str | None) -> Iterator[list]:
        if path:
            yield from opened(Path(path))

    def start() -> Iterator[list]:
        if saved:
            for first, later in show(*load(saved[0])):
                yield [*first, *later]
        runner.start()  # not before: importing torch would hold up the first picture

    def run(request: gr.Request, video, question, *numbers) -> Iterator[list]:
        try:
            job = job_of(video, question, *numbers)
        except InputError as error:
            yield [cards.status(sentence(error), "error"), *idle, *keep[0], *keep[1]]
            return
        elapsed = 0.0
        try:
            for news in runner.run(request.session_hash or "", **job):
                if isinstance(news, Step):
                    words = cards.progress(news.stage, news.fraction, news.elapsed)
                    yield [words, *busy, *keep[0], *keep[1]]
                    elapsed = news.elapsed
                    continue
                yield [cards.progress("drawing", 1.0, elapsed), *busy, *keep[0], *keep[1]]
                words = cards.status(f"Answered in {elapsed:.1f} s.", "done")
                for first, later in show(news.trace, known.get(asked(video, question))):
                    yield [words, *idle, *first, *later]
        except Stopped:
            words = cards.status("Cancelled; nothing was changed.", "quiet")
            yield [words, *idle, *keep[0], *keep[1]]
        except Exception as error:
            yield [cards.status(str(failure(error)), "error"), *idle, *keep[0], *keep[1]]

    def cancel(request: gr.Request) -> None:
        runner.stop(request.session_hash or "")

    def cancelled() -> list:
        return [cards.status("Cancelled; nothing was changed.", "quiet"), *idle]

    def choose(clip: gr.SelectData) -> list:
        example = examples[clip.index]
        questions = [[known.text] for known in example.questions]
        return [
            str(example.clip), questions[0][0],
            gr.Dataset(samples=questions, visible=True),
        ]  # fmt: skip

    demo.load(start, None, [*views.first, *views.later], concurrency_id="pictures", **quiet)
    buttons = [controls.run, controls.cancel]
    pressed = controls.run.click(
        lambda: [cards.status("Waiting for the model …", "busy", 0.0), *busy], None,
        [controls.status, *buttons], queue=False, **quiet,
    )  # fmt: skip
    running = pressed.then(
        run, [controls.video, controls.question, *controls.settings],
        [controls.status, *buttons, *views.first, *views.later],
        concurrency_id="model", concurrency_limit=1, **quiet,
    )  # fmt: skip
    # ``cancels`` takes a waiting run out of the queue. The words come in a second step, behind
    # whatever a running one still had on its way to the browser.
    stopping = controls.cancel.click(cancel, None, None, cancels=[running], queue=False, **quiet)
    stopping.then(cancelled, None, [controls.status, *buttons], queue=False, **quiet)
    shown = [controls.status, *views.first, *views.later]
    if controls.saved is not None:
        controls.saved.input(open_saved, controls.saved, shown, concurrency_id="pictures", **quiet)
    controls.upload.upload(open_upload, controls.upload, shown, concurrency_id="pictures", **quiet)
    if controls.clips is not None:
        controls.clips.select(
            choose, None, [controls.video, controls.question, controls.suggestions], **quiet
        )
    controls.suggestions.click(
        lambda chosen: chosen[0], controls.suggestions, controls.question, **quiet
    )
    controls.video.upload(lambda: gr.Dataset(visible=False), None, controls.suggestions, **quiet)
