"""Write and read trace files: one ``.npz`` with a JSON header; everything in it is checked."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.errors import InputError
from stc_core.record.archive import Archive, ArrayLayout, write_arrays
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Stage, Word
from stc_core.record.trace_arrays import KINDS_OF_ARRAYS, MAX_COMPONENTS, all_shares
from stc_core.record.trace_header import MAX_HEADER, checked, parsed
from stc_core.text import readable
from stc_core.writing import check_folder, writing_errors, written_whole

FORMAT = 2  # of the file; a reader refuses what is newer than itself
MAX_UNPACKED = 640 << 20  # bytes; a trace of 128 frames of 729 tokens with its frames needs 30 MB
MAX_TOKENS = 1 << 18  # N of one clip; 1024 frames of 14 x 14 have 200,704
MAX_FRAMES = 1 << 12  # T
MAX_CELLS = 1 << 9  # rows, and columns
MAX_PICTURES = 256 << 20  # bytes of all small frames; 1024 of 256 x 256 take 192 MiB
MAX_PICTURE_SIDE = 1 << 12  # pixels of a small frame
MAX_ATTENTION = 1 << 26  # numbers of each map; 320 words on 200,704 tokens have 64 million
MAX_SECONDS = 1e7  # of a frame's time, either way


class _Refused(InputError):
    """Refuse a file that is whole but is not for this version, in one sentence."""


def shown(path: object) -> str:
    """Return a path as it may stand in a sentence."""
    return readable(str(path))


def reason(error: Exception) -> str:
    """Say briefly what was wrong with a file: our own sentence, else the kind of error."""
    if type(error) in (ValueError, InputError) and error.args:
        return readable(" ".join(str(error).split()))[:200]
    return type(error).__name__


def read_header(archive: Archive) -> dict:
    """Read the JSON header of a file, within bounds."""
    layout = archive.layout("header")
    if layout.dtype != np.uint8 or len(layout.shape) != 1 or layout.shape[0] > MAX_HEADER:
        raise ValueError(f"its header must be at most {MAX_HEADER} bytes of text")
    return parsed(archive.read("header").tobytes())


def check_size(grid: TokenGrid) -> None:
    """Refuse grids that nothing here draws."""
    if grid.frames > MAX_FRAMES or max(grid.rows, grid.cols) > MAX_CELLS or grid.size > MAX_TOKENS:
        raise ValueError(
            f"its {grid.frames} x {grid.rows} x {grid.cols} tokens are more than {MAX_FRAMES} "
            f"frames, {MAX_CELLS} rows or columns, or {MAX_TOKENS} tokens in all"
        )


def _check_times(seconds: np.ndarray) -> None:
    if not ((np.abs(seconds) <= MAX_SECONDS).all() and (np.diff(seconds) > 0).all()):
        raise ValueError(f"the times of its frames must rise, within {MAX_SECONDS:g} s of 0")


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Refuse pictures and maps of attention that take too much."""
    size = math.prod(shape)
    if name != "frames":
        if size > MAX_ATTENTION:
            raise ValueError(f"its {name} has {size} numbers where {MAX_ATTENTION} are the most")
    elif size > MAX_PICTURES or not 1 <= min(shape[1:3]) <= max(shape[1:3]) <= MAX_PICTURE_SIDE:
        raise ValueError(
            f"its frames must have 1 to {MAX_PICTURE_SIDE} pixels a side and take at most "
            f"{MAX_PICTURES >> 20} MiB"
        )


def _check_members(archive: Archive, header: dict, grid: TokenGrid, old: bool) -> None:
    """Check type and shape of every array, except maps of attention, before any is read."""
    n = grid.size
    expected = {name: (kind, (n,)) for name, kind in KINDS_OF_ARRAYS.items()}
    expected["seconds"] = np.float64, (grid.frames,)
    if old:
        expected = {name: value for name, value in expected.items() if name not in _SINCE_2}
    for number in range(len(header["stages"])):
        expected[f"stage{number}_target"] = np.int64, (n,)
        expected[f"stage{number}_fate"] = np.uint8, (n,)
    more = () if old else _RECORDED
    if archive.names - {"header", "frames", *expected, *more}:
        raise ValueError("it has a member that this version does not know")
    for name, (kind, shape) in expected.items():
        _check_layout(name, archive.layout(name), kind, shape)
    if "frames" in archive:
        layout = archive.layout("frames")
        pictures = layout.shape
        if layout.dtype != np.uint8 or len(pictures) != 4 or pictures[::3] != (grid.frames, 3):
            raise ValueError("its frames must be (T, height, width, 3) uint8")
        _check_shape("frames", pictures)
    if "features" in archive:
        layout = archive.layout("features")
        width = layout.shape[1] if len(layout.shape) == 2 else 0
        if not 1 <= width <= MAX_COMPONENTS:
            raise ValueError(f"its features must be {n} x 1 to {MAX_COMPONENTS} float16")
        _check_layout("features", layout, np.float16, (n, width))
    for name in ("frames", "features"):
        if name in archive:
            archive.check(name)


def _check_maps(archive: Archive, shapes: dict[str, tuple[int, int]]) -> None:
    """Check type, shape and numbers of the maps of attention."""
    for name, shape in shapes.items():
        if name in archive:
            _check_layout(name, archive.layout(name), np.float16, shape)
            _check_shape(name, shape)
            archive.check(name, all_shares)


