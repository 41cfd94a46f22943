"""Build the page as a whole: its tabs, and what connects them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gradio as gr

from stc_core import Trace
from stc_core.answering.teaching import REAL_MODEL, TEACHING
from viz.errors.case import opener
from viz.errors.errors_tab import errors_tab
from viz.examples import Known, asked, known_questions, read_examples, read_origins
from viz.lesson.definitions import definitions
from viz.lesson.give_back import connector
from viz.lesson.lesson_tab import lesson_tab
from viz.lesson.tour import tour
from viz.page import api, cards, compare, one_case, projections, scrub, share, turns, what_if, why
from viz.page.changes import changes
from viz.page.fold import fold
from viz.page.guard import QUIET
from viz.page.inspect_events import wire
from viz.page.inspect_tab import Views, ask_side, html, see_side
from viz.page.model_menu import EMBEDDED, Models, menu
from viz.page.model_menu import wire as wire_models
from viz.page.shown import Showing
from viz.server.job import recorded
from viz.server.origin import about, recall
from viz.server.runner import Runner
from viz.server.shelf import Shelf

TITLE = "Where do the video tokens go?"
LEAD = (
    "A few per cent of a clip's thousands of tokens can carry the answer. "
    "See which are kept, merged or dropped, and why the answer is what it is."
)
HOW_TO_CHANGE = f"{TEACHING}; start the page with --model {REAL_MODEL}"


def build(
    runner: Runner,
    shelf: Shelf,
    assets: Path,
    checkpoint: Path | None = None,
    models: Models | None = None,
) -> gr.Blocks:
    """Lay out the page and wire it.

    Parameters
    ----------
    runner : Runner
    shelf : Shelf
        Its folder must lie in Gradio's temporary directory.
    assets : Path
        With example ``clips``, saved ``traces`` and a benchmark's ``results``.
    checkpoint : Path, optional
        Of the model; its folder, or whatever the hub calls it. Default: the embedded one.
    models : Models, optional
        Those that visitors may choose; default: no menu.
    """
    own = recorded(checkpoint or assets / "model")
    whose = checkpoint.name if checkpoint else "the built-in model"
    clips, traces = assets / "clips", assets / "traces"
    examples, saved = read_examples(clips), sorted(traces.glob("*.npz"))
    known, origins = known_questions(examples), read_origins(traces, clips)

    def of_saved(path: Path, trace: Trace) -> Known | None:
        clip, _ = origins.get(path.name, (None, None))
        return known.get(asked(clip, trace.question)) if clip else None

    def of_shelf(key: str, trace: Trace) -> Known | None:
        origin = recall(shelf.folder, key)
        return about(origin, known) if origin else None

    gr.set_static_paths([str(clips)])
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as demo:
        api.wire(runner, shelf)  # first: an event whose function is called "answer" takes the name
        html(_header(teaching=checkpoint is None))
        with gr.Tabs(elem_id="tabs") as tabs:  # each tab is a function in a file of its own
            with gr.Tab("Inspect", id="inspect"):
                with gr.Row(elem_id="work"):
                    with gr.Column(scale=3, min_width=300, elem_id="ask"):
                        chooser = None if models is None else menu(models)
                        taught = checkpoint is not None
                        controls = ask_side(examples, saved, own, whose, taught)
                        if chooser is not None:
                            controls.settings["model"] = chooser.model
                            wire_models(chooser, models)
                    with gr.Column(scale=9, min_width=340, elem_id="see"):
                        fold()
                        marks = one_case.signs()
                        views = see_side()
                        exports = share.build()
                showing = Showing(views, shelf, known, saved, origins)
                left = one_case.Left(controls, showing, examples)
                changed = changes(controls, views.workspace)
                wire(demo, runner, showing, controls, examples, own, left, changed)
                turns.wire(
                    controls.turns,
                    controls.video,
                    changed,
                    views.workspace,
                    showing.films,
                    controls.settings.get("model"),
                    EMBEDDED,
                )
                one_case.wire(controls, showing, marks, tabs, changed)
                share.wire(exports, views.workspace, shelf, of_shelf)
                _workspace(runner, shelf, views, known)
            with gr.Tab("Learn", id="learn"):
                of_clips = {name: clip for name, (clip, _) in origins.items()}
                give = connector(runner, shelf, known, origins)
                lesson_tab(shelf, saved, of_saved, of_clips, give)
            with gr.Tab("Errors", id="errors"):
                beside = partial(one_case.of_case, left=left, marks=marks)
                errors_tab(
                    assets / "results",
                    shelf.folder.parent / "tables",
                    opener(runner, showing, tabs, beside),
                    [*views.all, tabs, marks.bar, *controls.asked],
                    echo=[controls.status],
                )
        tour()
        definitions()
        demo.load(_tab_of, None, tabs, queue=False, **QUIET)
    return demo


def _workspace(
    runner: Runner, shelf: Shelf, views: Views, known: dict[tuple[str, str], Known]
) -> None:
    """Connect what the workspace asks of the server: other methods, edits, places of the tokens."""
    for part in (compare, what_if, why, scrub):
        part.wire(views.workspace, runner, shelf, known)
    projections.wire(views.workspace, projections.build(), shelf)


def _tab_of(request: gr.Request) -> dict:
    """Choose the tab that a link names: a step of the lesson, or filters of the error table."""
    if share.lesson_step(request.query_params) is not None:
        return gr.update(selected="learn")
    if request.query_params.get("errors"):
        return gr.update(selected="errors")
    return gr.skip()


def _header(teaching: bool) -> str:
    note = f'<p class="teaching">{cards.escape(HOW_TO_CHANGE)}</p>' if teaching else ""
    return (
        f'<header class="top"><h1>{cards.escape(TITLE)}</h1><p>{cards.escape(LEAD)}</p>{note}'
        "</header>"
    )
