"""The page as a process of its own: started on a free port, waited for, ended."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE = 120  # seconds


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def started(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen]:
    """The process of a command, whose output goes into ``log``; ended on the way out."""
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=out, env=dict(env))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def first_answer(url: str, process: subprocess.Popen, log: Path, **more) -> httpx.Response:
    """What a page says to its first visitor, once it listens."""
    patience = time.monotonic() + PATIENCE
    while True:
        try:
            return httpx.get(url, timeout=PATIENCE, **more)
        except httpx.HTTPError:
            assert process.poll() is None and time.monotonic() < patience, log.read_text()
            time.sleep(0.1)
