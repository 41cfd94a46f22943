"""Requests at the gate of a small Gradio page: sizes, uploads, places, faults."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import httpx
import pytest
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from viz.page import gate as gate_module
from viz.page.gate import Gate, waiting_in
from viz.server import uploads as uploads_module
from viz.server.hosts import Hosts
from viz.server.quota import Limits
from viz.server.runner import FULL
from viz.server.uploads import Uploads, paths_in

SMALL = Limits(own_things=3, own_bytes=300_000, things=5, bytes=1 << 20)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """(address, Uploads, events of the page that may go on) of a page behind a gate."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    go = threading.Event()

    def slow(text: str) -> str:
        go.wait(30)
        return text

    with gr.Blocks(analytics_enabled=False) as demo:
        gr.api(slow, api_name="slow", concurrency_limit=1)
    uploads = Uploads(folder, SMALL, reserve=1)
    demo.queue(max_size=200)
    gate = Middleware(Gate, hosts=Hosts("127.0.0.1"), uploads=uploads, waiting=waiting_in(demo))
    _, url, _ = demo.launch(
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        server_name="127.0.0.1",
        max_file_size=200_000,
        app_kwargs={"middleware": [gate]},
    )
    yield url.rstrip("/"), uploads, go
    go.set()
    demo.close()


def upload(url: str, *contents: bytes, **headers) -> httpx.Response:
    files = [("files", (f"{n}.mp4", content)) for n, content in enumerate(contents)]
    return httpx.post(f"{url}/gradio_api/upload", files=files, headers=headers, timeout=60)


def kept(uploads: Uploads) -> list[Path]:
    return [path for path in uploads.folder.rglob("*.mp4") if path.is_file()]


def test_other_names_and_other_websites_are_refused(page):
    url, uploads, _ = page
    assert httpx.get(url, headers={"Host": "evil.com"}).status_code == 421
    assert upload(url, b"x", Origin="http://evil.com").status_code == 403
    assert upload(url, b"x", Origin="null").status_code == 403
    assert kept(uploads) == []
    assert upload(url, b"x", Origin=url).status_code == 200
    assert httpx.get(url).status_code == 200


def test_ones_oldest_upload_makes_room(page):
    url, uploads, _ = page
    paths = []
    for number in range(5):
        answer = upload(url, bytes([number]) * 1000)
        assert answer.status_code == 200
        paths += answer.json()
    assert [Path(path).is_file() for path in paths] == [False, False, True, True, True]
    big = [upload(url, bytes([9, number]) * 90_000).json()[0] for number in range(2)]
    assert [Path(path).is_file() for path in (*paths, *big)] == [False] * 5 + [False, True]
    assert upload(url, bytes([9, 1]) * 90_000).json() == [big[1]]  # the same one counts once
    assert Path(big[1]).is_file()


def test_many_files_in_one_request_do_not_pass_the_limit(page):
    url, uploads, _ = page
    assert upload(url, *(bytes([n]) * 10 for n in range(50))).status_code == 200
    assert len(kept(uploads)) == SMALL.own_things


def test_what_is_too_large_is_refused_in_a_sentence(page, monkeypatch):
    url, uploads, _ = page
    answer = upload(url, b"x" * 250_000)  # Gradio's own limit, and nothing is left of it
    assert answer.status_code == 413 and kept(uploads) == []
    answer = upload(url, b"x" * 400_000)
    assert answer.status_code == 413 and answer.text.endswith("they have ended.")
    monkeypatch.setattr(uploads_module, "LARGEST", 1000)
    answer = upload(url, b"x" * 2000)
    assert answer.status_code == 413 and "send a smaller one." in answer.text
    assert list(uploads.folder.glob("tmp*")) == [] and uploads._coming.total() == 0

    def chunks():
        yield b"x"

    assert httpx.post(f"{url}/gradio_api/upload", content=chunks()).status_code == 411
    body = httpx.post(f"{url}/gradio_api/queue/join", content=b" " * (9 << 20), timeout=60)
    assert body.status_code == 413 and "8 MiB" in body.json()["detail"]


def test_a_broken_upload_leaves_nothing(page):
    import socket

    url, uploads, _ = page
    host, port = url.removeprefix("http://").split(":")
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: "
        'form-data; name="files"; filename="a.mp4"\r\n\r\n'
    )
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + b"x" * 50_000)
        wait(lambda: list(uploads.folder.glob("tmp*")))
        assert uploads._coming.total() == 1
    wait(lambda: not uploads._coming.total())
    assert list(uploads.folder.glob("tmp*")) == [] and kept(uploads) == []


