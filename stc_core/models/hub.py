"""Look up a checkpoint on the model hub: its size, what of it is in the cache, the download.

The hub is asked once; what is in the cache is then read as a folder, without a further request. Out
of reach, offline or refused, the cache answers alone.
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from huggingface_hub import (
    HfApi,
    ModelInfo,
    constants,
    errors,
    is_offline_mode,
    try_to_load_from_cache,
)
from huggingface_hub.utils import validate_repo_id

from stc_core.errors import InputError
from stc_core.proxies import check_proxies

# What transformers reads of a checkpoint: not the weights in other formats, the pictures, the
# copies in subfolders.
NEEDED = ("*.json", "*.txt", "*.jinja", "*.model", "model*.safetensors")
PATIENCE = 20  # seconds for the hub's first answer, all of its addresses taken together
_Result = TypeVar("_Result")
# ``errors.HTTPError`` is that of the client library, which differs between releases of the hub's
_FAILURES = (OSError, ValueError, errors.HTTPError, futures.TimeoutError)


def announce(name: str, size: int) -> None:
    """Say on stderr what is about to be downloaded: the default of ``load``."""
    print(f"downloading {name}, {in_bytes(size)}", file=sys.stderr, flush=True)


def in_bytes(size: float) -> str:
    """Format a number of bytes for a reader, in powers of 1000: "16.1 GB"."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB" if size < 999.5 else f"{size / 1000:.1f} TB"


@dataclass(frozen=True)
class Checkpoint:
    """Hold a model on the hub, at its newest revision.

    Attributes
    ----------
    name : str
        Hub id.
    revision : str
        Commit; "" where the hub did not answer.
    sizes : dict of str to int
        Bytes of every file that loading needs; empty where the hub did not answer.
    cached : Path or None
        Where the hub did not answer: the folder of what is here.
    reason : str
        Why it did not answer.
    """

    name: str
    revision: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    cached: Path | None = None
    reason: str = ""

    def config(self) -> dict:
        """Return the checkpoint's config.json, fetched alone: a few kB that tell what it is."""
        return self._read(self.small("config.json") / "config.json")

    def small(self, *names: str) -> Path:
        """Return a folder with those of these files that the checkpoint has, fetched alone.

        ``InputError`` says in one sentence why one does not come.
        """
        if self.cached is not None:
            return self.cached
        with _sentences(self.name):
            for name in (name for name in names if name in self.sizes):
                path = Path(_within(PATIENCE, functools.partial(self._get, name)))
        return path.parent

    def _get(self, name: str) -> str:
        timeout = constants.HF_HUB_ETAG_TIMEOUT
        return HfApi().hf_hub_download(self.name, name, etag_timeout=timeout)

    def _read(self, config: Path) -> dict:
        try:
            return json.loads(config.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            raise InputError(
                f"the config.json of {self.name!r} is damaged; remove {str(config)!r} and try again"
            ) from None

    def missing(self) -> dict[str, int]:
        """Return the bytes of all files that are not in the cache."""
        return {
            file: size
            for file, size in self.sizes.items()
            if not isinstance(try_to_load_from_cache(self.name, file, revision=self.revision), str)
        }

    def fetch(self, on_download: Callable[[str, int], None] | None = None) -> Path:
        """Return the folder of the whole checkpoint after downloading what is missing.

        Parameters
        ----------
        on_download
            Called with the name and the bytes to come, before they come; not at all where none do.
            What it raises ends it. The hub's own library draws the progress on stderr.

        Raises
        ------
        InputError
            No room on the disk, no right to the files, a download that broke off; one sentence.
        """
        if self.cached is not None:
            return self.cached
        size = sum(self.missing().values())
        if size:
            _check_room(self.name, size)
            if on_download is not None:
                on_download(self.name, size)
        with _sentences(self.name):
            folder = HfApi().snapshot_download(
                self.name,
                allow_patterns=list(self.sizes),
                etag_timeout=constants.HF_HUB_ETAG_TIMEOUT,
            )
        return Path(folder)


def find(name: str) -> Checkpoint:
    """Look a model up on the hub, or in the cache where the hub does not answer.

    Takes at most ``PATIENCE`` seconds. ``InputError`` says in one sentence why there is none.
    """
    try:
        validate_repo_id(name)
    except errors.HFValidationError:
        raise InputError(
            f"{name!r} is neither a folder nor a name on the model hub, which has the form "
            f"'organisation/model'; check the spelling"
        ) from None
    try:
        info = _within(PATIENCE, lambda: _info(name))
    except _FAILURES as error:
        held = try_to_load_from_cache(name, "config.json")
        if not isinstance(held, str):
            raise InputError(_why(name, error)) from error
        return Checkpoint(name, cached=Path(held).parent, reason=_reason(error))
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or () if _needed(file)}
    if "config.json" not in sizes or not any(file.endswith(".safetensors") for file in sizes):
        raise InputError(
            f"the repository {name!r} holds no model in the format of transformers (config.json "
            f"and model.safetensors); choose a converted one, often named with '-hf'"
        )
    return Checkpoint(name, info.sha or "", sizes)


def _info(name: str) -> ModelInfo:
    check_proxies()
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    return HfApi().model_info(name, files_metadata=True, timeout=timeout)


def _needed(file) -> bool:
    return "/" not in file.rfilename and any(fnmatch(file.rfilename, form) for form in NEEDED)


def _within(seconds: float, call: Callable[[], _Result]) -> _Result:
    """Return or raise what ``call`` does, or ``TimeoutError``.

    A client's own timeout starts anew for each address of a host, and not at all for its name.
    """
    result: futures.Future[_Result] = futures.Future()

    def work() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=work, daemon=True, name="hub").start()
    return result.result(seconds)


def _check_room(name: str, size: int) -> None:
    place = Path(constants.HF_HUB_CACHE)
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise InputError(
            f"the model {name!r} is a download of {in_bytes(size)} and the disk has "
            f"{in_bytes(free)} left; make room, or set HF_HOME to a folder on another disk"
        )


@contextmanager
def _sentences(name: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise InputError(_why(name, error)) from error


def _reason(error: BaseException) -> str:
    """Say why the hub did not answer, to go on with "and the model hub ..."."""
    if is_offline_mode():
        return "is switched off (HF_HUB_OFFLINE)"
    if isinstance(error, errors.GatedRepoError):
        return "asks for its terms to be accepted"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "does not show it"
    return "cannot be reached"


def _why(name: str, error: BaseException) -> str:
    """Say in one sentence why the hub does not give a model."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, errors.GatedRepoError):
        return (
            f"the model {name!r} is gated: accept its terms at {constants.ENDPOINT}/{name}, then "
            f"log in with `hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"there is no model {name!r} on the model hub, or it is private; check the spelling, "
            f"log in with `hf auth login`, or pass a checkpoint folder"
        )
    response = getattr(error, "response", None)
    if response is not None:
        return (
            f"the model hub answered {response.status_code} when asked for {name!r}; try again "
            f"later, or pass a checkpoint folder"
        )
    if is_offline_mode():
        return (
            f"the model {name!r} is not on this machine and the model hub is switched off "
            f"(HF_HUB_OFFLINE); pass a checkpoint folder, or unset HF_HUB_OFFLINE"
        )
    return (
        f"the model {name!r} is not wholly on this machine and the model hub cannot be reached; "
        f"check the network and try again, what is here already is kept"
    )
