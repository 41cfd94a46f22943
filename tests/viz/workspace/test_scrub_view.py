"""Scrubbing in the browser: every view follows a stop, or says what it lacks, and goes back."""

from __future__ import annotations

import numpy as np
import pytest
from browser import chromium  # noqa: F401
from helpers.pace import pace
from made_sweep import made_sweep
from playwright.sync_api import expect
from recorded import NASTY, recorded, walked

from viz.workspace.sweep_bundle import pack_sweep

AT_HAND = "workspace.urls.trace = 'trace.npz'; workspace.urls.again = true;"
KEYS = {"replay": "Replay", "compare": "Compare", "embedding": "Likeness", "edits": "What if",
        "evidence": "Evidence"}  # fmt: skip


@pytest.fixture
def scrubbed(bench, tmp_path):
    """scrubbed(trace, sweep, stop, panel) -> Bench, with a scrub and a link to a stop of it."""

    def make(trace, sweep, stop: str, panel: str = "scrub", **options):
        opened = bench(trace, **options)
        folder = sorted(each for each in tmp_path.iterdir() if each.name.isdigit())[-1]
        (folder / "scrub-retention.bin").write_bytes(pack_sweep(sweep))
        opened.page.evaluate(f"async (stop) => {{ {AT_HAND} "
                             "await workspace.views.scrub.restore(stop); }", stop)  # fmt: skip
        opened.page.evaluate("panel => workspace.choose(panel)", panel)
        return opened

    return make


def look(opened) -> list[int]:
    return opened.page.evaluate("[...workspace.look.fate]")


def test_every_view_shows_the_stop_and_the_run_comes_back(scrubbed):
    trace = recorded()
    sweep = made_sweep(trace.grid)
    opened = scrubbed(trace, sweep, "retention@0.05", served=True)
    page, stop = opened.page, sweep.stop(0.05)
    opened.wait("v.scrub === 0.05")
    assert look(opened) == stop.fate.tolist()
    banner = page.locator(".ws-scrub-banner")
    expect(banner).to_contain_text("Showing 5 % of a scrub; the run was 20 %.")
    page.get_by_role("tab", name="Budget", exact=True).click()
    assert page.locator("[data-view=budget] b").all_inner_texts() == ["48", "2", "1"]
    page.get_by_role("tab", name="Words", exact=True).click()
    words = page.locator(".ws-words-view")
    expect(words).to_contain_text("blue")
    expect(words).to_contain_text("A stop of a scrub holds no attention of words")
    assert page.locator(".ws-words-view .ws-word").count() == 0
    closed = page.evaluate(
        "[...document.querySelector('select[name=overlay]').options]"
        ".filter((o) => o.disabled).map((o) => o.value)"
    )
    assert closed == ["similarity", "relevance", "attention", "full"]
    for name, title in KEYS.items():
        page.get_by_role("tab", name=title, exact=True).click()
        panel = page.locator(f"[data-view={name}]")
        assert panel.locator(".ws-host").is_hidden()
        expect(panel).to_contain_text("go back to the run")
    for name in ("Flow", "Space and time", "What the LLM got"):
        page.get_by_role("tab", name=name, exact=True).click()
    assert page.evaluate("workspace.views.sheet.trace.entered.length") == stop.entered
    assert page.locator(".ws-broken:visible").count() == 0
    address = page.evaluate("workspace.views.scrub.shared")
    assert address == "retention@0.05"
    page.wait_for_url("**scrub=retention%400.05*")

    page.get_by_role("tab", name="Words", exact=True).click()
    page.locator("[data-view=player] .ws-top-layer").focus()
    page.keyboard.press("r")
    opened.wait("v.scrub === null")
    assert look(opened) == trace.fate.tolist()
    assert banner.is_hidden()
    assert page.locator(".ws-words-view .ws-word").count() == len(trace.words)
    page.get_by_role("tab", name="Replay", exact=True).click()
    assert page.locator("[data-view=replay] .ws-host").is_visible()
    assert "go back" not in page.locator("[data-view=replay]").inner_text()


