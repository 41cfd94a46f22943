"""The choice of a method and of its retention ratio, and the fields that the method has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from stc_core.method_text import NAMES
from viz.page import cards
from viz.page.guard import LAST, QUIET, closed, guarded
from viz.server.method_fields import FIELDS, LABELS, idea

MORE = ("tau", "cluster_ratio", "layer", "lam")  # fields that are folded away
# Shares at which the slider stops: about equal steps of their logarithm.
STOPS = (
    0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5,
    0.6, 0.75, 1.0,
)  # fmt: skip
SLIDER = f"""<div class="ratio" data-stops="{json.dumps(STOPS)}">
  <input type="range" min="0" max="{len(STOPS) - 1}" step="1" aria-label="Retention ratio">
  <output></output></div>"""
SLIDE = """
const stops = JSON.parse(element.querySelector('.ratio').dataset.stops);
const slider = element.querySelector('input');
const words = element.querySelector('output');
const percent = (share) => `${Number((100 * share).toPrecision(3))} % of the video tokens`;
const say = (share) => {
  words.textContent = share > 0 && share <= 1 ? percent(share) : '';
  slider.setAttribute('aria-valuetext', words.textContent);
};
const place = () => {
  const share = Number(props.value);
  if (share > 0) {
    const far = (stop) => Math.abs(Math.log(stop / share));
    slider.value = stops.findIndex((stop) => far(stop) === Math.min(...stops.map(far)));
  }
  say(share);
};
slider.addEventListener('input', () => say(stops[slider.value]));
slider.addEventListener('change', () => {
  props.value = stops[slider.value];
  trigger('moved');
});
watch('value', place);
place();
"""
SAME = "(share) => share"  # in the browser: the server need not know


@dataclass(frozen=True)
class Choice:
    """Hold the menu of methods, its words, and the slider beside the number."""

    method: gr.Dropdown
    words: gr.HTML
    slider: gr.HTML
    retention: gr.Number


def choice() -> Choice:
    """Lay out menu, slider and number."""
    with gr.Row(elem_id="method-row"):
        method = closed(
            gr.Dropdown(
                [(NAMES[name], name) for name in FIELDS],
                value="stc",
                label="Method",
                elem_id="method",
                filterable=False,
                scale=3,
                min_width=140,
            )
        )
        retention = gr.Number(
            0.02,
            label="Retention ratio",
            step=0.01,
            elem_id="retention",
            scale=2,
            min_width=110,
        )
    words = gr.HTML(_words("stc"), apply_default_css=False, elem_id="method-idea")
    slider = gr.HTML(
        0.02,
        html_template=SLIDER,
        js_on_load=SLIDE,
        apply_default_css=False,
        elem_id="retention-slider",
    )
    return Choice(method, words, slider, retention)


def wire(chosen: Choice, fields: dict[str, gr.components.Component], more: gr.Accordion) -> None:
    """Let slider and number agree, and show the fields that the method has."""
    parts = {name: fields[name] for name in LABELS}

    def fitting(name: str) -> dict[gr.components.Component, Any]:
        """Show what the method has; its values stay."""
        has = FIELDS[name]
        shown = {parts[field]: gr.update(visible=field in has) for field in parts}
        folded = any(field in has for field in MORE)
        return {**shown, chosen.words: _words(name), more: gr.update(visible=folded)}

    def defaults(name: str) -> dict[gr.components.Component, Any]:
        """Return the fields as the method has them, where a visitor chose it."""
        values = {parts[field]: _typed(value) for field, value in FIELDS[name].items()}
        return values or gr.skip()  # Gradio takes an empty one for a fault

    chosen.method.input(guarded(defaults), chosen.method, list(parts.values()), queue=False, **LAST)
    outputs = [*parts.values(), chosen.words, more]
    chosen.method.change(guarded(fitting), chosen.method, outputs, queue=False, **LAST)
    chosen.slider.moved(None, chosen.slider, chosen.retention, js=SAME, **QUIET)
    chosen.retention.change(None, chosen.retention, chosen.slider, js=SAME, **QUIET)


def _typed(value: float | None) -> float | str:
    """Return a default as its field takes it: layer K alone is a whole number, and typed."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else value


def _words(name: str) -> str:
    return f'<p class="method-idea">{cards.escape(idea(name))}</p>'
