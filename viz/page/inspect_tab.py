"""Lay out the two sides of the page: what a visitor can set, and what shows a trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import gradio as gr

from viz.examples import Example, opening
from viz.page import cards
from viz.page.guard import closed
from viz.page.method_choice import Choice, choice
from viz.page.method_choice import wire as wire_choice
from viz.page.recording import record_buttons
from viz.page.turns import Turns, switch, turns
from viz.page.upload import upload_button
from viz.pictures.words import TEXTS
from viz.server.job import MOST_FRAMES
from viz.workspace.component import workspace

MAPS = ("seen", "outside", "inside", "contribution", "relevance")
TABS = {"seen": "What the LLM sees", "outside": "Before the LLM", "inside": "At the end", 
        "contribution": "Contribution", "relevance": "Relevance"}  # fmt: skip
ORDER = ("budget", *MAPS, "timeline")


@dataclass(frozen=True)
class Controls:
    """Hold what a visitor can change or press; ``ticket``, unseen, names the current run."""

    video: gr.Video
    video_file: gr.HTML
    recorder: gr.HTML
    question: gr.Textbox
    suggestions: gr.Dataset
    clips: gr.Dataset | None
    settings: dict[str, gr.components.Component]
    own: gr.Button
    more: gr.Accordion
    run: gr.Button
    cancel: gr.Button
    ticket: gr.HTML
    status: gr.HTML
    live: gr.Checkbox
    live_note: gr.HTML
    saved: gr.Dropdown | None
    upload: gr.File
    turns: Turns

    @property
    def first_model(self) -> str | None:
        """Return the model that answers where none is named; None where there is no menu."""
        menu = self.settings.get("model")
        return None if menu is None else menu.value

    @property
    def asked(self) -> list[gr.components.Component]:
        """Return what says which case is asked: clip, question and settings."""
        return [self.video, self.question, self.suggestions, *self.settings.values()]


@dataclass(frozen=True)
class Figures:
    """Hold pictures for papers and slides, drawn when the accordion is opened."""

    fold: gr.Accordion
    pictures: dict[str, gr.Image]
    files: dict[str, tuple[gr.DownloadButton, gr.DownloadButton]]

    @property
    def all(self) -> list[gr.components.Component]:
        """Return pictures and buttons: what an event may change."""
        buttons = [button for name in ORDER for button in self.files[name]]
        return [*(self.pictures[name] for name in ORDER), *buttons]


@dataclass(frozen=True)
class Views:
    """Hold the components that show a trace."""

    answers: gr.HTML
    workspace: gr.HTML
    costs: gr.HTML
    notes: gr.HTML
    run_line: gr.HTML
    figures: Figures

    @property
    def all(self) -> list[gr.components.Component]:
        """Return what shows another trace; the figures wait until they are wanted."""
        return [
            self.answers,
            self.workspace,
            self.costs,
            self.notes,
            self.run_line,
            self.figures.fold,
        ]


def ask_side(
    examples: list[Example],
    saved: list[Path],
    own: Mapping[str, float] = MappingProxyType({}),
    whose: str = "the built-in model",
    taught: bool = False,
) -> Controls:
    """Return the left side: clip, question, Run, method; examples, settings, saved traces.

    ``own`` are the settings that the checkpoint of ``whose`` records; offered, not used.
    ``taught``: whether the model at the start has learnt to read earlier turns.
    """
    first, asked = opening(examples, saved)
    with gr.Column(elem_id="ask-now"):  # always in sight
        video = gr.Video(  # an interactive one would load 32 MB for cutting clips
            value=str(first.clip) if first else None,
            label="Clip",
            interactive=False,
            height=180,
            elem_id="clip",
            buttons=[],
        )
        video_file = upload_button()
        recorder = record_buttons()
        talk = turns()
        question = gr.Textbox(
            value=asked,
            label="Question",
            lines=2,
            max_lines=6,
            placeholder="What do you want to know about the clip?",
            elem_id="question",
        )
        with gr.Row():
            run = gr.Button("Run", variant="primary", elem_id="run", scale=3, min_width=120)
            cancel = gr.Button("Cancel", elem_id="cancel", interactive=False, min_width=90, scale=2)
        ticket = html("", visible="hidden")
        status = html(cards.status("Press Run to ask the model."), elem_id="status")
        live_note = html("", elem_id="live-note")
    chosen = choice()
    suggestions = gr.Dataset(
        components=[gr.Textbox(visible=False)],
        label="Questions about this clip",
        samples=[[known.text] for known in first.questions] if first else [["–"]],
        visible=bool(first),
        elem_id="suggestions",
        samples_per_page=5,
    )
    clips = None
    if examples:
        clips = gr.Dataset(
            components=[gr.Video(visible=False)],
            label="Example clips",
            layout="gallery",
            samples=[[str(example.clip)] for example in examples],
            elem_id="examples",
            samples_per_page=12,
        )
    live = _live()
    remember = switch(taught)
    settings, own_settings, more = _settings(chosen, own, whose)
    with gr.Accordion("Open a saved trace", open=False, elem_id="open-trace"):
        names = [(path.stem, path.name) for path in saved]
        dropdown = closed(
            gr.Dropdown(
                names,
                value=names[0][1] if names else None,
                label="Saved with the project",
                visible=bool(names),
                elem_id="saved",
            )
        )
        upload = gr.File(
            label="A trace file (.npz)", file_types=[".npz"], elem_id="trace-upload", height=120
        )
    return Controls(
        video,
        video_file,
        recorder,
        question,
        suggestions,
        clips,
        settings,
        own_settings,
        more,
        run,
        cancel,
        ticket,
        status,
        live,
        live_note,
        dropdown,
        upload,
        Turns(talk, remember),
    )


def _live() -> gr.Checkbox:
    """Return the switch of the live mode."""
    return gr.Checkbox(
        True,
        label="Follow the settings",
        elem_id="live",
        info="After a run, a change below asks the same question again at once.",
    )


def _settings(
    chosen: Choice, own: Mapping[str, float], whose: str
) -> tuple[dict[str, gr.components.Component], gr.Button, gr.Accordion]:
    """({argument of ``job_of``: its field}, the offer of own settings, what folds the rare ones).

    The defaults are the paper's.
    """
    with gr.Accordion("Settings", open=True, elem_id="settings"):
        frames = gr.Textbox(  # an empty gr.Number would come back as 0
            "",
            label="Frames",
            max_lines=1,
            elem_id="frames",
            placeholder="the model's own",
            info=f"Taken evenly from the whole clip, 1 to {MOST_FRAMES}. Empty: as many as the "
            "model was trained on. Paper: 32.",
        )
        keep_inside = gr.Number(
            0.5,
            label="R, kept inside the LLM",
            step=0.05,
            elem_id="keep-inside",
            info="Share of those tokens that goes on after layer K; 1 switches this stage off.",
        )
        baseline = gr.Checkbox(
            True,
            label="Also run uncompressed",
            elem_id="baseline",
            info="The same question with all tokens, to compare answer and cost.",
        )
        words = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in own.items())
        offer = gr.Button(
            f"Take the own setting of {whose}: {words}",
            size="sm",
            visible=bool(own),
            elem_id="own-settings",
        )
        with gr.Accordion("More", open=False, elem_id="more") as more:
            tau = gr.Number(
                0.7,
                label="tau, similarity threshold",
                step=0.05,
                elem_id="tau",
                info="A token joins the pool if its cosine to all in it is below tau, -1 to 1.",
            )
            clusters = gr.Number(
                0.3,
                label="Cluster ratio",
                step=0.05,
                elem_id="cluster-ratio",
                info="Share of the budget that goes to cluster centers, 0 to 1.",
            )
            layer = gr.Textbox(
                "",
                label="Layer K",
                max_lines=1,
                elem_id="layer",
                placeholder="18/28 of depth",
                info="The LLM's layer after which tokens are merged; empty: the paper's 18 of 28.",
            )
            lam = gr.Number(
                0.5,
                label="lambda",
                step=0.05,
                elem_id="lambda",
                info="Weight of likeness against attention in the relevance to the text, 0 to 1.",
            )
    fields = {
        "retention": chosen.retention,
        "frames": frames,
        "keep_inside": keep_inside,
        "baseline": baseline,
        "tau": tau,
        "cluster_ratio": clusters,
        "layer": layer,
        "lam": lam,
        "method": chosen.method,
    }
    wire_choice(chosen, fields, more)
    return fields, offer, more


def see_side() -> Views:
    """Return the right side: answers, the workspace, costs, figures."""
    answers = html("", elem_id="answers")
    notes = html("", elem_id="notes")
    linked = workspace(elem_id="workspace")
    costs = html("", elem_id="costs")
    figures = _figures()
    run_line = html("", elem_id="run-line")
    return Views(answers, linked, costs, notes, run_line, figures)


def _figures() -> Figures:
    pictures: dict[str, gr.Image] = {}
    files: dict[str, tuple[gr.DownloadButton, gr.DownloadButton]] = {}

    def picture(name: str) -> None:
        text = TEXTS[name]
        with gr.Row(elem_classes="heading"):
            html(cards.section(text.title, text.explanation), scale=1)
            files[name] = tuple(
                gr.DownloadButton(
                    form,
                    size="sm",
                    scale=0,
                    min_width=56,
                    elem_id=f"{name}-{form.lower()}",
                    interactive=False,
                )
                for form in ("PNG", "SVG")
            )
        pictures[name] = gr.Image(
            type="filepath",
            show_label=False,
            container=False,
            interactive=False,
            buttons=["fullscreen"],
            elem_id=f"picture-{name}",
            elem_classes="sheet",
            alt_text=text.title,
        )

    with gr.Accordion("Figures for papers and slides", open=False, elem_id="figures") as fold:
        picture("budget")
        with gr.Tabs(elem_id="maps"):
            for name in MAPS:
                with gr.Tab(TABS[name], elem_id=f"tab-{name}"):
                    picture(name)
        picture("timeline")
    return Figures(fold, pictures, files)


def html(value: str, **place) -> gr.HTML:
    """Return our own HTML as a component, without Gradio's styles for running text."""
    return gr.HTML(value, apply_default_css=False, **place)
