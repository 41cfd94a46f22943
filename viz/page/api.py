"""The page's endpoints for scripts, called through ``gradio_client``; ``share`` shows how.

    /answer   a video and a question: the answer, what it cost, the key of its trace
    /compare  the same with several methods: an answer each, beside the uncompressed one
    /trace    the trace file of a key

What a script sends is checked like what a visitor types; an error is one sentence.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from stc_core.errors import InputError
from stc_core.method_text import read_short
from stc_core.text import checked_text
from viz.page.guard import name_of
from viz.server.job import BIGGEST, LONGEST, MOST_FRAMES
from viz.server.origin import Origin, remember
from viz.server.rerun import rerun
from viz.server.runner import Runner, Step, Stopped, failure
from viz.server.shelf import Shelf
from viz.server.turns import MODEL

MOST_METHODS = 6  # in one comparison


def wire(runner: Runner, shelf: Shelf) -> None:
    """Add the endpoints, inside the ``with gr.Blocks`` of the caller."""
    api = Api(runner, shelf)
    for name in ("answer", "compare"):
        gr.api(getattr(api, f"api_{name}"), api_name=name, **MODEL)
    gr.api(api.api_trace, api_name="trace", concurrency_id="pictures")


class Api:
    """Answer the endpoints; raise ``gr.Error`` with one sentence for what they cannot do."""

    def __init__(self, runner: Runner, shelf: Shelf) -> None:
        self._runner, self._shelf = runner, shelf

    def api_answer(
        self,
        video: dict,
        question: str,
        method: str = "stc@0.02",
        frames: int = 0,
        baseline: bool = False,
        request: gr.Request = None,
    ) -> dict:
        """Ask one question about one video.

        Parameters
        ----------
        video
            What ``gradio_client.handle_file`` gives.
        question
            Plain text.
        method
            Name and retention ratio, more options behind commas: ``stc@0.02,keep_inside=1``.
        frames
            To sample; 0: as many as the model was trained on.
        baseline
            Also run uncompressed.

        Returns
        -------
        dict
            "answer", "logprob", "method", "tokens" {"full", "llm", "end"}, "costs", "uncompressed"
            (answer, logprob and costs of that run, else None) and "key" of the trace.
        """
        try:
            return self._ask(_origin(video, question, frames), method, baseline, request)
        except Exception as error:
            raise _error(error) from error

    def api_compare(
        self,
        video: dict,
        question: str,
        methods: list[str],
        frames: int = 0,
        request: gr.Request = None,
    ) -> list[dict]:
        """Ask the same with several methods, the first beside the uncompressed run.

        Returns what ``api_answer`` does, for each of ``methods`` in their order.
        """
        try:
            if not isinstance(methods, list) or not 1 <= len(methods) <= MOST_METHODS:
                raise InputError(f"methods must be a list of 1 to {MOST_METHODS}, as stc@0.02")
            for method in methods:
                read_short(method)  # before the first of them runs
            origin = _origin(video, question, frames)
            return [
                self._ask(origin, text, place == 0, request) for place, text in enumerate(methods)
            ]
        except Exception as error:
            raise _error(error) from error

    def api_trace(self, key: str) -> dict:
        """Return the trace file of a key that ``/answer`` gave; ``Trace.load`` reads it."""
        path = self._shelf.find(key)
        if path is None:
            raise gr.Error("There is no trace of that key here; ask the question again.")
        return gr.FileData(path=str(path), orig_name=f"{key}.npz").model_dump()

    def _ask(self, origin: Origin, method: str, baseline: bool, request: gr.Request | None) -> dict:
        asked, visitor = str(read_short(method)), name_of(request)
        owner = f"{visitor} api {uuid.uuid4()}"
        run = rerun(self._runner, owner, origin, asked, baseline=bool(baseline))
        for news in run:
            if not isinstance(news, Step):
                break
        trace = news.trace
        home = self._shelf.put(trace, visitor=visitor)
        remember(home, Origin(origin.video, origin.question, origin.frames, asked))
        tokens = dict(zip(("full", "llm", "end"), trace.alive(), strict=False))
        return {
            "answer": trace.answer,
            "logprob": trace.logprob,
            "method": trace.method,
            "tokens": {"end": tokens["llm"], **tokens},
            "costs": trace.costs,
            "uncompressed": {name: trace.baseline[name] for name in ("answer", "logprob", "costs")}
            if trace.baseline
            else None,
            "key": home.parent.name,
        }


def _origin(video: object, question: object, frames: object) -> Origin:
    text = question.strip() if isinstance(question, str) else ""
    if not text or len(text) > LONGEST:
        raise InputError(f"the question must be a text of 1 to {LONGEST} characters")
    checked_text(text, "the question", LONGEST)
    if isinstance(frames, bool) or not isinstance(frames, int) or not 0 <= frames <= MOST_FRAMES:
        raise InputError(f"frames must be a whole number from 0, the model's own, to {MOST_FRAMES}")
    return Origin(str(_uploaded(video)), text, frames or None)


def _uploaded(video: object) -> Path:
    """The file, where it is one that was uploaded: a script may name any path of this machine."""
    given = video.get("path") if isinstance(video, dict) else None
    home = Path(get_upload_folder()).resolve()
    path = Path(given).resolve() if isinstance(given, str) and "\0" not in given else home
    if not (path.is_relative_to(home) and path.is_file()):
        raise InputError("the video must be an uploaded file; pass gradio_client.handle_file(path)")
    if path.stat().st_size > BIGGEST:
        raise InputError(f"the video has more than {BIGGEST >> 20} MiB; send a smaller one")
    return path


def _error(error: Exception) -> gr.Error:
    if isinstance(error, Stopped):
        return gr.Error("The run was stopped.", print_exception=False)
    return gr.Error(str(failure(error)), print_exception=False)
