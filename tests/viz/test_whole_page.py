"""The whole page, built as ``app.py`` builds it: its endpoints, its faults, its visitors."""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from pathlib import Path

import httpx
import pytest
from browser import PATIENCE, chromium  # noqa: F401
from gradio_client import Client, handle_file

import app
from stc_core.answering import accounting
from viz.server import uploads
from viz.server.job import BIGGEST

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "assets" / "clips" / "two-on-waves.mp4"
QUESTION = "what flashed?"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(address, demo) of the page."""
    served = tmp_path_factory.mktemp("whole")
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(served)
    args = app.arguments(["--device", "cpu"])
    parts = app.parts(args, served)
    demo = app.page(args, parts)
    how = app.settings(args, served, demo, parts) | {"prevent_thread_lock": True, "quiet": True}
    _, url, _ = demo.launch(**how)
    yield url.rstrip("/"), demo
    demo.close()
    if before is None:
        del os.environ["GRADIO_TEMP_DIR"]
    else:
        os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture(scope="module")
def client(whole):
    return Client(whole[0], verbose=False)


def test_the_endpoints_are_the_documented_ones(whole, client):
    api = client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == {"/answer", "/compare", "/trace"}
    assert api["unnamed_endpoints"] == {}
    names = [one["parameter_name"] for one in api["named_endpoints"]["/answer"]["parameters"]]
    assert names == ["video", "question", "method", "frames", "baseline"]
    public = [fn.api_name for fn in whole[1].fns.values() if fn.api_visibility != "private"]
    assert sorted(public) == ["answer", "compare", "trace"]


def test_answer_answers(client):
    said = client.predict(handle_file(CLIP), QUESTION, "stc@0.1", 4, api_name="/answer")
    assert said["method"].startswith("STC(retention=0.1") and said["answer"]
    assert Path(client.predict(said["key"], api_name="/trace")).stat().st_size > 1000


HALVES = ["what \ud800 color?", "\udfff", "a\udcffb"]


@pytest.mark.parametrize("text", HALVES)
def test_half_a_character_is_refused_and_the_stream_goes_on(whole, text):
    """Sent as JSON can: the very session that sent it is told, and may ask again."""
    url, demo = whole
    number = next(n for n, fn in demo.fns.items() if fn.api_name == "answer")
    video = httpx.post(
        f"{url}/gradio_api/upload", files={"files": ("c.mp4", CLIP.read_bytes())}
    ).json()[0]
    sent = {"path": video, "meta": {"_type": "gradio.FileData"}}
    session = uuid.uuid4().hex[:10]
    for given, words in (
        ([sent, text, "stc@0.1", 2, False], "not valid Unicode"),
        ([sent, QUESTION, f"stc{text}", 2, False], "no method"),
        ([sent, QUESTION, "stc@0.1", 2, False], '"success": true'),
    ):
        assert words in ended(url, number, given, session)


def ended(url: str, number: int, data: list, session: str) -> str:
    """The last news of an event, as the browser gets it."""
    body = json.dumps({"data": data, "fn_index": number, "session_hash": session}).encode()
    joined = httpx.post(
        f"{url}/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"}
    )
    assert joined.status_code == 200, joined.text
    stream = f"{url}/gradio_api/queue/data?session_hash={session}"
    with httpx.stream("GET", stream, timeout=PATIENCE / 1000) as lines:
        for line in lines.iter_lines():
            if not line.startswith("data: "):
                continue
            news = json.loads(line.removeprefix("data: "))
            if news["msg"] == "process_completed":
                return json.dumps(news)
    raise AssertionError("the stream broke off")


def test_no_event_of_the_page_breaks_on_half_a_character(whole):
    """Every event that a browser can start: such text in all of its places, then in one of them."""
    url, demo = whole
    values = {part["id"]: part["props"].get("value") for part in demo.config["components"]}
    broken = []
    for number, fn in demo.fns.items():
        if fn.fn is None:  # in the browser alone
            continue
        usual = [values.get(part._id) for part in fn.inputs]
        sent = [["\ud800"] * len(usual)]
        sent += [[*usual[:n], "\ud800", *usual[n + 1 :]] for n in range(len(usual))]
        for place, data in enumerate(sent):
            session = f"halves {number} {place}"
            body = {
                "data": data,
                "fn_index": number,
                "session_hash": session,
                "trigger_id": None,
                "event_data": {"id": "\ud800", "key": "\udfff", "table": "\ud800", "index": 0},
            }
            where = "queue/join" if fn.queue is not False else "run/predict"
            answer = httpx.post(
                f"{url}/gradio_api/{where}",
                content=json.dumps(body).encode(),
                timeout=60,
                headers={"Content-Type": "application/json"},
            )
            if where == "run/predict":
                json.loads(answer.content)
            elif not finished(session, url, answer.json()["event_id"]):
                broken.append((fn.name, place))
    assert broken == []


def finished(session: str, url: str, event: str) -> bool:
    """Whether the news of an event come to its end."""
    stream = f"{url}/gradio_api/queue/data?session_hash={session}"
    try:
        with httpx.stream("GET", stream, timeout=60) as lines:
            for line in lines.iter_lines():
                news = json.loads(line.removeprefix("data: ") or "{}")
                if news.get("msg") == "process_completed" and news["event_id"] == event:
                    return True
                if news.get("msg") in ("unexpected_error", "close_stream"):
                    return False
    except httpx.HTTPError:
        pass
    return False


# --- faults ---------------------------------------------------------------------------------------


def planted(*given, **named):
    """A programming error, as deep as one can be: lists that ought to be of the same length."""
    return list(zip([1, 2], [1], strict=True))


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.ERROR, "viz.server.runner")
    return caplog


def test_a_fault_of_the_program_is_not_called_the_users(client, monkeypatch, log):
    monkeypatch.setattr(accounting, "kv_cache_bytes", planted)
    with pytest.raises(Exception, match="Something broke here") as caught:
        client.predict(handle_file(CLIP), QUESTION, "stc@0.1", 2, api_name="/answer")
    number = str(caught.value).rstrip(".").split()[-1]
    assert "zip" not in str(caught.value)
    assert number in log.text and "zip() argument" in log.text and "in planted" in log.text


def test_a_fault_on_the_page_has_a_number_that_is_in_the_log(chromium, whole, monkeypatch, log):  # noqa: F811
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    try:
        page.goto(whole[0])
        page.wait_for_function("window.__tokenview?.ready")
        page.locator("#examples .gallery-item").first.click()
        with monkeypatch.context() as patch:
            patch.setattr(accounting, "kv_cache_bytes", planted)
            page.click("#run")
            page.locator("#status .error").wait_for()
        words = page.locator("#status .error").inner_text()
        assert "Something broke here" in words and "zip" not in words
        assert words.rstrip(".").split()[-1] in log.text and "zip() argument" in log.text
        page.click("#run")  # and it goes on
        page.locator("#status .done").wait_for()
    finally:
        page.close()


# --- uploads that are refused ---------------------------------------------------------------------


def test_the_page_says_why_an_upload_came_to_nothing(chromium, whole, monkeypatch, tmp_path):  # noqa: F811
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    clip, said = page.locator("#clip-upload input"), page.locator("#status .error")
    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as file:
        file.truncate(BIGGEST + 1)  # takes no room
    try:
        page.goto(whole[0])
        page.wait_for_function("window.__tokenview?.ready")
        clip.set_input_files(huge)
        said.filter(has_text="more than 500 MiB").wait_for()
        assert page.locator("#clip video").count() == 0
        page.locator("#examples .gallery-item").first.click()
        page.locator("#clip video").wait_for()
        with monkeypatch.context() as patch:
            patch.setattr(uploads, "LARGEST", 1000)
            clip.set_input_files(CLIP)
            said.filter(has_text="500 MiB; send a smaller one.").wait_for()
        page.locator("#examples .gallery-item").first.click()
        other = tmp_path / "other.mp4"  # and then one that is not refused
        other.write_bytes(CLIP.read_bytes())
        clip.set_input_files(other)
        page.wait_for_function(
            "name => document.querySelector('#clip video')?.src.endsWith(name)", arg=other.name
        )
    finally:
        page.close()


# --- visitors -------------------------------------------------------------------------------------


def test_a_short_run_does_not_wait_behind_all_of_anothers(whole):
    """One visitor asks four times and more; the other's run comes second, not last."""
    many, one = Client(whole[0], verbose=False), Client(whole[0], verbose=False)
    order, lock = [], threading.Lock()

    def note(name):
        def done(*_):
            with lock:
                order.append(name)

        return done

    def ask(client, name, frames):
        return client.submit(
            handle_file(CLIP),
            QUESTION,
            "stc@0.1",
            frames,
            api_name="/answer",
            result_callbacks=note(name),
        )

    jobs = [ask(many, f"many {number}", 64) for number in range(4)]
    extra = [ask(many, "too many", 64) for _ in range(2)]
    short = ask(one, "one", 2)
    assert short.result(timeout=300)["answer"]
    refused = [job.exception(timeout=300) for job in extra + jobs]
    refused = [str(error) for error in refused if error is not None]
    assert len(refused) == 2 and all("runs waiting or under way" in words for words in refused)
    assert order.index("one") <= 2, order
