"""Write the files of a finished benchmark: summary, tables, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stc_core.benchmark.plots import draw
from stc_core.benchmark.tables import tables
from stc_core.writing import write_whole


def write(summary: dict[str, Any], folder: Path) -> None:
    """Write ``summary.json``, ``table.md`` and the plots as .svg and .png, over existing files.

    The texts are written whole or not at all.
    """
    for name, text in (
        ("summary.json", json.dumps(_short(summary), indent=1, allow_nan=False) + "\n"),
        ("table.md", tables(summary)),
    ):
        write_whole(folder / name, text)
    draw(summary, folder)


def _short(value: Any) -> Any:
    """Return numbers to eight decimals: half the file, and more than they are worth."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return round(value, 8) if isinstance(value, float) else value