def _check_layout(name: str, layout: ArrayLayout, kind: type, shape: tuple[int, ...]) -> None:
    if layout.dtype != kind or layout.shape != shape:
        size = " x ".join(map(str, shape))
        raise ValueError(f"its {name} must be {size} numbers of type {kind.__name__}")


_TEXT = ("method", "model", "question", "answer", "positions")
_SINCE_2 = ("nearest", "order")
_ARRAYS = (
    "fate", "target", "weight", "contribution", "similarity", *_SINCE_2, "relevance", "seconds",
)  # fmt: skip
_RECORDED = ("attention", "full_attention", "features")


def write_trace(trace: Any, path: Path) -> Path:
    """Write a ``Trace`` as one ``.npz``; see ``Trace.save``."""
    raw = _header_of(trace)
    arrays = {name: getattr(trace, name) for name in _ARRAYS}
    for number, stage in enumerate(trace.stages):
        arrays[f"stage{number}_target"] = stage.target
        arrays[f"stage{number}_fate"] = stage.fate
    for name in _RECORDED:
        if getattr(trace, name) is not None:
            arrays[name] = getattr(trace, name)
    if trace.frames is not None:
        # steps from frame to frame wrap around and pack to a third of the frames themselves
        arrays["frames"] = np.diff(trace.frames, axis=0, prepend=np.uint8(0))
    check_folder(path, "trace")
    with writing_errors(path), written_whole(path) as partial, partial.open("wb") as file:
        write_arrays(file, {"header": np.frombuffer(raw, np.uint8), **arrays})
    return path


def _header_of(trace: Any) -> bytes:
    """Make the JSON header of the file; refuse what ``load`` would refuse."""
    header = {
        "format": FORMAT,
        "grid": trace.grid.to_json(),
        "stages": [{"name": stage.name, "layer": stage.layer} for stage in trace.stages],
        **{name: getattr(trace, name) for name in _TEXT},
        "notes": list(trace.notes),
        "costs": trace.costs,
        "baseline": trace.baseline,
        "logprob": trace.logprob,
        "scores": trace.scores,
        "words": [asdict(word) for word in trace.words],
        "attention_layer": trace.attention_layer,
    }
    try:
        checked(header)
        check_size(trace.grid)
        _check_times(trace.seconds)
        for name in ("frames", "attention", "full_attention"):
            if getattr(trace, name) is not None:
                _check_shape(name, getattr(trace, name).shape)
    except ValueError as error:
        raise InputError(f"this trace cannot be saved: {error}") from error
    raw = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
    if len(raw) > MAX_HEADER:
        raise InputError(
            f"this trace cannot be saved: its texts and lists take {len(raw)} bytes where "
            f"{MAX_HEADER} are the most"
        )
    return raw


def read_trace(path: Path, build: type) -> Any:
    """Read a trace file; ``build`` is ``Trace``. See ``Trace.load``."""
    if not path.is_file():
        raise InputError(f"there is no trace file {shown(path)}; check the path")
    try:
        with Archive(path) as archive:
            if archive.unpacked > MAX_UNPACKED:
                raise _Refused(
                    f"{shown(path.name)} would unpack to {archive.unpacked >> 20} MiB; "
                    f"a trace has at most {MAX_UNPACKED >> 20} MiB"
                )
            header = read_header(archive)
            version = header.get("format")
            if type(version) is int and version > FORMAT:
                raise _Refused(
                    f"{shown(path.name)} is a trace of format {version:.3g}, newer than the "
                    f"{FORMAT} this program reads; update the program"
                )
            checked(header)
            return _read(header, archive, build)
    except _Refused:
        raise
    except Exception as error:  # a damaged file can fail anywhere in zip, json or numpy
        raise InputError(
            f"{shown(path.name)} is not a trace file or is damaged ({reason(error)}); save it again"
        ) from error


def _read(header: dict, archive: Archive, build: type) -> Any:
    grid = TokenGrid.from_json(header["grid"])
    check_size(grid)
    old = header["format"] < 2
    _check_members(archive, header, grid, old)
    stages = tuple(
        Stage(
            item["name"],
            item["layer"],
            archive.read(f"stage{number}_target"),
            archive.read(f"stage{number}_fate"),
        )
        for number, item in enumerate(header["stages"])
    )
    unknown = np.full(grid.size, -1, np.int64)
    names = [name for name in _ARRAYS if not (old and name in _SINCE_2)]
    arrays = {name: archive.read(name) for name in names}
    arrays |= {name: unknown for name in _ARRAYS if name not in arrays}
    _check_times(arrays["seconds"])
    words = [
        tuple(Word(**word) for word in entry.get("words", ()))
        for entry in (header, header["baseline"])
    ]
    fields = {
        "grid": grid,
        "stages": stages,
        "notes": tuple(header["notes"]),
        "costs": header["costs"],
        "baseline": header["baseline"],
        "logprob": header.get("logprob"),
        "scores": header.get("scores", {}),
        "words": words[0],
        "attention_layer": header.get("attention_layer"),
        **{name: header[name] for name in _TEXT},
        **arrays,
    }
    trace = build(**fields)  # what is small comes first, so that what is refused costs little
    entered = trace.alive()[1] if stages[0].name == "outside" else grid.size
    _check_maps(
        archive,
        {"attention": (len(words[0]), entered), "full_attention": (len(words[1]), grid.size)},
    )
    large = {name: archive.read(name) for name in (*_RECORDED, "frames") if name in archive}
    if "frames" in large and not old:
        frames = large["frames"]
        for before, after in zip(frames, frames[1:], strict=False):
            after += before
    return replace(trace, **large) if large else trace
