"""One case at a time: what is asked to the left and what is shown to the right are the same.

Where a trace is opened the left side is filled with what it was made of. Where the left side is
changed afterwards, a line above the answers says that they are those of something else. While a
case of the error table is shown, a bar leads back to the table and to the flips around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from stc_core.errors import InputError
from stc_core.method_text import read_method
from stc_core.text import readable
from viz.examples import Example, asked
from viz.page import cards
from viz.page.guard import EACH, LAST, guarded
from viz.page.inspect_tab import Controls
from viz.page.shown import Showing, Values
from viz.server.job import job_of, origin_of
from viz.server.method_fields import stated
from viz.server.origin import Origin, recall

# The table is in the same page: it looks for the flip by itself, and opens it.
BAR = """
const said = element.querySelector('.case-said');
const words = element.querySelector('.case-words');
const none = (by) => {
  said.textContent = `No ${by > 0 ? 'later' : 'earlier'} flip in the table.`;
};
const flip = (by) => {
  said.textContent = '';
  const detail = { by, none: () => none(by) };
  document.dispatchEvent(new CustomEvent('errors-flip', { detail }));
};
element.querySelector('.case-back').onclick = () => trigger('back');
element.querySelector('.case-previous').onclick = () => flip(-1);
element.querySelector('.case-next').onclick = () => flip(1);
const show = () => {
  const open = Boolean(props.value?.words);
  element.querySelector('.case-bar').hidden = !open;
  words.textContent = props.value?.words ?? '';
  said.textContent = '';
};
watch('value', show);
show();
"""
TEMPLATE = """<nav class="case-bar" aria-label="Case of the error table" hidden>
  <button type="button" class="case-back">Back to Errors</button>
  <button type="button" class="case-previous">Previous flip</button>
  <button type="button" class="case-next">Next flip</button>
  <span class="case-words"></span> <span class="case-said" role="status"></span>
</nav>"""


@dataclass(frozen=True)
class Signs:
    """Hold what stands above the answers: the bar of a case, the line that they are of another."""

    bar: gr.HTML
    stale: gr.HTML


def signs() -> Signs:
    """Lay out the signs; both are empty."""
    bar = gr.HTML(
        value={},
        html_template=TEMPLATE,
        js_on_load=BAR,
        apply_default_css=False,
        elem_id="case-bar",
    )
    return Signs(bar, gr.HTML("", apply_default_css=False, elem_id="stale"))


class Left:
    """Give the values of the left side for a trace: what it was made of."""

    def __init__(
        self, controls: Controls, showing: Showing, examples: Sequence[Example] = ()
    ) -> None:
        self._controls, self._showing, self._examples = controls, showing, examples

    def values(self, origin: Origin | None, visitor: str) -> Values:
        """Return clip, question and settings of an origin; nothing where its clip is gone."""
        film = self._showing.films.shown(origin, visitor) if origin else None
        if film is None:
            return {}
        controls = self._controls
        here = film.resolve()
        known = next((one for one in self._examples if one.clip.resolve() == here), None)
        samples = [[question.text] for question in known.questions] if known else [["–"]]
        return {
            controls.video: str(film),
            controls.question: origin.question,
            controls.suggestions: gr.Dataset(samples=samples, visible=known is not None),
            **self._settings(origin),
        }

    def _settings(self, origin: Origin) -> Values:
        fields = self._controls.settings
        found: dict[str, Any] = {"frames": str(origin.frames or "")}
        if "model" in fields:
            found["model"] = origin.model or self._controls.first_model
        try:
            method = read_method(origin.method)
        except InputError:
            method = None  # a trace from elsewhere, which names none
        if method is not None and not method.parts:  # the menu has no methods around others
            found |= {"method": method.name} | stated(method)
        if "layer" in found:
            found["layer"] = "" if found["layer"] is None else str(found["layer"])
        return {fields[name]: value for name, value in found.items()}


class Fit:
    """Tell whether the two sides are of the same case."""

    def __init__(self, controls: Controls, showing: Showing, marks: Signs) -> None:
        self._controls, self._showing, self._marks = controls, showing, marks

    def look(
        self, on: bool, shown: dict | None, case: dict | None, video, question, *settings
    ) -> Values:
        """Return both signs; ``settings`` are those of ``job_of``, in its order."""
        key = shown.get("key") if isinstance(shown, dict) else None
        if not key:
            return gr.skip()
        origin = recall(self._showing.shelf.folder, key)
        left = self._showing.films.origin(Origin(str(video or ""), str(question or "")))
        follows = bool(on and shown.get("ran"))
        words = _difference(origin, left)
        if not words and not follows and not self._same_settings(origin, left, settings):
            words = "Still the answer with other settings. Press Run to ask with those to the left."
        line = f'<p class="stale" role="status">{cards.escape(words)}</p>' if words else ""
        values: Values = {self._marks.stale: line}
        if isinstance(case, dict) and case.get("words") and not _is_of(case, origin):
            values[self._marks.bar] = {}
        return values

    def _same_settings(self, origin: Origin, left: Origin, settings: tuple) -> bool:
        """Tell whether the fields are as they were; True where they make no job: Run says why."""
        try:
            ours = origin_of(job_of(left.video, left.question, *settings))
            then, now = read_method(origin.method), read_method(ours.method)
        except InputError:
            return True
        frames, first = ours.frames or left.frames, self._controls.first_model
        return (
            (then.title, stated(then)) == (now.title, stated(now))
            and frames in (None, origin.frames)
            and (ours.model or first) == (origin.model or first)
        )


def bar_of(words: str, origin: Origin) -> dict[str, str]:
    """Return the value of the bar for a case."""
    return {"words": readable(words), "video": origin.video, "question": origin.question}


def _is_of(case: dict, origin: Origin | None) -> bool:
    about = case.get("video"), case.get("question")
    return origin is not None and about == (origin.video, origin.question)


def _difference(origin: Origin | None, left: Origin) -> str:
    """Say of what the right side is, where it is not of what stands to the left."""
    if origin is None:
        return (
            "This trace came without its clip: what is asked to the left is something else. "
            "Run answers that."
        )
    shown, asks = asked(origin.video, origin.question), asked(left.video, left.question)
    name = readable(Path(origin.video).name)
    if not left.video:
        return f"Still the answer about {name}. No clip is chosen to the left."
    if shown[0] != asks[0]:
        return f"Still the answer about another clip, {name}. Press Run to ask about this one."
    if shown[1] != asks[1]:
        return f"Still the answer to “{origin.question}”. Press Run to ask this question."
    return ""


def wire(
    controls: Controls, showing: Showing, marks: Signs, tabs: gr.Tabs, changed: gr.HTML
) -> None:
    """Let the line and the bar follow both sides; ``changed`` says when."""
    views = showing.views
    changed.either(
        guarded(Fit(controls, showing, marks).look),
        [
            controls.live,
            views.workspace,
            marks.bar,
            controls.video,
            controls.question,
            *controls.settings.values(),
        ],
        [marks.stale, marks.bar],
        queue=False,
        **LAST,
    )
    marks.bar.back(lambda: gr.update(selected="errors"), None, tabs, queue=False, **EACH)


def of_case(origin: Origin, words: str, left: Left, marks: Signs, visitor: str) -> Values:
    """Return the left side and the bar of a case of the error table."""
    return {**left.values(origin, visitor), marks.bar: bar_of(words, origin)}
