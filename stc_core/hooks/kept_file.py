"""Write and read files of kept caches: one safetensors file, the trace in it, all of it checked."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from stc_core.errors import InputError
from stc_core.record.trace import Trace
from stc_core.text import readable
from stc_core.writing import check_target, writing_errors, written_whole

FORMAT = 1  # of the file; a reader refuses what is newer than itself
MAX_TRACE = 256 << 20  # bytes of the packed trace
MAX_HEADER = 4 << 20  # characters
MAX_POSITION = 1 << 31
KINDS = torch.float32, torch.float16, torch.bfloat16, torch.float64


@dataclass(frozen=True)
class Content:
    """Hold what a file holds.

    header: "length", "short" and "layer" of the sequence, "model" and "about"; tensors: "ends",
    "shift", perhaps "door" and "inner", "keys.i" and "values.i" (1, heads, n, d) of each layer.
    """

    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    trace: Trace


class _Refused(InputError):
    """Refuse a file that is whole but is not for this version, in one sentence."""


def write_content(path: Path, content: Content) -> Path:
    """Write a file whole or not at all; ``InputError`` where it cannot be written."""
    check_target(path, "cache")
    with tempfile.TemporaryDirectory() as folder:
        packed = content.trace.save(Path(folder) / "trace.npz").read_bytes()
    tensors = {n: t.detach().cpu().contiguous().clone() for n, t in content.tensors.items()}
    tensors["trace"] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
    header = {"format": FORMAT, **content.header}
    header["digest"] = digest_of(header, tensors)
    text = json.dumps(header, ensure_ascii=False, allow_nan=False)
    if len(text) > MAX_HEADER or len(packed) > MAX_TRACE:
        raise InputError("this conversation is too long to be saved; begin another one")
    with writing_errors(path), written_whole(path) as partial:
        partial.write_bytes(save(tensors, metadata={"stc": text}))
    return path


def read_content(path: Path, layers: int, heads: tuple[int, int], longest: int) -> Content:
    """Read a file that belongs to a model.

    Parameters
    ----------
    path
        Of the file.
    layers, heads, longest
        Of the model: its decoder layers, (number, width) of its heads for keys and values, and the
        tokens that it reads at most.

    Raises
    ------
    InputError
        No such file, damaged, of another model or of a newer version: one sentence.
    """
    if not path.is_file():
        raise InputError(f"there is no file {_shown(path)}; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(path, (file.metadata() or {}).get("stc", ""))
            names = set(file.keys())
            sizes = {name: file.get_slice(name).get_shape() for name in names}
            _check_sizes(header, sizes, layers, heads, longest)
            tensors = {name: file.get_tensor(name) for name in sorted(names)}
        if digest_of(header, tensors) != header["digest"]:
            raise ValueError("its contents are not what was written")
        packed = tensors.pop("trace")
        _check_values(header, tensors)
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder) / "trace.npz"
            inner.write_bytes(packed.numpy().tobytes())
            try:
                trace = Trace.load(inner)
            except InputError as error:
                raise ValueError("its trace cannot be read") from error
    except _Refused:
        raise
    except Exception as error:  # a damaged file can fail anywhere in safetensors, json or torch
        told = " ".join(str(error).split()) if type(error) is ValueError else type(error).__name__
        raise InputError(
            f"{_shown(path.name)} is not a saved conversation or is damaged "
            f"({readable(told)[:200]}); save it again"
        ) from error
    return Content(header, tensors, trace)


def _header(path: Path, text: str) -> dict[str, Any]:
    if not 0 < len(text) <= MAX_HEADER:
        raise ValueError("it has no header of this program")
    header = json.loads(text)
    if not isinstance(header, dict) or type(header.get("format")) is not int:
        raise ValueError("its header names no format")
    if header["format"] > FORMAT:
        raise _Refused(
            f"{_shown(path.name)} was saved in format {header['format']:.3g}, newer than the "
            f"{FORMAT} this program reads; update the program"
        )
    kinds = {"digest": str, "model": str, "length": int, "short": int, "about": dict}
    for name, kind in kinds.items():
        if type(header.get(name)) is not kind:
            raise ValueError(f"its header has no {name}")
    if header.get("layer") is not None and type(header["layer"]) is not int:
        raise ValueError("its layer is no number")
    return header


def _check_sizes(
    header: Mapping[str, Any],
    sizes: Mapping[str, list[int]],
    layers: int,
    heads: tuple[int, int],
    longest: int,
) -> None:
    """Compare shapes with the model's, before anything is read."""
    cached = [f"{kind}.{index}" for index in range(layers) for kind in ("keys", "values")]
    needed = {"ends", "shift", "trace", *cached}
    found = sum(name.startswith("keys.") for name in sizes)
    if found != layers:
        raise _Refused(
            f"this file holds {found} layers of keys and the model has {layers}; load the model "
            f"that made it"
        )
    if not needed <= set(sizes) <= needed | {"door", "inner"}:
        raise ValueError("it lacks a tensor, or has one that this version does not know")
    for name in cached:
        size = sizes[name]
        if len(size) != 4 or size[0] != 1 or not 1 <= size[2] <= longest:
            raise ValueError(f"its {name} is no cache of one prompt")
        if (size[1], size[3]) != heads:
            raise _Refused(
                f"this file holds {size[1]} heads of {size[3]} numbers and the model has "
                f"{heads[0]} of {heads[1]}; load the model that made it"
            )
    if len(sizes["trace"]) != 1 or sizes["trace"][0] > MAX_TRACE:
        raise ValueError("its trace is too large")
    # how long each layer is follows from what was dropped, where, and how much came after
    short, layer = header["short"], header["layer"]
    if not 1 <= short <= header["length"] <= longest or not 0 <= (layer or 0) < layers:
        raise ValueError("its lengths or its layer cannot be")
    door, inner = (sizes.get(name, [whole])[0] for name, whole in
                   (("door", short), ("inner", short)))  # fmt: skip
    grown = sizes["keys.0"][2] - short
    end = layers if layer is None else layer + 1
    expected = [short] * end + [inner] * (layers - end)
    if door != short or inner > short or grown < 0 or ("inner" in sizes and layer is None):
        raise ValueError("its places do not fit its lengths")
    if any(sizes[f"{kind}.{index}"][2] != count + grown
           for index, count in enumerate(expected) for kind in ("keys", "values")):  # fmt: skip
        raise ValueError("its layers differ from what its places say")
    for name in ("ends", "shift"):
        if len(sizes[name]) > 3 or max(sizes[name], default=1) > 4:
            raise ValueError(f"its {name} are no position")


