"""A trace as a recording of the Rerun viewer, read back with the real library where it is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.traces import full, small

from stc_core import Fate, TokenGrid, Trace
from stc_core.errors import InputError
from stc_core.record.rerun_file import COLORS, UNSEEN, cells
from viz.pictures import palette

ROOT = Path(__file__).parents[1]


def test_colors_are_those_of_the_pictures():
    for fate in Fate:
        assert [round(255 * part) for part in palette.rgb(palette.CODES[fate].color)] == list(
            COLORS[fate]
        )


@pytest.mark.parametrize("seen", [None, (5.0, 0.0, 15.0, 30.0), (-10.0, 0.0, 30.0, 30.0)])
def test_pixels_show_the_cells_that_the_grid_says(seen):
    grid = TokenGrid(2, 2, 2, height=20, width=30, seen=seen)
    trace = replace(small(), grid=grid)
    found = cells(trace, 20, 30)
    for y in range(20):
        for x in range(30):
            at = grid.cell_at(y + 0.5, x + 0.5)
            assert found[y, x] == (-1 if at is None else at[0] * 2 + at[1])


def test_without_the_library_one_sentence_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['rerun'] = None\n"
        "from stc_core import Trace\n"
        "Trace.load(sys.argv[1]).to_rerun('a.rrd')"
    )
    saved = str(full().save(tmp_path / "trace.npz"))
    done = subprocess.run(
        [sys.executable, "-c", code, saved],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("stc_core.errors.InputError") and "pip install rerun-sdk" in last
    assert not (tmp_path / "a.rrd").exists()


def columns(path: Path) -> dict[str, list]:
    """{entity: rows of its components}, in the order of the file."""
    rrd = pytest.importorskip("rerun.chunk")
    found: dict[str, list] = {}
    for chunk in rrd.RrdReader(str(path)).stream():
        batch = chunk.to_record_batch()
        found.setdefault(str(chunk.entity_path), []).extend(batch.to_pylist())
    return found


def value(rows: list, name: str) -> list:
    """What the rows hold of one component, ordered by time."""
    (column,) = {key for row in rows for key in row if key.endswith(name)}
    ordered = sorted(rows, key=lambda row: row["video"]) if "video" in rows[0] else rows
    return [row[column][0] for row in ordered if row[column]]


def test_frames_fates_texts_and_scores_are_in_the_file(tmp_path):
    pytest.importorskip("rerun")
    trace = full()
    path = trace.to_rerun(tmp_path / "trace.rrd")
    assert path == tmp_path / "trace.rrd" and [p.name for p in tmp_path.iterdir()] == ["trace.rrd"]
    found = columns(path)
    assert value(found["/text/question"], ":text") == [trace.question]
    assert value(found["/text/uncompressed_answer"], ":text") == ["blue"]
    frames = value(found["/clip/frame"], ":buffer")
    assert np.array_equal(np.array(frames, np.uint8).reshape(2, 4, 6, 3), trace.frames)
    for name, fate in (("end", trace.fate), ("outside", trace.outside.fate)):
        drawn = np.array(value(found[f"/clip/fate_{name}"], ":buffer"), np.uint8).reshape(2, 4, 6)
        assert np.array_equal(drawn[:, 1::2, 1::3].reshape(-1), fate) and UNSEEN not in drawn
    means = trace.contribution.reshape(2, 4).mean(axis=1)
    assert value(found["/scores/contribution/mean"], ":scalars") == pytest.approx(means.tolist())
    kept = (trace.fate == Fate.KEPT).reshape(2, 4).sum(axis=1)
    assert value(found["/tokens/kept"], ":scalars") == kept.tolist()


@pytest.mark.parametrize("name", ["a.txt", "missing/a.rrd"])
def test_where_nothing_can_be_written_a_sentence_says_so(tmp_path, name):
    pytest.importorskip("rerun")
    with pytest.raises(InputError, match="ends in .rrd|cannot write"):
        small().to_rerun(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_without_pictures_has_gray_ones(tmp_path):
    pytest.importorskip("rerun")
    trace: Trace = small()
    assert trace.frames is None
    (gray,) = set(
        np.ravel(value(columns(trace.to_rerun(tmp_path / "a.rrd"))["/clip/frame"], ":buffer"))
    )
    assert gray == 150
