"""Settings of the page that come from the environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from helpers.process import first_answer, free_port, started

import app
from viz.environment import GRADIOS, PREFIX, reach_itself, variable

ROOT = Path(__file__).resolve().parents[1]
HOSTING = (ROOT / "docs" / "hosting.md").read_text("utf-8")
VALUES = {
    "model": ("org/name", "org/name"),
    "allow": ("a/b, c/d", ["a/b", "c/d"]),
    "device": ("cuda:1", "cuda:1"),
    "dtype": ("float16", "float16"),
    "quantization": ("4bit", "4bit"),
    "adapter": ("org/lora", "org/lora"),
    "frame_pixels": ("602112", 602112),
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("8001", 8001),
    "share": ("true", True),
    "allow_host": ("video.example.org,b.example.org", ["video.example.org", "b.example.org"]),
    "auth": ("me:se:cret ", ("me", "se:cret ")),
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in (*GRADIOS.values(), *(name for name in os.environ if name.startswith(PREFIX))):
        monkeypatch.delenv(name, raising=False)


def test_every_option_can_come_from_the_environment(monkeypatch):
    assert set(VALUES) == set(vars(app.arguments([])))
    for option, (text, _) in VALUES.items():
        monkeypatch.setenv(variable(option), text)
    assert vars(app.arguments([])) == {option: value for option, (_, value) in VALUES.items()}
    for option in VALUES:
        assert f"`{variable(option)}`" in HOSTING


def test_the_command_line_goes_first_and_lists_add_up(monkeypatch):
    monkeypatch.setenv("STC_APP_MODEL", "one")
    monkeypatch.setenv("STC_APP_ALLOW", "a")
    monkeypatch.setenv("STC_APP_SHARE", "0")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    args = app.arguments(["--model", "two", "--allow", "b", "--host", "localhost"])
    assert (args.model, args.allow, args.share, args.host) == (
        "two",
        ["a", "b"],
        False,
        "localhost",
    )


def test_empty_variables_count_as_unset(monkeypatch):
    plain = vars(app.arguments([]))
    for option in VALUES:
        monkeypatch.setenv(variable(option), " " if option != "auth" else "")
    assert vars(app.arguments([])) == plain and plain["host"] == "127.0.0.1"
    assert not set(GRADIOS.values()) & set(os.environ)  # Gradio would open to all, or break


def test_an_open_host_of_the_environment_is_warned_about(monkeypatch, capsys):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    app.warn(app.arguments([]))
    assert "anybody who reaches this page through the host 0.0.0.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("GRADIO_SERVER_PORT", "many", "GRADIO_SERVER_PORT must be a whole number"),
        ("GRADIO_SERVER_PORT", "0", "take a number from 1 to 65535"),
        ("GRADIO_SERVER_PORT", "70000", "take a number from 1 to 65535"),
        ("STC_APP_FRAME_PIXELS", "1e5", "STC_APP_FRAME_PIXELS must be a whole number"),
        ("STC_APP_SHARE", "maybe", "STC_APP_SHARE must be 1 or 0"),
        ("STC_APP_QUANTIZATION", "3bit", "STC_APP_QUANTIZATION must be one of 4bit, 8bit"),
        ("STC_APP_AUTH", "hunter2", "written as user:password"),
        ("STC_APP_AUHT", "me:hunter2", "there is no setting STC_APP_AUHT"),
    ],
)
def test_a_wrong_value_is_one_sentence(name, value, sentence):
    ended = subprocess.run(
        [sys.executable, "app.py", "--device", "cpu"],
        cwd=ROOT, env={**os.environ, name: value}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = " ".join(ended.stderr.partition("error: ")[2].split())
    assert ended.returncode == 2 and sentence in said and "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr and not re.search(r"[.;] [A-Z]", said)


def test_the_gate_holds_on_a_host_of_the_environment(tmp_path):
    port = free_port()
    asked = {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port)}
    more = {"STC_APP_AUTH": "me:secret", "STC_APP_ALLOW_HOST": "video.example.org"}
    log = tmp_path / "log.txt"
    env = os.environ | {"TMPDIR": str(tmp_path)} | asked | more
    with started([sys.executable, "app.py"], ROOT, env, log) as process:
        url = f"http://127.0.0.1:{port}"
        first_answer(url, process, log)
        assert "served through the host 0.0.0.0 without TLS" in log.read_text()
        for host, status in (("video.example.org", 200), ("10.1.2.3", 200), ("evil.com", 421)):
            assert httpx.get(url, headers={"Host": host}).status_code == status
        assert httpx.get(f"{url}/gradio_api/info").status_code == 401


def test_the_page_starts_behind_a_proxy(tmp_path):
    """As in many institutes: the proxy of the environment knows nothing of this machine."""
    port, log = free_port(), tmp_path / "log.txt"
    proxy = dict.fromkeys(("http_proxy", "HTTPS_PROXY", "all_proxy"), "http://127.0.0.1:9")
    env = os.environ | {"TMPDIR": str(tmp_path), "NO_PROXY": "example.org"} | proxy
    env.pop("no_proxy", None)
    with started([sys.executable, "app.py", "--port", str(port)], ROOT, env, log) as process:
        first_answer(f"http://127.0.0.1:{port}", process, log)


def test_a_socks_proxy_without_its_package_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    monkeypatch.setattr("stc_core.proxies.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        app.main([])
    assert ended.value.code == 2 and "pip install socksio" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "added"), [("127.0.0.1", ""), ("10.1.2.3", ",10.1.2.3")])
def test_this_machine_is_exempt_from_proxies_beside_those_that_were(host, added):
    for given, before in [({}, ""), ({"NO_PROXY": "a,b"}, "a,b,"), ({"no_proxy": "*"}, "*,")]:
        environment = dict(given)
        reach_itself(host, environment)
        assert environment == given | {"no_proxy": f"{before}localhost,127.0.0.1{added}"}


def test_a_first_page_that_takes_long_ends_nothing(tmp_path):
    """On a busy machine Gradio's own look at the page gives up, and would end the program."""
    port, log = free_port(), tmp_path / "log.txt"
    busy = "import gradio.networking as n; n.url_ok = lambda url: False; from viz.app import main"
    command = [sys.executable, "-c", f"{busy}; main()", "--port", str(port)]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with started(command, ROOT, env, log) as process:
        first_answer(f"http://127.0.0.1:{port}", process, log)
        time.sleep(3)
        assert process.poll() is None
