"""Videos that are named by an address: downloaded within bounds, from public hosts only."""

import contextlib
import ssl
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from clips import write_clip
from typer.testing import CliRunner

from stc_core import STC, InputError, answer, load
from stc_core.__main__ import cli
from stc_core.answering import download
from stc_core.answering.download import downloaded, is_public, is_url

QUESTION = "what color is the star?"


def loopback(address):
    """The check of these tests: their own server counts as public, and nothing else."""
    return address == "127.0.0.1"


class Site(BaseHTTPRequestHandler):
    video = b""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        kind, _, rest = self.path[1:].partition("/")
        getattr(self, kind)(rest)

    def file(self, _, length=True):
        self.send_response(200)
        if length:
            self.send_header("Content-Length", str(len(self.video)))
        self.end_headers()
        self.wfile.write(self.video)

    def endless(self, _):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(bytes(1 << 16))

    def unsized(self, _):
        self.file(_, length=False)

    def short(self, _):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.video) + 5))
        self.end_headers()
        self.wfile.write(self.video)

    def slow(self, _):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
        with contextlib.suppress(OSError):
            for _ in range(600):
                self.wfile.write(b"x")
                time.sleep(0.05)

    def page(self, _):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Film</title>")

    def missing(self, _):
        self.send_error(404)

    def to(self, target):
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()

    def loop(self, _):
        self.to("/loop/x")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    Site.video = write_clip(
        tmp_path_factory.mktemp("c") / "c.mp4", range(0, 2000, 250)
    ).read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads, server.asked = True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def url(site):
    return f"http://127.0.0.1:{site.server_port}"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where downloads go: a folder that must be empty again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def refusal(url, **options):
    options = {"public": loopback} | options
    with pytest.raises(InputError) as refused:
        with downloaded(url, **options):
            pytest.fail("it was downloaded")
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("way", ["file/my film.mp4?x=ö", "unsized/", "to//file/redirected.mp4"])
def test_a_download_is_the_file_and_is_gone_afterwards(way, url, temporary):
    shares = []
    with downloaded(f"{url}/{way}", public=loopback, on_progress=shares.append) as file:
        assert file.read_bytes() == Site.video and temporary in file.parents
        assert file.name == {"f": "my-film.mp4", "u": "video", "t": "redirected.mp4"}[way[0]]
    assert not file.exists()
    assert (shares[-1:] == [1.0]) == (way[0] != "u")


@pytest.mark.parametrize(
    ("way", "options", "words"),
    [
        ("missing/a.mp4", {}, "answers 404 instead of a file"),
        ("loop/", {}, "redirects more than 5 times"),
        ("short/", {}, "broke off after"),
        ("file/", {"max_bytes": 100}, "is larger than the 100 bytes"),
        ("endless/", {"max_bytes": 1 << 20}, "is larger than the 1 MiB"),
        ("slow/", {"max_seconds": 0.5}, "was not downloaded within 0.5 s"),
        ("endless/", {"max_seconds": 0.5, "max_bytes": 1 << 60}, "was not downloaded within 0.5 s"),
        ("to/ftp://a.b/c", {}, "is no http or https address"),
        ("to/file:///etc/passwd", {}, "is no http or https address"),
        ("to/http://me:secret@a.b/c", {}, "neither user nor password"),
    ],
)
def test_what_is_no_download_is_one_sentence(way, options, words, url, temporary):
    began = time.monotonic()
    said = refusal(f"{url}/{way}", **options)
    assert words in said and "secret" not in said
    if "max_seconds" in options:
        assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "wrong",
    ["http://", "http:///x", "http://[::1", "http://a:99999/", "http://a\u2100b..c/", "ftp://a/b"],
)
def test_what_is_no_address_is_one_sentence(wrong, temporary):
    assert "address" in (said := refusal(wrong)) or "must name a host" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1"])
