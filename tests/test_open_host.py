"""A page that others can reach: warnings, passwords, names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from helpers.process import first_answer, free_port, started

import app

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_password(monkeypatch):
    monkeypatch.delenv(app.AUTH, raising=False)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], ""),
        (["--host", "localhost"], ""),
        (["--host", "::1"], ""),
        (["--host", "0.0.0.0"], "anybody who reaches this page through the host 0.0.0.0"),
        (["--host", "gpu7"], "anybody who reaches this page through the host gpu7"),
        (["--share"], "anybody who reaches this page through a public link"),
        (["--host", "0.0.0.0", "--auth", "me:secret"], "without TLS"),
        (["--share", "--auth", "me:secret"], ""),
    ],
)
def test_whoever_opens_the_page_to_others_is_warned(given, words, capsys):
    app.warn(app.arguments(given))
    said = capsys.readouterr().err
    assert words in said and bool(said) == bool(words) and said.count("\n") <= 1
    assert "secret" not in said


def test_a_password_comes_from_the_environment_and_goes_no_further(monkeypatch):
    monkeypatch.setenv(app.AUTH, "me:se:cret")
    assert app.arguments([]).auth == ("me", "se:cret")
    assert app.AUTH not in os.environ  # processes that this one starts need not know it
    assert app.arguments([]).auth is None
    monkeypatch.setenv(app.AUTH, "")
    assert app.arguments([]).auth is None


@pytest.mark.parametrize("text", ["me", "me:", ":secret", ":"])
def test_half_a_password_is_refused(text, capsys):
    with pytest.raises(SystemExit) as ended:
        app.arguments(["--auth", text])
    assert ended.value.code == 2 and "user:password" in capsys.readouterr().err


@pytest.fixture(scope="module")
def open_page(tmp_path_factory):
    """(address, process, its log) of a page on all addresses, with a password."""
    folder = tmp_path_factory.mktemp("open")
    port, log = free_port(), folder / "log.txt"
    host = ["--host", "0.0.0.0", "--port", str(port), "--allow-host", "video.example.org"]
    env = os.environ | {"TMPDIR": str(folder), app.AUTH: "me:secret"}
    with started([sys.executable, "app.py", *host], ROOT, env, log) as process:
        url = f"http://127.0.0.1:{port}"
        first_answer(url, process, log)
        yield url, process, log


def test_only_who_knows_the_password_gets_in(open_page):
    url, process, log = open_page
    assert "warning: this page is served through the host 0.0.0.0" in log.read_text()
    files = {"files": ("a.mp4", b"x")}
    assert httpx.post(f"{url}/gradio_api/upload", files=files).status_code == 401
    assert httpx.get(f"{url}/gradio_api/info").status_code == 401
    with pytest.raises(Exception, match="(?i)auth|login|credential"):
        Client(url, auth=("me", "wrong"), verbose=False)
    client = Client(url, auth=("me", "secret"), verbose=False)
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {
        "/answer",
        "/compare",
        "/trace",
    }
    line = Path(f"/proc/{process.pid}/cmdline")
    assert not line.exists() or b"secret" not in line.read_bytes()


def test_an_open_page_answers_to_addresses_and_the_names_it_was_given(open_page):
    url, *_ = open_page
    for host, status in (("video.example.org", 200), ("10.1.2.3:80", 200), ("evil.com", 421)):
        assert httpx.get(url, headers={"Host": host}).status_code == status
