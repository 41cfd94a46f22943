"""Download a video from an address: bounded in size and time, and from public hosts only.

Whoever can name an address could otherwise read what only this machine can reach. So the addresses
of every host are looked up first, all of them must be public, and the connection goes to one of
those that were checked; redirects are followed by hand, each as if it were asked for first.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from stc_core.answering.video_file import quoted
from stc_core.errors import InputError

__all__ = ["MAX_BYTES", "downloaded", "is_public", "is_url"]

MAX_BYTES = 2 << 30  # of a downloaded video
MAX_SECONDS = 600.0  # of a download, redirects included
SILENCE = 20.0  # seconds without a byte
MAX_REDIRECTS = 5
PIECE = 1 << 18  # bytes read at once
REDIRECTS = frozenset([301, 302, 303, 307, 308])
_IN_PATH = "%/:=&?~+!$,;'@()*[]"  # stays as it is in a path or a query


def is_url(video: object) -> bool:
    """Tell whether this is an http or https address."""
    return isinstance(video, str) and re.match(r"https?://", video, re.IGNORECASE) is not None


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet.

    Loopback, private, link-local, shared, multicast and reserved ones are not; an IPv6 address that
    stands for an IPv4 address is as public as that one is.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = _inner(found)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to, None where it is a plain one."""
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    translated = address in ipaddress.ip_network("64:ff9b::/96")  # NAT64, RFC 6052
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if translated else None


@contextmanager
def downloaded(
    url: str,
    *,
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
    on_progress: Callable[[float], None] | None = None,
    public: Callable[[str], bool] | None = None,
) -> Iterator[Path]:
    """Yield the file of a downloaded video; it is gone after the ``with``.

    No proxy is used, since it would look up the host anew; certificates are those that Python
    trusts.

    Parameters
    ----------
    url
        http or https, without a user name.
    max_bytes, max_seconds
        Bounds on the file's size and on the time of the download, redirects included.
    on_progress
        Called with the share done, 0 to 1, where the server tells the size. What it raises ends
        the download.
    public
        Tells of an IP address as text whether it may be asked; default: ``is_public``. For tests
        against a server of their own.

    Raises
    ------
    InputError
        No such address or host, a host that is not public, a redirect to one, an answer that is no
        file, too large, too slow or broken off; one sentence.
    """
    clock = _Deadline(max_seconds)
    with tempfile.TemporaryDirectory(prefix="stc-video-") as folder, ExitStack() as stack:
        for _ in range(MAX_REDIRECTS + 1):
            parts = _checked(url)
            response = _ask(parts, clock, public or is_public, stack)
            if response.status not in REDIRECTS:
                break
            url = urljoin(url, response.headers.get("Location", ""))
        else:
            raise InputError(f"{_shown(parts)} redirects more than {MAX_REDIRECTS} times")
        if response.status != 200:
            raise InputError(
                f"the server of {_shown(parts)} answers {response.status} instead of a file; "
                f"check the address"
            )
        file = Path(folder) / _file_name(parts)
        _receive(response, parts, file, clock, max_bytes, on_progress or (lambda share: None))
        stack.close()
        yield file


class _Deadline:
    """Hold the moment at which a download must have ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def too_late(self, parts: SplitResult) -> InputError:
        return InputError(
            f"{_shown(parts)} was not downloaded within {self.seconds:g} s; download the video "
            f"yourself and name the file"
        )


def _checked(url: str) -> SplitResult:
    """Return the parts of an address that may be asked."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        if host:
            host.encode("idna")
    except (ValueError, UnicodeError) as error:
        raise InputError(f"{quoted(url)} is no valid address; check it") from error
    if parts.scheme.lower() not in ("http", "https"):
        raise InputError(f"{quoted(url)} is no http or https address, and no other is followed")
    if not host or "@" in parts.netloc:
        raise InputError(f"{_shown(parts)} must name a host and neither user nor password")
    return parts


