"""Files named by content: drawn once, never mixed up, gone after a while."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stc_core import Trace
from viz import shelf as shelf_module
from viz.shelf import KEEP, Shelf
from viz.words import TEXTS, alt


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    return Shelf(tmp_path / "shelf")


def test_same_trace_same_folder_another_trace_another(shelf, six_fates):
    home = shelf.put(six_fates)
    assert shelf.put(six_fates) == home
    assert shelf.put(Trace.load(home)) == home
    assert shelf.put(replace(six_fates, answer="blue")) != home
    assert not list(shelf.folder.glob("*.npz"))  # nothing half-made is left


def test_a_picture_is_drawn_once(shelf, six_fates, monkeypatch):
    home = shelf.put(six_fates)
    path, words = shelf.shown(six_fates, home, "outside")
    assert Path(path).read_bytes()[:4] == b"\x89PNG" and words == alt(six_fates, "outside")
    png, svg = shelf.downloads(six_fates, home, "outside")
    assert Path(svg).read_bytes()[:5] == b"<?xml" and Path(png).read_bytes() != b""
    assert path != png  # the page's has no words, the download stands alone

    def never(*args, **kwargs):
        raise AssertionError("drawn twice")

    monkeypatch.setattr(shelf_module, "_render", never)
    assert shelf.shown(six_fates, home, "outside")[0] == path
    assert shelf.downloads(six_fates, home, "outside") == (png, svg)


def test_another_process_can_draw_ahead(tmp_path, six_fates):
    import subprocess
    import sys

    six_fates.save(tmp_path / "opening.npz")
    folder = tmp_path / "shelf"
    ahead = subprocess.Popen(
        [sys.executable, "-m", "viz.shelf", str(folder), str(tmp_path / "opening.npz")],
        cwd=Path(shelf_module.__file__).parent.parent,
    )
    shelf = Shelf(folder, ahead)
    home = shelf.put(six_fates)
    path, _ = shelf.shown(six_fates, home, "timeline")
    assert ahead.wait(300) == 0
    assert {p.name for p in home.parent.iterdir()} == {
        "trace.npz", *(f"page-{name}.png" for name in TEXTS),
    }  # fmt: skip
    assert Path(path).stat().st_mtime <= time.time()


def test_old_traces_go(shelf, six_fates):
    old = shelf.put(six_fates).parent
    long_ago = time.time() - KEEP - 60
    os.utime(old, (long_ago, long_ago))
    new = shelf.put(replace(six_fates, answer="blue")).parent
    assert new.exists() and not old.exists()


def test_the_shelf_is_not_endless(shelf, six_fates, monkeypatch):
    monkeypatch.setattr(shelf_module, "MOST", 2)
    for number in range(4):
        shelf.put(replace(six_fates, answer=str(number)))
    assert len(list(shelf.folder.iterdir())) <= 3
