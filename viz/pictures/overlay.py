"""Write a trace as a short video: the frames at their times with the fates, or as the LLM has them.

VP8 in WebM, which browsers play: OpenCV writes no H.264, and they play no other mp4 of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stc_core.errors import InputError
from stc_core.record.stages import Fate
from stc_core.record.trace import Trace
from stc_core.text import readable
from stc_core.writing import written_whole
from viz.pictures import caption, fates, marks, palette
from viz.pictures.canvas import Canvas
from viz.pictures.seen import seen
from viz.pictures.strip import Strip, pictures
from viz.pictures.words import counted, printable, wrap

SIDE = 480  # pixels, longer side of the picture
WIDTH = 720  # of the sheet around it, so that the caption has room
MARGIN = 16
PER_SECOND = 8.0  # frames; fewer where the clip is long, so that there are at most MOST
MOST = 2400
LONGEST = 4 * 3600  # seconds; beyond it a frame would stand for longer than a player can seek
STAGES = {"outside": "before the LLM", "end": "at the end"}
PICTURES = {
    "fates": {stage: f"Fate of the tokens {words}" for stage, words in STAGES.items()},
    "seen": {
        "outside": "What the LLM sees: what enters it",
        "end": "What the LLM sees: what is left at the end",
    },
}


def write(
    trace: Trace, path: str | os.PathLike, stage: str = "end", picture: str = "fates"
) -> Path:
    """Write the video; it lasts as long as the clip."""
    for _ in steps(trace, path, stage, picture):
        pass
    return Path(path)


def steps(
    trace: Trace, path: str | os.PathLike, stage: str = "end", picture: str = "fates"
) -> Iterator[float]:
    """Write the video in steps; yield the share that is done, 0 to 1.

    The file appears whole when all is done; closing the iterator before leaves nothing.

    Parameters
    ----------
    trace : Trace
    path : Path
        Of the video, ``.webm``.
    stage : str
        "outside" for the fates before the LLM, "end" for those after all.
    picture : str
        "fates" for the frames with the fate of every cell over them, "seen" for the frames as the
        LLM has them.

    Raises
    ------
    InputError
        For another file type, stage or picture, a clip that is too long, a folder that does not
        exist.
    """
    path = Path(path)
    times = _times(trace)
    _check(trace, path, stage, picture, times[-1])
    rate = min(PER_SECOND, MOST / times[-1])
    shown = np.searchsorted(times[1:], np.arange(round(times[-1] * rate)) / rate, side="right")
    with written_whole(path) as partial:
        sheet = _Sheet(trace, stage, picture)
        code = cv2.VideoWriter_fourcc(*"VP80")
        size = sheet.blank.shape[1::-1]
        writer = cv2.VideoWriter(str(partial), cv2.CAP_FFMPEG, code, rate, size)
        if not writer.isOpened():
            raise InputError("this OpenCV cannot write WebM; install opencv-python from PyPI")
        try:
            last, drawn = -1, sheet.blank
            for number, frame in enumerate(np.minimum(shown, trace.grid.frames - 1)):
                if frame != last:
                    last, drawn = frame, sheet.draw(int(frame))
                writer.write(drawn[..., ::-1])
                yield (number + 1) / len(shown)
        finally:
            writer.release()


def sheet_of(trace: Trace, frame: int, stage: str = "end") -> np.ndarray:
    """Return (h, w, 3) uint8: what the video shows at a frame, with question, legend, caption."""
    return _Sheet(trace, stage).draw(frame)


def _times(trace: Trace) -> np.ndarray:
    """Return (T + 1,) seconds: when each frame begins and the last one ends, the first at 0."""
    start = trace.seconds - trace.seconds[0]
    last = start[-1] - start[-2] if len(start) > 1 else 1.0
    return np.append(start, start[-1] + max(last, 1 / PER_SECOND))


def _check(trace: Trace, path: Path, stage: str, picture: str, seconds: float) -> None:
    if path.suffix != ".webm":
        stem, name = readable(path.stem), readable(path.name)
        raise InputError(f"the video is WebM; name it {stem}.webm, not {name}")
    if stage not in STAGES:
        raise InputError(f"the stage must be one of {', '.join(STAGES)}, not {stage!r}")
    if picture not in PICTURES:
        raise InputError(f"the picture must be one of {', '.join(PICTURES)}, not {picture!r}")
    if not path.parent.is_dir():
        folder = readable(str(path.parent))
        raise InputError(f"the folder {folder} for the video does not exist; create it")
    if (np.diff(trace.seconds) <= 0).any() or seconds > LONGEST:
        raise InputError(
            f"a video needs frames at rising times within {LONGEST // 3600} hours; this clip "
            f"has none"
        )


class _Sheet:
    """Hold the sheet around the picture, drawn once, and draw the picture of each frame.

    ``blank`` (h, w, 3) uint8; both sides are even, as the codec wants them.
    """

    def __init__(self, trace: Trace, stage: str, picture: str = "fates") -> None:
        self.trace = trace
        self.picture = picture
        self.fate, self.target = (
            fates.outside(trace) if stage == "outside" else (trace.fate, trace.target)
        )
        self.sizes = np.bincount(self.target[self.target >= 0], minlength=len(self.fate))
        grid = trace.grid
        scale = SIDE / max(grid.height, grid.width)
        self.wide, self.tall = (max(2, round(n * scale)) for n in (grid.width, grid.height))
        self.strip = Strip(grid, 0, 0, 1, self.wide, self.tall)
        cells = self.strip.cells.astype(np.int32)  # finer than the picture
        self.cells = cv2.resize(cells, (self.wide, self.tall), interpolation=cv2.INTER_NEAREST)
        self.left = (WIDTH - self.wide) // 2
        self.blank = self._around(stage)
        self.frames = trace.frames
        if picture == "seen":
            frames = pictures(trace.frames, grid.frames, (self.tall, self.wide))
            self.frames = seen(trace, frames, stage)

    def draw(self, frame: int) -> np.ndarray:
        """Return (h, w, 3) uint8: the sheet with this frame."""
        per_frame = self.trace.grid.per_frame
        here = slice(frame * per_frame, (frame + 1) * per_frame)
        fate = self.fate[here]
        canvas = Canvas(self.wide, self.tall)
        size = (self.tall, self.wide)
        source = None if self.frames is None else self.frames[frame : frame + 1]
        boxes = self.strip.boxes(np.arange(per_frame))
        if self.picture == "seen":
            canvas.image(pictures(source, 1, size)[0], 0, 0, self.wide, self.tall)
            marks.thin(canvas, boxes, fate, self.sizes[here])
            return self._placed(canvas, frame)
        light = np.array([palette.CODES[code].light for code in Fate])[fate]
        shade = np.where(self.cells >= 0, light[self.cells], palette.UNSEEN)[..., None]
        picture = (pictures(source, 1, size)[0] * shade + 0.5).astype(np.uint8)
        canvas.image(picture, 0, 0, self.wide, self.tall)
        marks.draw(canvas, boxes, fate, self.sizes[here])
        return self._placed(canvas, frame)

    def _placed(self, canvas: Canvas, frame: int) -> np.ndarray:
        """Return the sheet with the picture of a frame in its place."""
        out = self.blank.copy()
        out[self.top : self.top + self.tall, self.left : self.left + self.wide] = pixels(canvas)
        self._clock(out, frame)
        return out

    def _around(self, stage: str) -> np.ndarray:
        """Draw question, legend and caption; leave the place of the picture free."""
        trace, inner = self.trace, WIDTH - 2 * MARGIN
        title = wrap(f"Question: {printable(trace.question, 220) or '(none)'}", inner, 15)
        foot = caption.foot_lines(trace, inner)[1:]  # the question stands above
        words = counted(self.fate)
        frames = self.picture == "seen"
        legend = marks.legend(Canvas(WIDTH, 1), MARGIN, 0, inner, words, frames=frames)
        self.top = MARGIN + 20 * len(title) + 6
        self.bottom = self.top + self.tall
        below = self.bottom + 26
        tall = below + 20 + legend + 10 + caption.LINE * len(foot) + MARGIN
        canvas = Canvas(WIDTH, 2 * round(tall / 2))
        for number, line in enumerate(title):
            canvas.text(MARGIN, MARGIN + 20 * number, line, 15, weight="bold")
        canvas.text(MARGIN, below, PICTURES[self.picture][stage], 12, weight="bold")
        marks.legend(canvas, MARGIN, below + 20, inner, words, frames=frames)
        caption.foot(canvas, MARGIN, below + 20 + legend + 10, foot)
        return pixels(canvas)

    def _clock(self, out: np.ndarray, frame: int) -> None:
        """Draw the time, the number of the frame, its tokens and the progress of the clip."""
        trace = self.trace
        here = slice(frame * trace.grid.per_frame, (frame + 1) * trace.grid.per_frame)
        alive = int(np.isin(self.fate[here], (Fate.KEPT, Fate.CENTER)).sum())
        line = Canvas(self.wide, 20)
        line.text(0, 4, f"{trace.seconds[frame]:.2f} s   frame {frame}   tokens here: {alive}", 12)
        share = (frame + 1) / trace.grid.frames
        line.rectangle(0, 0, self.wide, 3, fill=palette.RULE)
        line.rectangle(0, 0, share * self.wide, 3, fill=palette.CODES[Fate.CENTER].color)
        out[self.bottom : self.bottom + 20, self.left : self.left + self.wide] = pixels(line)


def pixels(canvas: Canvas) -> np.ndarray:
    """Return a canvas as (h, w, 3) uint8, one dot a pixel."""
    size = (round(canvas.width), round(canvas.height))
    canvas.figure.canvas.draw()
    drawn = np.asarray(canvas.figure.canvas.buffer_rgba())[..., :3]
    if drawn.shape[1::-1] == size:
        return drawn.copy()
    return np.asarray(Image.fromarray(drawn).resize(size))
