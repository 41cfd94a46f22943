"""A Space that lends GPUs by the call: the real package, with stand-ins for driver and lender."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from helpers.process import first_answer, free_port, started

from stc_core import STC, InputError, answer, load
from stc_core.answering.streaming import Piece
from viz.page.lent_gpu import LENT, check_spaces, is_lent, told
from viz.server.runner import Failure, Stopped

ROOT = Path(__file__).resolve().parents[1]
MAKE = [sys.executable, str(ROOT / "deploy" / "make_space.py")]
CLIP = ROOT / "assets" / "clips" / "two-on-waves.mp4"
# there is no driver to be opened in the forked process
NO_DRIVER = """
import runpy
import spaces.zero.torch
spaces.zero.torch.init = spaces.zero.torch.move = lambda *given, **named: None
runpy.run_path("app.py", run_name="__main__")
"""


class Lender(BaseHTTPRequestHandler):
    """What a Space's machine answers to ``spaces``; ``calls`` are kept."""

    calls: list[tuple[str, dict[str, list[str]]]]
    spent = False

    def do_POST(self):
        address = urlsplit(self.path)
        self.calls.append((address.path, parse_qs(address.query)))
        body, status = b"", 200
        if address.path == "/schedule":
            lent = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "t"}
            body = json.dumps(lent).encode()
            if self.spent:
                body, status = json.dumps({"left": 0, "wait": "PT60S"}).encode(), 429
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def lender():
    """(address, handler class) of a lender."""
    kind = type("OfThisTest", (Lender,), {"calls": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()


def test_a_space_answers_in_a_process_that_is_lent_a_gpu(tmp_path, lender):
    address, kind = lender
    folder = tmp_path / "space"
    subprocess.run([*MAKE, str(folder)], check=True)
    port, log = free_port(), tmp_path / "log.txt"
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env = kept | {
        "GRADIO_SERVER_PORT": str(port),
        "TMPDIR": str(tmp_path),
        "STC_APP_DEVICE": "cpu",
        LENT: "true",
        "SPACES_ZERO_DEVICE_API_URL": address,
    }
    with started([sys.executable, "-c", NO_DRIVER], folder, env, log) as process:
        url = f"http://127.0.0.1:{port}"
        first_answer(url, process, log)
        assert kind.calls[0][0] == "/startup-report"
        asked = {
            "model": "embedded",
            "messages": [{"role": "user", "content": _content()}],
            "method": "stc@0.1",
            "frames": 4,
        }
        chat = f"{url}/v1/chat/completions"
        for stream in (False, True):
            told = httpx.post(chat, json=asked | {"stream": stream}, timeout=120)
            assert told.status_code == 200, told.text + log.read_text()
            if stream:
                news = [line for line in told.text.splitlines() if line.startswith("data: {")]
                parts = [json.loads(line[6:])["choices"][0]["delta"] for line in news]
                text = "".join(part.get("content", "") for part in parts)
            else:
                text = told.json()["choices"][0]["message"]["content"]
            here = answer(load(), CLIP, "what flashed?", STC(retention=0.1), frames=4)
            assert text == here.text
        lent = [path for path, _ in kind.calls if path != "/startup-report"]
        assert lent[:3] == ["/schedule", "/allow", "/release"] and lent.count("/schedule") == 2
        pids = {int(query["pid"][0]) for path, query in kind.calls if path == "/allow"}
        assert process.pid not in pids
        wrong = httpx.post(chat, json=asked | {"method": "stc@7"}, timeout=120)
        assert wrong.status_code == 400 and "retention" in wrong.text
        kind.spent = True
        refused = httpx.post(chat, json=asked, timeout=120)
        assert refused.status_code >= 400 and "ZeroGPU quota exceeded" in refused.text


def _content() -> list[dict]:
    import base64

    video = base64.b64encode(CLIP.read_bytes()).decode()
    return [
        {"type": "text", "text": "what flashed?"},
        {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{video}"}},
    ]


# --- what goes from one process to the other -----------------------------------------------------


def test_news_of_a_run_can_be_pickled_and_end_with_the_answer():
    vlm = load()

    def ask(progress, on_piece):
        method = STC(retention=0.1)
        return answer(
            vlm, CLIP, "what flashed?", method, frames=4, progress=progress, on_piece=on_piece
        )

    *news, (kind, found) = (pickle.loads(pickle.dumps(one)) for one in told(ask, True))
    assert kind == "answer" and {kind for kind, _ in news} == {"step", "piece"}
    pieces = [value for kind, value in news if kind == "piece"]
    assert all(isinstance(piece, Piece) for piece in pieces)
    assert "".join(piece for piece in pieces if piece.run == "compressed") == found.text
    assert found.trace.question == "what flashed?"


def test_errors_are_told_as_sentences():
    def wrong(progress):
        raise InputError("frames must be from 1")

    def broken(progress):
        raise ZeroDivisionError("a secret")

    ((kind, error),) = told(wrong, False)
    assert kind == "error" and type(error) is InputError and str(error) == "frames must be from 1"
    ((kind, error),) = (pickle.loads(pickle.dumps(one)) for one in told(broken, False))
    assert kind == "error" and type(error) is Failure and "secret" not in str(error)


def test_closing_the_news_ends_the_run():
    ended = threading.Event()

    def long(progress):
        try:
            while True:
                progress("prefill", 0.5)
        except Stopped:
            ended.set()
            raise

    news = told(long, False)
    assert next(news) == ("step", ("prefill", 0.5))
    news.close()
    assert ended.is_set()


# --- where it is on ------------------------------------------------------------------------------


def test_only_such_a_space_lends():
    assert is_lent({LENT: "true"}) and is_lent({LENT: "1"})
    assert not is_lent({}) and not is_lent({LENT: ""}) and not is_lent({LENT: "0"})


def test_a_machine_without_the_package_is_told_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", None)
    with pytest.raises(InputError, match="needs the package spaces"):
        check_spaces()
    (tmp_path / "spaces.py").write_text("raise ImportError('none')\n")
    env = os.environ | {LENT: "1", "PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 2 and "needs the package spaces" in ended.stderr
    assert "Traceback" not in ended.stderr
