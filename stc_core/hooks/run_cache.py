"""Keep what runs have worked out from call to call: frames, prompts, features, answers."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import is_dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from stc_core.models.families import family_of
from stc_core.models.stock import StockModel

LIMIT = 1 << 30  # bytes of a cache
_numbers: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_next = itertools.count()


class RunCache:
    """Keep what was worked out for the clips seen last; beyond ``limit`` bytes the oldest go.

    Give one to ``answer(..., cache=)`` and to the next call. It may hold clips of several models,
    and stays where the tower ran: on a GPU, in its memory. Any thread may use it.

    Parameters
    ----------
    limit
        Bytes of tensors and arrays that it holds at most. What is larger alone is not kept.

    Attributes
    ----------
    bytes : int
        Held now.
    hits, misses : int
        How often something was asked for that was there, or not.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.bytes, self.hits, self.misses = limit, 0, 0, 0
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable, good: Callable[[Any], bool] = lambda value: True) -> Any:
        """Return what ``put`` was given under that key, where it is ``good`` enough; else None."""
        with self._lock:
            value, _ = self._held.get(key, (None, 0))
            if value is None or not good(value):
                self.misses += 1
                return None
            self.hits += 1
            self._held.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of ``size`` bytes as the newest."""
        with self._lock:
            self.bytes -= self._held.pop(key, (None, 0))[1]
            if size > self.limit:
                return
            self._held[key] = value, size
            self.bytes += size
            while self.bytes > self.limit:
                self.bytes -= self._held.popitem(last=False)[1][1]

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what ``make`` once gave, or gives now; do not change it, others get it too."""
        value = self.get(key)
        if value is None:
            value = make()
            self.put(key, value, bytes_of(value))
        return value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self.bytes = 0


def bytes_of(value: Any) -> int:
    """Count the bytes of tensors and arrays in nested containers; shared memory counts once."""
    found: dict[int, int] = {}

    def look(value: Any) -> None:
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, np.ndarray):
            found[value.ctypes.data] = value.nbytes
        elif isinstance(value, Mapping):
            look(list(value.values()))
        elif isinstance(value, (tuple, list)):
            for part in value:
                look(part)
        elif is_dataclass(value):
            look(vars(value))

    look(value)
    return sum(found.values())


def fingerprint(model: StockModel, *parts: Any) -> str:
    """Return the SHA-256 of a model and nested containers, by content, type, shape and device.

    A model is the object and how often its weights were written to, not what they are.
    """
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(repr((value.dtype, value.shape, value.device)).encode())
            plain = value.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().data)
        elif isinstance(value, Mapping):
            add(sorted(value.items()))
        elif isinstance(value, (tuple, list)):
            digest.update(f"{type(value).__name__}{len(value)}".encode())
            for part in value:
                add(part)
        else:
            digest.update(repr(value).encode() + b"\0")

    if model not in _numbers:
        _numbers[model] = next(_next)
    weights = list(model.parameters())
    written = sum(weight._version for weight in weights if not weight.is_inference())
    configs = (model, family_of(model.config).tower(model), model.get_decoder())
    kernels = [module.config._attn_implementation for module in configs]
    add([_numbers[model], written, str(weights[0].device), str(weights[0].dtype), kernels])
    add(list(parts))
    return digest.hexdigest()


VisionCache = RunCache  # its name when it kept features alone
