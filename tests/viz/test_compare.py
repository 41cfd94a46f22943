"""Comparing: other methods run on the embedded model, as a browser asks for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from browser import PATIENCE, chromium  # noqa: F401
from handmade import build
from one_run import CLIP, CLIPS, QUESTION, Page

from stc_core import Fate, InputError, TokenGrid, Trace
from stc_core.method_text import read_method
from viz.examples import Known, asked
from viz.page.compare import MOST, run_others, told
from viz.server.origin import recall, remember, shelve
from viz.server.runner import Failure, Runner, Step

ALIVE = (Fate.KEPT, Fate.CENTER)
KNOWN = {asked(CLIP, QUESTION): Known(QUESTION, "green", 8, np.array([[2, 3, 3], [3, 3, 3]]))}


class Asking(Page):
    """A page on which other methods are run."""

    def ask(self, *specs, **sent) -> tuple[list[Step], list[dict]]:
        sent = {"key": self.key, "specs": list(specs), **sent}
        news = list(run_others(self.runner, self.shelf, KNOWN, "me", sent))
        steps = [step for step in news if isinstance(step, Step)]
        return steps, [other for other in news if not isinstance(other, Step)]

    def found(self, other: dict) -> Trace:
        return Trace.load(self.shelf.find(other["key"]))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Asking:
    return Asking.after_one_run(tmp_path_factory.mktemp("served") / "shelf")


# --- on the server -------------------------------------------------------------------------------


def test_other_methods_answer_the_same_question(page):
    from stc_core import METHODS, answer

    steps, others = page.ask("uniform@0.05", "fastv@0.1,layer=1")
    assert steps and all(0 <= step.fraction <= 1 for step in steps)
    assert [other["spec"] for other in others] == ["uniform@0.05", "fastv@0.1,layer=1"]
    methods = METHODS["uniform"](retention=0.05), METHODS["fastv"](retention=0.1, layer=1)
    first = page.trace.baseline["answer"]
    for other, method in zip(others, methods, strict=True):
        trace = page.found(other)
        alone = answer(page.vlm, CLIP, QUESTION, method=method, frames=8, score=[first])
        assert trace.method == repr(method) and trace.answer == alone.text
        assert np.array_equal(trace.fate, alone.trace.fate)
        assert trace.scores[first] == pytest.approx(alone.scores[first], abs=1e-4)
        assert trace.baseline == page.trace.baseline  # not run again
        assert other["clip"].endswith(CLIP.name) and other["bundle"]
        assert recall(page.shelf.folder, other["key"]).question == QUESTION
    assert recall(page.shelf.folder, others[0]["key"]).method == "Uniform(retention=0.05)"
    # what was attended to in the uncompressed run is known for the layer of the shown trace only
    assert page.found(others[1]).attention_layer != page.trace.attention_layer
    assert page.found(others[1]).full_attention is None


def test_the_uncompressed_run_is_made_where_nobody_has_it(page):
    from dataclasses import replace

    home = page.shelf.put(replace(page.trace, baseline={}, full_attention=None))
    remember(home, page.origin)
    steps, (other,) = page.ask("random@0.05", key=home.parent.name)
    assert page.found(other).baseline["answer"] == page.trace.baseline["answer"]
    assert any(step.stage.startswith("uncompressed: ") for step in steps)


@pytest.mark.parametrize("specs", [
    None, "uniform@0.1", [], ["uniform@0.1"] * (MOST + 1), [None], [["uniform@0.1"]],
    ["uniform"], ["zip@0.1"], ["uniform@2"], ["uniform@0.1", "uniform@0"],
])  # fmt: skip
def test_what_is_no_list_of_methods_is_refused(page, specs):
    with pytest.raises(InputError):
        page.ask(specs=specs)


@pytest.mark.parametrize("key", ["0" * 20, "../../etc/passwd", None, 3, ["a"]])
def test_only_traces_on_the_shelf(page, key):
    with pytest.raises(InputError, match="no longer on the server"):
        page.ask("uniform@0.1", key=key)


def test_only_traces_whose_clip_is_known(page):
    home = page.shelf.put(build(TokenGrid(2, 2, 2, 20, 20), kept=(0, 5)))
    with pytest.raises(InputError, match="clip of this trace is not known here"):
        page.ask("uniform@0.1", key=home.parent.name)


def test_a_trace_of_another_model_is_not_compared(page):
    from dataclasses import replace

    home = page.shelf.put(replace(page.trace, model="another model"))
    remember(home, page.origin)
    with pytest.raises(InputError, match="made by the model 'another model'"):
        page.ask("uniform@0.1", key=home.parent.name)


def test_a_run_that_fails_leaves_the_one_before_it(page):
    sent, heard = {"key": page.key, "specs": ["uniform@0.05", "fastv@0.05,layer=99"]}, []
    with pytest.raises(Failure, match="layer"):
        for news in told(page.runner, page.shelf, KNOWN, "me", sent):
            heard.append(news)
    assert [other["spec"] for other in heard[-1]["others"]] == ["uniform@0.05"]
    assert not any("done" in news for news in heard)


# --- in the browser ------------------------------------------------------------------------------


@pytest.fixture
def tab(page, chromium):  # noqa: F811
    """A page that holds the workspace and nothing else, on the trace of the run."""
    import gradio as gr

    from viz.page import compare
    from viz.workspace.component import workspace

    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(page.shelf.folder.parent)
    gr.set_static_paths([str(CLIPS)])
    try:
        with gr.Blocks(title="compare", analytics_enabled=False) as demo:
            compare.wire(shown := workspace(), page.runner, page.shelf, KNOWN)
            _, value = shelve(page.shelf, page.trace, page.origin, KNOWN, page.home)
            demo.load(lambda: value, None, shown)
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE)
        opened = context.new_page()
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(url)
        opened.wait_for_function("() => window.__tokenview?.ready")
        opened.get_by_role("tab", name="Compare", exact=True).click()
        yield opened
        context.close()
        demo.close()
        assert errors == []
    finally:
        if before is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = before


def press(tab, name: str) -> None:
    tab.get_by_role("button", name=name, exact=True).click()


def compared(tab, count: int) -> list[int]:
    """Once so many runs are compared: cells that neither, only A, only B and both keep, marked."""
    tab.wait_for_function(f"() => window.__tokenview.drawn.compared === {count}")
    return tab.evaluate("window.__tokenview.drawn.pair")


def status(tab) -> str:
    return tab.locator(".ws-compare-status").inner_text()


def test_one_click_runs_a_baseline_and_keeps_the_selection(tab, page):
    tab.locator(".ws-strip-view canvas").last.click(position={"x": 30, "y": 20})
    tab.wait_for_function("() => window.__tokenview.locked.length === 1")
    held = tab.evaluate("window.__tokenview.locked")
    press(tab, "Uniform")
    marked = compared(tab, 2)
    assert status(tab).startswith("Answered in")
    assert tab.evaluate("window.__tokenview.locked") == held

    budget = len(page.trace.stage("outside").survivors)
    mine, other = page.trace, newest(page, "uniform")
    assert len(other.stage("outside").survivors) == budget  # as many tokens as the trace shown
    one, two = (np.isin(trace.fate, ALIVE) for trace in (mine, other))
    assert marked == [0, (one & ~two).sum(), (two & ~one).sum(), (one & two).sum()]
    table = tab.locator(".ws-compared table").inner_text()
    assert "Uncompressed" in table and other.answer in table
    first = page.trace.baseline
    change = other.scores[first["answer"]] - first["logprob"]
    assert f"({'−' if change < 0 else '+'}{abs(change):.2f})" in table

    tab.locator(".ws-compare-view select").select_option("fastv")
    tab.locator(".ws-compare-view input[type=number]").fill("2")
    press(tab, "Add")
    assert "above 0 to 1" in tab.locator(".ws-compare-status[role=alert]").inner_text()
    tab.locator(".ws-compare-view input[type=number]").fill("0.1")
    press(tab, "Add")
    compared(tab, 3)
    assert "FastV" in tab.locator(".ws-compare-runs").inner_text()
    for name in ("Add", "Random"):
        assert tab.get_by_role("button", name=name, exact=True).is_disabled()
    press(tab, "Remove B, Uniform")
    compared(tab, 2)
    assert tab.evaluate("window.__tokenview.locked") == held


def newest(page, name: str) -> Trace:
    """The trace on the shelf that was made last by a method of that name."""
    homes = sorted(page.shelf.folder.iterdir(), key=lambda home: home.stat().st_mtime)
    origins = [(recall(page.shelf.folder, home.name), home) for home in homes]
    found = [home for origin, home in origins if origin and read_method(origin.method).name == name]
    return Trace.load(found[-1] / "trace.npz")


@contextmanager
def taken(runner: Runner) -> Iterator[None]:
    """Let somebody else's run have the model, so that no run of this page can end meanwhile."""
    begun, over = threading.Event(), threading.Event()

    def run() -> None:
        begun.set()
        over.wait(PATIENCE / 1000)

    runner._turns.put("somebody else", run)
    try:
        assert begun.wait(PATIENCE / 1000)
        yield
    finally:
        over.set()


