"""The app as a process of its own, and tabs of a real browser on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

import pytest
from browser import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Served:
    """The app as a process of its own."""

    url: str
    process: subprocess.Popen
    started: float  # seconds until it listened
    folder: Path  # for what the process writes to temporary directories


@dataclass
class Tab:
    """A page, what it complained about and what it asked of the outside."""

    page: object
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def gradio_import() -> float:
    """Seconds that a process needs now to import Gradio and nothing else: the machine's pace."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)
    return time.perf_counter() - start


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("app")
    log = (folder / "log.txt").open("w")
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        stdout=log,
        stderr=log,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        while time.perf_counter() - start < PATIENCE / 1000:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.05)
        url = f"http://127.0.0.1:{port}/"
        yield Served(url, process, time.perf_counter() - start, folder)
    finally:
        process.terminate()
        process.wait(PATIENCE / 1000)
    assert not list(folder.glob("video-tokens-*")), "the page's files are left behind"


@pytest.fixture
def open_tab(chromium, served):
    """A function that opens the page and waits for the saved trace."""
    tabs: list[Tab] = []

    def open_one(
        width: int = 1280, height: int = 720, theme: str = "light", query: str = "", **how
    ) -> Tab:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **how
        )
        context.set_default_timeout(PATIENCE)
        tab = Tab(context.new_page())
        tabs.append(tab)

        def guard(route):
            host = urlparse(route.request.url).hostname
            if host in ("127.0.0.1", None):
                route.continue_()
            else:
                tab.outside.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        context.add_init_script("window.alerts = 0; window.alert = () => { window.alerts += 1 };")
        tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.page.on(
            "console",
            lambda message: message.type == "error" and tab.errors.append(message.text),
        )
        tab.page.goto(f"{served.url}?__theme={theme}{query}")
        ready(tab)
        return tab

    yield open_one
    for tab in tabs:
        alerts = tab.page.evaluate("window.alerts")
        tab.page.context.close()
        assert tab.errors == [] and tab.outside == [] and alerts == 0


@pytest.fixture
def tab(open_tab) -> Tab:
    return open_tab()


def ready(tab: Tab) -> None:
    """Wait until the workspace shows a trace."""
    tab.page.wait_for_function("window.__tokenview?.ready")
