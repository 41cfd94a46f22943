"""Write a trace as a recording for the Rerun viewer, with the optional package ``rerun-sdk``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from stc_core.errors import InputError
from stc_core.record.stages import Fate, Stage
from stc_core.text import readable
from stc_core.writing import writing_errors, written_whole

if TYPE_CHECKING:
    from stc_core.record.trace import Trace

TIMELINE = "video"  # seconds of the clip
COLORS = {  # as in ``viz.pictures.palette``, which nothing here may import
    Fate.KEPT: (0xF0, 0xE4, 0x42),
    Fate.CENTER: (0x00, 0x72, 0xB2),
    Fate.MERGED: (0x56, 0xB4, 0xE9),
    Fate.DROPPED: (0x33, 0x33, 0x33),
    Fate.MERGED_INSIDE: (0xD5, 0x5E, 0x00),
    Fate.DROPPED_INSIDE: (0xD5, 0x5E, 0x00),
}
UNSEEN = len(Fate)  # the class of pixels that the encoder did not see
BLANK = 150  # gray level of a frame whose picture the trace does not hold
OPACITY = 0.5
SCORES = ("contribution", "similarity", "relevance")


def write_rerun(trace: Trace, path: Path) -> Path:
    """Write the ``.rrd`` file that ``Trace.to_rerun`` describes."""
    rr = _library()
    if path.suffix != ".rrd":
        raise InputError(f"a recording for Rerun ends in .rrd; {readable(path.name)} does not")
    with writing_errors(path):
        path.parent.stat()  # the library says less of a missing folder
        with written_whole(path) as partial, rr.RecordingStream("stc_core") as recording:
            recording.save(partial)
            _log_text(rr, recording, trace)
            _log_colors(rr, recording)
            for frame in range(trace.grid.frames):
                recording.set_time(TIMELINE, duration=float(trace.seconds[frame]))
                _log_frame(rr, recording, trace, frame)
            recording.disconnect()  # the file is complete before it gets its name
    return path


def cells(trace: Trace, height: int, width: int) -> np.ndarray:
    """Return (height, width) int64: the cell of a frame's grid that a pixel shows, -1 for none.

    The pixels are those of a picture of the whole frame, of any size.
    """
    grid = trace.grid
    top, left, bottom, right = grid.region
    y = (np.arange(height) + 0.5) * grid.height / height
    x = (np.arange(width) + 0.5) * grid.width / width
    row = np.floor((y - top) / (bottom - top) * grid.rows).astype(np.int64)
    col = np.floor((x - left) / (right - left) * grid.cols).astype(np.int64)
    seen = ((row >= 0) & (row < grid.rows))[:, None] & ((col >= 0) & (col < grid.cols))[None]
    return np.where(seen, row[:, None] * grid.cols + col[None], -1)


def _library() -> ModuleType:
    try:
        import rerun
    except ModuleNotFoundError as error:
        if error.name != "rerun":
            raise
        raise InputError(
            "writing a recording for Rerun needs the package rerun-sdk; install it with "
            "pip install rerun-sdk"
        ) from error
    return rerun


def _log_text(rr: ModuleType, recording, trace: Trace) -> None:
    said = {
        "question": trace.question,
        "answer": trace.answer,
        "uncompressed answer": trace.baseline.get("answer"),
        "method": trace.method,
        "model": trace.model,
        "notes": "\n".join(trace.notes),
    }
    for name, text in said.items():
        if text:
            document = rr.TextDocument(readable(text), media_type="text/plain")
            recording.log(f"text/{name.replace(' ', '_')}", document, static=True)


def _log_colors(rr: ModuleType, recording) -> None:
    known = [(int(fate), fate.name.lower(), color) for fate, color in COLORS.items()]
    context = rr.AnnotationContext([*known, (UNSEEN, "not seen", (0, 0, 0, 0))])
    recording.log("clip", context, static=True)


def _log_frame(rr: ModuleType, recording, trace: Trace, frame: int) -> None:
    grid = trace.grid
    here = slice(frame * grid.per_frame, (frame + 1) * grid.per_frame)
    if trace.frames is None:
        picture = np.full((grid.height, grid.width, 3), BLANK, np.uint8)
    else:
        picture = trace.frames[frame]
    recording.log("clip/frame", rr.Image(picture))
    cell = cells(trace, *picture.shape[:2])
    for stage in _steps(trace):
        fate = np.append(stage.fate[here], np.uint8(UNSEEN))[cell]  # -1 is the one appended
        overlay = rr.SegmentationImage(fate, opacity=OPACITY)
        recording.log(f"clip/fate_{stage.name}", overlay)
    for name in SCORES:
        values = getattr(trace, name)[here]
        finite = values[np.isfinite(values)]
        if len(finite):
            for kind, value in (("mean", finite.mean()), ("highest", finite.max())):
                recording.log(f"scores/{name}/{kind}", rr.Scalars(float(value)))
    for fate in Fate:
        count = int((trace.fate[here] == fate).sum())
        recording.log(f"tokens/{fate.name.lower()}", rr.Scalars(count))


def _steps(trace: Trace) -> list[Stage]:
    """Return the fates before the LLM, where there is such a step, and those at the end."""
    end = Stage("end", None, trace.target, trace.fate)
    outside = trace.stage("outside")
    return [end] if outside is None else [outside, end]
