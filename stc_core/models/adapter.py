"""Put a PEFT adapter (LoRA and the like) into a model that is open."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from stc_core.errors import InputError
from stc_core.models.checkpoint import first_line, some
from stc_core.models.stock import StockModel

ADAPTER = "adapter_config.json"


def check_adapter(adapter: str | os.PathLike) -> None:
    """Raise ``InputError`` for an adapter that is nowhere, before a model is read for it."""
    if find_spec("peft") is None:
        raise InputError("an adapter needs the package peft, not installed here; pip install peft")
    name, folder = os.fspath(adapter), Path(adapter).expanduser()
    path = isinstance(adapter, os.PathLike) or name.startswith((".", "/", "~"))
    if folder.is_dir() or path or name.count("/") != 1:
        if not (folder / ADAPTER).is_file():
            raise InputError(
                f"there is no adapter in {name!r}: {ADAPTER} is missing; name a folder that "
                f"save_pretrained of PEFT wrote, or a hub id"
            )


def attach(model: StockModel, adapter: str | os.PathLike, shown: str) -> None:
    """Load the weights of an adapter into a stock model, which computes with them from then on.

    Parameters
    ----------
    model
        In evaluation mode; it stays the same object.
    adapter
        A folder that ``save_pretrained`` of PEFT wrote, or a hub id.
    shown
        What the model is called in a sentence.

    Raises
    ------
    InputError
        No such adapter, or one that was trained on another model.
    """
    name = os.fspath(adapter)
    folder = Path(adapter).expanduser()
    try:
        found = model.load_adapter(str(folder) if folder.is_dir() else name)
    except Exception as error:  # peft, safetensors and the hub raise types of their own
        raise InputError(
            f"the adapter {name_of(adapter)!r} does not go into {shown!r}: {first_line(error)}; "
            f"load the model that it was trained on"
        ) from error
    odd = sorted({*found.missing_keys, *found.unexpected_keys})
    if odd:
        raise InputError(
            f"the adapter {name_of(adapter)!r} belongs to another model than {shown!r}: "
            f"{len(odd)} of its weights have no counterpart ({some(odd)}); load the model that it "
            f"was trained on"
        )
    model.eval()


def name_of(adapter: str | os.PathLike) -> str:
    """Return the hub id of an adapter, or its folder's own name, never its place."""
    folder = Path(adapter).expanduser()
    return folder.resolve().name if folder.is_dir() else os.fspath(adapter)
