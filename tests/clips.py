"""Small video files for the tests, written with PyAV, whose frames say which one they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

BITS = 16
SIZE = (32, 64)  # height, width: the number takes BITS stripes of 4 pixels


def numbered(index: int, height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the index in binary, one white or black stripe per bit."""
    picture = np.zeros((height, width, 3), np.uint8)
    stripe = width // BITS
    for bit in range(BITS):
        picture[:, bit * stripe : (bit + 1) * stripe] = 255 * (index >> bit & 1)
    return picture


def number(picture: np.ndarray) -> int:
    """The index that `numbered` wrote, after lossy coding and any reduction in size."""
    height, width = picture.shape[:2]
    middles = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    white = picture[height // 2, middles].mean(axis=-1) > 127
    return int(sum(1 << bit for bit in range(BITS) if white[bit]))


def numbers(frames: np.ndarray) -> list[int]:
    return [number(frame) for frame in frames]


def write_clip(
    path: Path,
    milliseconds: Sequence[int],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    picture: Callable[[int], np.ndarray] = numbered,
    rotation: int | None = None,
    pixel_shape: Fraction | None = None,
    keyframes: int = 12,
    container: str | None = None,
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    rate: Fraction = Fraction(25),
    base: Fraction = Fraction(1, 1000),
) -> Path:
    """Write one frame per timestamp; `picture(i)` gives (H, W, 3 or 4) uint8.

    `rate` is what the header says; the timestamps say when each frame is shown, in steps of `base`
    seconds.
    """

    def write() -> None:
        with av.open(str(path), "w", format=container, options=muxing or {}) as file:
            first = picture(0)
            stream = file.add_stream(codec, rate=rate, options=options or {})
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = pixels
            stream.time_base = stream.codec_context.time_base = base
            stream.codec_context.gop_size = keyframes
            if pixel_shape is not None:
                stream.codec_context.sample_aspect_ratio = pixel_shape
            if rotation is not None:
                stream.set_display_rotation(rotation)
            for index, time in enumerate(milliseconds):
                file.mux(stream.encode(_frame(picture(index), pixels, int(time))))
            file.mux(stream.encode())

    # For root, SVT-AV1 raises the thread that opens it to the highest real-time priority, and all
    # that this thread starts from then on inherits it: a busy browser takes the whole machine.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(write).result()
    return path


def _frame(array: np.ndarray, pixels: str, milliseconds: int) -> av.VideoFrame:
    source = "rgba" if array.shape[2] == 4 else "rgb24"
    frame = av.VideoFrame.from_ndarray(array, format=source).reformat(format=pixels)
    frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
    return frame


def write_tracks(
    path: Path,
    tracks: Sequence[tuple[str, tuple[int, int], Sequence[int], Disposition]],
    sound: tuple[str, float, float] | None = None,
) -> Path:
    """Write several tracks of numbered frames, each (codec, (height, width), times, role).

    `sound`: (codec, first second, last second) of a track of silence besides.
    """
    with av.open(str(path), "w") as file:
        made = []
        for codec, (height, width), times, role in tracks:
            stream = file.add_stream(codec, rate=Fraction(25))
            stream.height, stream.width = height, width
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            stream.disposition = role
            made.append((stream, times))
        silent = None
        if sound is not None:
            silent = file.add_stream(sound[0], rate=48000, layout="mono")
        for stream, times in made:
            for index, time in enumerate(times):
                picture = numbered(index, stream.height, stream.width)
                file.mux(stream.encode(_frame(picture, stream.pix_fmt, int(time))))
            file.mux(stream.encode())
        if silent is not None:
            _silence(file, silent, *sound[1:])
    return path


def _silence(
    file: av.container.OutputContainer, stream: av.AudioStream, start: float, end: float
) -> None:
    kind = stream.codec_context.format.name
    zeros = np.zeros((1, 960), np.float32 if kind.startswith("flt") else np.int16)
    for at in range(round(start * 48000), round(end * 48000), 960):
        frame = av.AudioFrame.from_ndarray(zeros, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode())


def write_sound(path: Path) -> Path:
    """Half a second of silence, no video track."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac" if path.suffix == ".mp4" else "pcm_s16le", rate=16000)
        for start in range(0, 8192, 1024):
            silence = np.zeros((1, 1024), np.int16)
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
