"""The page as a whole. Its sides are in ``parts``, what they do is in ``events``."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from . import cards
from .events import wire
from .examples import read_examples, read_origins
from .parts import ask_side, html, see_side
from .runs import Runner
from .shelf import Shelf

TITLE = "Where do the video tokens go?"
LEAD = (
    "A Video-LLM turns a clip into thousands of tokens; a few per cent can carry the answer. "
    "See which are kept, merged or dropped, before the LLM and inside it."
)
TEACHING = (
    "The built-in model is a small teaching model of a world of coloured shapes. Real videos want "
    "a real model: python app.py --model llava-hf/llava-onevision-qwen2-7b-ov-hf"
)


def build(
    runner: Runner, shelf: Shelf, clips: Path, traces: Path, teaching: bool = True
) -> gr.Blocks:
    """Lay out the page and wire it.

    Parameters
    ----------
    runner : Runner
    shelf : Shelf
        Its folder must lie in Gradio's temporary directory.
    clips, traces : Path
        Folders of example clips and of saved traces.
    teaching : bool
        Whether the model is the embedded one.
    """
    examples = read_examples(clips)
    saved = sorted(traces.glob("*.npz"))
    gr.set_static_paths([str(clips)])
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as demo:
        html(_header(teaching))
        with gr.Row(elem_id="work"):
            with gr.Column(scale=3, min_width=320, elem_id="ask"):
                controls = ask_side(examples, saved)
            with gr.Column(scale=8, min_width=340, elem_id="see"):
                views = see_side()
        origins = read_origins(traces, clips)
        wire(demo, runner, shelf, examples, saved, origins, controls, views)
    return demo


def _header(teaching: bool) -> str:
    note = f'<p class="teaching">{cards.escape(TEACHING)}</p>' if teaching else ""
    return (
        f'<header class="top"><h1>{cards.escape(TITLE)}</h1><p>{cards.escape(LEAD)}</p>{note}'
        "</header>"
    )
