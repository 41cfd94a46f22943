"""The bands of tokens in the browser: numbers, thickness, selection, the layers of the LLM."""

from __future__ import annotations

import re
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
        "raw", "12 tokens", "before the LLM", "4 kept", "1 center", "4 dropped",
        "layer 2", "1 merged in", "2 kept", "1 center", "1 dropped", "end", "3 left", "3 merged",
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


def test_merged_tokens_run_into_the_few_that_carry_them(bench):
    """A funnel: as thick as its tokens where it begins, as the centers' node where it ends."""
    trace = big(14, 14, frames=32)
    made = bench(trace)
    open_panel(made)
    [merged] = [band for band in bands(made) if band["code"] == Fate.MERGED]
    fate = trace.stage("outside").fate
    assert len(merged["tokens"]) == (fate == Fate.MERGED).sum()
    assert merged["into"] == (fate == Fate.CENTER).sum()
    label = f"merged into {merged['into']} centers before the LLM"
    band = made.page.locator("[data-view=flow]").get_by_role("button", name=label)
    numbers = [float(one) for one in re.findall(r"-?[\d.]+", band.get_attribute("d"))]
    x, top, bottom = numbers[0], numbers[1], numbers[-1]
    nodes = made.page.evaluate("""() => [...document.querySelectorAll('.ws-flow-node')].map(
      (node) => ['x', 'y', 'height'].map((name) => Number(node.getAttribute(name))))""")
    column = [(y, tall) for left, y, tall in nodes if left == pytest.approx(x)]
    place = column[1]  # below what is kept
    assert (top, bottom - top) == pytest.approx(place)
    assert merged["thick"] > 3 * place[1]


def labels(made) -> list[tuple[str, dict]]:
    """The labels of the picture and their boxes in it, in pixels, without the halo."""
    return made.page.evaluate("""() => [...document.querySelectorAll('.ws-flow-picture text')].map(
      (text) => { const { x, y, width, height } = text.getBBox();
        return [text.textContent, { x, y, width, height }]; })""")


def overlapping(made) -> list[tuple[str, str]]:
    """Pairs of labels of the picture that lie over one another."""
    boxes = labels(made)

    def apart(one: dict, other: dict) -> bool:
        return any(one[a] + one[b] <= other[a] + 0.5 or other[a] + other[b] <= one[a] + 0.5
                   for a, b in (("x", "width"), ("y", "height")))  # fmt: skip

    return [(first, second) for k, (first, one) in enumerate(boxes)
            for second, other in boxes[k + 1 :] if not apart(one, other)]  # fmt: skip


@pytest.mark.parametrize("width", [390, 1280, 1440])
@pytest.mark.parametrize("size", [None, 0.02, 0.3])
def test_labels_do_not_overlap(bench, all_fates, width, size):
    trace = all_fates if size is None else big(14, 14, frames=32, share=size)
    made = bench(trace, width=width, height=844, has_touch=width < 500, is_mobile=width < 500)
    open_panel(made)
    assert overlapping(made) == []
    box = made.page.locator(".ws-flow-picture svg").bounding_box()
    for _, place in labels(made):
        assert place["x"] >= -1 and place["x"] + place["width"] <= box["width"] + 1
        assert place["y"] >= -1 and place["y"] + place["height"] <= box["height"] + 1


def test_the_note_says_which_bands_are_not_to_scale(bench, all_fates):
    few = bench(all_fates)
    open_panel(few)
    note = few.page.locator("[data-view=flow] .ws-quiet-text").first
    assert "All are true to scale." in note.inner_text()
    many = bench(big(14, 14, frames=32))
    open_panel(many)
    found = bands(many)
    scale = max(band["thick"] / len(band["tokens"]) for band in found
                if len(band["tokens"]) > 1000)  # fmt: skip
    wide = sum(band["thick"] > 1.01 * scale * len(band["tokens"]) for band in found)
    words = f"None is thinner than {THINNEST} pixels, so {wide} of {len(found)} are drawn"
    assert 0 < wide < len(found)
    assert words in many.page.locator("[data-view=flow] .ws-quiet-text").first.inner_text()


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
