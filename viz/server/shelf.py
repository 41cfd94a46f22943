"""Keep files of traces named by their content, so that nothing is made twice.

The folder is public to whoever knows a name: a name holds 20 hexadecimal digits of a SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np

from stc_core.errors import InputError
from stc_core.record.trace import Trace
from stc_core.writing import written_whole
from viz.examples import Known
from viz.pictures.words import alt
from viz.server.quota import PAGE, Ledger, Limits
from viz.workspace.bundle import pack, sprite

PAGE_WIDTH = 900  # pixels of a picture on the page
KEEP = 24 * 3600  # seconds a trace's files stay after they were last shown
UMAP = "umap.bin"  # positions that ``projections`` puts into a folder here
LIMITS = Limits(  # folders: of traces with all that was made of them, and of clips' pictures
    own_things=40, own_bytes=512 << 20, things=300, bytes=4 << 30
)


class Shelf:
    """Keep files of traces in one folder, which must lie where Gradio serves files.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    limits : Limits
        How much visitors may keep here, each and all together.
    """

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ledger = Ledger(limits)
        self._sweeping = threading.Lock()
        self._making = threading.Lock()  # two cores: two sets at once would both come later
        self._writer = ThreadPoolExecutor(1, "shelf")
        self._late: dict[str, Future] = {}  # by key: what is not written yet

    def put(
        self,
        trace: Trace,
        source: Path | None = None,
        *,
        later: bool = False,
        visitor: str = PAGE,
    ) -> Path:
        """Return the trace's file, in the folder that its other files will share.

        It counts for ``visitor``, by default for the page itself.
        ``source`` is the file that it was read from, where there is one: copied, not written anew.
        With ``later`` the file comes a moment after the call, which ``find`` waits for.
        """
        if later:
            return self._put_later(trace, visitor)
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
        self._keep(path.parent, visitor)
        return path

    def find(self, key: object) -> Path | None:
        """Return the trace file of that key; None for anything else that a browser may send."""
        if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f]{20}", key):
            return None
        late = self._late.get(key)
        if late is not None:
            late.result()
        path = self.folder / key / "trace.npz"
        return path if path.is_file() else None

    def found(self, key: object) -> Path:
        """Return the trace file of that key; ``InputError`` where it is not here any more."""
        path = self.find(key)
        if path is None:
            raise InputError("this trace is no longer on the server; open it again")
        return path

    def addresses(
        self, trace: Trace, home: Path, about: Known | None = None, clip: Path | None = None
    ) -> dict[str, str | None]:
        """Return the addresses that the workspace is given: its files, relative to the page.

        ``home`` is what ``put`` returned; ``clip``, the video, must lie where Gradio serves files.
        """
        data = pack(trace, about)
        bundle = self._once(home.parent / f"{_key(data)}.bin", lambda: data)
        pictures = None
        if trace.frames is not None:
            place = self.folder / _key(np.ascontiguousarray(trace.frames))
            pictures = self._once(place / "frames.jpg", lambda: _sprite(trace))
            os.utime(place)  # as long as any trace of the clip is shown
            for visitor in self._ledger.owners(home.parent.name):
                self._ledger.add(place.name, visitor, _size(place))
        return {
            "key": home.parent.name,
            "bundle": served(bundle),
            "sprite": served(pictures),
            "clip": served(clip),
            "trace": served(home),
        }

    def shown(self, trace: Trace, home: Path, name: str) -> tuple[str, str]:
        """Return (file, alt text) of a picture for the page: without words, twice as fine."""
        path = self._once(
            home.parent / f"page-{name}.png",
            lambda: _render(trace, name, PAGE_WIDTH, words=False).png,
        )
        return str(path), alt(trace, name)

    def downloads(self, trace: Trace, home: Path, name: str) -> tuple[str, str]:
        """Return (PNG file, SVG file) of a picture with title, explanation and caption."""
        png, svg = home.parent / f"{name}.png", home.parent / f"{name}.svg"
        if not (png.exists() and svg.exists()):
            picture = _render(trace, name)
            self._once(png, lambda: picture.png)
            self._once(svg, lambda: picture.svg)
        return str(png), str(svg)

    def _put_later(self, trace: Trace, visitor: str) -> Path:
        """Compressing the frames takes longer than everything else that a new trace needs."""
        key = uuid.uuid4().hex[:20]
        path = self.folder / key / "trace.npz"
        path.parent.mkdir()
        self._ledger.add(key, visitor, 0)

        def write() -> None:
            trace.save(path)
            self._keep(path.parent, visitor)

        self._late[key] = self._writer.submit(write)
        self._late[key].add_done_callback(lambda _: self._late.pop(key))
        return path

    def _once(self, path: Path, make: Callable[[], bytes]) -> Path:
        with self._making:
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                with written_whole(path) as partial:
                    partial.write_bytes(make())
        return path

    def _keep(self, home: Path, visitor: str) -> None:
        """Count a folder for a visitor; forget what nobody has opened for long or is too much."""
        with self._sweeping:
            for place in [place for place in self.folder.iterdir() if place.is_dir()]:
                if _age(place) > KEEP:
                    shutil.rmtree(place, ignore_errors=True)
                    self._ledger.remove(place.name)
                elif place.name in self._ledger:
                    self._ledger.resize(place.name, _size(place))  # pictures and exports came
                elif (place / UMAP).exists():  # shared by all traces of a clip
                    self._ledger.add(place.name, PAGE, _size(place))
            self._ledger.add(home.name, visitor, _size(home))
            for key in self._ledger.excess(visitor):
                shutil.rmtree(self.folder / key, ignore_errors=True)


def _sprite(trace: Trace) -> bytes:
    """Return the frames of a trace that has them, as one picture."""
    made = sprite(trace)
    if made is None:
        raise ValueError("this trace holds no frames")
    return made


def _key(data: bytes | np.ndarray) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else data.data).hexdigest()[:20]


def served(path: Path | None) -> str | None:
    """Return the address under which Gradio serves a file, relative to the page."""
    return f"gradio_api/file={quote(str(path))}" if path else None


def _render(*what, **how):
    from viz.pictures.sheets import render  # matplotlib: not before something has to be drawn

    return render(*what, **how)


def _size(place: Path) -> int:
    """Return the bytes of the files in a folder; a file that has just gone has none."""
    total = 0
    with contextlib.suppress(OSError):
        for file in place.iterdir():
            with contextlib.suppress(OSError):
                total += file.stat().st_size
    return total


def _age(path: Path) -> float:
    """Return the seconds since a folder was last opened; endless where it has just gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
