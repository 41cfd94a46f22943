"""The conversation about the clip above the question: its turns, a new one, what the model reads.

The turns live in the browser, as the value of a component: nothing of a visitor is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from viz.page.guard import LAST, QUIET, guarded
from viz.server.origin import Origin
from viz.server.talk import Talk, Turn, clip_of, read_talk

TEMPLATE = """<section class="turns" aria-label="Conversation about this clip" hidden>
  <header><b>Conversation</b>
    <button type="button" class="turns-new">New conversation</button></header>
  <ol></ol></section>"""
SHOW = """
const box = element.querySelector('.turns');
const list = element.querySelector('ol');
const line = (turn) => {
  const button = document.createElement('button');
  button.type = 'button';
  const question = document.createElement('span');
  question.textContent = turn.question;
  const answer = document.createElement('b');
  answer.textContent = turn.answer || '(empty answer)';
  button.append(question, ' ', answer);
  button.title = 'Open the trace of this answer';
  if (turn.key === props.value.shown) button.setAttribute('aria-current', 'true');
  button.onclick = () => trigger('chosen', { key: turn.key });
  const item = document.createElement('li');
  item.append(button);
  return item;
};
const show = () => {
  const turns = props.value?.turns ?? [];
  box.hidden = !turns.length;
  list.replaceChildren(...turns.map(line));
  list.scrollTop = list.scrollHeight;
};
element.querySelector('.turns-new').onclick = () => {
  props.value = {};
  show();
  document.querySelector('#question textarea')?.focus();
};
watch('value', show);
show();
"""
# In the browser: which of the turns the views show.
MARK = "(shown, talk) => ({ ...talk, shown: shown?.key ?? null })"
READ = "Let the model read earlier turns"
UNTAUGHT = (
    "Each question stands for itself. The built-in model has not learnt to read earlier turns."
)
TAUGHT = (
    "Off: each question stands for itself. On: the questions and answers above stand before it. "
    "The clip is seen once either way."
)


@dataclass(frozen=True)
class Turns:
    """Hold the list of turns, and the switch that lets the model read them."""

    talk: gr.HTML
    remember: gr.Checkbox

    @property
    def all(self) -> list[gr.components.Component]:
        """Return what a run reads of them."""
        return [self.talk, self.remember]


def turns() -> gr.HTML:
    """Return the list of turns, empty; its event is ``chosen``."""
    return gr.HTML(
        value={},
        html_template=TEMPLATE,
        js_on_load=SHOW,
        apply_default_css=False,
        elem_id="turns",
    )


def switch(taught: bool) -> gr.Checkbox:
    """Return the switch; ``taught`` is whether the model at the start reads earlier turns."""
    return gr.Checkbox(
        False,
        label=READ,
        info=TAUGHT if taught else UNTAUGHT,
        interactive=taught,
        elem_id="remember",
    )


def history_of(talk: object, remember: object, origin: Origin) -> tuple[tuple[str, str], ...]:
    """Return what the model is to read before a question about the clip of ``origin``."""
    if remember is not True:
        return ()
    return read_talk(talk).about(clip_of(origin.video)).history


def with_turn(talk: object, origin: Origin, key: str, answer: str) -> dict[str, Any]:
    """Return the value of the list after one more answer."""
    turn = Turn(key, origin.question, answer)
    return read_talk(talk).about(clip_of(origin.video)).and_then(turn).to_json() | {"shown": key}


def wire(
    parts: Turns,
    video: gr.Video,
    changed: gr.HTML,
    workspace: gr.HTML,
    films,
    menu: gr.Dropdown | None,
    embedded: str | None,
) -> None:
    """Let the list be about the clip above it, and the switch fit the chosen model.

    Parameters
    ----------
    changed : gr.HTML
        What tells of another clip, of ``changes``.
    films : StandIns
        What browsers play in place of clips.
    menu : gr.Dropdown, optional
        Of models; ``embedded`` is the label of the built-in one there.
    """

    def of_clip(film: str | None, talk: object) -> Any:
        video = films.origin(Origin(str(film or ""), "")).video
        before = read_talk(talk)
        if not before.turns or not video or before.clip == clip_of(video):
            return gr.skip()
        return Talk().to_json()

    def of_model(label: str) -> Any:
        if label == embedded:
            return gr.update(value=False, interactive=False, info=UNTAUGHT)
        return gr.update(interactive=True, info=TAUGHT)

    quiet = {"queue": False, **LAST}
    changed.clip(guarded(of_clip), [video, parts.talk], parts.talk, **quiet)
    workspace.change(None, [workspace, parts.talk], parts.talk, js=MARK, **QUIET)
    if menu is not None:
        menu.change(guarded(of_model), menu, parts.remember, **quiet)
