"""Every frame of forty kinds of file: which, when, how it looks, and how long it all lasts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import numbered, numbers, write_clip

from stc_core.answering import decoding
from stc_core.answering.video import read_video

CLIPS = sorted((Path(__file__).parents[1] / "assets" / "clips").glob("*.mp4"))


def every(step: float, count: int = 12, start: float = 0.0) -> list[int]:
    """Times in milliseconds."""
    return [round(start + step * index) for index in range(count)]


UNEVEN = [0, 40, 45, 500, 520, 540, 2000, 2010, 2500, 4000, 4001, 7000]
VP9 = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}
VP8 = {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}}
AV1 = {"codec": "libsvtav1", "options": {"preset": "13"}}
HEVC = {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none"}}
BFRAMES = {"options": {"bf": "3"}}
OPEN = {"options": {"bf": "3", "x264-params": "open-gop=1:keyint=6:min-keyint=6"}}
MJPEG = {"codec": "mjpeg", "pixels": "yuvj420p"}
GIF = {"codec": "gif", "pixels": "rgb8"}
MPEG2 = {"codec": "mpeg2video", "base": Fraction(1, 25)}
PRORES = {"codec": "prores_ks", "pixels": "yuv422p10le"}
NTSC = [round(1001 * index / 30) for index in range(12)]

TABLE = [
    ("a.mp4", every(40), {}),
    ("a.mp4", every(40), BFRAMES),
    ("a.mp4", every(40), OPEN),
    ("a.mp4", every(1000), {"rate": Fraction(1)}),
    ("a.mp4", every(2000), {"rate": Fraction(1, 2)} | BFRAMES),
    ("a.mp4", NTSC, {"rate": Fraction(30000, 1001)}),
    ("a.mp4", every(1000 / 120), {"rate": Fraction(120)}),
    ("a.mp4", UNEVEN, {}),
    ("a.mp4", UNEVEN, BFRAMES),
    ("a.mp4", every(40, start=7000), {}),
    ("a.mp4", every(40), {"rotation": 90}),
    ("a.mp4", every(40), HEVC),
    ("a.mp4", every(40), AV1),
    ("a.mp4", every(40), {"muxing": {"movflags": "frag_keyframe+empty_moov"}} | BFRAMES),
    ("a.mov", every(40), BFRAMES),
    ("a.mov", every(500), PRORES | {"rate": Fraction(2)}),
    ("a.mov", UNEVEN, {"codec": "png", "pixels": "rgb24"}),
    ("a.mov", every(40, start=300), MJPEG),
    ("a.mkv", every(40), BFRAMES),
    ("a.mkv", every(1000), {"rate": Fraction(1)}),
    ("a.mkv", [0, 1000, 2000, 60000, 61000, 180000], {"rate": Fraction(1)}),
    ("a.mkv", every(2000), {"rate": Fraction(1, 2)} | HEVC),
    ("a.mkv", NTSC, {"rate": Fraction(30000, 1001)} | OPEN),
    ("a.mkv", every(8), {"rate": Fraction(125)}),
    ("a.mkv", UNEVEN, {"codec": "ffv1", "pixels": "bgr0"}),
    ("a.mkv", every(40, start=10000), MJPEG),
    ("a.mkv", every(40), {"codec": "mpeg4"}),
    ("a.webm", every(40), VP8),
    ("a.webm", every(1000), VP9 | {"rate": Fraction(1)}),
    ("a.webm", UNEVEN, VP9),
    ("a.webm", every(2000, start=4000), AV1 | {"rate": Fraction(1, 2)}),
    ("a.webm", every(40, 30), VP8 | {"options": {"auto-alt-ref": "1", "lag-in-frames": "10"}}),
    ("a.avi", every(40), {"codec": "mpeg4"}),
    ("a.avi", every(1000), MJPEG | {"rate": Fraction(1)}),
    ("a.ts", every(40), BFRAMES),
    ("a.ts", every(40, start=3000), MPEG2),
    ("a.ts", UNEVEN[:6], {}),
    ("a.flv", every(40), {}),
    ("a.gif", every(100), GIF),
    ("a.gif", every(1000), GIF | {"rate": Fraction(1)}),
    ("a.gif", [0, 100, 500, 1500, 1600], GIF),
]


@pytest.mark.parametrize(("name", "times", "kwargs"), TABLE)
def test_every_frame_is_there_at_its_time(
    tmp_path: Path, name: str, times: list[int], kwargs: dict
) -> None:
    path = write_clip(tmp_path / name, times, **kwargs)
    video = read_video(path, 1024)
    frames = [np.rot90(f, -(kwargs.get("rotation") or 0) // 90) for f in video.frames]
    assert numbers(frames) == list(range(len(times)))
    expected = (np.array(times) - times[0]) / 1000
    assert np.abs(video.seconds - expected).max() <= 1.1e-3
    assert video.warning is None
    assert video.duration > video.seconds[-1]
    assert_as_pyav_decodes_it(path, video.frames)


def assert_as_pyav_decodes_it(path: Path, frames: np.ndarray) -> None:
    """All frames equal those of the plainest loop over the same file."""
    with av.open(str(path)) as file:
        plain = []
        for frame in file.decode(video=0):
            picture = frame.to_ndarray(format="bgr24", interpolation="BICUBIC")
            plain.append(np.rot90(picture, frame.rotation // 90))
    assert np.array_equal(np.array(plain)[..., ::-1], frames)


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_frames_of_the_examples_are_opencvs_to_the_bit(path: Path) -> None:
    """Saved traces were made of frames that OpenCV's reader gave."""
    video, plain, times = read_video(path, 1024), [], []
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        plain.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    assert np.array_equal(plain, video.frames)
    assert video.seconds.tolist() == pytest.approx(times)
    assert_as_pyav_decodes_it(path, video.frames)


