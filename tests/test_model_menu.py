"""The menu of models in a browser: another model answers, and the page says what it takes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import PATIENCE, chromium  # noqa: F401
from hub_server import serving

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED = ROOT / "assets" / "model"


@contextmanager
def served(folder: Path, *options: str | Path, **settings: str):
    """The address of the app, run with these options and environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--device", "cpu", *options]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, "TMPDIR": str(folder), **settings},
        )
        try:
            deadline = time.monotonic() + PATIENCE / 1000
            while time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(PATIENCE / 1000)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The app with the embedded model, a copy of it, and one whose weights are missing."""
    folder = tmp_path_factory.mktemp("app")
    for name in ("copied-vlm", "half-vlm"):
        shutil.copytree(EMBEDDED, folder / name)
    (folder / "half-vlm" / "model.safetensors").unlink()
    allowed = [part for name in ("copied-vlm", "half-vlm") for part in ("--allow", folder / name)]
    with served(folder, *allowed) as url:
        yield url


@pytest.fixture
def page(chromium, address):  # noqa: F811
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    page.locator("#run").wait_for()
    yield page
    context.close()


def choose(page, name):
    page.locator("#model input").click()
    page.get_by_role("option", name=name).click()


def ask(page, status):
    from playwright.sync_api import expect

    page.locator("#retention input").fill("0.1")
    page.get_by_label("Also run uncompressed").set_checked(False)
    page.locator("#run").click()
    expect(page.locator("#status")).to_contain_text(re.compile(status), timeout=PATIENCE)


def test_the_menu_offers_what_was_allowed_and_says_what_it_takes(page):
    from playwright.sync_api import expect

    assert page.locator("#model input").input_value() == "embedded"
    page.locator("#model input").click()
    options = page.get_by_role("option")
    expect(options).to_have_count(3)
    names = [text.replace("✓", "").strip() for text in options.all_inner_texts()]
    assert names == ["embedded", "copied-vlm", "half-vlm"]
    note = page.locator("#model-note")
    expect(note).to_contain_text("embedded takes about", timeout=PATIENCE)
    expect(note).to_contain_text("cpu has")
    expect(note).to_contain_text("it fits.")
    page.get_by_role("option", name="copied-vlm").click()
    expect(note).to_contain_text("copied-vlm takes about", timeout=PATIENCE)


def test_another_model_answers_and_a_broken_one_is_a_sentence(page):
    from playwright.sync_api import expect

    choose(page, "copied-vlm")
    ask(page, "Answered in")
    expect(page.locator("#run-line")).to_contain_text("copied-vlm")
    choose(page, "half-vlm")
    ask(page, "half-vlm.* is only half here: 1 of 1 weight files are missing")
    expect(page.locator("#run-line")).to_contain_text("copied-vlm")  # what was shown stays
    choose(page, "embedded")
    ask(page, "Answered in")
    expect(page.locator("#run-line")).to_contain_text("embedded")


def test_a_visitor_who_looks_is_not_held_up_by_one_who_loads(page, chromium, address):  # noqa: F811
    """The other visitor changes models all the time; this one opens a saved trace meanwhile."""
    other = chromium.new_context()
    other.set_default_timeout(PATIENCE)
    busy = other.new_page()
    busy.goto(address)
    busy.locator("#run").wait_for()
    choose(busy, "copied-vlm")
    busy.locator("#run").click()
    page.reload()
    page.locator("#answers").wait_for()
    from playwright.sync_api import expect

    expect(page.locator("#answers")).not_to_be_empty(timeout=PATIENCE)
    expect(busy.locator("#status")).to_contain_text("Answered in", timeout=PATIENCE)
    other.close()


def test_where_all_of_the_hub_is_allowed_a_name_is_looked_up_there_and_nowhere_else(
    chromium,  # noqa: F811
    tmp_path,
):
    from playwright.sync_api import expect

    with serving() as hub:
        hub.models["some-org/shapes"] = EMBEDDED
        settings = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
        }
        with served(tmp_path, "--allow", "any", **settings) as url:
            page = chromium.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(url)
            page.locator("#run").wait_for()
            note = page.locator("#model-note")
            for name, answer in {
                "assets/model": "There is no model 'assets/model' on the model hub",  # a folder
                str(EMBEDDED): "A model is named as on the hub, 'organisation/model'",
                "some-org/shapes": "It is a download of",
            }.items():
                # Nobody types as fast as this: Enter may choose an option that is still offered for
                # what stood there before, and then the name is typed again.
                for left in (2, 1, 0):
                    page.locator("#model input").fill(name)
                    page.locator("#model input").press("Enter")
                    try:
                        expect(note).to_contain_text(answer, timeout=PATIENCE / 4)
                        break
                    except AssertionError:
                        if not left:
                            raise
            assert ("GET", "api/models/assets/model") in hub.asked
            assert not any("safetensors" in path for _, path in hub.asked)
            ask(page, "Answered in")
            expect(page.locator("#run-line")).to_contain_text("some-org/shapes")
            page.close()
