"""The right cell lights up, in the color that the palette says."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import build, near, pixels
from matplotlib import colormaps

import viz
from stc_core import Fate
from stc_core.record.grid import TokenGrid
from viz.pictures import heatmap, palette
from viz.pictures.canvas import Canvas
from viz.pictures.strip import Strip

GRIDS = {
    "cube": TokenGrid(2, 2, 2, 20, 20),
    "wide": TokenGrid(3, 4, 6, 200, 300),
    "portrait": TokenGrid(2, 5, 3, 400, 200),
    "center crop": TokenGrid(2, 4, 4, 200, 300, (0, 50, 200, 250)),
    "letterbox": TokenGrid(2, 6, 4, 100, 200, (-50, 0, 150, 200)),
}


def sheet(trace, draw) -> tuple[np.ndarray, Strip]:
    """Pixels of a bare map, one PNG pixel a unit, and its strip."""
    from viz.pictures.canvas import to_png

    strip = Strip.fit(trace.grid, 0, 0, 600)
    canvas = Canvas(600, int(strip.height) + 2)
    draw(canvas, strip)
    return pixels(to_png(canvas.figure, 1.0)), strip


def middle(strip: Strip, token: int) -> tuple[int, int]:
    x0, y0, x1, y1 = strip.boxes(np.array([token]))[0]
    return int((y0 + y1) / 2), int((x0 + x1) / 2)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_one_bright_token_lights_its_own_cell_and_no_other(grid):
    visible = [c for c in range(grid.per_frame) if not Strip.fit(grid, 0, 0, 600).hidden[c]]
    token = grid.per_frame + visible[len(visible) // 3]  # in the second frame
    score = np.zeros(grid.size, np.float32)
    score[token] = 1
    trace = build(grid, contribution=score)
    scale = heatmap.Scale.of("viridis", score)
    image, strip = sheet(trace, lambda c, s: heatmap.scores(c, s, trace, score, scale))
    bright, dark = (np.array(colormaps["viridis"](v)[:3]) * 255 for v in (1.0, 0.0))
    gray = 0.25 + 0.6 * 120 / 255
    lit = heatmap.COVER * bright + (1 - heatmap.COVER) * gray * 255
    unlit = heatmap.COVER * dark + (1 - heatmap.COVER) * gray * 255
    x0, y0, x1, y1 = np.round(strip.boxes(np.array([token]))[0]).astype(int)
    inner = image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]
    assert inner.size and near(inner, lit, 3).all()
    found = near(image, lit, 3)
    found[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = False
    assert not found.any()
    for other in range(grid.size):
        if other != token and other % grid.per_frame in visible:
            assert near(image[middle(strip, other)], unlit, 3)


def test_what_the_encoder_never_saw_is_dark():
    grid = GRIDS["center crop"]
    score = np.ones(grid.size, np.float32)
    trace = build(grid, contribution=score)
    scale = heatmap.Scale.of("viridis", score)
    image, strip = sheet(trace, lambda c, s: heatmap.scores(c, s, trace, score, scale))
    left = strip.boxes(np.array([0]))[0][0]
    assert left > 10
    assert (image[5 : strip.tall - 5, 2 : int(left) - 2] < 255 * 0.2).all()


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_each_fate_has_its_color_in_its_cell(grid):
    hidden = Strip.fit(grid, 0, 0, 600).hidden
    tokens = [t for t in range(grid.size) if not hidden[t % grid.per_frame]][:6]
    keep, center, merged, gone, inside, lost = tokens
    trace = build(
        grid, kept=(keep, inside, lost), centers={center: (merged,)}, ended={inside: keep, lost: -1}
    )
    assert trace.fate[[keep, center, merged, gone, inside, lost]].tolist() == list(range(6))
    image, strip = sheet(trace, lambda c, s: heatmap.fates(c, s, trace, trace.fate, trace.target))
    for token, fate in zip(tokens, Fate, strict=True):
        x0, y0, x1, y1 = np.round(strip.boxes(np.array([token]))[0]).astype(int)
        cell = image[y0:y1, x0:x1]
        if fate == Fate.DROPPED:  # dimmed to a quarter, and nothing drawn on it
            assert near(cell[4:-4, 4:-4], [30, 30, 30], 3).all()
            continue
        if fate == Fate.MERGED:  # a thin, faint hatch of sky blue over the dimmed frame
            tint = cell[6:-6, 6:-6].astype(int)
            assert (tint[..., 2] - tint[..., 0]).max() > 25 and near(tint, [30] * 3, 3).any()
            continue
        color = np.array(palette.rgb(palette.CODES[fate].color)) * 255
        assert near(cell, color).any(), fate
    outline = near(image, np.array(palette.rgb("#F0E442")) * 255)
    rows, cols = np.nonzero(outline)
    x0, y0, x1, y1 = strip.boxes(np.array([keep]))[0]
    assert len(rows) and (y0 - 1 <= rows).all() and (rows <= y1 + 1).all()
    assert (x0 - 1 <= cols).all() and (cols <= x1 + 1).all()


def test_kept_cells_are_at_full_brightness():
    grid = TokenGrid(1, 2, 2, 20, 20)
    trace = build(grid, kept=(3,), frames=200)
    image, strip = sheet(trace, lambda c, s: heatmap.fates(c, s, trace, trace.fate, trace.target))
    assert near(image[middle(strip, 3)], [200] * 3, 2)
    assert near(image[middle(strip, 0)], [50] * 3, 2)


def test_outlines_are_findable_at_two_per_cent(six_fates):
    grid = TokenGrid(32, 14, 14, 360, 640)
    kept = list(range(3, grid.size, 50))
    trace = build(grid, kept=kept, frames=255)
    image = pixels(viz.render(trace, "outside", 900, words=False).png)
    strip = Strip.fit(grid, 4, 4, 892)
    yellow = near(image, np.array(palette.rgb("#F0E442")) * 255, 40)
    scale = image.shape[1] / 900
    for token in kept:
        x0, y0, x1, y1 = (strip.boxes(np.array([token]))[0] * scale).round().astype(int)
        assert yellow[y0:y1, x0:x1].sum() >= 12, token


def test_scale_is_one_for_the_video_and_clips_only_outliers():
    values = np.linspace(0, 1, 1000).astype(np.float32)
    assert heatmap.Scale.of("viridis", values).high == 1
    values[0] = 50  # a sink
    scale = heatmap.Scale.of("viridis", values)
    assert scale.top == 50 and 0.9 < scale.high <= 1.0
    assert heatmap.Scale.of("viridis", np.full(4, np.nan, np.float32)) is None
    flat = heatmap.Scale.of("viridis", np.full(4, 2, np.float32))
    assert np.isfinite(flat.colors(np.full(4, 2, np.float32))).all()


def test_tokens_without_a_score_are_dim_not_zero(six_fates):
    values = six_fates.relevance
    scale = heatmap.Scale.of("cividis", values)
    image, strip = sheet(six_fates, lambda c, s: heatmap.scores(c, s, six_fates, values, scale))
    assert near(image[middle(strip, 3)], [30] * 3, 2)  # nan: a quarter of 120
    low = np.array(colormaps["cividis"](0.0)[:3]) * 255
    assert near(image[middle(strip, 1)], low, 60) and not near(image[middle(strip, 1)], [30] * 3)


def test_no_two_fates_share_both_channels():
    looks = [(code.color, code.mark) for code in palette.CODES.values()]
    assert len(set(looks)) == len(Fate) and set(palette.CODES) == set(Fate)
    assert len({code.glyph for code in palette.CODES.values()}) == len(Fate)
