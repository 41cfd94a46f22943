"""Write a sweep as a short film: the tokens of one frame fade as less of the video is kept.

An H.264 mp4, which every browser and slide plays, or an animated GIF.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from stc_core.errors import InputError
from stc_core.record.stages import SURVIVORS
from stc_core.record.sweep import Stop, Sweep
from stc_core.record.trace import Trace
from stc_core.text import readable
from stc_core.writing import written_whole
from viz.pictures import overlay, palette
from viz.pictures.canvas import Canvas
from viz.pictures.curve import place_of
from viz.pictures.sweep_words import value_words
from viz.pictures.words import printable

EACH = 0.7  # seconds that a stop is shown; the last one twice as long
HEAD = 44  # pixels above each sheet
COLORS = 64  # of a GIF


def steps(
    sweep: Sweep, trace: Trace, path: str | os.PathLike, frame: int | None = None
) -> Iterator[float]:
    """Write the film in steps, from the most tokens to the fewest; yield the share that is done.

    The file appears whole when all is done; closing the iterator before leaves nothing.

    Parameters
    ----------
    sweep : Sweep
    trace : Trace
        Of the same clip: its frames are drawn.
    path : Path
        ``.mp4`` or ``.gif``.
    frame : int, optional
        Of the clip; default: that in which most tokens are left at the stops together.

    Raises
    ------
    InputError
        For another file type, a trace of another clip, or a frame that is not there.
    """
    path = Path(path)
    if path.suffix not in (".mp4", ".gif"):
        raise InputError(f"the film is .mp4 or .gif; {readable(path.name)} is neither")
    if trace.grid != sweep.grid:
        raise InputError("the trace is of another clip than the sweep")
    if not sweep.stops:
        raise InputError("this sweep has no stop yet; compute some first")
    frame = telling_frame(sweep) if frame is None else frame
    if not 0 <= frame < trace.grid.frames:
        raise InputError(f"the frame must be 0 to {trace.grid.frames - 1}, not {frame}")
    pictures = []
    stops = sorted(sweep.stops, key=lambda stop: place_of(sweep, stop.value))
    for number, stop in enumerate(stops):
        pictures.append(_picture(sweep, trace, stop, frame))
        yield 0.9 * (number + 1) / len(stops)
    sheets = _same_size(pictures)
    with written_whole(path) as partial:
        (_write_gif if path.suffix == ".gif" else _write_mp4)(partial, sheets)
    yield 1.0


def telling_frame(sweep: Sweep) -> int:
    """Return the frame in which most tokens survive, over all stops; each stop counts the same."""
    shares = np.zeros(sweep.grid.frames)
    for stop in sweep.stops:
        alive = np.isin(stop.fate, SURVIVORS).reshape(sweep.grid.frames, -1).sum(axis=1)
        shares += alive / alive.sum()
    return int(shares.argmax())


def trace_of(sweep: Sweep, stop: Stop, trace: Trace) -> Trace:
    """Return a stop as a trace of its own, with the frames of ``trace``; it holds no attention."""
    return Trace.from_stages(
        sweep.grid,
        stop.stages,
        frames=trace.frames,
        seconds=trace.seconds,
        question=sweep.question,
        answer=stop.answer,
        method=sweep.method_at(stop.value),
        model=sweep.model,
        costs=stop.costs,
        baseline={key: sweep.baseline[key] for key in ("answer",) if key in sweep.baseline},
    )


def _picture(sweep: Sweep, trace: Trace, stop: Stop, frame: int) -> np.ndarray:
    """Return (h, w, 3) uint8: the setting and the answer, over the sheet of the frame."""
    sheet = overlay.sheet_of(trace_of(sweep, stop, trace), frame)
    head = Canvas(sheet.shape[1], HEAD)
    words = f"{value_words(sweep.over, stop.value)}: {stop.entered} of {sweep.grid.size} tokens"
    margin = overlay.MARGIN
    head.text(margin, 12, words, 17, weight="bold")
    head.text(
        head.width - margin, 12, f"“{printable(stop.answer, 40)}”", 17, weight="bold", ha="right"
    )
    long = head.width - 2 * margin
    head.rectangle(margin, 38, long, 4, fill=palette.RULE)
    head.rectangle(margin, 38, long * place_of(sweep, stop.value), 4, fill=palette.INK)
    return np.concatenate([overlay.pixels(head), sheet])


def _same_size(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Pad pictures with paper to one size of even sides, as codecs want them."""
    tall = max(len(picture) for picture in pictures)
    wide = max(picture.shape[1] for picture in pictures)
    tall, wide = tall + tall % 2, wide + wide % 2
    sheets = []
    for picture in pictures:
        sheet = np.full((tall, wide, 3), 255, np.uint8)
        sheet[: len(picture), : picture.shape[1]] = picture
        sheets.append(sheet)
    return sheets


def _write_gif(path: Path, sheets: list[np.ndarray]) -> None:
    images = [Image.fromarray(sheet).quantize(COLORS) for sheet in sheets]
    times = [round(1000 * EACH)] * (len(images) - 1) + [round(2000 * EACH)]
    images[0].save(
        path, format="GIF", save_all=True, append_images=images[1:], duration=times, loop=0
    )


def _write_mp4(path: Path, sheets: list[np.ndarray]) -> None:
    import av

    tick = Fraction(1, 1000)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = sheets[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = tick
        stream.options = {"crf": "18", "preset": "veryfast"}
        for number, sheet in enumerate([*sheets, sheets[-1], sheets[-1]]):
            frame = av.VideoFrame.from_ndarray(sheet, format="rgb24")
            frame.time_base, frame.pts = tick, round(1000 * EACH * number)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