@pytest.mark.parametrize(
    ("name", "times", "kwargs", "duration"),
    [
        ("a.mp4", every(40, 50), {}, 2.0),
        ("a.mp4", [0, 1000], {}, 1.04),  # this writer ends the last frame after 1/25 s
        ("a.mkv", every(1000, 5), {"rate": Fraction(1)}, 5.0),
        ("a.mkv", [0, 1000, 9000], {"rate": Fraction(1)}, 10.0),
        ("a.gif", [0, 100, 500], GIF, 0.54),
        ("a.avi", every(1000, 5), MJPEG | {"rate": Fraction(1)}, 5.0),
    ],
)
def test_duration_ends_with_the_last_frame(
    tmp_path: Path, name: str, times: list[int], kwargs: dict, duration: float
) -> None:
    path = write_clip(tmp_path / name, times, **kwargs)
    for count in (1, 2, 1024):  # it is the video's, not that of the frames taken
        assert read_video(path, count).duration == pytest.approx(duration, abs=2e-3)


REFRESH = {"options": {"bf": "0", "x264-params": "intra-refresh=1:keyint=10"}}
HEVC_OPEN = {
    "codec": "libx265",
    "options": {"x265-params": "log-level=none:open-gop=1:keyint=10:bframes=3"},
}


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("a.mp4", BFRAMES),
        ("a.mkv", BFRAMES),
        ("a.mp4", OPEN),
        ("a.mkv", OPEN),
        ("a.mov", OPEN),
        ("a.mp4", HEVC_OPEN),
        ("a.mkv", HEVC_OPEN),
        ("a.webm", VP9),
        ("a.mp4", REFRESH),
        ("a.mkv", REFRESH),
        ("a.mp4", {"muxing": {"movflags": "frag_keyframe+empty_moov"}}),
    ],
)
def test_seeking_gives_the_frames_of_decoding_everything(
    tmp_path: Path, name: str, kwargs: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / name, every(40, 120), **kwargs)
    whole = read_video(path, 120)
    monkeypatch.setattr(decoding, "SEEK_GAP", 3)
    for count in (2, 5, 9, 13):
        video = read_video(path, count)
        places = [round(second * 25) for second in video.seconds]
        assert numbers(video.frames) == places
        assert np.array_equal(video.frames, whole.frames[places])
        assert video.warning is None


def recorded(path: Path, times: list[int]) -> Path:
    """As a browser records: no duration, no index, and frames late by less than a millisecond.

    ``times`` are tenths of milliseconds; the file keeps whole ones.
    """
    tick = Fraction(1, 10_000)
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as file:
        stream = file.add_stream("libvpx-vp9", rate=30, options={"deadline": "realtime"})
        stream.height, stream.width = numbered(0).shape[:2]
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = "yuv420p", tick, tick
        stream.codec_context.gop_size = 30
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(index)).reformat(format="yuv420p")
            frame.pts, frame.time_base = time, tick
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("late", [(), (14,), (14, 50, 100)])
def test_what_a_browser_records_keeps_its_times(tmp_path: Path, late: tuple[int, ...]) -> None:
    """Of frames with one time only the last is ever seen; the others' times must not be lost."""
    times = [500 * index for index in range(200)]
    for index in late:  # the one before it comes in the same millisecond
        times[index - 1] = times[index] - 2
    path = recorded(tmp_path / "webcam.webm", times)
    with av.open(str(path)) as file:
        assert file.duration is None and file.streams.video[0].duration is None
        ticks = [packet.pts for packet in file.demux(video=0) if packet.pts is not None]
    assert len(ticks) - len(set(ticks)) == len(late)
    video = read_video(path, 8)
    assert video.warning is None
    assert video.frame_count == 200 - len(late)
    assert video.duration == pytest.approx(10.0, abs=0.06)
    assert video.rate == pytest.approx(20, rel=0.02)
    assert video.seconds[[0, -1]] == pytest.approx([0, 9.95])
    assert np.diff(video.seconds) == pytest.approx(np.full(7, 9.95 / 7), abs=0.06)
    shown = [round(1e4 * second / 500) for second in video.seconds]
    assert numbers(video.frames) == shown
    few = read_video(path, 3, start=4.0, end=8.0)
    assert numbers(few.frames) == [80, 119, 159]
