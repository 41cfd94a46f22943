"""Files of traces named by their content, so that nothing is made twice.

The folder is public to whoever knows a name: a name holds 20 hexadecimal digits of a SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from stc_core.trace import Trace

from .examples import Known
from .words import alt
from .workspace.bundle import pack, sprite

PAGE_WIDTH = 900  # pixels of a picture on the page
KEEP = 24 * 3600  # seconds a trace's files stay after they were last shown
MOST = 100  # traces on the shelf


class Shelf:
    """Files of traces in one folder; it must lie where Gradio serves files.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._making = threading.Lock()  # two cores: two sets at once would both come later

    def put(self, trace: Trace, source: Path | None = None) -> Path:
        """The trace's file, in the folder that its other files will share.

        ``source`` is the file that it was read from, where there is one: copied, not written anew.
        """
        handle, name = tempfile.mkstemp(suffix=".npz", dir=self.folder)
        os.close(handle)
        try:
            if source is None:
                trace.save(name)
            else:
                shutil.copyfile(source, name)
            path = self.folder / _key(Path(name).read_bytes()) / "trace.npz"
            path.parent.mkdir(exist_ok=True)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
        os.utime(path.parent)
        self._sweep()
        return path

    def find(self, key: object) -> Path | None:
        """The trace file of that key; None for whatever else a browser may send."""
        if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f]{20}", key):
            return None
        path = self.folder / key / "trace.npz"
        return path if path.is_file() else None

    def addresses(
        self, trace: Trace, home: Path, about: Known | None = None, clip: Path | None = None
    ) -> dict[str, str | None]:
        """What the workspace is given: where its files lie, relative to the page.

        ``home`` is what ``put`` returned; ``clip``, the video, must lie where Gradio serves files.
        """
        data = pack(trace, about)
        bundle = self._once(home.parent / f"{_key(data)}.bin", lambda: data)
        pictures = None
        if trace.frames is not None:
            pictures = self._once(home.parent / "frames.jpg", lambda: sprite(trace))
        return {
            "key": home.parent.name, "bundle": _served(bundle), "sprite": _served(pictures),
            "clip": _served(clip), "trace": _served(home),
        }  # fmt: skip

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

    def _once(self, path: Path, make: Callable[[], bytes]) -> Path:
        with self._making:
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                partial = path.with_suffix(".part")
                partial.write_bytes(make())
                os.replace(partial, path)
        return path

    def _sweep(self) -> None:
        """Forget traces that nobody has opened for long, and the oldest of too many."""
        homes = sorted((p for p in self.folder.iterdir() if p.is_dir()), key=_age)
        for place, home in enumerate(homes):
            if place >= MOST or _age(home) > KEEP:
                shutil.rmtree(home, ignore_errors=True)


def _key(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]


def _served(path: Path | None) -> str | None:
    """The address under which Gradio serves a file, relative to the page."""
    return f"gradio_api/file={quote(str(path))}" if path else None


def _render(*what, **how):
    from .report import render  # matplotlib: not before something has to be drawn

    return render(*what, **how)


def _age(path: Path) -> float:
    """Seconds since a folder was last opened; endless where it has just gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