def _check_values(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse numbers that no run writes."""
    kinds = {tensors[name].dtype for name in tensors if name.startswith(("keys.", "values."))}
    if len(kinds) != 1 or not kinds <= set(KINDS):
        raise ValueError("its keys and values are of no usable type")
    for name, tensor in tensors.items():
        if name.startswith(("keys.", "values.")):
            if not tensor.isfinite().all():
                raise ValueError(f"its {name} are not finite")
        elif tensor.dtype != torch.int64 or (tensor.abs() >= MAX_POSITION).any():
            raise ValueError(f"its {name} are no whole numbers")
    if tensors["ends"].ndim not in (2, 3) or set(tensors["ends"].shape[-2:]) != {1}:
        raise ValueError("its ends are no position")
    for name, whole in (("door", header["length"]), ("inner", header["short"])):
        places = tensors.get(name)
        if places is not None and (
            places.ndim != 1
            or not 0 <= int(places.min()) <= int(places.max()) < whole
            or not (places.diff() > 0).all()
        ):
            raise ValueError(f"its {name} are no rising places")


def digest_of(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a header, its own digest left out, and of all tensors by name."""
    rest = {name: value for name, value in header.items() if name != "digest"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        plain = tensors[name].reshape(-1).contiguous()
        digest.update(f"{name} {tuple(tensors[name].shape)} {plain.dtype}\n".encode())
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _shown(path: object) -> str:
    return repr(readable(str(path)))
