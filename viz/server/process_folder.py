"""Make a folder of this process alone, and remove those of dead processes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: there nobody tidies up after a process that was killed
    fcntl = None  # type: ignore[assignment]  # a module, where there is one

PREFIX = "video-tokens-"
LOCK = ".lock"


def own_folder(parent: Path | None = None) -> Path:
    """Make a folder that is removed when this process ends; remove those of killed processes.

    Beside each folder lies a lock file, ``video-tokens-x.lock``, which its process holds as long as
    it lives, however it ends. A folder without one is left alone.
    """
    parent = Path(parent or tempfile.gettempdir())
    tidy(parent)
    folder, lock = _locked(parent)
    folder.mkdir(0o700)

    def leave() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        lock[1].unlink(missing_ok=True)
        os.close(lock[0])

    atexit.register(leave)
    return folder


def tidy(parent: Path) -> list[Path]:
    """Remove the folders of dead processes of this user, and return them."""
    if fcntl is None:
        return []
    gone = []
    for path in parent.glob(f"{PREFIX}*{LOCK}"):
        try:
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # another user's, or gone just now
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_uid != os.getuid():
                continue
            folder = path.with_name(path.name.removesuffix(LOCK))
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder)
            if not folder.exists():
                path.unlink(missing_ok=True)
        except OSError:  # its process lives
            continue
        finally:
            os.close(handle)
    return gone


def _locked(parent: Path) -> tuple[Path, tuple[int, Path]]:
    """Return (folder that is not there yet, (handle of its lock, the lock file))."""
    while True:
        handle, name = tempfile.mkstemp(LOCK, PREFIX, parent)
        path = Path(name)
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = os.fstat(handle).st_nlink > 0
            except BlockingIOError:
                free = False
            except OSError:  # a file system without locks: nobody tidies up there
                free = True
            if not free:  # another server that tidies up was here between the two calls
                path.unlink(missing_ok=True)
                os.close(handle)
                continue
        return path.with_name(path.name.removesuffix(LOCK)), (handle, path)
