"""Links to a trace, and files of it to give away: an overlay video, a report in one file.

An address names the trace and the state of its views::

    /?trace=3f0c...&f=12&tok=604.611&stage=refilled&overlay=contribution&panel=replay&step=9

``trace`` is a key of the shelf, or the name of a saved trace; ``wanted`` looks it up when the page
opens. Everything else is read and written in the browser, by ``workspace/js/share.js``; ``learn``
is the step of the lesson, ``scrub=retention@0.05`` a stop of the trace's scrub, ``show=bars``
a view in stage mode, ``ask=hidden`` the folded asking side. What is unknown or malformed is left
out, whoever wrote it.

Scripts do not need the page: its endpoints are those of ``api.py``, for ``gradio_client``::

    from gradio_client import Client, handle_file
    client = Client("http://127.0.0.1:7860")
    said = client.predict(handle_file("clip.mp4"), "what flashed?", api_name="/answer")
    said["answer"], said["key"]
    path = client.predict(said["key"], api_name="/trace")     # the .npz, for Trace.load
    client.view_api()                                         # all names and arguments
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from stc_core.record.trace import Trace
from viz.examples import Known
from viz.page import cards, onefile
from viz.page.guard import QUIET
from viz.server.runner import failure
from viz.server.shelf import Shelf

GONE = (
    "The trace of this link is no longer here, so this is another one; links last as long as the "
    "page keeps a trace, those to the saved traces always."
)
STEPS = 6  # of the lesson
NAMES = {"fates": "overlay", "seen": "seen"}  # of the videos' files, by what they show
HIDE = "() => ({ __type__: 'update', visible: false })"  # in the browser: the server need not know


@dataclass(frozen=True)
class Wanted:
    """Describe the trace to open with.

    Attributes
    ----------
    path : Path or None
        None where nothing is saved.
    asked : bool
        Whether it is the one that the address asks for. Where it is not, the value that the
        workspace is given needs ``"other": True``: the address's frame and tokens are not of it.
    note : str
        One sentence for the visitor where the trace asked for is gone, else empty.
    """

    path: Path | None
    asked: bool = True
    note: str = ""


def wanted(query: Mapping[str, str], shelf: Shelf, saved: Sequence[Path]) -> Wanted:
    """Return what an address asks for, or the first of ``saved`` where that does not exist.

    Parameters
    ----------
    query
        ``gr.Request.query_params``.
    """
    first = saved[0] if saved else None
    name = query.get("trace")
    if not name:
        return Wanted(first)
    for path in saved:
        if name in (path.stem, path.name, key_of(path)):
            return Wanted(path)
    found = shelf.find(name)
    return Wanted(first, asked=False, note=GONE) if found is None else Wanted(found)


def key_of(path: Path) -> str:
    """Return the key under which the shelf will put this trace file: links outlive the shelf."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


def lesson_step(query: Mapping[str, str]) -> int | None:
    """Return the step of the lesson that an address asks for, from 1; None where there is none."""
    text = query.get("learn", "")
    return int(text) if text in map(str, range(1, STEPS + 1)) else None


@dataclass(frozen=True)
class Exports:
    """Hold the buttons that make files of the trace that is shown."""

    picture: gr.Radio
    stage: gr.Radio
    video: gr.Button
    report: gr.Button
    file: gr.DownloadButton
    status: gr.HTML


def build() -> Exports:
    """Lay out the row of exports, at the place of the caller."""
    with gr.Accordion("Files to share", open=False, elem_id="exports"):
        with gr.Row():
            picture = gr.Radio(
                [("What the LLM sees", "seen"), ("Fates over the clip", "fates")],
                value="seen",
                label="Picture in the video",
                elem_id="export-picture",
                scale=2,
            )
            stage = gr.Radio(
                [("Before the LLM", "outside"), ("At the end", "end")],
                value="end",
                label="Stage in the video",
                elem_id="export-stage",
                scale=2,
            )
            video = gr.Button("Make the video", elem_id="export-video", min_width=160)
            report = gr.Button("Make the one-file report", elem_id="export-report", min_width=160)
        status = gr.HTML(
            cards.status("The video is WebM; the report opens from disk, without a network."),
            apply_default_css=False,
            elem_id="export-status",
        )
        file = gr.DownloadButton("Download", visible=False, elem_id="export-file", size="sm")
    return Exports(picture, stage, video, report, file, status)


def wire(
    exports: Exports,
    workspace: gr.HTML,
    shelf: Shelf,
    known: Callable[[str, Trace], Known | None] = lambda key, trace: None,
) -> None:
    """Connect the exports to the trace that ``workspace`` shows.

    ``known`` gives what is known of the question of a trace, by its key.
    """
    status, file = shown = [exports.status, exports.file]

    def export(
        value: dict | None, name: str, make: Callable[[Trace, Path], Iterator[float]]
    ) -> Iterator[dict]:
        home = shelf.find((value or {}).get("key"))
        if home is None:
            words = "There is no trace here to make a file of; open one first."
            yield {status: cards.status(words, "error")}
            return
        path = home.parent / name
        try:
            begun = cards.status(f"Making {name} …", "busy", 0.0)
            yield {status: begun, file: gr.update(visible=False)}
            if not path.exists():
                told = 0.0
                for share in make(Trace.load(home), path):
                    if share - told >= 0.05:
                        told = share
                        yield {status: cards.status(f"Making {name} …", "busy", share)}
            done = f"{name} is ready, {cards.memory(path.stat().st_size)}."
            ready = gr.update(label=f"Download {name}", value=str(path), visible=True)
            yield {status: cards.status(done, "done"), file: ready}
        except Exception as error:
            yield {status: cards.status(str(failure(error)), "error")}

    def video(value: dict | None, picture: str, stage: str) -> Iterator[dict]:
        from viz.pictures import overlay  # matplotlib and OpenCV: not before somebody wants a video

        def make(trace: Trace, path: Path) -> Iterator[float]:
            return overlay.steps(trace, path, stage, picture)

        yield from export(value, f"{NAMES[picture]}-{stage}.webm", make)

    def report(value: dict | None) -> Iterator[dict]:
        def make(trace: Trace, path: Path) -> Iterator[float]:
            onefile.write(trace, path, known(path.parent.name, trace))
            yield 1.0

        yield from export(value, "report.html", make)

    slow = {"concurrency_id": "exports", **QUIET}  # opening a trace must not wait for these
    exports.video.click(video, [workspace, exports.picture, exports.stage], shown, **slow)
    exports.report.click(report, workspace, shown, **slow)
    # what was made is of the trace before
    workspace.change(None, None, exports.file, js=HIDE, **QUIET)
