"""Films that a browser plays in place of what it cannot, each leading back to what it stands for.

The page shows the film, the model is given the thing itself: a file of a kind that browsers do not
play, or a clip of the world of shapes, which no file holds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from stc_core.errors import InputError
from stc_core.writing import write_whole, written_whole
from viz.server import world_clips
from viz.server.origin import Origin
from viz.server.quota import PAGE, Ledger, Limits

if TYPE_CHECKING:
    from stc_core.answering.video import Video

RECORD = "stands-for.json"
LIMITS = Limits(own_things=40, own_bytes=128 << 20, things=300, bytes=1 << 30)
FRAMES = 64  # of a file, in its film
SIDE = 480  # pixels, the longer one
TICK = Fraction(1, 1000)  # seconds: unit of the times in a film
# What every browser plays: container by the file's ending, and codec. Gradio converts the rest by
# an ffmpeg that need not be there.
PLAYED = {(".mp4", "h264"), (".webm", "vp8"), (".webm", "vp9")}
PIXELS = {"yuv420p", "yuvj420p"}


class StandIns:
    """Keep the films of one folder, which must lie in Gradio's temporary directory."""

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ledger = Ledger(limits)

    def shown(self, origin: Origin, visitor: str = PAGE) -> Path | None:
        """Return what the browser plays for the clip of ``origin``; None where that is gone."""
        seed, frames = origin.seed, origin.frames
        if seed is not None:
            if frames is None:
                return None
            return self._film(
                origin.video,
                frames,
                f"clip-{seed}",
                visitor,
                lambda: world_clips.clip(seed, frames),
            )
        path = Path(origin.video)
        return self.of_file(path, visitor) if path.is_file() else None

    def of_file(self, path: Path, visitor: str = PAGE) -> Path:
        """Return the file where every browser plays it, else a film of its decoded frames.

        Raises
        ------
        InputError
            It is no video.
        """
        from stc_core.answering.video import check_video, read_video

        check_video(path)
        if played(path):
            return path
        return self._film(
            str(path),
            None,
            path.name,
            visitor,
            lambda: read_video(path, FRAMES, max_side=SIDE),
        )

    def origin(self, origin: Origin) -> Origin:
        """Return the origin with what its video stands for, where that is a film of this folder."""
        path = Path(origin.video).resolve()
        if path.parent.parent != self.folder:
            return origin
        try:
            about = json.loads((path.parent / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return origin  # whoever opens the film says that it is gone
        return replace(origin, video=about["video"], frames=origin.frames or about["frames"])

    def _film(
        self, video: str, frames: int | None, name: str, visitor: str, read: Callable[[], Video]
    ) -> Path:
        """Return the film of what ``read`` gives, made once."""
        key = hashlib.sha256(f"{video} {frames}".encode()).hexdigest()[:20]
        place = self.folder / key
        path = place / f"{name}.mp4"
        if not path.is_file():
            place.mkdir(exist_ok=True)
            write_film(path, read())
            write_whole(place / RECORD, json.dumps({"video": video, "frames": frames}))
        self._ledger.add(key, visitor, path.stat().st_size)
        for old in self._ledger.excess(visitor):
            shutil.rmtree(self.folder / old, ignore_errors=True)
        return path


def video_of(origin: Origin) -> Video | str:
    """Return what the model is given for an origin; ``InputError`` where the clip is gone."""
    if origin.seed is not None and origin.frames is not None:
        return world_clips.clip(origin.seed, origin.frames)
    if origin.seed is None and Path(origin.video).is_file():
        return origin.video
    raise InputError("the clip is no longer here; upload it again or choose another")


def played(path: Path) -> bool:
    """Tell whether every browser plays a video file, by its ending and the codec of its track.

    And seeks in it: one without a duration, as browsers themselves record it, has no index either.
    """
    import av

    with av.open(str(path)) as container:
        track = next(iter(container.streams.video), None)
        if track is None or not container.duration:
            return False
        codec = track.codec_context
        return (path.suffix.lower(), codec.name) in PLAYED and codec.pix_fmt in PIXELS


def write_film(path: Path, video: Video) -> None:
    """Write a video's frames, each shown until the next one's time, as an H.264 mp4."""
    import av

    height, width = (side - side % 2 for side in video.frames.shape[1:3])  # as H.264 wants it
    with (
        written_whole(path) as partial,
        av.open(str(partial), "w", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = max(width, 2), max(height, 2), "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        stream.options = {"crf": "20", "preset": "veryfast"}
        frames, start = [*video.frames, video.frames[-1]], video.seconds[0]
        for picture, second in zip(frames, [*video.seconds, video.duration], strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = TICK, round(float(second - start) / TICK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
