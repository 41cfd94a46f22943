"""A clip of the visitor's own: whatever the reader of videos opens, not what the browser guesses.

Gradio's own button goes by the type that the browser guesses from a file's ending, and what it
refuses is gone after some seconds, with the old clip still in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from stc_core.errors import InputError
from stc_core.text import readable
from viz.page import cards
from viz.page.guard import EACH, name_of
from viz.server.job import BIGGEST
from viz.server.runner import failure, sentence
from viz.server.stand_ins import StandIns

# What a file dialog offers beside what the browser itself takes for a video. Only an offer: any
# file can be dropped or chosen, and the reader judges it.
SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".ts", ".mts", ".m2ts", ".mpg",
    ".mpeg", ".3gp", ".wmv", ".flv", ".ogv", ".webp",
)  # fmt: skip
LONGEST = 300  # characters of a sentence that the browser sends
ACCEPT = ",".join(["video/*", *SUFFIXES])
TEMPLATE = f"""<label class="upload" data-most="{BIGGEST}">
  <span>Upload a clip, {BIGGEST >> 20} MiB at most</span>
  <input type="file" accept="{ACCEPT}" aria-label="Upload a clip"></label>"""
SEND = """
const most = Number(element.querySelector('.upload').dataset.most); // bytes
const input = element.querySelector('input');
const words = element.querySelector('span');
const usual = words.textContent;
input.addEventListener('change', async () => {
  const [file] = input.files;
  if (!file) return;
  const { name } = file;
  if (file.size > most) {
    const why = `it has more than ${most >> 20} MiB; cut it or send a smaller one`;
    trigger('refused', { name, why });
  } else {
    words.textContent = `Uploading ${name} …`;
    try {
      const { path } = await upload(file);
      trigger('taken', { name, path });
    } catch (error) {
      trigger('refused', { name, why: error?.message || String(error) });
    }
    words.textContent = usual;
  }
  input.value = ''; // the same file may be chosen again
});
"""


def upload_button() -> gr.HTML:
    """Return the button; its events are ``taken`` and ``refused``."""
    return gr.HTML(
        "",
        html_template=TEMPLATE,
        js_on_load=SEND,
        apply_default_css=False,
        elem_id="clip-upload",
    )


def wire(
    button: gr.HTML,
    recorder: gr.HTML,
    films: StandIns,
    video: gr.Video,
    questions: gr.Dataset,
    status: gr.HTML,
) -> None:
    """Let an uploaded or recorded clip take the place of the one before; a refused one leaves none.

    ``recorder`` is what ``record_buttons`` gives.
    """

    def taken(request: gr.Request, event: gr.EventData) -> Iterator[dict]:
        name = _name(event)
        yield {status: cards.status(f"Reading {name} …", "busy")}
        try:
            path = _uploaded(getattr(event, "path", None))
            film = films.of_file(path, name_of(request))
        except Exception as error:
            yield refusal(name, str(failure(error)))
            return
        words = f"{name} is uploaded; press Run."
        if film != path:
            words = f"{name} is uploaded, shown here as decoded; press Run."
        yield {
            video: str(film),
            questions: gr.Dataset(visible=False),
            status: cards.status(words, "done"),
        }

    def refused(event: gr.EventData) -> dict:
        why = readable(str(getattr(event, "why", "")))[:LONGEST]
        return refusal(_name(event), sentence(InputError(why)) if why else "")

    def refusal(name: str, why: str) -> dict:
        words = f"{name} is not taken, and no clip is chosen now. {why}"
        return {video: None, status: cards.status(words, "error")}

    outputs = [video, questions, status]
    for source in (button, recorder):
        source.taken(taken, None, outputs, concurrency_id="pictures", **EACH)
    button.refused(refused, None, outputs, queue=False, **EACH)


def _name(event: gr.EventData) -> str:
    return readable(str(getattr(event, "name", "")))[:LONGEST] or "The file"


def _uploaded(given: object) -> Path:
    """Return the file, where it is one that was uploaded: a browser may name any path."""
    home = Path(get_upload_folder()).resolve()
    path = Path(given).resolve() if isinstance(given, str) and "\0" not in given else home
    if not (path.is_relative_to(home) and path.is_file()):
        raise InputError("the file did not arrive; upload it again")
    return path
