"""What happens on a click: every function gets what it needs and returns what is shown.

Nothing of a visitor is kept here, and every event on the model shares one place in the queue.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import gradio as gr

from stc_core import InputError, Trace
from viz.examples import Example, Known
from viz.page import cards, live
from viz.page.guard import guarded, name_of
from viz.page.inspect_tab import ORDER, WORKSPACE, Controls, Views
from viz.page.share import wanted
from viz.server.job import job_of, origin_of
from viz.server.origin import Origin, about, recall, shelve
from viz.server.quota import PAGE
from viz.server.runner import Runner, Step, Stopped, failure, sentence
from viz.server.shelf import Shelf
from viz.server.turns import MODEL

# Gradio's tiles are pictures without a name for those who do not see them.
NAME_TILES = """() => %s.forEach((name, place) => {
  document.querySelectorAll('#examples .gallery-item')[place]?.setAttribute('aria-label', name);
})"""


def wire(
    demo: gr.Blocks, runner: Runner, shelf: Shelf, examples: list[Example], saved: list[Path],
    origins: dict[str, tuple[Path, dict | None]], known: dict[tuple[str, str], Known],
    own: dict[str, float], controls: Controls, views: Views,
) -> Callable[..., list]:  # fmt: skip
    """Connect the page's parts; returns what gives the values of ``views.all`` for a trace.

    ``saved`` are the traces of the project, the first opens; ``origins`` name the clip and the
    method of each, ``known`` is what is known of questions about the examples, ``own`` what the
    checkpoint records as its settings.
    """
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    keep = [gr.skip() for _ in views.all]
    idle = [gr.update(interactive=True), gr.update(interactive=False)]
    busy = [gr.update(interactive=False), gr.update(interactive=True)]
    late = [gr.update(interactive=False), gr.update(interactive=False)]

    def show(
        trace: Trace, origin: Origin | None = None, source: Path | None = None, *,
        ran: bool = False, follows: bool = False, visitor: str = PAGE,
    ) -> list:  # fmt: skip
        """Values of ``views.all``; the figures fold up, since they show another trace.

        ``ran``: a run on this page made it; ``follows``: it follows settings, so that the
        workspace stays where it is, and the trace's file comes later; ``visitor``: whose it is.
        """
        home, urls = shelve(shelf, trace, origin, known, source, later=follows, visitor=visitor)
        return [
            cards.answers(trace, about(origin, known) if origin else None),
            urls | {"ran": ran, "live": follows},
            cards.costs(trace), cards.notes(trace), cards.run_line(trace), gr.update(open=False),
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

    def load(path: Path, visitor: str = PAGE) -> list:
        """Values of ``views.all`` for a trace file: a saved one, one of the shelf, an upload."""
        trace = Trace.load(path)
        clip, spec = origins.get(path.name, (None, None)) if path in saved else (None, None)
        if clip is not None:
            origin = Origin(str(clip), trace.question, trace.grid.frames, spec)
        else:
            origin = recall(shelf.folder, path.parent.name)
        return show(trace, origin, path, visitor=visitor)

    def follow(request: gr.Request, event: gr.EventData) -> list:
        """The workspace went to another trace of the shelf by itself: the cards go with it."""
        home = shelf.find(getattr(event, "key", None))
        values = [*keep] if home is None else load(home, name_of(request))
        values[WORKSPACE] = gr.skip()
        return values

    def opened(path: Path, visitor: str = PAGE) -> list:
        try:
            return [cards.status(f"Shows the trace {path.name}.", "done"), *load(path, visitor)]
        except Exception as error:
            return [cards.status(str(failure(error)), "error"), *keep]

    def open_saved(request: gr.Request, name: str) -> list:
        live.stop(runner, request)
        chosen = next((path for path in saved if path.name == name), None)
        return opened(chosen) if chosen is not None else [gr.skip(), *keep]

    def open_upload(request: gr.Request, path: str | None) -> list:
        live.stop(runner, request)
        return opened(Path(path), name_of(request)) if path else [gr.skip(), *keep]

    def start(request: gr.Request) -> list:
        asked_for = wanted(request.query_params, shelf, saved)
        if asked_for.path is None:
            return [gr.skip(), *keep]
        note = cards.status(asked_for.note, "error") if asked_for.note else gr.skip()
        first = load(asked_for.path, PAGE if asked_for.path in saved else name_of(request))
        if not asked_for.asked:
            first[WORKSPACE]["other"] = True
        return [note, *first]

    def owner(request: gr.Request, ticket: str) -> str:
        """One run of one visitor: a Cancel must leave the one after it alone."""
        return f"{name_of(request)} {ticket}"

    def press() -> list:
        return [cards.status("Waiting for the model …", "busy", 0.0), *busy, uuid.uuid4().hex]

    def run(request: gr.Request, ticket: str, video, question, *numbers) -> Iterator[list]:
        try:
            job = job_of(video, question, *numbers)
            if not Path(job["video"]).is_file():
                raise InputError("the clip is no longer here; choose or upload it again")
        except InputError as error:
            yield [cards.status(sentence(error), "error"), *idle, *keep]
            return
        elapsed = 0.0
        live.stop(runner, request)
        try:
            for news in runner.run(owner(request, ticket), **job):
                if isinstance(news, Step):
                    words = cards.progress(news.stage, news.fraction, news.elapsed)
                    yield [words, *busy, *keep]
                    elapsed = news.elapsed
                    continue
                yield [cards.progress("drawing", 1.0, elapsed), *late, *keep]
                words = cards.status(f"Answered in {elapsed:.1f} s.", "done")
                origin = origin_of(job)
                yield [words, *idle, *show(news.trace, origin, ran=True, visitor=name_of(request))]
        except Stopped:
            return  # ``cancelled`` has the word, and another run may have begun
        except Exception as error:
            yield [cards.status(str(failure(error)), "error"), *idle, *keep]

    def cancel(request: gr.Request, ticket: str) -> None:
        runner.stop(owner(request, ticket))

    def cancelled() -> list:
        return [cards.status("Cancelled; nothing was changed.", "quiet"), *idle]

    def choose(clip: gr.SelectData) -> list:
        example = examples[clip.index]
        questions = [[known.text] for known in example.questions]
        return [
            str(example.clip), questions[0][0],
            gr.Dataset(samples=questions, visible=True),
        ]  # fmt: skip

    live.wire(controls, views, runner, shelf, partial(show, ran=True, follows=True))
    shown = [controls.status, *views.all]
    opening = demo.load(guarded(start), None, shown, queue=False, **quiet)  # the queue costs 0.3 s
    opening.then(runner.start, None, None, **quiet)  # importing torch would hold up the opening
    buttons = [controls.run, controls.cancel]
    pressed = controls.run.click(
        press, None, [controls.status, *buttons, controls.ticket], queue=False, **quiet
    )
    pressed.then(
        run, [controls.ticket, controls.video, controls.question, *controls.settings.values()],
        [controls.status, *buttons, *views.all],
        **MODEL, **quiet,
    )  # fmt: skip
    # Not with ``cancels``, which ends whatever the session has of an event. The words come in a
    # second step, behind whatever the run still had on its way to the browser.
    stopping = controls.cancel.click(cancel, controls.ticket, None, queue=False, **quiet)
    stopping.then(cancelled, None, [controls.status, *buttons], queue=False, **quiet)
    if controls.saved is not None:
        controls.saved.input(open_saved, controls.saved, shown, concurrency_id="pictures", **quiet)
    controls.upload.upload(open_upload, controls.upload, shown, concurrency_id="pictures", **quiet)
    views.figures.fold.expand(
        guarded(draw), views.workspace, views.figures.all, concurrency_id="pictures", **quiet
    )
    views.workspace.shown(
        guarded(follow), None, views.all, trigger_mode="always_last", concurrency_id="pictures",
        **quiet,
    )  # fmt: skip
    if controls.clips is not None:
        controls.clips.select(
            guarded(choose), None, [controls.video, controls.question, controls.suggestions],
            **quiet,
        )  # fmt: skip
        names = json.dumps([f"Example clip {example.clip.stem}" for example in examples])
        demo.load(None, None, None, js=NAME_TILES % names, **quiet)
    if own:
        controls.own.click(
            lambda: [*own.values(), gr.update(open=True)], None,
            [*(controls.settings[name] for name in own), controls.more], **quiet,
        )  # fmt: skip
    controls.suggestions.click(
        lambda chosen: chosen[0], controls.suggestions, controls.question, **quiet
    )
    # In the browser alone: as the value that a function returns, Gradio would convert the file.
    controls.video_file.upload(
        None, controls.video_file, controls.video, js="(file) => file", **quiet
    )
    controls.video_file.upload(
        lambda: gr.Dataset(visible=False), None, controls.suggestions, **quiet
    )
    return show
