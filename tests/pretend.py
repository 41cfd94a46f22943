"""Devices that are not there: tensors that compute on the CPU and insist on the device they name.

As on real GPUs, an operation on tensors of two devices fails. A test can so spread a model over
several devices on a machine that has none, and learn which tensor was left behind.
"""

from __future__ import annotations

from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

KIND = "cuda"
MOVES = {"_to_copy", "copy_"}
TAKES_CPU_INDICES = {"index", "index_put", "index_put_", "_unsafe_index"}


class Placed(torch.Tensor):
    """A tensor of the CPU under the name of another device."""

    @staticmethod
    def __new__(cls, data: torch.Tensor, device: torch.device) -> Placed:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            data.size(),
            strides=data.stride(),
            storage_offset=data.storage_offset(),
            dtype=data.dtype,
            device=device,
        )

    def __init__(self, data: torch.Tensor, device: torch.device) -> None:
        self.data_ = data

    def __repr__(self, **_) -> str:
        return f"{self.data_!r} on {self.device}"

    def __format__(self, form: str) -> str:  # in messages that are never shown
        return repr(self)

    def tolist(self) -> list:  # torch has none for subclasses
        return self.data_.tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Machine(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


@contextmanager
def machine():
    """Inside the ``with`` there are devices "cuda:0", "cuda:1" ...; only where there are none."""
    torch._C._ensureCUDADeviceGuardSet()  # as torch's own fake tensors do without a GPU
    stock = torch.tensor  # makes its tensor where no mode sees it

    def tensor(data, *, device=None, **options):
        return stock(data, **options).to(device or "cpu")

    with patch("torch.cuda._lazy_init"), patch("torch.tensor", tensor), _Machine():
        with torch.no_grad():
            yield


def put(module: nn.Module, device: str, recurse: bool = True) -> None:
    """Bring a module's own tensors, and those of its parts, to a pretended device."""
    for part in module.modules() if recurse else [module]:
        for name, weight in part._parameters.items():
            if weight is not None:
                placed = Placed(weight.detach(), torch.device(device))
                part._parameters[name] = nn.Parameter(placed, requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Placed(buffer.detach(), torch.device(device))


def _run(function, args, kwargs):
    name = function.overloadpacket.__name__
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    places = {t.device for t in given if isinstance(t, Placed)}
    if name not in MOVES:
        # one number may lie anywhere, indices on the CPU
        others = [t for t in given if not isinstance(t, Placed) and t.ndim]
        if len(places) > 1 or (places and others and name not in TAKES_CPU_INDICES):
            found = sorted({str(t.device) for t in given if t.ndim})
            raise RuntimeError(f"aten::{name} was given tensors of several devices: {found}")
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    bare_args, bare_kwargs = tree_map(
        lambda t: t.data_ if isinstance(t, Placed) else t, (args, kwargs)
    )
    result = function(*bare_args, **bare_kwargs)
    if function._schema.is_mutable:
        return args[0]
    device = next(iter(places), None) if asked is None else torch.device(asked)
    if device is None or device.type != KIND:
        return result
    return tree_map(lambda t: Placed(t, device) if isinstance(t, torch.Tensor) else t, result)