def wait(condition) -> None:
    patience = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.02)


@contextmanager
def full_disk(monkeypatch):
    """A disk without room, for whoever writes an upload to it."""
    from gradio.route_utils import GradioUploadFile

    async def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/secret/tmp1")

    with monkeypatch.context() as patch:
        patch.setattr(GradioUploadFile, "write", write)
        yield


def test_a_full_disk_is_one_sentence_without_a_path(page, monkeypatch):
    url, uploads, _ = page
    with full_disk(monkeypatch):
        answer = upload(url, b"x" * 1000)
    assert (answer.status_code, answer.text) == (507, FULL)
    assert list(uploads.folder.glob("tmp*")) == []
    uploads.reserve = shutil.disk_usage(uploads.folder).total
    answer = upload(url, b"x" * 1000)
    assert (answer.status_code, answer.text) == (507, FULL)


def test_a_fault_has_a_number_that_is_in_the_log(page, monkeypatch, caplog):
    url, _, _ = page
    from gradio.route_utils import GradioUploadFile

    async def write(self, data):
        return list(zip([1], [1, 2], strict=True))

    monkeypatch.setattr(GradioUploadFile, "write", write)
    answer = upload(url, b"x")
    number = answer.text.rstrip(".").split()[-1]
    assert answer.status_code == 500 and "zip" not in answer.text
    assert number in caplog.text and "zip()" in caplog.text


def test_nobody_takes_all_places_of_the_queue(page, monkeypatch):
    url, _, go = page
    monkeypatch.setattr(gate_module, "EVENTS", 5)

    def join(session: str) -> httpx.Response:
        body = {"data": ["x"], "fn_index": 0, "session_hash": session}
        return httpx.post(f"{url}/gradio_api/queue/join", json=body, timeout=30)

    answers = [join("greedy").status_code for _ in range(8)]
    assert answers.count(200) in (5, 6) and answers[-1] == 503  # one of them runs already
    assert "wait until some of it is done" in join("greedy").json()["detail"]
    assert join("another").status_code == 200
    go.set()


@pytest.mark.parametrize("body", [b"[1", b"{}", b'["a", 1]', b"null", json.dumps([1]).encode()])
def test_an_answer_that_lists_no_paths(body):
    assert paths_in(body) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "5", "Transfer-Encoding": "chunked"},
        {"Content-Length": "0" * 20 + str(400_000)},
    ],
)
def test_the_length_that_is_announced_is_the_one_that_counts(tmp_path, headers):
    """Straight to the gate: some servers pass such requests on and some refuse them."""
    reached, sent = [], []

    async def app(scope, receive, send):
        reached.append(scope)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/gradio_api/upload",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        + [(b"host", b"127.0.0.1")],
    }
    gate = Gate(app, Hosts("127.0.0.1"), Uploads(tmp_path, SMALL, reserve=1))
    asyncio.run(gate(scope, receive, send))
    assert reached == [] and sent[0]["status"] in (411, 413)


def test_who_goes_away_during_an_upload_is_no_fault_of_the_page(tmp_path, caplog):
    async def app(scope, receive, send):
        raise ClientDisconnect

    uploads = Uploads(tmp_path, SMALL, reserve=1)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/gradio_api/upload",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"5")],
    }
    asyncio.run(Gate(app, Hosts("127.0.0.1"), uploads)(scope, None, None))
    assert not caplog.records and uploads._coming.total() == 0


@pytest.mark.parametrize(
    ("origin", "reached"), [(b"http://evil.com", 0), (b"http://127.0.0.1", 1), (None, 1)]
)
def test_a_websocket_of_another_website_is_closed(tmp_path, origin, reached):
    calls, sent = [], []

    async def app(scope, receive, send):
        calls.append(scope)

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1")] + ([] if origin is None else [(b"origin", origin)])
    gate = Gate(app, Hosts("127.0.0.1"), Uploads(tmp_path, SMALL, reserve=1))
    asyncio.run(gate({"type": "websocket", "path": "/x", "headers": headers}, None, send))
    assert len(calls) == reached
    assert [message["type"] for message in sent] == ["websocket.close"] * (1 - reached)