def test_the_slider_needs_no_server_and_stops_that_are_not_there_are_passed_over(scrubbed):
    trace = recorded()
    sweep = made_sweep(trace.grid, planned=(0.005, 0.01, 0.05, 0.2, 0.5, 1.0))
    opened = scrubbed(trace, sweep, "retention@0.2", served=True)
    page = opened.page
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    slider = page.locator(".ws-scrub-slider")
    assert page.locator(".ws-scrub-tick").count() == 6
    assert page.locator(".ws-scrub-open").count() == 2
    slider.focus()
    for key, value in (("End", 0.01), ("ArrowLeft", 0.05), ("Home", 1), ("ArrowRight", None),
                       ("ArrowRight", 0.05)):  # fmt: skip
        page.keyboard.press(key)
        opened.wait(f"v.scrub === {'null' if value is None else value}")
        assert look(opened) == (trace if value is None else sweep.stop(value)).fate.tolist()
    assert "5 %, 2 tokens, answer blue" in slider.get_attribute("aria-valuetext")
    page.locator(".ws-scrub-chart").scroll_into_view_if_needed()
    box = page.locator(".ws-scrub-chart").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 80)
    page.mouse.down()
    opened.wait("v.scrub === 1")
    page.mouse.move(box["x"] + box["width"] * 0.72, box["y"] + 80, steps=5)
    opened.wait("v.scrub === 0.01")
    page.mouse.up()
    page.get_by_role("button", name="Back to the run").click()
    opened.wait("v.scrub === null")
    assert requests == []


def test_the_chart_says_in_words_and_as_a_table_what_it_shows(scrubbed):
    trace = recorded()
    opened = scrubbed(trace, made_sweep(trace.grid), "retention@0.2")
    page = opened.page
    chart = page.locator(".ws-scrub-chart svg")
    assert "between 5 % and 20 % from “blue” to “red”" in chart.get_attribute("aria-label")
    expect(page.locator(".ws-scrub-turn-words")).to_have_text("red → blue")
    assert page.locator(".ws-scrub-turn").count() == 1
    assert page.locator(".ws-curve").count() == 2
    facts = page.locator(".ws-scrub-facts").inner_text()
    assert "20 % · 10 of 48 tokens enter the LLM, 5 reach its end" in facts
    assert (
        "“red” (p 0.80) · 10 GFLOPs of all parts · 0.25 s for compression and LLM, 1.25 s in all"
        in facts
    )
    page.locator("[data-view=scrub] summary").click()
    table = page.locator("[data-view=scrub] table")
    expect(table.locator("tbody tr")).to_have_count(4)  # made once it is opened
    assert table.locator("tbody tr").first.inner_text().split("\t")[:4] == [
        "100 %",
        "48",
        "24",
        "red",
    ]
    assert page.locator(".ws-scrub-view .ws-main").is_hidden()  # all of it is there


@pytest.mark.parametrize("nasty", NASTY)
def test_answers_stay_text(scrubbed, nasty):
    trace = recorded()
    said = {0.01: nasty, 0.2: "red"}
    sweep = made_sweep(trace.grid, said, {"red": (0.1, 0.9), nasty: (0.8, 0.1)})
    opened = scrubbed(trace, sweep, "retention@0.01")
    opened.wait("v.scrub === 0.01")
    assert nasty in opened.page.locator(".ws-scrub-facts").inner_text()
    assert opened.page.locator(".ws-scrub-view img").count() == 0


def test_another_trace_ends_the_scrub(scrubbed):
    trace = recorded()
    opened = scrubbed(trace, made_sweep(trace.grid), "retention@0.01")
    opened.wait("v.scrub === 0.01")
    chart = opened.page.locator(".ws-scrub-chart")
    for bundle, seen in (("./bundle.bin", False), ("bundle.bin", True)):
        opened.page.evaluate("bundle => workspace.show({ bundle, key: 'other' })", bundle)
        opened.wait("v.scrub === null")
        assert look(opened) == trace.fate.tolist()
        assert opened.page.locator(".ws-scrub-away").count() == 0
        assert chart.is_visible() == seen  # the scrub is there again with its run
        assert opened.page.locator(".ws-scrub-banner").is_visible() == seen


