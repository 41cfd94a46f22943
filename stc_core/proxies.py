"""Check the proxies through which this machine reaches others."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.request import getproxies

from stc_core.errors import InputError

__all__ = ["check_proxies"]


def check_proxies() -> None:
    """Check that the proxies of the environment can be used.

    Raises
    ------
    InputError
        One of them is a SOCKS proxy, and the package for such is missing: the model hub's library
        and Gradio would fail with an ``ImportError``.
    """
    socks = [name for name, proxy in getproxies().items() if proxy.startswith("socks")]
    if socks and find_spec("socksio") is None:
        raise InputError(
            f"the environment names a SOCKS proxy ({socks[0]}_proxy), which needs one more "
            f"package; `pip install socksio`, or unset the variable"
        )
