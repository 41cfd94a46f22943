"""Tokens as points in the browser: what is shown, found, selected, and what the server sends."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import numpy as np
import pytest
from handmade import big, build
from helpers.pace import pace
from playwright.sync_api import expect

from stc_core.record.grid import TokenGrid
from viz.pictures.embedding import pca, to_scale

PER_HOVER = {32: 16, 128: 50}  # milliseconds at 6,272 and at 25,088 tokens


def spread(trace, seed: int = 5):
    """The trace with features: three groups side by side, and noise."""
    rng = np.random.default_rng(seed)
    n = trace.grid.size
    features = rng.normal(size=(n, 5))
    features[:, 0] += 30 * (np.arange(n) % 3)
    features[:, 1] *= 5
    features -= features.mean(axis=0)
    return replace(trace, features=features.astype(np.float16))


@pytest.fixture(scope="module")
def small():
    grid = TokenGrid(5, 3, 4, 30, 40)
    return spread(build(grid, kept=(0, 7), centers={2: (3, 4, 5)}, ended={7: 0}))


def open_panel(made, name: str = "Likeness"):
    made.page.get_by_role("tab", name=name, exact=True).click()
    made.wait("v.drawn.embedding > 0")
    made.page.evaluate(
        "workspace.views.embedding.layers.top.canvas.scrollIntoView({ block: 'center' })"
    )


def spots(made) -> np.ndarray:
    """(N, 2) pixels of the points, from the corner of the view."""
    return np.reshape(made.page.evaluate("[...workspace.views.embedding.spots]"), (-1, 2))


def corner(made) -> np.ndarray:
    box = made.page.locator("[data-view=embedding] .ws-top-layer").bounding_box()
    return np.array([box["x"], box["y"]])


def test_points_lie_where_the_components_say(bench, small):
    made = bench(small)
    open_panel(made)
    shown, meant = spots(made), to_scale(pca(small.features)).astype(float)
    meant[:, 1] *= -1  # up is up
    shown -= shown.min(axis=0)
    meant -= meant.min(axis=0)
    assert shown / shown.max() == pytest.approx(meant / meant.max(), abs=1e-4)
    said = made.page.locator("[data-view=embedding]").inner_text()
    variance = small.features.astype(float).var(axis=0)
    for share in variance[:2] / variance.sum():
        assert f"{100 * share:.1f} %" in said
    assert "The UMAP is made by the page" in said  # nobody is there who could fit it


def test_the_grid_finds_what_a_look_at_every_point_finds(bench):
    made = bench(spread(big(14, 14, frames=32)))
    open_panel(made)
    wrong = made.page.evaluate("""() => {
      const { spots, grid, layers } = workspace.views.embedding;
      const wrong = [];
      for (let k = 0; k < 2000; k += 1) {
        const x = (k * 131.7) % (layers.wide + 30) - 15;
        const y = (k * 57.3) % (layers.tall + 30) - 15;
        let least = 81;
        for (let i = 0; i < spots.length / 2; i += 1) {
          least = Math.min(least, (spots[2 * i] - x) ** 2 + (spots[2 * i + 1] - y) ** 2);
        }
        const found = grid.nearest(x, y, 9);
        const far = found < 0 ? 81 : grid.squared(found, x, y);
        if (far !== least) wrong.push([x, y, found]);
      }
      return wrong;
    }""")
    assert wrong == []


def test_a_point_is_the_same_token_in_every_view(bench, small):
    made = bench(small)
    open_panel(made)
    x, y = spots(made)[17] + corner(made)
    made.page.mouse.move(x, y)
    made.wait("v.hover === 17")
    made.page.mouse.click(x, y)
    made.wait("v.locked.length === 1 && v.locked[0] === 17")
    assert made.state["frame"] == 17 // 12
    card = made.page.locator("[data-view=card]").inner_text()
    assert "Frame 1, 1.00 s, cell (1, 1)" in card


def loop(made, corners, shift: bool = False) -> None:
    """Draw round the corners with the mouse."""
    if shift:
        made.page.keyboard.down("Shift")
    made.page.mouse.move(*corners[0])
    made.page.mouse.down()
    for x, y in [*corners[1:], corners[0]]:
        made.page.mouse.move(x, y, steps=4)
    made.page.mouse.up()
    if shift:
        made.page.keyboard.up("Shift")


def test_a_loop_selects_its_points_everywhere(bench, small):
    made = bench(small)
    open_panel(made)
    at = spots(made) + corner(made)
    groups = [set(range(first, 60, 3)) for first in range(3)]

    def round_of(group):
        (x0, y0), (x1, y1) = at[list(group)].min(axis=0) - 8, at[list(group)].max(axis=0) + 8
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    loop(made, round_of(groups[1]))
    made.wait("v.locked.length === 20")
    assert set(made.state["locked"]) == groups[1]
    loop(made, round_of(groups[0]), shift=True)
    made.wait("v.locked.length === 40")
    assert set(made.state["locked"]) == groups[0] | groups[1]
    expect(made.page.locator("[data-view=embedding]")).to_contain_text("40 tokens selected")
    made.page.get_by_role("button", name="Clear the selection").click()
    made.wait("v.locked.length === 0")


def test_keys_do_what_the_mouse_does(bench, small):
    made = bench(small)
    open_panel(made)
    at = spots(made)
    made.set(locked=[0])
    made.page.locator("[data-view=embedding] .ws-top-layer").focus()
    made.page.keyboard.press("ArrowRight")
    made.wait("v.locked.length === 1 && v.locked[0] !== 0")
    (first,) = made.state["locked"]
    way = at[first] - at[0]
    assert way[0] > 0 and abs(way[1]) <= way[0] + 1e-3
    made.page.keyboard.press("Shift+ArrowRight")
    made.wait("v.locked.length === 2")
    made.page.keyboard.press("+")
    made.wait("v.locked.length === 18")
    last = made.state["locked"][-1]
    far = np.linalg.norm(at - at[last], axis=1)
    added = set(made.state["locked"]) - {first, last}
    others = set(range(60)) - added - {first, last}
    assert far[list(added)].max() <= far[list(others)].min() + 1e-3


def test_colors_have_a_legend_and_the_points_a_table(bench, small):
    made = bench(small)
    open_panel(made)
    view = made.page.locator("[data-view=embedding]")
    chosen = view.get_by_role("combobox", name="Color")
    for shade, words in (
        ("frame", "time of the frame"),
        ("cluster", "what carries a token in the end"),
        ("contribution", "Contribution: not measured"),
    ):
        chosen.select_option(shade)
        expect(view.locator(".ws-legend")).to_contain_text(words)
    view.get_by_text("Read as table").click()
    rows = view.locator("tbody tr")
    expect(rows).to_have_count(2)
    assert rows.nth(1).inner_text().split("\t")[1] == "4"  # 2 with 3, 4, 5
    made.set(locked=[7, 9])
    view.get_by_role("columnheader", name="Carried by").wait_for()
    assert "frame 0 (0, 0)" in rows.nth(0).inner_text()


def test_umap_comes_when_it_is_there(bench, small):
    """The answers of the server, word by word; the server itself is tested in test_embedding."""
    made = bench(small)
    made.page.evaluate("""() => {
      window.sent = [];
      workspace.served = true;
      workspace.send = (name, detail) => window.sent.push([name, detail]);
    }""")
    assert made.page.evaluate("sent") == []  # not before the panel is opened
    open_panel(made)
    assert made.page.evaluate("sent") == [["embedding", {"key": "test"}]]
    view = made.page.locator("[data-view=embedding]")
    assert view.get_by_role("combobox", name="Places").input_value() == "pca"

    def tell(**news):
        made.page.evaluate(
            "n => document.dispatchEvent(new CustomEvent('tokens-embedding', { detail: n }))", news
        )

    tell(key="other", error="not ours")
    tell(key="test", seconds=7.2)
    assert "7 s so far" in view.inner_text() and "not ours" not in view.inner_text()
    status = view.get_by_role("status")
    assert "is being fitted" in status.inner_text()  # once, and not each second anew
    assert "so far" not in status.inner_text()
    tell(key="test", error="UMAP was given up after 600 s.")
    expect(status).to_have_text("UMAP was given up after 600 s.")
    view.get_by_role("button", name="Try again").click()
    assert made.page.evaluate("sent.length") == 2
    expect(view.get_by_role("button", name="Try again")).to_be_hidden()
    places = np.arange(120, dtype="<u2").reshape(60, 2)[::-1] * 500
    address = f"data:application/octet-stream;base64,{b64encode(places.tobytes()).decode()}"
    settings = {"neighbors": 15, "distance": 0.1, "metric": "euclidean", "fitted": 50}
    tell(key="test", url=address, settings=settings)
    made.page.wait_for_function("workspace.views.embedding.projection === 'umap'")
    said = view.inner_text()
    assert "15 neighbors" in said and "Fitted on 50 tokens" in said and "mean nothing" in said
    assert spots(made)[0][0] > spots(made)[59][0]
    view.get_by_role("combobox", name="Places").select_option("pca")
    made.page.wait_for_function("workspace.views.embedding.projection === 'pca'")
    assert "differ most" in view.inner_text()


def test_a_trace_without_features_says_so(bench):
    made = bench(build(TokenGrid(2, 2, 3, 40, 60)))
    made.page.get_by_role("tab", name="Likeness", exact=True).click()
    view = made.page.locator("[data-view=embedding]")
    view.get_by_text("saved without the features").wait_for()
    assert not view.locator(".ws-layers").is_visible()


@pytest.mark.parametrize("frames", PER_HOVER)
def test_hover_stays_quick_with_thousands_selected(bench, frames):
    made = bench(spread(big(14, 14, frames=frames)))
    open_panel(made)
    made.set(locked=list(range(6000)))
    at, home = spots(made), corner(made)
    times = []
    for token in range(7, made.trace.grid.size, made.trace.grid.size // 30):
        before = made.state["hover"]
        made.page.mouse.move(*(at[token] + home))
        made.page.wait_for_function("h => window.__tokenview.hover !== h", arg=before)
        made.page.wait_for_timeout(50)
        times.append(made.state["timing"]["work"])
    assert np.median(times) < PER_HOVER[frames] * pace(made.page)