def test_dragging_moves_nothing_but_what_it_shows(scrubbed):
    trace = recorded()
    opened = scrubbed(trace, made_sweep(trace.grid), "retention@0.2")
    page = opened.page
    banner, slider = page.locator(".ws-scrub-banner"), page.locator(".ws-scrub-slider")
    expect(banner).to_contain_text("Showing the run, 20 %.")
    assert page.get_by_role("button", name="Back to the run").is_hidden()
    top = "document.querySelector('.ws-player-view').getBoundingClientRect().top"
    before = page.evaluate(top)
    slider.press("End")
    opened.wait("v.scrub === 0.01")
    expect(page.get_by_role("button", name="Back to the run")).to_be_visible()
    assert page.evaluate(top) == before
    page.evaluate("workspace.choose('budget')")
    expect(banner).to_be_visible()  # the views show a stop
    page.get_by_role("button", name="Back to the run").click()
    expect(banner).to_be_hidden()


def test_every_turn_has_its_sign(scrubbed):
    trace = recorded()
    values = (1.0, 0.5, 0.48, 0.46, 0.44, 0.2, 0.01)
    said = {value: ("red", "blue")[number % 2] for number, value in enumerate(values)}
    even = dict.fromkeys(("red", "blue"), (0.5,) * len(values))
    opened = scrubbed(trace, made_sweep(trace.grid, said, even), "retention@0.2")
    signs = opened.page.locator(".ws-scrub-turn-words")
    expect(signs).to_have_count(len(values) - 1)
    assert opened.page.locator(".ws-scrub-turn").count() == len(values) - 1
    boxes = sorted((one.bounding_box() for one in signs.all()), key=lambda box: box["x"])
    for one, other in zip(boxes, boxes[1:], strict=False):
        assert one["x"] + one["width"] <= other["x"] + 12  # signs may touch, words may not overlap


def test_what_cannot_be_scrubbed_says_why(bench):
    button = ".ws-scrub-view .ws-main"
    saved = bench(recorded())
    assert saved.page.locator(button).is_disabled()
    expect(saved.page.locator(".ws-scrub-view")).to_contain_text("Only a running page can scrub")
    served = bench(recorded(), served=True)
    assert served.page.locator(button).is_disabled()
    expect(served.page.locator(".ws-scrub-view")).to_contain_text(
        "The clip of this trace is not at hand"
    )


def test_a_scrub_is_narrow_on_a_telephone(scrubbed):
    trace = recorded()
    opened = scrubbed(trace, made_sweep(trace.grid), "retention@0.01", width=390, height=844)
    opened.wait("v.scrub === 0.01")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("frames", "most"), [(32, 16), (128, 50)])
@pytest.mark.parametrize("panel", ["overview", "scrub"])
def test_dragging_over_many_tokens_keeps_pace(scrubbed, frames, most, panel):
    """Milliseconds for a stop, the least of several tries: other work only ever adds to it.

    6,272 and 25,088 tokens, with the strip of all frames beside the clip and without.
    """
    trace = walked(frames)
    opened = scrubbed(trace, made_sweep(trace.grid), "retention@0.2", panel)
    times = opened.page.evaluate(
        """async () => {
          const { scrub } = workspace.views;
          const least = {};
          for (let turn = 0; turn < 6; turn += 1) {
            for (const stop of scrub.scrub.stops) {
              scrub.show(stop);
              await new Promise((done) => setTimeout(done, 30));
              const { scrub: took } = workspace.timing;
              least[stop.value] = Math.min(least[stop.value] ?? Infinity, took);
            }
          }
          return least;
        }"""
    )
    assert len(times) == 4 and max(times.values()) < most * pace(opened.page), times
    assert np.array_equal(look(opened), made_sweep(trace.grid).stop(1.0).fate)
