"""A text file is written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stc_core import InputError
from stc_core.writing import made_folder, write_whole


def test_it_replaces_what_is_there_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "summary.json"
    for text in ("one", "zwölf" * 1000):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_where_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_whole(path, "before")
    stock = Path.open

    def half(self, *given, **named):
        file = stock(self, *given, **named)
        write = file.write

        def tear(text):
            write(text[: len(text) // 2])
            file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        file.write = tear
        return file

    monkeypatch.setattr(Path, "open", half)
    with pytest.raises(InputError, match="cannot write .*No space left on device"):
        write_whole(path, "after" * 100)
    monkeypatch.undo()
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot write .*No such file"):
        write_whole(tmp_path / "none" / "summary.json", "text")


def test_a_folder_that_cannot_be_made_or_written_is_one_sentence(tmp_path):
    assert made_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(InputError, match="cannot write into the folder .*; choose another"):
            made_folder(path)
    assert list((tmp_path / "a" / "b").iterdir()) == []
