"""The browser that the tests of the page share."""

from __future__ import annotations

import os
import shutil

import pytest

PATIENCE = 120_000  # milliseconds: the machine may be busy with other work
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")  # every module that imports it has its own: no two may live at once
def chromium():
    """Headless Chromium; tests are skipped where there is none, except in CI."""
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on PATH: in CI the page must be tested")
        pytest.skip("no Chromium on PATH")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
