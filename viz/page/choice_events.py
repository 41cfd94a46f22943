"""Fill the fields of the left side: example clips, their questions, uploads, own settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import gradio as gr

from viz.examples import Example
from viz.page import upload
from viz.page.guard import EACH, LAST, QUIET, guarded
from viz.page.inspect_tab import Controls
from viz.page.shown import Values
from viz.server.stand_ins import StandIns

# Gradio's tiles are pictures without a name for those who do not see them.
NAME_TILES = """() => %s.forEach((name, place) => {
  document.querySelectorAll('#examples .gallery-item')[place]?.setAttribute('aria-label', name);
})"""


def wire(
    demo: gr.Blocks,
    controls: Controls,
    examples: Sequence[Example],
    own: Mapping[str, float],
    films: StandIns,
) -> None:
    """Connect the choices; ``own`` is what the checkpoint records as its settings;
    ``films`` stand in for uploads that no browser plays."""
    if controls.clips is not None:
        _wire_examples(demo, controls, examples)
    if own:
        _wire_own(controls, own)
    controls.suggestions.click(
        lambda chosen: chosen[0], controls.suggestions, controls.question, **LAST
    )
    upload.wire(
        controls.video_file,
        controls.recorder,
        films,
        controls.video,
        controls.suggestions,
        controls.status,
    )


def _wire_examples(demo: gr.Blocks, controls: Controls, examples: Sequence[Example]) -> None:
    def choose(clip: gr.SelectData) -> Values:
        example = examples[clip.index]
        questions = [[known.text] for known in example.questions]
        return {
            controls.video: str(example.clip),
            controls.question: questions[0][0],
            controls.suggestions: gr.Dataset(samples=questions, visible=True),
        }

    controls.clips.select(
        guarded(choose), None, [controls.video, controls.question, controls.suggestions], **EACH
    )
    names = json.dumps([f"Example clip {example.clip.stem}" for example in examples])
    demo.load(None, None, None, js=NAME_TILES % names, **QUIET)


def _wire_own(controls: Controls, own: Mapping[str, float]) -> None:
    settings = controls.settings
    fields = {settings[name]: value for name, value in own.items()} | {settings["method"]: "stc"}

    def take() -> Values:
        return {**fields, controls.more: gr.update(open=True)}

    controls.own.click(take, None, [*fields, controls.more], **QUIET)