def _ask(
    parts: SplitResult, clock: _Deadline, public: Callable[[str], bool], stack: ExitStack
) -> http.client.HTTPResponse:
    """Ask for an address at a checked host; the stack closes the connection."""
    secure = parts.scheme.lower() == "https"
    host, port = str(parts.hostname), parts.port or (443 if secure else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InputError(f"there is no host {quoted(host)}, or no way to it") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not public(address):
            raise InputError(
                f"{quoted(host)} is not a host of the public internet, and no other is asked for "
                f"a video; download it yourself and name the file"
            )
    target = quote(parts.path or "/", safe=_IN_PATH)
    if parts.query:
        target += "?" + quote(parts.query, safe=_IN_PATH)
    try:
        connection = _Connection(host, port, addresses, clock, secure)
        stack.callback(connection.close)
        connection.connect()
        alarm = threading.Timer(max(0.0, clock.left), connection.cut)
        alarm.daemon = True
        stack.callback(alarm.cancel)
        alarm.start()
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "stc"}
        connection.request("GET", target, headers=headers)
        return connection.getresponse()
    except (OSError, http.client.HTTPException, ValueError) as error:
        if clock.left <= 0:
            raise clock.too_late(parts) from error
        raise InputError(
            f"{_shown(parts)} could not be asked ({_reason(error)}); check the address"
        ) from error


class _Connection(http.client.HTTPConnection):
    """Connect to addresses that were looked up before, whatever the name leads to by now."""

    def __init__(
        self, host: str, port: int, addresses: list[str], clock: _Deadline, secure: bool
    ) -> None:
        super().__init__(host, port)
        self._addresses, self._clock = addresses, clock
        self._context = ssl.create_default_context() if secure else None
        if secure:
            self.default_port = 443  # which the header Host leaves out

    def connect(self) -> None:
        """Connect to the first of the addresses that answers."""
        failed: OSError = OSError("no address")
        for address in self._addresses:
            patience = min(SILENCE, self._clock.left)
            if patience <= 0:
                raise TimeoutError("timed out")
            try:
                plain: Any = socket.create_connection((address, self.port), timeout=patience)
                break
            except OSError as error:
                failed = error
        else:
            raise failed
        self.sock = plain
        if self._context is not None:
            self.sock = self._context.wrap_socket(plain, server_hostname=self.host)

    def cut(self) -> None:
        """End whatever is under way."""
        sock = self.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended


def _receive(
    response: http.client.HTTPResponse,
    parts: SplitResult,
    file: Path,
    clock: _Deadline,
    most: int,
    report: Callable[[float], None],
) -> None:
    """Write the body to a file, within the bounds."""
    length = response.headers.get("Content-Length")
    total = int(length) if length is not None and length.isdecimal() else None
    if total is not None and total > most:
        raise _too_large(parts, most)
    done = 0
    with _opened(file) as out:
        while True:
            try:
                piece = response.read(PIECE)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if clock.left <= 0:
                    raise clock.too_late(parts) from error
                raise InputError(
                    f"the download of {_shown(parts)} broke off ({_reason(error)}); try again"
                ) from error
            if clock.left <= 0:
                raise clock.too_late(parts)
            if not piece:
                break
            done += len(piece)
            if done > most:
                raise _too_large(parts, most)
            try:
                out.write(piece)
            except OSError as error:
                raise InputError(
                    f"the downloaded video could not be written ({error.strerror or error}); make "
                    f"room"
                ) from error
            if total:
                report(min(1.0, done / total))
    if total is not None and done < total:
        raise InputError(
            f"the download of {_shown(parts)} broke off after {done:,} of {total:,} bytes; try "
            f"again"
        )


def _opened(file: Path) -> Any:
    return file.open("wb", buffering=0)


def _too_large(parts: SplitResult, most: int) -> InputError:
    size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most} bytes"
    return InputError(
        f"{_shown(parts)} is larger than the {size} that are downloaded; download the video "
        f"yourself and name the file"
    )


def _file_name(parts: SplitResult) -> str:
    """Return a plain name for the file, by the last part of the address."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(parts.path)).strip(".-")
    return name[-80:].lstrip(".-") or "video"


def _shown(parts: SplitResult) -> str:
    """Return an address for a sentence, without what may be secret in it."""
    return quoted(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    said = getattr(error, "strerror", None) or getattr(error, "verify_message", None) or ""
    return said or type(error).__name__
