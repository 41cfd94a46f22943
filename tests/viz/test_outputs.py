"""Every event gives each component its own value: the real page's events over HTTP."""

from __future__ import annotations

import inspect
import json
import time
import uuid
import warnings
from pathlib import Path

import gradio as gr
import httpx
import pytest
from browser import PATIENCE
from gradio_client.utils import apply_diff

import app
from stc_core import Trace
from viz.page import cards
from viz.page.inspect_tab import ORDER
from viz.server.origin import about, recall

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "assets" / "clips" / "two-on-waves.mp4"
QUESTION = "what flashed?"
VIEWS = {"answers", "workspace", "costs", "notes", "run-line", "figures"}
LINE = {"status", "run", "cancel"}
ASKED = {"clip", "question", "suggestions"}
EVERY = {"frames", "method", "model", "retention"}  # settings that each method has
SETTINGS = EVERY | {"tau", "cluster-ratio", "layer", "keep-inside", "lambda"}
UNCHANGED = {"__type__": "update"}


class Visitor:
    """A session on the page, which starts its events over HTTP."""

    def __init__(self, url: str, demo: gr.Blocks, folder: Path) -> None:
        self.url, self.demo, self.folder = url, demo, folder
        self.session = uuid.uuid4().hex[:10]

    def event(self, elem_id: str, event: str, *, shows: str = ""):
        """The function behind the event of a component, of several the one that ``shows`` this."""
        (found,) = [
            fn
            for fn in self.demo.fns.values()
            if fn.fn is not None
            for block, name in fn.targets
            if name == event
            and self._elem_id(block) == elem_id
            and (not shows or shows in [part.elem_id for part in fn.outputs])
        ]
        return found

    def after(self, first):
        """The function that runs when another has ended."""
        (found,) = [fn for fn in self.demo.fns.values() if fn.trigger_after == first._id and fn.fn]
        return found

    def send(self, fn, *given, **event_data) -> list[dict]:
        """Start an event; {elem_id: value} of what changes, for each of its news."""
        body = {
            "data": list(given),
            "fn_index": fn._id,
            "session_hash": self.session,
            "trigger_id": None,
            "event_data": event_data or None,
        }
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            many = self._direct(body) if fn.queue is False else self._queued(body)
        assert not [str(one.message) for one in told if "output values" in str(one.message)]
        names = [block.elem_id or type(block).__name__.lower() for block in fn.outputs]
        return [
            {
                name: value
                for name, value in zip(names, values, strict=True)
                if value not in (UNCHANGED, UNCHANGED | {"props": UNCHANGED})
            }
            for values in many
        ]

    def trace(self, key: str) -> Trace:
        path = self.folder / "shelf" / key / "trace.npz"
        patience = time.monotonic() + 20
        while not path.is_file() and time.monotonic() < patience:
            time.sleep(0.05)  # where settings are followed, the file comes after the views
        return Trace.load(path)

    def upload(self, path: Path) -> dict:
        files = {"files": (path.name, path.read_bytes())}
        there = httpx.post(f"{self.url}/gradio_api/upload", files=files).json()[0]
        return {"path": there, "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    def _elem_id(self, block: int | None) -> str | None:
        return getattr(self.demo.blocks.get(block), "elem_id", None)

    def _direct(self, body: dict) -> list[list]:
        answer = httpx.post(f"{self.url}/gradio_api/run/predict", json=body, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return [answer.json()["data"]]

    def _queued(self, body: dict) -> list[list]:
        joined = httpx.post(f"{self.url}/gradio_api/queue/join", json=body)
        assert joined.status_code == 200, joined.text
        many: list[list] = []
        stream = f"{self.url}/gradio_api/queue/data?session_hash={self.session}"
        with httpx.stream("GET", stream, timeout=PATIENCE / 1000) as lines:
            for line in lines.iter_lines():
                news = json.loads(line.removeprefix("data: ") or "{}")
                if news.get("msg") == "process_generating":
                    data = news["output"]["data"]
                    if many:  # what differs from the news before
                        data = [apply_diff(*one) for one in zip(many[-1], data, strict=True)]
                    many.append(data)
                if news.get("msg") == "process_completed":
                    assert news["success"], news
                    return many or [news["output"]["data"]]
        raise AssertionError("the stream broke off")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(address, demo, Gradio's temporary directory) of the page as ``app.py`` builds it."""
    served = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(served))
        args = app.arguments(["--device", "cpu"])
        parts = app.parts(args, served)
        demo = app.page(args, parts)
        how = app.settings(args, served, demo, parts) | {"prevent_thread_lock": True, "quiet": True}
        _, url, _ = demo.launch(**how)
        yield url.rstrip("/"), demo, served
        demo.close()


@pytest.fixture
def visitor(page) -> Visitor:
    return Visitor(*page)


def test_no_choice_is_dropped(page):
    """Gradio's mode "once" drops events, and "always_last" what the event itself says."""
    waits = {"load", "then", "appear", "focus"}  # once a page, after another event, or the same
    checked = 0
    for fn in page[1].fns.values():
        targets = [(page[1].blocks.get(block), name) for block, name in fn.targets]
        button = any(isinstance(block, gr.Button) for block, _ in targets)
        if fn.fn is None or not targets or button or {name for _, name in targets} <= waits:
            continue
        hints = inspect.signature(fn.fn, eval_str=True).parameters.values()
        tells = any(
            isinstance(hint.annotation, type) and issubclass(hint.annotation, gr.EventData)
            for hint in hints
        )
        asked = {"multiple"} if tells else {"multiple", "always_last"}
        assert fn.trigger_mode in asked, (targets, fn.fn)
        checked += 1
    assert checked > 25


def shows(visitor: Visitor, news: dict) -> Trace:
    """Check that each view has what is its own; the trace that they show."""
    key = news["workspace"]["key"]
    trace, origin = visitor.trace(key), recall(visitor.folder / "shelf", key)
    assert news["costs"] == cards.costs(trace) and "FLOPs" in news["costs"]
    assert news["notes"] == cards.notes(trace)
    assert news["run-line"] == cards.run_line(trace) and "retention=" in news["run-line"]
    assert news["figures"] == UNCHANGED | {"open": False}
    known = about(origin, {}) if origin and origin.seed is not None else None
    if known is not None:
        assert news["answers"] == cards.answers(trace, known)
    assert cards.escape(trace.answer) in news["answers"]
    return trace


def saved() -> list[Path]:
    return sorted((ROOT / "assets" / "traces").glob("*.npz"))


def fields(visitor: Visitor, fn) -> list:
    """The values of an event's inputs as the page opens."""
    values = {part["id"]: part["props"].get("value") for part in visitor.demo.config["components"]}
    return [values.get(part._id) for part in fn.inputs]


def run_inputs(visitor: Visitor, fn, **changes) -> list:
    """Of Run: ticket, clip, question and the settings."""
    places = {part.elem_id: place for place, part in enumerate(fn.inputs)}
    given = fields(visitor, fn)
    changes = {"clip": visitor.upload(CLIP), "question": QUESTION, "frames": "4"} | changes
    for name, value in changes.items():
        given[places[name]] = value
    return given


def test_the_page_opens_on_a_trace(visitor):
    (first,) = [
        fn
        for fn in visitor.demo.fns.values()
        if fn.fn
        and ("load" in [name for _, name in fn.targets])
        and "answers" in [part.elem_id for part in fn.outputs]
    ]
    (news,) = visitor.send(first)
    assert set(news) == VIEWS | ASKED | SETTINGS
    assert shows(visitor, news).question == Trace.load(saved()[0]).question


def test_a_saved_trace_opens(visitor):
    path = saved()[1]
    (news,) = visitor.send(visitor.event("saved", "input"), path.name)
    assert set(news) == VIEWS | ASKED | SETTINGS | {"status"} and path.name in news["status"]
    assert shows(visitor, news).answer == Trace.load(path).answer


def test_what_cannot_be_opened_changes_the_line_alone(visitor, tmp_path):
    path = tmp_path / "broken.npz"
    path.write_bytes(b"no trace")
    (news,) = visitor.send(visitor.event("trace-upload", "upload"), visitor.upload(path))
    assert set(news) == {"status"} and "error" in news["status"]


def test_a_run_and_what_follows_it(visitor):
    press = visitor.event("run", "click")
    (pressed,) = visitor.send(press)
    ticket = pressed.pop("html")
    assert pressed.pop("live-note") == ""  # it may have said to press Run
    assert set(pressed) == LINE and len(ticket) == 32
    assert (pressed["run"]["interactive"], pressed["cancel"]["interactive"]) == (False, True)

    run = visitor.after(press)
    *before, last = visitor.send(run, *[ticket, *run_inputs(visitor, run)[1:]])
    assert before and all(set(news) - {"answers"} == LINE for news in before)
    assert any("answers" in news for news in before)  # word by word
    assert [before[-1][name]["interactive"] for name in ("run", "cancel")] == [False, False]
    assert set(last) == VIEWS | LINE | {"turns", "live-note"} and "Answered in" in last["status"]
    assert (last["run"]["interactive"], last["cancel"]["interactive"]) == (True, False)
    assert shows(visitor, last).question == QUESTION

    follow = visitor.event("changes", "asked", shows="live-note")
    given = run_inputs(visitor, follow, retention=0.3, live=True, workspace=last["workspace"])
    (said,) = visitor.send(follow, *given)
    assert set(said) == VIEWS | {"live-note"} and "Followed in" in said["live-note"]
    assert "retention=0.3," in shows(visitor, said).method
    given = run_inputs(visitor, follow, question="who?", live=True, workspace=last["workspace"])
    (said,) = visitor.send(follow, *given)
    assert set(said) == {"live-note"} and "press Run" in said["live-note"]

    fold = visitor.event("figures", "expand")
    pictures, files = visitor.send(fold, last["workspace"])
    drawn = {f"picture-{name}": name for name in ORDER}
    for part, name in drawn.items():
        assert Path(pictures[part]["value"]["path"]).name == f"page-{name}.png"
    assert set(files) == set(pictures) - set(drawn) and len(files) == 14
    for name, value in files.items():
        stem, ending = name.rsplit("-", 1)
        path = Path(value["value"]["path"])
        assert path.stem == stem and path.suffix == f".{ending}" and value["interactive"]


def test_bad_input_and_cancel_change_the_line_alone(visitor):
    run = visitor.after(visitor.event("run", "click"))
    (news,) = visitor.send(run, *run_inputs(visitor, run, question=""))
    assert set(news) == LINE and "question is empty" in news["status"]
    cancelled = visitor.after(visitor.event("cancel", "click"))
    (news,) = visitor.send(cancelled, *fields(visitor, cancelled))
    assert set(news) == LINE and "Cancelled" in news["status"]


def test_an_example_fills_its_three_fields(visitor):
    (news,) = visitor.send(visitor.event("examples", "select"), index=1, value=None)
    assert set(news) == {"clip", "question", "suggestions"}
    assert news["suggestions"]["samples"][0] == [news["question"]] and news["clip"]["path"]


def test_an_export_gives_a_file_and_says_so(visitor):
    (shown,) = visitor.send(visitor.event("saved", "input"), saved()[0].name)
    export = visitor.event("export-report", "click")
    first, *_, last = visitor.send(export, shown["workspace"])
    assert set(first) == {"export-status", "export-file"} and not first["export-file"]["visible"]
    assert "report.html is ready" in last["export-status"]
    assert Path(last["export-file"]["value"]["path"]).name == "report.html"
    (news,) = visitor.send(export, None)
    assert set(news) == {"export-status"}


def test_a_case_of_the_error_table_opens(visitor):
    (news,) = visitor.send(visitor.event("errors-table", "appear"))
    assert set(news) == {"errors-status", "errors-table"}
    name = news["errors-table"]["table"]
    table = json.loads((visitor.folder / "tables" / f"{name}.json").read_text())
    asked = {
        table["answers"]["method"][place]
        for place, case in enumerate(table["answers"]["case"])
        if case == 0
    }
    two = [
        place
        for place, method in enumerate(table["methods"])
        if place in asked and not method["uncompressed"]
    ][:2]
    choose = visitor.event("errors-table", "choose")
    *before, last = visitor.send(choose, table=name, question=0, methods=two)
    assert before and all(set(news) == {"errors-status", "status"} for news in before)
    assert set(last) - SETTINGS == VIEWS | ASKED | {"errors-status", "status", "tabs", "case-bar"}
    assert EVERY <= set(last)
    assert "is open on the page Inspect" in last["errors-status"]
    assert last["tabs"]["selected"] == "inspect"
    assert shows(visitor, last).method == table["methods"][two[0]]["repr"]
    (other,) = last["workspace"]["others"]
    assert visitor.trace(other["key"]).method == table["methods"][two[1]]["repr"]

    (news,) = visitor.send(choose, table=name, question=10**6, methods=two)
    assert set(news) == {"errors-status", "status"} and "error" in news["errors-status"]
