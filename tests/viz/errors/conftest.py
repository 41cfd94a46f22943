"""Fixtures of the error table in a browser.

A test file has one of its own, ``answers``: the lines of the result file that the page opens on.
"""

from __future__ import annotations

from urllib.parse import urlparse

import pytest
from browser import PATIENCE, chromium  # noqa: F401
from made_up import write
from table_page import Served


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Gradio's temporary directory."""
    with pytest.MonkeyPatch.context() as patch:
        made = tmp_path_factory.mktemp("gradio")
        patch.setenv("GRADIO_TEMP_DIR", str(made))
        yield made


@pytest.fixture(scope="module")
def served(folder, tmp_path_factory, answers):
    results = tmp_path_factory.mktemp("results")
    write(results / "results.jsonl", answers)
    page = Served(folder, results)
    yield page
    page.demo.close()


@pytest.fixture
def open_page(chromium, served):  # noqa: F811
    """A function that opens the page and waits for the table."""
    pages = []

    def open_one(
        url: str = served.url, width: int = 1280, height: int = 800, theme="light", **more
    ):
        context = chromium.new_context(viewport={"width": width, "height": height}, **more)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.complaints, page.outside = [], []
        pages.append(page)

        def guard(route):
            host = urlparse(route.request.url).hostname
            if host in ("127.0.0.1", "localhost", None):
                route.continue_()
            else:
                page.outside.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        context.add_init_script("window.alerts = 0; window.alert = () => { window.alerts += 1 };")
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: said.type == "error" and page.complaints.append(said.text),
        )
        page.goto(f"{url}?__theme={theme}")
        page.locator("#errors-table .errors").wait_for()
        if url == served.url:
            page.locator(".rows [role=row]").first.wait_for()
        return page

    served.opened.clear()
    yield open_one
    for page in pages:
        alerts = page.evaluate("window.alerts")
        page.context.close()
        assert page.complaints == [] and page.outside == [] and alerts == 0
