"""Geometry: every pixel of a tile belongs to the cell that the trace's grid says."""

from __future__ import annotations

import numpy as np
import pytest

from stc_core.record.grid import TokenGrid
from viz.pictures.strip import Strip, pictures

GRIDS = {
    "square": TokenGrid(4, 5, 5, 80, 80),
    "wide": TokenGrid(3, 14, 14, 360, 640),
    "portrait": TokenGrid(2, 14, 14, 1280, 720),
    "not square tokens": TokenGrid(2, 3, 7, 300, 700),
    "center crop": TokenGrid(2, 4, 4, 360, 640, (0, 140, 360, 500)),
    "letterbox": TokenGrid(2, 6, 6, 360, 640, (-140, 0, 500, 640)),
    "one token": TokenGrid(1, 1, 1, 1, 1),
    "hundreds of frames": TokenGrid(300, 2, 2, 90, 160),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_raster_agrees_with_the_grid(grid):
    strip = Strip.fit(grid, 10, 20, 1000)
    tall, wide = strip.cells.shape
    rng = np.random.default_rng(0)
    for y, x in zip(rng.integers(0, tall, 200), rng.integers(0, wide, 200), strict=True):
        place = grid.cell_at((y + 0.5) / tall * grid.height, (x + 0.5) / wide * grid.width)
        expected = -1 if place is None else place[0] * grid.cols + place[1]
        assert strip.cells[y, x] == expected


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_boxes_are_the_grids_boxes_moved_to_the_tile(grid):
    strip = Strip.fit(grid, 10, 20, 1000)
    for token in {0, grid.size // 2, grid.size - 1}:
        frame, row, col = grid.locate(token)
        x, y = strip.corner(frame)
        top, left, bottom, right = grid.box(row, col)
        across, down = strip.wide / grid.width, strip.tall / grid.height
        expected = x + left * across, y + top * down, x + right * across, y + bottom * down
        np.testing.assert_allclose(strip.boxes(np.array([token]))[0], expected)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_tiles_keep_the_aspect_ratio_and_stay_on_the_sheet(grid):
    strip = Strip.fit(grid, 10, 20, 1000)
    assert strip.tall == pytest.approx(strip.wide * grid.height / grid.width, abs=1)
    corners = [strip.corner(frame) for frame in range(grid.frames)]
    assert len(set(corners)) == grid.frames
    assert all(10 <= x and x + strip.wide <= 1010 + 1e-6 for x, _ in corners)
    assert all(20 <= y and y + strip.tall <= 20 + strip.height for _, y in corners)


def test_cells_of_a_row_are_equally_wide():
    left, right = Strip.fit(TokenGrid(32, 14, 14, 224, 224), 0, 0, 1152).edges[1].T
    np.testing.assert_allclose(right - left, (right - left)[0])
    assert float(right[0]).is_integer()


def test_what_lies_in_the_letterbox_is_known():
    hidden = Strip.fit(GRIDS["letterbox"], 0, 0, 600).hidden.reshape(6, 6)
    assert hidden.all(axis=1).tolist() == [True, False, False, False, False, True]


def test_frames_without_pictures_are_gray():
    assert pictures(None, 3, (4, 5)).shape == (3, 4, 5, 3)
    assert len(np.unique(pictures(None, 3, (4, 5)))) == 1


@pytest.mark.parametrize("shape", [(1, 32, 400, 1), (2, 2048, 60_000, 1), (1, 1024, 1, 60_000)])
def test_a_clip_as_narrow_as_a_thread_still_fits_on_a_sheet(shape):
    side, frames, height, width = shape
    strip = Strip.fit(TokenGrid(frames, side, side, height, width), 0, 0, 1000)
    assert strip.height < 6000 and min(strip.wide, strip.tall) >= 1
    phone = TokenGrid(1024, side, side, 1920, 1080)
    tall = Strip.fit(phone, 0, 0, 1000)
    assert tall.tall == pytest.approx(tall.wide * 1920 / 1080, abs=1)
