"""Write and read files of sweeps: one ``.npz`` with a JSON header; everything in it is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.errors import InputError
from stc_core.record.archive import Archive, write_arrays
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Stage
from stc_core.record.trace_file import check_size, read_header, reason, shown
from stc_core.record.trace_header import MAX_HEADER, checked_sweep
from stc_core.writing import check_folder, writing_errors, written_whole

FORMAT = 1
MAX_UNPACKED = 512 << 20  # bytes; 24 stops on 25,088 tokens take 6 MB


def write_sweep(sweep: Any, path: Path) -> Path:
    """Write a ``Sweep`` as one ``.npz``; see ``Sweep.save``."""
    header = {
        "format": FORMAT,
        "grid": sweep.grid.to_json(),
        "over": sweep.over,
        "present": sweep.present,
        "planned": list(sweep.planned),
        "method": sweep.method,
        "model": sweep.model,
        "question": sweep.question,
        "baseline": sweep.baseline,
        "expected": sweep.expected,
        "refused": [[value, words] for value, words in sweep.refused.items()],
        "stops": [
            {
                "value": stop.value,
                "answer": stop.answer,
                "logprob": stop.logprob,
                "scores": stop.scores,
                "costs": stop.costs,
                "stages": [{"name": stage.name, "layer": stage.layer} for stage in stop.stages],
            }
            for stop in sweep.stops
        ],
    }
    try:
        checked_sweep(header)
    except InputError as error:
        raise InputError(f"this sweep cannot be saved: {error}") from error
    raw = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
    if len(raw) > MAX_HEADER:
        raise InputError(
            f"this sweep cannot be saved: its texts take {len(raw)} bytes where {MAX_HEADER} are "
            f"the most"
        )
    check_folder(path, "sweep")
    stages = [stage for stop in sweep.stops for stage in stop.stages]
    size = sweep.grid.size
    arrays: dict[str, np.ndarray] = {
        "header": np.frombuffer(raw, np.uint8),
        "fate": np.array([stage.fate for stage in stages], np.uint8).reshape(-1, size),
        "target": np.array([stage.target for stage in stages], np.int32).reshape(-1, size),
    }
    with writing_errors(path), written_whole(path) as partial, partial.open("wb") as file:
        write_arrays(file, arrays)
    return path


def read_sweep(path: Path, build: type, stop: type) -> Any:
    """Read the file of a sweep; ``build`` is ``Sweep``, ``stop`` is ``Stop``."""
    if not path.is_file():
        raise InputError(f"there is no file {shown(path)} of a sweep; check the path")
    try:
        with Archive(path) as archive:
            if archive.unpacked > MAX_UNPACKED:
                raise ValueError(f"it would unpack to {archive.unpacked >> 20} MiB")
            header = read_header(archive)
            checked_sweep(header)
            return _read(header, archive, build, stop)
    except Exception as error:  # a damaged file can fail anywhere in zip, json or numpy
        raise InputError(
            f"{shown(path.name)} is not the file of a sweep or is damaged ({reason(error)}); make "
            f"the sweep again"
        ) from error


def _read(header: dict, archive: Archive, build: type, stop: type) -> Any:
    grid = TokenGrid.from_json(header["grid"])
    check_size(grid)
    count = sum(len(entry["stages"]) for entry in header["stops"])
    if archive.names != {"header", "fate", "target"}:
        raise ValueError("it has other members than a sweep")
    for name, kind in (("fate", np.uint8), ("target", np.int32)):
        layout = archive.layout(name)
        if layout.dtype != kind or layout.shape != (count, grid.size):
            raise ValueError(f"its {name} must be {count} x {grid.size} {kind.__name__}")
    fates, targets = iter(archive.read("fate")), iter(archive.read("target"))
    stops = []
    for entry in header["stops"]:
        stages = tuple(
            Stage(item["name"], item["layer"], next(targets).astype(np.int64), next(fates))
            for item in entry["stages"]
        )
        made = stop(**{**entry, "stages": stages})
        _ = made.fate  # raises where the stages contradict each other
        stops.append(made)
    fields = {name: value for name, value in header.items() if name not in ("format", "stops")}
    fields |= {
        "grid": grid,
        "planned": tuple(header["planned"]),
        "refused": dict(header["refused"]),
        "stops": tuple(stops),
    }
    return build(**fields)
