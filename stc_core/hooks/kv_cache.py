"""Find the KV cache in a call into a decoder, whatever the installed library names it.

transformers passed it as ``past_key_values=`` up to 5.23 and passes it as ``cache=`` since 5.24;
the old name is accepted until 5.40. Nothing else in this package names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import DynamicCache

from stc_core.errors import InputError, moved

NAMES = ("cache", "past_key_values")  # since 5.24, before


def cache_given(kwargs: Mapping[str, Any], who: str) -> Any:
    """Return the cache among the keyword arguments of a call, None where the call has none.

    Parameters
    ----------
    kwargs
        What ``who`` was called with.
    who
        For the error: "the decoder", "a decoder layer".

    Raises
    ------
    RuntimeError
        The call names no cache at all, not even None: the library has changed the name.
    """
    found = [kwargs[name] for name in NAMES if name in kwargs]
    if not found:
        raise moved(f"{who} gets its cache under none of the names {', '.join(NAMES)}")
    return next((cache for cache in found if cache is not None), None)


def cache_argument(module: nn.Module) -> str:
    """Return the name under which ``module.forward`` takes the cache."""
    parameters = inspect.signature(module.forward).parameters
    for name in NAMES:
        if name in parameters:
            return name
    raise moved(f"{type(module).__name__} takes its cache under none of the names {NAMES}")


def cache_of(output: Any) -> Any:
    """Return the cache that ``generate`` or a forward call hands back."""
    for name in NAMES:
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    raise moved(f"{type(output).__name__} hands its cache back under none of the names {NAMES}")


class Lease:
    """Tell whether the ``with compress(...)`` that shortened a cache is still open.

    A copy of a cache shares it; a cache that is loaded from a file finds it closed.
    """

    def __init__(self, open: bool = True) -> None:
        self.open = open

    def __deepcopy__(self, memo: dict) -> Lease:
        return self

    def __reduce__(self) -> tuple:
        return Lease, (False,)


class CompressedCache(DynamicCache):
    """Hold a compressed prompt in a ``DynamicCache``.

    Its layers differ in length and its places are not those of the prompt's tokens, so only the
    ``with compress(...)`` that made it can continue it. Elsewhere it says so instead of failing on
    tensor sizes. It is never built: ``mark`` turns a plain cache into one.
    """

    lease: Lease
    sequence: Any  # how the prompt was shortened: a ``shortening.Sequence``

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Add keys and values as ``DynamicCache`` does, while the ``with`` is open."""
        if not self.lease.open:
            raise InputError(
                "this cache holds a compressed prompt and can be continued only inside the `with "
                "compress(...)` that made it; end the generation before leaving the `with`, or "
                "give the whole prompt again"
            )
        return super().update(*args, **kwargs)


def mark(cache: Any, lease: Lease, sequence: Any) -> None:
    """Turn a plain cache into one that knows how its prompt was shortened; leave other kinds."""
    if type(cache) is DynamicCache:
        cache.__class__ = CompressedCache
    if isinstance(cache, CompressedCache):
        cache.lease, cache.sequence = lease, sequence
