"""Traces of other sizes, one after the other on the real page: nothing of one stays."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from helpers.page import Tab
from helpers.page_actions import (
    another,
    choose_example,
    downloaded,
    run_to_end,
    saved_trace,
    source,
    upload_trace,
    view,
    wait_view,
)
from playwright.sync_api import expect

from stc_core import Fate, Stage, Trace
from stc_core.record.grid import TokenGrid


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A saved trace of 32 x 14 x 14 tokens, as the published models have."""
    grid = TokenGrid(32, 14, 14, 384, 384)
    rng = np.random.default_rng(5)
    kept = np.sort(rng.permutation(grid.size)[:125])
    fate, target = np.full(grid.size, Fate.DROPPED, np.uint8), np.full(grid.size, -1, np.int64)
    fate[kept], target[kept] = Fate.KEPT, kept
    frames = rng.integers(0, 256, (32, 96, 96, 3), np.uint8)
    trace = Trace.from_stages(
        grid,
        (Stage("outside", None, target, fate),),
        question="how many cats are there?",
        answer="two",
        method="STC(retention=0.02)",
        frames=frames,
        seconds=np.arange(32) * 0.5,
        contribution=rng.random(grid.size).astype(np.float32),
    )
    return trace.save(tmp_path_factory.mktemp("large") / "large.npz")


def at_the_end(tab: Tab) -> None:
    """The last frame, and the last token of it selected."""
    frames = tab.page.locator("#workspace .ws-strip-view canvas").last
    frames.focus()
    tab.page.keyboard.press("End")
    tab.page.keyboard.press("ArrowRight")
    wait_view(tab, "v.locked.length === 1")


def shows(tab: Tab, trace: Trace) -> None:
    """All that is on the page is of this trace."""
    n, page = trace.grid.size, tab.page
    wait_view(tab, f"v.n === {n} && v.drawn.frames === {trace.grid.frames}")
    seen = view(tab)
    assert seen["locked"] == [] and seen["frame"] < trace.grid.frames
    page.get_by_role("tab", name="What the LLM got", exact=True).click()
    wait_view(tab, "v.drawn.sheet > 0")
    page.get_by_role("tab", name="Overview", exact=True).click()
    assert page.locator("#workspace .ws-broken:visible").count() == 0
    budget = page.locator("#workspace .ws-budget b")
    assert [int(budget.nth(k).inner_text().replace(" ", "")) for k in range(2)] == trace.alive()[:2]
    words = "".join(page.locator("#workspace .ws-words-view").inner_text().split())
    assert "".join(trace.question.split()) in words
    expect(page.locator("#answers .question")).to_contain_text(trace.question)


def link(tab: Tab) -> str:
    """The trace in the link that the button copies."""
    tab.page.get_by_role("button", name="Copy link", exact=True).click()
    expect(tab.page.locator("#workspace .ws-share-bar")).to_contain_text("Link copied.")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    return parse_qs(urlparse(copied).query)["trace"][0]


def test_a_larger_trace_takes_the_whole_place_of_the_first(open_tab, large):
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    at_the_end(tab)
    before = source(tab)
    upload_trace(tab, large)
    another(tab, before)
    assert link(tab) == source(tab) != before
    shows(tab, Trace.load(large))
    at_the_end(tab)
    before = source(tab)
    tab.page.locator("#saved input").click()
    tab.page.get_by_role("option").nth(1).click()
    another(tab, before)
    wait_view(tab, f"v.n === {saved_trace().grid.size}")
    assert tab.page.locator("#workspace .ws-broken:visible").count() == 0


def test_runs_of_more_and_of_fewer_frames_replace_each_other(open_tab):
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    choose_example(tab)
    if tab.page.is_checked("#live input"):
        tab.page.uncheck("#live input")
    tab.page.uncheck("#baseline input")
    for frames in (8, 16, 4, 32):
        at_the_end(tab)
        before = source(tab)
        tab.page.fill("#frames input", str(frames))
        assert "Answered" in run_to_end(tab)
        another(tab, before)
        assert link(tab) == source(tab)
        trace = downloaded(tab)
        assert trace.grid.frames == frames
        shows(tab, trace)
