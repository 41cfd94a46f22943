"""A trace, an answer and pictures show themselves in a notebook."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from browser import PATIENCE, chromium  # noqa: F401
from decided import GRID, decided
from PIL import Image

import viz
from stc_core import Answer, Trace, costs
from stc_core.hooks.compression import LiveTrace
from viz import notebook

NASTY = "</td><script>alert(1)</script><img src=x onerror=alert(1)> \"'&amp;"


class Elements(HTMLParser):
    """The start tags of a document with their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += f"{data}\n"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def trace() -> Trace:
    said = {"question": NASTY, "answer": NASTY, "notes": (NASTY,), "baseline": {"answer": NASTY}}
    return replace(decided(), method=NASTY, model=NASTY, **said)


@pytest.fixture(scope="module")
def shown(trace) -> str:
    return trace._repr_html_()


def test_facts_picture_and_report_of_a_trace(trace, shown):
    found = Elements(shown)
    assert found.text.count(NASTY) == 6 and found.of("script") == []
    assert f"{GRID.size:,} in 8 frames of 7 × 7" in found.text
    for name, count in trace.counts().items():
        line = f"{name.replace('_', ' ').capitalize()}\n{count} ("
        assert (line in found.text) == (count > 0)
    (picture,) = found.of("img")
    kind, _, data = picture["src"].partition(",")
    assert kind == "data:image/png;base64" and "Fate at the end" in picture["alt"]
    assert Image.open(BytesIO(base64.b64decode(data))).width == round(1.6 * notebook.WIDTH)
    (report,) = found.of("iframe")
    assert report["sandbox"] == "allow-scripts"  # an origin of its own: not the notebook's
    assert report["srcdoc"].startswith("<!doctype html>") and "<details" in shown


def test_a_large_trace_says_how_its_report_is_made(trace, monkeypatch):
    monkeypatch.setattr(notebook, "LARGEST", 1000)
    found = Elements(notebook.html_of(trace))
    assert found.of("iframe") == [] and len(found.of("img")) == 1
    assert "python -m viz.onefile trace.npz trace.html" in found.text


def test_an_answer_shows_its_trace_and_an_empty_trace_its_repr(trace, shown):
    cost = costs.Costs.__new__(costs.Costs)  # not looked at
    assert Answer("red bar", trace, cost, -0.5)._repr_html_() == shown
    live = LiveTrace()
    assert live._repr_html_() is None and repr(live) == "LiveTrace(empty)"
    live.become(trace)
    assert live._repr_html_() == shown


WITHOUT = """
import sys

sys.modules.update({name: None for name in %r})
from stc_core import Trace
print(Trace.load(sys.argv[1])._repr_html_())
assert not {"torch", "matplotlib.figure"} & set(filter(sys.modules.get, sys.modules))
"""


@pytest.mark.parametrize("missing", [("viz",), ("matplotlib",), ("gradio",)])
def test_a_table_without_what_draws(trace, tmp_path, missing):
    """In a new process, in which these cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT % (missing,), str(trace.save(tmp_path / "trace.npz"))],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    found = Elements(done.stdout)
    assert {tag for tag, _ in found.tags} == {"table", "tbody", "tr", "th", "td"}
    assert found.text.count(NASTY) == 6 and "Kept\n" in found.text


def test_other_missing_packages_are_no_reason_for_a_table(trace, monkeypatch):
    monkeypatch.setitem(sys.modules, "viz.notebook", None)
    monkeypatch.setattr("stc_core.record.notebook.OPTIONAL", ())
    with pytest.raises(ModuleNotFoundError):
        trace._repr_html_()


def test_pictures_and_figures_are_png(trace):
    picture = viz.render(trace, "budget", 600)
    png, about = picture._repr_png_()
    assert Image.open(BytesIO(png)).size[0] == 960 and about == {"width": 600, "alt": picture.alt}
    assert Image.open(BytesIO(viz.figure(trace, "budget", 600)._repr_png_())).size[0] == 960


def test_the_report_runs_in_its_frame(shown, chromium):  # noqa: F811
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content(f"<!doctype html><body>{shown}</body>")
    page.locator("summary").click()
    patience = time.perf_counter() + PATIENCE / 1000
    while not any(frame.evaluate("window.__tokenview?.drawn?.strip") for frame in page.frames[1:]):
        assert time.perf_counter() < patience, errors
        time.sleep(0.2)
    assert page.frames[1].evaluate("window.origin") == "null"
    assert re.search("script", page.frames[1].locator("h1").inner_text()) and errors == []
    page.close()
