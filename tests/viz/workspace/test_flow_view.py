"""The bands of tokens in the browser: numbers, thickness, selection, the layers of the LLM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from handmade import big, build
from playwright.sync_api import expect

from stc_core import Fate, Trace
from stc_core.record.grid import TokenGrid

THINNEST = 12  # pixels


@pytest.fixture(scope="module")
def all_fates() -> Trace:
    """2 frames of 2 x 3 tokens, each fate at least once."""
    return build(
        TokenGrid(2, 2, 3, 40, 60),
        kept=(0, 1, 5, 6),
        centers={2: (3, 4, 7)},
        ended={1: 0, 6: -1},
        costs={"tokens_per_layer": [5, 5, 5, 3]},
    )


def open_panel(made) -> None:
    made.page.get_by_role("tab", name="Flow", exact=True).click()
    made.wait("v.drawn.flow > 0")


def bands(made) -> list[dict]:
    """{column, from, to, tokens, thick}: as drawn, the thickness read from the path."""
    return made.page.evaluate(r"""() => workspace.views.flow.flow.bands.map((band, k) => {
      const d = workspace.views.flow.paths[k].getAttribute('d');
      return { ...band, thick: Number(d.match(/ v([\d.]+)/)[1]) };
    })""")


def test_every_token_goes_one_way(bench, all_fates):
    made = bench(all_fates)
    open_panel(made)
    found = bands(made)
    for column, entering in enumerate((set(range(12)), {0, 1, 2, 5, 6}, {0, 2, 5})):
        tokens = [t for band in found if band["column"] == column for t in band["tokens"]]
        assert sorted(tokens) == sorted(entering)
    ways = {tuple(band["tokens"]): band["words"] for band in found if band["column"] == 1}
    assert ways == {
        (0, 5): "kept as itself",
        (1,): "merged inside the LLM",
        (6,): "dropped inside the LLM",
        (2,): "cluster center",
    }
    picture = made.page.locator("[data-view=flow] .ws-flow-picture")
    labels = picture.locator("text").all_text_contents()
    assert labels == [
        "raw", "12 tokens", "before the LLM", "4 kept", "1 as centers", "3 merged", "4 dropped",
        "layer 2", "2 kept", "1 as centers", "1 merged", "1 dropped", "end", "3 left",
    ]  # fmt: skip


def test_bands_are_to_scale_and_inside_the_picture(bench):
    trace = big(14, 14, frames=32)
    made = bench(trace)
    open_panel(made)
    found = bands(made)
    counts = trace.counts()
    most = max(found, key=lambda band: len(band["tokens"]))
    assert len(most["tokens"]) == counts["merged"] == trace.grid.size - trace.alive()[1]
    pixels = most["thick"] / len(most["tokens"])
    for band in found:
        assert band["thick"] == pytest.approx(max(THINNEST, pixels * len(band["tokens"])), rel=1e-6)
    box = made.page.locator(".ws-flow-picture svg").bounding_box()
    for node in made.page.locator(".ws-flow-node").all():
        place = node.bounding_box()
        assert place["y"] >= box["y"] and place["y"] + place["height"] <= box["y"] + box["height"]


def test_a_band_selects_its_tokens_by_mouse_and_by_key(bench, all_fates):
    made = bench(all_fates)
    open_panel(made)
    view = made.page.locator("[data-view=flow]")
    merged = view.get_by_role("button", name="3 of 12 tokens (25.0 %): merged into a center")
    merged.hover()
    expect(view).to_contain_text("3 of 12 tokens (25.0 %): merged into a center before the LLM.")
    merged.click()
    made.wait("v.locked.length === 3")
    assert made.state["locked"] == [3, 4, 7] and merged.get_attribute("aria-pressed") == "true"
    dropped = view.get_by_role("button", name="4 of 12 tokens (33.3 %): dropped before the LLM")
    for key in ("Enter", " "):
        made.set(locked=[])
        dropped.focus()
        expect(view).to_contain_text("4 of 12 tokens (33.3 %): dropped before the LLM.")
        made.page.keyboard.press(key)
        made.wait("v.locked.length === 4")
        assert made.state["locked"] == [8, 9, 10, 11] and not made.state["playing"]
    assert merged.get_attribute("aria-pressed") == "false"


def test_no_fate_rests_on_its_color(bench, all_fates):
    made = bench(all_fates)
    open_panel(made)
    looks = made.page.evaluate("""() => Object.fromEntries(workspace.views.flow.flow.bands.map(
      ({ code }, k) => {
        const path = workspace.views.flow.paths[k];
        const fill = path.getAttribute('fill');
        const pattern = fill.startsWith('url(') && document.querySelector(fill.slice(4, -1));
        const { stroke, strokeWidth } = getComputedStyle(path);
        return [code, [pattern ? pattern.querySelector('path').getAttribute('d') : 'plain',
          pattern ? '' : `${stroke} ${strokeWidth}`].join(' ')];
      }))""")
    assert set(looks) == {str(int(fate)) for fate in Fate}
    # the two that are merged share their hatch, and their column says where
    assert len(set(looks.values())) >= len(Fate) - 2


def test_the_layers_are_drawn_and_told(bench, all_fates):
    made = bench(all_fates)
    open_panel(made)
    view = made.page.locator("[data-view=flow]")
    line = view.get_by_role("img")
    said = "Video tokens in each of 4 layers: 5 in layers 0 to 2, 3 in layer 3."
    assert line.get_attribute("aria-label") == said
    steps = made.page.locator(".ws-flow-line").get_attribute("d")
    heights = [float(part.split(",")[1].split()[0]) for part in steps[1:].split("L")]
    base = 300 - 34  # pixels: the axis stands above its labels
    assert [base - y for y in heights] == pytest.approx(np.array([5, 5, 5, 3]) / 5 * (base - 40))
    view.get_by_text("Read as table").click()
    view.locator("table").wait_for()
    rows = view.locator("tbody tr").all_inner_texts()
    assert rows[0].split("\t") == ["raw", "before the LLM: kept", "4", "33.3 %"]
    assert rows[-2:] == [
        "LLM, layers 0 to 2\tin each\t5\t41.7 %",
        "LLM, layer 3\tin each\t3\t25.0 %",
    ]


def test_without_an_inside_stage_there_is_no_layer(bench, all_fates):
    trace = build(TokenGrid(2, 2, 3, 40, 60), kept=(0, 5), ended=None)
    made = bench(replace(trace, costs={}))
    open_panel(made)
    titles = made.page.locator(".ws-flow-picture .ws-flow-title").all_text_contents()
    assert titles == ["raw", "before the LLM", "end"]
    assert made.page.locator(".ws-flow-line").count() == 0


def test_a_narrow_screen_holds_it(bench, all_fates):
    made = bench(all_fates, width=390, height=844)
    open_panel(made)
    wide = made.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
