"""Pictures and traces as files named by their content, so that nothing is drawn twice.

The folder is public to whoever knows a name: a name holds 20 hexadecimal digits of a SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from stc_core.trace import Trace

from .words import TEXTS, alt

PAGE_WIDTH = 900  # pixels of a picture on the page
KEEP = 24 * 3600  # seconds a trace's files stay after they were last shown
MOST = 100  # traces on the shelf


class Shelf:
    """Files of traces in one folder.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    ahead : subprocess.Popen, optional
        A process that fills this folder too; the first picture waits for it.
    """

    def __init__(self, folder: Path, ahead: subprocess.Popen | None = None) -> None:
        self.folder, self._ahead = Path(folder), ahead
        self.folder.mkdir(parents=True, exist_ok=True)
        self._drawing = threading.Lock()  # two cores: two sets at once would both come later

    def put(self, trace: Trace) -> Path:
        """The trace's file, in the folder that its pictures will share."""
        handle, name = tempfile.mkstemp(suffix=".npz", dir=self.folder)
        os.close(handle)
        try:
            trace.save(name)
            key = hashlib.sha256(Path(name).read_bytes()).hexdigest()[:20]
            path = self.folder / key / "trace.npz"
            path.parent.mkdir(exist_ok=True)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
        os.utime(path.parent)
        self._sweep()
        return path

    def shown(self, trace: Trace, home: Path, name: str) -> tuple[str, str]:
        """(file, alt text) of a picture as the page shows it, without words, twice as fine."""
        path = self._once(
            home.parent / f"page-{name}.png",
            lambda: _render(trace, name, PAGE_WIDTH, words=False).png,
        )
        return str(path), alt(trace, name)

    def downloads(self, trace: Trace, home: Path, name: str) -> tuple[str, str]:
        """(PNG file, SVG file) of a picture with title, explanation and caption."""
        png, svg = home.parent / f"{name}.png", home.parent / f"{name}.svg"
        if not (png.exists() and svg.exists()):
            picture = _render(trace, name)
            self._once(png, lambda: picture.png)
            self._once(svg, lambda: picture.svg)
        return str(png), str(svg)

    def draw_all(self, trace: Trace) -> Path:
        """Everything that the page shows of a trace."""
        home = self.put(trace)
        for name in TEXTS:
            self.shown(trace, home, name)
        return home

    def _once(self, path: Path, make: Callable[[], bytes]) -> Path:
        with self._drawing:
            self._wait()
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                partial = path.with_suffix(".part")
                partial.write_bytes(make())
                os.replace(partial, path)
        return path

    def _wait(self) -> None:
        if self._ahead is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._ahead.wait(timeout=20)
            self._ahead = None

    def _sweep(self) -> None:
        """Forget traces that nobody has opened for long, and the oldest of too many."""
        homes = sorted((p for p in self.folder.iterdir() if p.is_dir()), key=_age)
        for place, home in enumerate(homes):
            if place >= MOST or _age(home) > KEEP:
                shutil.rmtree(home, ignore_errors=True)


def _render(*what, **how):
    from .report import render  # matplotlib: not before something has to be drawn

    return render(*what, **how)


def _age(path: Path) -> float:
    """Seconds since a folder was last opened; endless where it has just gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


if __name__ == "__main__":  # a process of its own draws while the page's is still importing
    Shelf(Path(sys.argv[1])).draw_all(Trace.load(sys.argv[2]))
