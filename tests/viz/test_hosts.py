"""Names that the page answers to, and websites that may not send it anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viz.server.hosts import Hosts, is_loopback

SHARED = "https://0a1b2c.gradio.live"


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("localhost", True), ("LocalHost", True),
     ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False), ("10.0.0.7", False),
     ("gpu7", False), ("", False), ("localhost.evil.com", False)],
)  # fmt: skip
def test_what_is_this_machine_alone(host, alone):
    assert is_loopback(host) == alone


ALONE = (
    "localhost:7860",
    "127.0.0.1:7860",
    "[::1]:7860",
    "localhost",
    "LOCALHOST:7860",
    "localhost.:7860",
    "localhost:8888",
)
BAD = ("", "evil.com", "evil.com:7860", "localhost.evil.com", "127.0.0.1.evil.com:7860", "a b",
       "evil.com@localhost", "localhost/evil.com", "localhost:x", "localhost:7860:1", "[::1",
       "2130706433", "0x7f.1", "localhost#", "localhost?x")  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_names_on_this_machine_alone(method):
    hosts = Hosts("127.0.0.1", ["video.example.org"], lambda: SHARED)
    for host in (*ALONE, "video.example.org", "VIDEO.example.org:8443", "0a1b2c.gradio.live"):
        assert hosts.refusal(method, {"host": host}) is None, host
    for host in (*BAD, "10.0.0.7:7860", "192.168.1.2", "other.gradio.live", "x.video.example.org"):
        status, words = hosts.refusal(method, {"host": host})
        assert status == 421 and "--allow-host" in words, host
    assert Hosts("127.0.0.1").refusal("GET", {})[0] == 421


def test_an_open_host_passes_addresses_and_its_own_names():
    hosts = Hosts("0.0.0.0", ["gpu7.lab"])
    for host in (*ALONE, "10.0.0.7:7860", "[fe80::1]:7860", "gpu7.lab:7860"):
        assert hosts.refusal("GET", {"host": host}) is None, host
    for host in BAD:
        assert hosts.refusal("GET", {"host": host}) is not None, host
    assert Hosts("gpu7").refusal("GET", {"host": "gpu7:7860"}) is None


@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("localhost:7860", None, True),
        ("localhost:7860", "http://localhost:7860", True),
        ("localhost:7860", "http://localhost:8000", False),
        ("localhost:7860", "http://localhost", False),
        ("localhost:7860", "http://127.0.0.1:7860", False),
        ("127.0.0.1:7860", "http://127.0.0.1:7860", True),
        ("127.0.0.1:7860", "http://evil.com", False),
        ("127.0.0.1:7860", "http://evil.com:7860", False),
        ("127.0.0.1:7860", "http://127.0.0.1:7860.evil.com", False),
        ("127.0.0.1:7860", "null", False),
        ("127.0.0.1:7860", "", False),
        ("127.0.0.1:7860", "file://", False),
        ("127.0.0.1:7860", "chrome-extension://127.0.0.1:7860", False),
        ("[::1]:7860", "http://[::1]:7860", True),
        # a proxy with TLS, which hands its own name on or not
        ("video.example.org", "https://video.example.org", True),
        ("video.example.org:443", "https://video.example.org", True),
        ("127.0.0.1:7860", "https://video.example.org", True),
        ("0a1b2c.gradio.live", SHARED, True),
        ("video.example.org", "https://evil.com", False),
    ],
)
def test_only_this_page_may_send(host, origin, passes):
    hosts = Hosts("127.0.0.1", ["video.example.org"], lambda: SHARED)
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    assert (hosts.refusal("POST", headers) is None) == passes
    assert hosts.refusal("GET", headers) is None  # the browser itself keeps answers from others


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_header_is_answered_with_a_sentence_or_passes(host, origin):
    found = Hosts("127.0.0.1").refusal("POST", {"host": host, "origin": origin})
    if found is not None:
        status, words = found
        assert status in (403, 421) and words.endswith(".") and words.isascii()
