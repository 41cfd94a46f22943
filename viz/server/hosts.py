"""Decide under which host names the page answers, and which pages may send it something.

A page on this machine alone is still within reach of every website that its user opens: a site can
let its own name point to 127.0.0.1 (DNS rebinding), or post a form here. The header ``Host`` shows
the first, ``Origin`` the second; a website can forge neither.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

READS = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Tell whether a server bound to this host can be reached from this machine alone."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


class Hosts:
    """Hold the host names of one page.

    Parameters
    ----------
    bound : str
        What the server is bound to: "127.0.0.1", "0.0.0.0", a name of this machine.
    allowed : iterable of str
        Names without a port that visitors may use beside it, such as that of a proxy.
    share : callable
        () -> the address of Gradio's relay, or None.
    """

    def __init__(
        self,
        bound: str,
        allowed: Iterable[str] = (),
        share: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._open = not is_loopback(bound)
        self._names = {"localhost", _bare(bound), *map(_bare, allowed)}
        self._share = share

    def refusal(self, method: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return (status, sentence) for a request that is refused; None for an accepted one.

        On this machine alone "localhost" and loopback addresses pass, at any port, since tunnels
        change it. On an open host every address passes, since a site can let a name of its own
        point here but not an address. The allowed names always pass.
        """
        host = headers.get("host", "")
        if not self._passes(_split(host)[0]):
            shown = host if re.fullmatch(r"[\w.:\[\]-]{1,100}", host, re.ASCII) else "that was used"
            return 421, (
                f"This page does not answer under the name {shown}; whoever runs it can allow a "
                f"name with --allow-host."
            )
        origin = headers.get("origin")
        if method not in READS and origin is not None and not self._same(origin, host):
            return 403, "Another website may not send anything to this page; open the page itself."
        return None

    def _passes(self, name: str) -> bool:
        if self._known(name):
            return True
        address = _address(name)
        return address is not None and (self._open or address.is_loopback)

    def _known(self, name: str) -> bool:
        share = self._share()
        return name in self._names or bool(share) and name == urlsplit(share).hostname

    def _same(self, origin: str, host: str) -> bool:
        """Whether the page that sends is this one; behind a proxy the host is the proxy's word."""
        scheme, _, rest = origin.partition("://")
        if scheme not in ("http", "https") or not rest:
            return False  # "null" among them
        name, port = _split(rest)
        here, here_port = _split(host)
        if self._known(name) and not is_loopback(name):
            return True
        usual = {"http": 80, "https": 443}[scheme]
        return name == here != "" and (port or usual) == (here_port or usual)


def _split(host: str) -> tuple[str, int | None]:
    """Return (name, port) of "name:port" or "[::1]:port"; ("", None) for what is neither."""
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?", host.lower(), re.ASCII)
    if found is None:
        return "", None
    name, port = found.groups()
    return _bare(name), None if port is None else int(port)


def _bare(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
