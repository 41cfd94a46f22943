"""A folder of one process: gone with it, however it ends, and never while it lives."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from viz.server import process_folder as folder_module
from viz.server.process_folder import tidy

fcntl = pytest.importorskip("fcntl")
ROOT = Path(__file__).resolve().parents[2]
LIVES = """
import sys, time
from pathlib import Path
from viz.server.process_folder import own_folder
folder = own_folder(Path(sys.argv[1]))
(folder / "upload").write_text("a visitor's")
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts a process with a folder of its own: (process, folder)."""
    begun = []

    def one():
        process = subprocess.Popen(
            [sys.executable, "-c", LIVES, str(tmp_path)],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        begun.append(process)
        folder = Path(process.stdout.readline().strip())
        assert (folder / "upload").is_file()
        return process, folder

    yield one
    for process in begun:
        process.kill()
        process.communicate()


def test_a_killed_process_leaves_nothing_once_another_starts(start, tmp_path):
    (dead, gone), (alive, stays) = start(), start()
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait(20)
    assert gone.is_dir()
    third, own = start()
    assert not gone.exists() and (stays / "upload").is_file() and (own / "upload").is_file()
    for process in (alive, third):  # an ordinary end
        process.communicate(timeout=20)
    assert list(tmp_path.iterdir()) == []


def test_what_is_nobodys_lock_or_no_folder_of_ours_is_left_alone(tmp_path):
    plain = tmp_path / "video-tokens-older"  # of a version without locks: it may live
    plain.mkdir()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "kept").touch()
    (tmp_path / "video-tokens-link").symlink_to(target)
    (tmp_path / "video-tokens-link.lock").touch()
    (tmp_path / "video-tokens-dir.lock").mkdir()
    (tmp_path / "video-tokens-far.lock").symlink_to(target / "kept")
    assert tidy(tmp_path) == []
    assert plain.is_dir() and (target / "kept").is_file()


def test_a_folder_that_is_in_use_elsewhere_in_this_process_stays(tmp_path):
    folder = tmp_path / "video-tokens-x"
    folder.mkdir()
    with (tmp_path / "video-tokens-x.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert tidy(tmp_path) == [] and folder.is_dir()
    assert tidy(tmp_path) == [folder] and list(tmp_path.iterdir()) == []


def test_many_that_start_together_leave_each_other_alone(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LIVES, str(tmp_path)],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(8)
    ]
    folders = [Path(process.stdout.readline().strip()) for process in processes]
    time.sleep(0.1)
    try:
        assert len(set(folders)) == 8 and all((one / "upload").is_file() for one in folders)
    finally:
        for process in processes:
            process.communicate(timeout=20)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_does_not_keep_the_server_from_starting(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(folder_module.fcntl, "flock", refuse)
    folder, (handle, lock) = folder_module._locked(tmp_path)
    os.close(handle)
    assert not folder.exists() and lock.exists() and tidy(tmp_path) == []