def test_a_host_that_is_not_public_is_not_asked(host, site, temporary):
    before = len(site.asked)
    said = refusal(f"http://{host}:{site.server_port}/file/", public=is_public)
    assert "is not a host of the public internet" in said or "there is no host" in said
    assert len(site.asked) == before


@pytest.mark.parametrize("target", ["127.0.0.2", "169.254.169.254", "10.0.0.1", "[fe80::1]"])
def test_a_redirect_to_a_host_that_is_not_public_is_not_followed(target, site, url, temporary):
    began = time.monotonic()
    said = refusal(f"{url}/to/http://{target}:{site.server_port}/file/")
    assert "is not a host of the public internet" in said or "there is no host" in said
    assert site.asked[-1].startswith("/to/") and time.monotonic() - began < 10


def test_the_connection_goes_to_the_address_that_was_checked(site, temporary, monkeypatch):
    """The name leads elsewhere the second time it is looked up (DNS rebinding)."""
    stock, looked_up = download.socket.getaddrinfo, []

    def answers(host, port, *given, **named):
        if host == "film.example":
            looked_up.append(host)
            host = "127.0.0.1" if len(looked_up) == 1 else "192.0.2.1"
        return stock(host, port, *given, **named)

    monkeypatch.setattr(download.socket, "getaddrinfo", answers)
    with downloaded(f"http://film.example:{site.server_port}/file/", public=loopback) as file:
        assert file.stat().st_size == len(Site.video)
    assert looked_up == ["film.example"]


def test_a_certificate_that_nobody_trusts_is_one_sentence(url, temporary):
    """A server without TLS stands for all that fail before the first byte."""
    said = refusal(url.replace("http:", "https:") + "/file/")
    assert "could not be asked" in said and "check the address" in said
    assert download.ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True), ("127.0.0.1", False), ("0.0.0.0", False), ("::", False),
        ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False), ("100.64.0.1", False),
        ("169.254.169.254", False), ("224.0.0.1", False), ("240.0.0.1", False),
        ("255.255.255.255", False), ("::1", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("ff02::1", False), ("::ffff:127.0.0.1", False), ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("2001:db8::1", False),
        ("192.0.2.1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address, public):
    assert is_public(address) is public


def test_what_counts_as_an_address():
    assert is_url("https://a.b/c.mp4") and is_url("HTTP://a.b")
    assert not any(
        map(is_url, ["ftp://a", "file:///a", "a.mp4", "http:/a", Path("http://a"), None])
    )


def test_an_answer_about_an_address_is_that_about_the_file(url, temporary, monkeypatch):
    monkeypatch.setattr(download, "is_public", loopback)
    vlm, method = load(device="cpu"), STC(retention=0.2)
    given = {"frames": 4, "max_new_tokens": 2}
    found = answer(vlm, f"{url}/file/a.mp4", QUESTION, method, allow_url=True, **given)
    file = temporary / "here.mp4"
    file.write_bytes(Site.video)
    expected = answer(vlm, file, QUESTION, method, **given)
    file.unlink()
    assert (found.text, found.logprob) == (expected.text, expected.logprob)
    assert (found.trace.fate == expected.trace.fate).all()
    with pytest.raises(InputError, match="is an address; download the video"):
        answer(vlm, f"{url}/file/a.mp4", QUESTION, method, **given)
    with pytest.raises(InputError, match="film.*is not a video"):
        answer(vlm, f"{url}/page/film", QUESTION, method, allow_url=True, **given)
    run = CliRunner().invoke(cli, ["answer", f"{url}/file/", QUESTION, "--allow-url", "--frames=4"])
    assert run.exit_code == 0 and run.stdout.strip()


def test_the_command_line_refuses_an_address_that_is_not_public(url, temporary):
    run = CliRunner().invoke(cli, ["answer", f"{url}/file/", QUESTION, "--allow-url"])
    assert run.exit_code == 2 and "is not a host of the public internet" in run.stderr
    assert "Traceback" not in run.stderr
