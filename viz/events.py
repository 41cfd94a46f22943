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
from .examples import Example, Known, asked
from .job import job_of
from .parts import ORDER, Controls, Views
from .rerun import Origin, recall, remember
from .runs import Runner, Step, Stopped, failure, sentence
from .share import wanted
from .shelf import Shelf

WORKSPACE = 1  # its place among what ``show`` returns


def wire(
    demo: gr.Blocks, runner: Runner, shelf: Shelf, examples: list[Example], saved: list[Path],
    origins: dict[str, tuple[Path, dict | None]], known: dict[tuple[str, str], Known],
    controls: Controls, views: Views,
) -> None:  # fmt: skip
    """Connect the page's parts.

    ``saved`` are the traces of the project, the first opens; ``origins`` name the clip and the
    method of each, ``known`` is what is known of questions about the examples.
    """
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    keep = [gr.skip() for _ in views.all]
    idle = [gr.update(interactive=True), gr.update(interactive=False)]
    busy = [gr.update(interactive=False), gr.update(interactive=True)]

    def show(trace: Trace, origin: Origin | None = None, source: Path | None = None) -> list:
        """Values of ``views.all``; the figures fold up, since they show another trace."""
        home = shelf.put(trace, source)
        about = clip = None
        if origin is not None:
            remember(home, origin)
            about, clip = known.get(asked(origin.video, origin.question)), Path(origin.video)
        return [
            cards.answers(trace, about), shelf.addresses(trace, home, about, clip),
            cards.costs(trace), cards.notes(trace), cards.run_line(trace),
            gr.update(value=str(home), interactive=True), gr.update(open=False),
        ]  # fmt: skip

    def draw(shown: dict | None) -> Iterator[list]:
        """The figures of the trace that the workspace shows; what can be downloaded comes after."""
        home = shelf.find((shown or {}).get("key"))
        if home is None:
            yield [gr.skip() for _ in views.figures.all]
            return
        trace = Trace.load(home)
        pictures = []
        for name in ORDER:
            path, words = shelf.shown(trace, home, name)
            pictures.append(gr.update(value=path, alt_text=words))
        yield [*pictures, *(gr.update(interactive=False) for _ in range(2 * len(ORDER)))]
        files = itertools.chain.from_iterable(shelf.downloads(trace, home, name) for name in ORDER)
        yield [
            *(gr.skip() for _ in ORDER),
            *(gr.update(value=path, interactive=True) for path in files),
        ]

    def load(path: Path) -> list:
        """Values of ``views.all`` for a trace file: a saved one, one of the shelf, an upload."""
        trace = Trace.load(path)
        clip, spec = origins.get(path.name, (None, None)) if path in saved else (None, None)
        if clip is not None:
            origin = Origin(str(clip), trace.question, trace.grid.frames, spec)
        else:
            origin = recall(shelf.folder, path.parent.name)
        return show(trace, origin, path)

    def opened(path: Path) -> list:
        try:
            return [cards.status(f"Shows the trace {path.name}.", "done"), *load(path)]
        except Exception as error:
            return [cards.status(str(failure(error)), "error"), *keep]

    def open_saved(name: str) -> list:
        chosen = next((path for path in saved if path.name == name), None)
        return opened(chosen) if chosen is not None else [gr.skip(), *keep]

    def open_upload(path: str | None) -> list:
        return opened(Path(path)) if path else [gr.skip(), *keep]

    def start(request: gr.Request) -> list:
        asked_for = wanted(request.query_params, shelf, saved)
        if asked_for.path is None:
            return [gr.skip(), *keep]
        note = cards.status(asked_for.note, "error") if asked_for.note else gr.skip()
        first = load(asked_for.path)
        if not asked_for.asked:
            first[WORKSPACE]["other"] = True
        return [note, *first]

    def run(request: gr.Request, video, question, *numbers) -> Iterator[list]:
        try:
            job = job_of(video, question, *numbers)
        except InputError as error:
            yield [cards.status(sentence(error), "error"), *idle, *keep]
            return
        elapsed = 0.0
        try:
            for news in runner.run(request.session_hash or "", **job):
                if isinstance(news, Step):
                    words = cards.progress(news.stage, news.fraction, news.elapsed)
                    yield [words, *busy, *keep]
                    elapsed = news.elapsed
                    continue
                yield [cards.progress("drawing", 1.0, elapsed), *busy, *keep]
                words = cards.status(f"Answered in {elapsed:.1f} s.", "done")
                origin = Origin(job["video"], job["question"], job["frames"], job["method"])
                yield [words, *idle, *show(news.trace, origin)]
        except Stopped:
            words = cards.status("Cancelled; nothing was changed.", "quiet")
            yield [words, *idle, *keep]
        except Exception as error:
            yield [cards.status(str(failure(error)), "error"), *idle, *keep]

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

    shown = [controls.status, *views.all]
    opening = demo.load(start, None, shown, queue=False, **quiet)  # the queue costs 0.3 s
    opening.then(runner.start, None, None, **quiet)  # importing torch would hold up the opening
    buttons = [controls.run, controls.cancel]
    pressed = controls.run.click(
        lambda: [cards.status("Waiting for the model …", "busy", 0.0), *busy], None,
        [controls.status, *buttons], queue=False, **quiet,
    )  # fmt: skip
    running = pressed.then(
        run, [controls.video, controls.question, *controls.settings],
        [controls.status, *buttons, *views.all],
        concurrency_id="model", concurrency_limit=1, **quiet,
    )  # fmt: skip
    # ``cancels`` takes a waiting run out of the queue. The words come in a second step, behind
    # whatever a running one still had on its way to the browser.
    stopping = controls.cancel.click(cancel, None, None, cancels=[running], queue=False, **quiet)
    stopping.then(cancelled, None, [controls.status, *buttons], queue=False, **quiet)
    if controls.saved is not None:
        controls.saved.input(open_saved, controls.saved, shown, concurrency_id="pictures", **quiet)
    controls.upload.upload(open_upload, controls.upload, shown, concurrency_id="pictures", **quiet)
    views.figures.fold.expand(
        draw, views.workspace, views.figures.all, concurrency_id="pictures", **quiet
    )
    if controls.clips is not None:
        controls.clips.select(
            choose, None, [controls.video, controls.question, controls.suggestions], **quiet
        )
    controls.suggestions.click(
        lambda chosen: chosen[0], controls.suggestions, controls.question, **quiet
    )
    controls.video.upload(lambda: gr.Dataset(visible=False), None, controls.suggestions, **quiet)
