"""Limit what browsers and scripts upload: how much is taken and kept, and for whom.

Gradio puts an upload into a folder named by its content, in its temporary directory. Uploads carry
no session, so a visitor is an address here; behind a proxy, the address that the proxy reports.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from stc_core.errors import InputError
from viz.server.job import BIGGEST
from viz.server.quota import Ledger, Limits
from viz.server.runner import FULL

LIMITS = Limits(own_things=16, own_bytes=1 << 30, things=256, bytes=16 << 30)
AT_ONCE = 16  # uploads of one visitor that are under way; scripts send several
AT_ONCE_IN_ALL = 64
LARGEST = BIGGEST + (1 << 20)  # of a request: the file and what is around it
RESERVE = 1 << 30  # bytes of the disk that no upload may take
STALLED = 600  # seconds after which what is half uploaded is given up


class NoRoom(Exception):
    """Report that the disk has no room for this upload."""


class Uploads:
    """Count the uploads of one server, make room for new ones and remove the rest.

    Parameters
    ----------
    folder : Path
        Gradio's temporary directory.
    limits : Limits
        How much visitors may keep, each and all together.
    reserve : int
        Bytes that must stay free on the disk.
    """

    def __init__(self, folder: Path, limits: Limits = LIMITS, reserve: int = RESERVE) -> None:
        self.folder, self.limits, self.reserve = Path(folder), limits, reserve
        self._ledger = Ledger(limits)
        self._coming: Counter[str] = Counter()  # uploads under way
        self._bytes: Counter[str] = Counter()  # and what they may hold

    def begin(self, visitor: str, size: int) -> None:
        """Make room for an upload of so many bytes: the visitor's oldest ones go first.

        Raises
        ------
        InputError
            It is too large, or too many are under way.
        NoRoom
            The disk is full.
        """
        if size > LARGEST:
            raise InputError(f"the file has more than {BIGGEST >> 20} MiB; send a smaller one")
        if self._coming[visitor] >= AT_ONCE or self._coming.total() >= AT_ONCE_IN_ALL:
            raise InputError("too many uploads are under way; try again when they have ended")
        coming = self._bytes[visitor] + size
        if coming > self.limits.own_bytes or self._bytes.total() + size > self.limits.bytes:
            raise InputError(
                "the uploads that are under way take all the room there is; try again when they "
                "have ended"
            )
        self._forget(self._ledger.excess(visitor, coming))
        if shutil.disk_usage(self.folder).free - self._bytes.total() - size < self.reserve:
            raise NoRoom(FULL)
        self._coming[visitor] += 1
        self._bytes[visitor] += size

    def end(self, visitor: str, size: int, paths: Iterable[str] = ()) -> None:
        """Count the files of an upload that ``begin`` let in; remove those of a broken one."""
        self._coming[visitor] -= 1
        self._bytes[visitor] -= size
        for name in {place.name for place in map(self._place, paths) if place is not None}:
            self._ledger.add(name, visitor, _size(self.folder / name))
            self._forget(self._ledger.excess(visitor))
        self._sweep()

    def _place(self, path: str) -> Path | None:
        """Return the folder of an upload; None for what is none."""
        place = Path(path).parent
        return place if place.parent == self.folder else None

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what broken uploads have left."""
        idle = not self._coming.total()
        for path in self.folder.glob("tmp*"):
            with contextlib.suppress(OSError):
                old = time.time() - path.stat().st_mtime > STALLED
                if path.is_file() and (idle or old):
                    path.unlink()


def paths_in(body: bytes) -> list[str]:
    """Read the paths in Gradio's answer to an upload; none where it is something else."""
    try:
        paths = json.loads(body)
    except ValueError:
        return []
    good = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
    return paths if good else []


def _size(place: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for file in place.iterdir():
            total += file.stat().st_size
    return total
