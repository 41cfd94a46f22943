"""Files named by content: drawn once, never mixed up, gone after a while."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from stc_core import Trace
from viz.examples import Known
from viz.pictures.words import alt
from viz.server import shelf as shelf_module
from viz.server.quota import Limits
from viz.server.shelf import KEEP, LIMITS, Shelf
from viz.workspace.bundle import unpack


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


def test_the_workspace_gets_addresses_of_files_that_are_there(shelf, six_fates, tmp_path):
    home = shelf.put(six_fates)
    clip = tmp_path / "a clip, with spaces.mp4"
    given = shelf.addresses(six_fates, home, clip=clip)
    assert shelf.addresses(six_fates, home, clip=clip) == given
    assert len(str(given)) < 4000  # this is all that an event carries

    def file(address: str) -> Path:
        assert address.startswith("gradio_api/file=/") and " " not in address
        return Path(unquote(address.removeprefix("gradio_api/file=")))

    assert file(given["clip"]) == clip and file(given["trace"]) == home
    header, _ = unpack(file(given["bundle"]).read_bytes())
    assert header["question"] == six_fates.question and header["expected"] is None
    assert file(given["sprite"]).read_bytes()[:3] == b"\xff\xd8\xff"
    known = shelf.addresses(six_fates, home, Known("?", "red"))
    assert known["bundle"] != given["bundle"] and known["sprite"] == given["sprite"]
    assert known["clip"] is None
    bare = replace(six_fates, frames=None)
    assert shelf.addresses(bare, shelf.put(bare))["sprite"] is None


def test_a_file_is_copied_as_it_is(shelf, six_fates, tmp_path):
    source = six_fates.save(tmp_path / "mine.npz")
    home = shelf.put(six_fates, source)
    assert home.read_bytes() == source.read_bytes() and shelf.put(six_fates, source) == home


def test_a_trace_may_be_written_after_it_is_shown(shelf, six_fates, monkeypatch):
    may, save = threading.Event(), Trace.save
    monkeypatch.setattr(Trace, "save", lambda trace, path: may.wait(10) and save(trace, path))
    home = shelf.put(six_fates, later=True)
    given = shelf.addresses(six_fates, home)
    assert given["key"] == home.parent.name and not home.exists()
    threading.Timer(0.2, may.set).start()
    assert shelf.find(given["key"]) == home  # waits
    assert Trace.load(home).answer == six_fates.answer and shelf._late == {}
    assert shelf.put(six_fates, later=True) != home  # who waits for no file has no name from it


def test_pictures_of_a_clip_are_shared_by_its_traces(shelf, six_fates, monkeypatch):
    """Of traces that differ in anything but the frames, which a picture does not show."""
    one = shelf.addresses(six_fates, shelf.put(six_fates))
    monkeypatch.setattr(shelf_module, "sprite", None)  # is not made again
    other = replace(six_fates, answer="blue")
    two = shelf.addresses(other, shelf.put(other))
    assert two["sprite"] == one["sprite"] and two["key"] != one["key"]
    monkeypatch.undo()
    turned = replace(six_fates, frames=255 - six_fates.frames)
    assert shelf.addresses(turned, shelf.put(turned))["sprite"] != one["sprite"]


def test_only_keys_of_this_shelf_are_found(shelf, six_fates, tmp_path):
    home = shelf.put(six_fates)
    assert shelf.find(home.parent.name) == home
    for key in ("", "0" * 20, "../" + home.parent.name, home.parent.name + "\n", 7, None, [], {},
                "a" * 5000):  # fmt: skip
        assert shelf.find(key) is None


def test_old_traces_go(shelf, six_fates):
    old = shelf.put(six_fates).parent
    long_ago = time.time() - KEEP - 60
    os.utime(old, (long_ago, long_ago))
    new = shelf.put(replace(six_fates, answer="blue")).parent
    assert new.exists() and not old.exists()


def test_many_traces_of_one_visitor_push_out_nobody_elses(tmp_path, six_fates):
    """More than there is room for: the visitor's own go, the fresh one of another stays."""
    shelf = Shelf(tmp_path / "shelf")
    mine = shelf.put(six_fates, visitor="me")
    given = shelf.addresses(six_fates, mine)
    for number in range(LIMITS.own_things + 10):
        last = shelf.put(replace(six_fates, answer=f"{number}", frames=None), visitor="flood")
        last.with_name("picture.png").write_bytes(bytes(10))
    assert shelf.find(given["key"]) == mine and last.is_file()
    assert shelf._ledger.used("flood")[0] == LIMITS.own_things
    folders = [path for path in shelf.folder.iterdir() if path.is_dir()]
    assert len(folders) == LIMITS.own_things + 2  # my trace and its pictures
    assert len(shelf._ledger.owners(Path(unquote(given["sprite"])).parent.name)) == 1


def test_a_visitor_has_so_many_bytes(tmp_path, six_fates):
    shelf = Shelf(tmp_path / "shelf", Limits(100, 40_000, 100, 1 << 30))
    homes = []
    for number in range(6):
        homes.append(shelf.put(replace(six_fates, answer=f"{number}"), visitor="me"))
        homes[-1].with_name("overlay.webm").write_bytes(bytes(15_000))
    there = [home.is_file() for home in homes]
    assert there == sorted(there) and 1 < sum(there) < 5  # the oldest went


def test_a_full_disk_leaves_no_half_of_a_trace(shelf, six_fates, monkeypatch):
    def full(trace, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Trace, "save", full)
        with pytest.raises(OSError):
            shelf.put(six_fates)
    assert list(shelf.folder.iterdir()) == []


def test_the_shelf_is_not_endless(tmp_path, six_fates):
    shelf = Shelf(tmp_path / "small", Limits(2, 1 << 20, 2, 1 << 20))
    for number in range(4):
        shelf.put(replace(six_fates, answer=str(number)))
    assert len(list(shelf.folder.iterdir())) <= 2