def test_clicks_may_be_faster_than_the_server(tab, page):
    before = len(list(page.shelf.folder.iterdir()))
    with taken(page.runner):
        for name in ("Frames", "Random", "Downsample"):
            press(tab, name)
            press(tab, "Cancel")
        press(tab, "Uniform")
    compared(tab, 2)
    names = tab.locator(".ws-compare-runs li").all_inner_texts()
    assert len(names) == 2 and "Uniform" in names[1]
    assert len(list(page.shelf.folder.iterdir())) <= before + 1  # what was cancelled was not made


def test_cancel_and_errors_leave_all_as_it_was(tab, page):
    with taken(page.runner):
        press(tab, "Frames")
        press(tab, "Cancel")
    tab.locator(".ws-compare-status", has_text="Cancelled; nothing was changed.").wait_for()
    assert tab.locator(".ws-compare-runs li").count() == 1
    press(tab, "Downsample")  # the model is free again
    compared(tab, 2)
    kept = page.home.with_name("origin.json").rename(page.home.with_name("away.json"))
    try:
        press(tab, "Random")
        tab.locator(".ws-compare-status[role=alert]", has_text="not known here").wait_for()
        assert tab.locator(".ws-compare-runs li").count() == 2
        assert "Downsample" in tab.locator(".ws-compared").inner_text()
    finally:
        kept.rename(page.home.with_name("origin.json"))
