"""Token grid: indices, cells, pixels; crop and letterbox."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stc_core.record.grid import TokenGrid

sides = st.integers(1, 9)


@given(sides, sides, sides, st.data())
def test_index_and_place_are_inverse(frames, rows, cols, data):
    grid = TokenGrid(frames, rows, cols)
    index = data.draw(st.integers(0, grid.size - 1))
    assert grid.index(*grid.locate(index)) == index


def test_order_is_frame_then_row_then_column():
    grid = TokenGrid(2, 3, 4)
    assert grid.locate(0) == (0, 0, 0)
    assert grid.locate(4) == (0, 1, 0)
    assert grid.locate(12) == (1, 0, 0)
    assert grid.size == 24 and grid.per_frame == 12


@given(sides, sides, st.integers(1, 500), st.integers(1, 500), st.data())
def test_a_pixel_lies_in_the_box_of_its_cell(rows, cols, height, width, data):
    grid = TokenGrid(1, rows, cols, height, width)
    y = data.draw(st.integers(0, height - 1)) + 0.5
    x = data.draw(st.integers(0, width - 1)) + 0.5
    top, left, bottom, right = grid.box(*grid.cell_at(y, x))
    assert top - 1e-6 <= y <= bottom + 1e-6 and left - 1e-6 <= x <= right + 1e-6


def test_boxes_tile_a_frame_that_was_seen_whole():
    grid = TokenGrid(1, 2, 3, height=90, width=160)
    assert grid.box(0, 0) == (0, 0, 45, pytest.approx(160 / 3))
    assert grid.box(1, 2) == (45, pytest.approx(320 / 3), 90, 160)


def test_a_center_crop_leaves_the_rim_without_cells():
    grid = TokenGrid(1, 2, 2, height=100, width=200, seen=(0, 50, 100, 150))
    assert grid.box(0, 0) == (0, 50, 50, 100)
    assert grid.cell_at(10, 20) is None
    assert grid.cell_at(99, 149) == (1, 1)


def test_a_letterbox_has_cells_that_show_nothing_of_the_frame():
    grid = TokenGrid(1, 4, 2, height=100, width=200, seen=(-50, 0, 150, 200))
    assert grid.box(0, 0) == (0, 0, 0, 100)  # nothing of it lies in the frame
    assert grid.box(1, 0) == (0, 0, 50, 100)
    assert grid.cell_at(0, 0) == (1, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 1, 1),
        (1, -1, 1),
        (1, 1, 0),
        (1, 1, 1, -5, 1),
        (1, 1, 1, 10, 10, (5, 0, 5, 10)),
        (1, 1, 1, 10, 10, (-np.inf, 0, 5, 10)),
        (1, 1, 1, 10, 10, (0, 0, 5, np.inf)),
        (1, 1, 1, 10, 10, (0, np.nan, 5, 10)),
    ],
)
def test_impossible_grids_are_refused(arguments):
    with pytest.raises(ValueError):
        TokenGrid(*arguments)


def test_what_lies_outside_is_refused():
    grid = TokenGrid(2, 3, 4)
    for place in ((2, 0, 0), (0, 3, 0), (0, 0, -1)):
        with pytest.raises(ValueError, match="outside this grid"):
            grid.index(*place)
    with pytest.raises(ValueError, match="outside this grid"):
        grid.locate(24)


def test_json_round_trip():
    for grid in (TokenGrid(2, 3, 4), TokenGrid(1, 2, 2, 100, 200, (0, 50, 100, 150))):
        assert TokenGrid.from_json(grid.to_json()) == grid
