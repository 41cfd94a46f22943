"""Open a model for an examination and identify it by its weights."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from stc_core.models.loading import load
from stc_core.models.stock import StockModel


def open_model(source: Any) -> Any:
    """Return ``source`` if it has ``model`` and ``processor``, else what ``load`` makes of it."""
    return source if hasattr(source, "model") else load(source)


def weights_fingerprint(model: StockModel) -> str:
    """Return SHA-256 of all weights with their names and types, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
