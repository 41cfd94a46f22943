"""Reading a video: which frames are taken, how they look, what they cost, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import number, numbered, numbers, write_clip, write_sound
from hypothesis import assume, given
from hypothesis import strategies as st

from stc_core.answering import decoding
from stc_core.answering.video import MAX_FRAMES, Video, choose_frames, read_video, thumbnails
from stc_core.errors import InputError

STEADY = list(range(0, 2000, 40))  # 50 frames at 25 per second
SLIDES = [1000 * i for i in range(10)] + [10000 + 20 * i for i in range(50)]  # 1, then 50 per s


# --- which frames ------------------------------------------------------------------------------


def slow_choice(times: list[float], count: int) -> list[int]:
    """The rule of choose_frames, read aloud."""
    n = len(times)
    if n <= count:
        return list(range(n))
    chosen = set()
    grace = min(1e-3, 0.25 * (times[-1] - times[0]) / (n - 1))
    for k in range(count):
        share = k / (count - 1) if count > 1 else 0.0
        moment = times[0] + share * (times[-1] - times[0])
        chosen.add(max(i for i in range(n) if times[i] <= moment + grace) if k else 0)
    while len(chosen) < count:
        gaps = [min(abs(times[i] - times[j]) for j in chosen) for i in range(n)]
        chosen.add(gaps.index(max(gaps)))
    return sorted(chosen)


increasing = st.lists(st.integers(0, 5000), min_size=1, max_size=60, unique=True).map(sorted)
scales = st.sampled_from([2.0**-12, 2.0**-9, 2.0**-5, 1.0])  # seconds; differences are exact


@given(increasing, scales, st.integers(1, 40))
def test_choice_equals_the_slow_reference(ticks: list[int], scale: float, count: int) -> None:
    times = [tick * scale for tick in ticks]
    grace = min(1e-3, 0.25 * (times[-1] - times[0]) / max(1, len(times) - 1))
    for k in range(count):  # skip moments that rounding alone puts before or after a frame
        moment = times[0] + (k / (count - 1) if count > 1 else 0) * (times[-1] - times[0])
        assume(all(abs(t - moment - grace) > 1e-9 for t in times))
    assert choose_frames(np.array(times), count).tolist() == slow_choice(times, count)


@given(increasing, scales, st.integers(1, 40))
def test_choice_is_distinct_ordered_and_full(ticks: list[int], scale: float, count: int) -> None:
    chosen = choose_frames(np.array(ticks) * scale, count)
    assert len(chosen) == min(count, len(ticks))
    assert np.all(np.diff(chosen) > 0)
    assert chosen[0] == 0
    assert count == 1 or chosen[-1] == len(ticks) - 1


@pytest.mark.parametrize(("n", "count"), [(50, 8), (97, 32), (150, 32), (33, 32), (10800, 64)])
@pytest.mark.parametrize("rate", [1.0, 25.0, 30000 / 1001])
def test_constant_rate_is_the_usual_index_rule(n: int, count: int, rate: float) -> None:
    # LLaVA-NeXT's sampling, but for the millisecond of grace
    usual = np.floor(np.linspace(0, n - 1, count) + 1e-3 * rate).astype(int)
    assert choose_frames(np.arange(n) / rate, count).tolist() == usual.tolist()


def test_variable_rate_is_sampled_by_time_not_by_index(tmp_path: Path) -> None:
    video = read_video(write_clip(tmp_path / "slides.mp4", SLIDES), 8)
    # linspace(0, 10.98, 8) = 0, 1.57, 3.14, 4.71, 6.27, 7.84, 9.41, 10.98
    assert numbers(video.frames) == [0, 1, 3, 4, 6, 7, 9, 59]
    assert video.seconds.tolist() == pytest.approx([0, 1, 3, 4, 6, 7, 9, 10.98])


def test_places_freed_by_frozen_pictures_are_filled(tmp_path: Path) -> None:
    video = read_video(write_clip(tmp_path / "slides.mkv", SLIDES), 32)
    assert len(video.frames) == 32
    assert numbers(video.frames)[:10] == list(range(10))  # every slide
    assert np.diff(video.seconds[11:]).max() < 0.1  # and the quick second evenly


# --- containers and codecs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("a.mp4", {}),
        ("bframes.mkv", {"options": {"bf": "3"}}),
        ("fragmented.mp4", {"muxing": {"movflags": "frag_keyframe+empty_moov"}}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("live.webm", {"codec": "libvpx-vp9", "muxing": {"live": "1"}}),  # no duration, no index
        ("stream.ts", {}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
        ("bframes.avi", {"options": {"bf": "3"}}),  # the decoder's times are wrong here
        ("motion.mkv", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("prores.mov", {"codec": "prores_ks", "pixels": "yuv422p10le"}),
        ("gray.mkv", {"codec": "ffv1", "pixels": "gray"}),
        ("deep.mkv", {"codec": "ffv1", "pixels": "gray16le"}),
        ("late.mp4", {"shift": 5000}),
    ],
)
def test_every_container_gives_the_right_frames_at_the_right_times(
    tmp_path: Path, name: str, kwargs: dict
) -> None:
    times = [t + kwargs.get("shift", 0) for t in STEADY]
    kwargs = {k: v for k, v in kwargs.items() if k != "shift"}
    video = read_video(write_clip(tmp_path / name, times, **kwargs), 8)
    assert numbers(video.frames) == [0, 7, 14, 21, 28, 35, 42, 49]
    assert video.seconds.tolist() == pytest.approx([0, 0.28, 0.56, 0.84, 1.12, 1.4, 1.68, 1.96])
    assert (video.frame_count, video.source_size, video.warning) == (50, (32, 64), None)
    assert video.duration == pytest.approx(2.0)
    assert video.rate == pytest.approx(25.0)
    assert video.name == name


def test_gif(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.gif", range(0, 1000, 100), codec="gif", pixels="rgb8", container="gif"
    )
    video = read_video(path, 4)
    assert numbers(video.frames) == [0, 3, 6, 9]
    assert video.seconds.tolist() == pytest.approx([0, 0.3, 0.6, 0.9])


def test_a_stream_without_timestamps_is_counted_and_says_so(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "raw.h264", STEADY, container="h264")
    video = read_video(path, 8)
    assert numbers(video.frames) == [0, 7, 14, 21, 28, 35, 42, 49]
    assert np.allclose(np.diff(video.seconds), 7 / video.rate)
    assert "no usable timestamps" in video.warning


def test_fewer_frames_than_asked_gives_each_once(tmp_path: Path) -> None:
    video = read_video(write_clip(tmp_path / "short.mp4", [0, 40, 1000]), 32)
    assert numbers(video.frames) == [0, 1, 2]
    assert video.seconds.tolist() == pytest.approx([0, 0.04, 1.0])


def test_one_frame(tmp_path: Path) -> None:
    video = read_video(write_clip(tmp_path / "one.mp4", [0]))
    assert numbers(video.frames) == [0]
    assert video.seconds.tolist() == [0.0]
    assert 0 <= video.duration < 1


def test_a_still_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), numbered(5))
    video = read_video(tmp_path / "still.png")
    assert numbers(video.frames) == [5]
    assert video.seconds.tolist() == [0.0]


def test_same_file_same_bits(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY)
    one, two = read_video(path, 7), read_video(path, 7)
    assert one.frames.tobytes() == two.frames.tobytes()
    assert one.seconds.tobytes() == two.seconds.tobytes()


def test_many_threads_at_once(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY)
    level = av.logging.get_level()
    with ThreadPoolExecutor(4) as pool:
        videos = list(pool.map(lambda _: read_video(path, 8), range(12)))
    assert all(numbers(v.frames) == [0, 7, 14, 21, 28, 35, 42, 49] for v in videos)
    assert av.logging.get_level() == level


# --- geometry ----------------------------------------------------------------------------------


def corner(index: int) -> np.ndarray:
    """Green, with the top left quarter red; wider than high."""
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[..., 1] = 200
    picture[:16, :32] = (250, 0, 0)
    return picture


@pytest.mark.parametrize(
    ("rotation", "size", "red"),
    [
        (0, (32, 64), (0, 0)),
        (90, (64, 32), (1, 0)),  # anticlockwise: top left goes to bottom left
        (180, (32, 64), (1, 1)),
        (270, (64, 32), (0, 1)),
        (-90, (64, 32), (0, 1)),
    ],
)
def test_rotation_in_the_header_is_honoured(
    tmp_path: Path, rotation: int, size: tuple[int, int], red: tuple[int, int]
) -> None:
    path = write_clip(tmp_path / "turned.mp4", [0, 40], picture=corner, rotation=rotation)
    video = read_video(path)
    assert video.source_size == size
    assert video.frames.shape[1:3] == size
    height, width = size
    for down in (0, 1):
        for right in (0, 1):
            y, x = height // 4 + down * height // 2, width // 4 + right * width // 2
            r, g, _ = video.frames[0, y, x].astype(int)
            assert (r > g) == ((down, right) == red)


@pytest.mark.parametrize(("rotation", "size"), [(None, (32, 96)), (90, (96, 32))])
def test_pixels_that_are_not_square_are_stretched(
    tmp_path: Path, rotation: int | None, size: tuple[int, int]
) -> None:
    path = write_clip(
        tmp_path / "wide.mp4", [0], picture=corner, rotation=rotation, pixel_shape=Fraction(3, 2)
    )
    assert read_video(path).frames.shape[1:3] == size


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (1, 50), (96, 20)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    def picture(index: int) -> np.ndarray:
        return np.full((*size, 3), 40 + 80 * index, np.uint8)

    path = write_clip(
        tmp_path / "odd.mkv", [0, 40, 80], codec="ffv1", pixels="bgr0", picture=picture
    )
    video = read_video(path)
    assert video.frames.shape == (3, *size, 3)
    assert [int(f.mean()) for f in video.frames] == [40, 120, 200]


def test_colors_are_rgb(tmp_path: Path) -> None:
    def picture(index: int) -> np.ndarray:
        return np.tile(np.array([200, 100, 10], np.uint8), (8, 8, 1))

    path = write_clip(tmp_path / "a.mkv", [0], codec="ffv1", pixels="bgr0", picture=picture)
    assert read_video(path).frames[0, 0, 0].tolist() == [200, 100, 10]


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mov", "png", "rgba"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
    ],
)
def test_transparent_video_gives_its_stored_colors(
    tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    def picture(index: int) -> np.ndarray:
        glass = np.zeros((32, 64, 4), np.uint8)
        glass[..., :3] = (30, 220, 60)
        glass[:, :32, 3] = 255
        return glass

    video = read_video(
        write_clip(tmp_path / name, [0, 40], codec=codec, pixels=pixels, picture=picture)
    )
    seen = video.frames[:, 16, [8, 56]].reshape(-1, 3).astype(int)
    assert np.abs(seen - [30, 220, 60]).max() < 20


def test_8k_is_reduced_at_once(tmp_path: Path) -> None:
    block = np.kron(corner(0), np.ones((135, 120, 1), np.uint8))

    path = write_clip(
        tmp_path / "8k.mkv", [0, 40], codec="mjpeg", pixels="yuvj420p", picture=lambda i: block
    )
    video = read_video(path)
    assert video.source_size == (4320, 7680)
    assert video.frames.shape == (2, 576, 1024, 3)
    assert video.frames[0, 100, 100, 0] > 200 > video.frames[0, 100, 900, 0]


def test_max_side(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY)
    assert read_video(path, 4, max_side=32).frames.shape == (4, 16, 32, 3)
    assert read_video(path, 4, max_side=None).frames.shape == (4, 32, 64, 3)
    assert read_video(path, 4, max_side=5000).frames.shape == (4, 32, 64, 3)
    assert read_video(path, 4, max_side=1).frames.shape == (4, 1, 1, 3)


def test_thumbnails_are_area_means() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 32, 64, 3), dtype=np.uint8)
    small = thumbnails(frames, 16)
    means = frames.reshape(3, 8, 4, 16, 4, 3).mean(axis=(2, 4))
    assert small.dtype == np.uint8
    assert np.abs(small - means).max() <= 0.5 + 1e-6


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_thumbnails_keep_the_aspect_ratio(height: int, width: int, side: int) -> None:
    small = thumbnails(np.zeros((2, height, width, 3), np.uint8), side)
    scale = min(1.0, side / max(height, width))
    assert small.shape[0] == 2 and small.shape[3] == 3
    assert small.shape[1] == max(1, round(height * scale))
    assert small.shape[2] == max(1, round(width * scale))


# --- long files --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return write_clip(
        path, range(0, 10_800_000, 1000), keyframes=250, options={"preset": "ultrafast"}
    )


def test_three_hours_hold_only_the_chosen_frames(three_hours: Path) -> None:
    tracemalloc.start()
    began = time.process_time()  # not wall time: other work may share the machine
    video = read_video(three_hours, 32)
    took = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert numbers(video.frames) == [10799 * k // 31 for k in range(32)]
    assert video.seconds.tolist() == [10799 * k // 31 for k in range(32)]
    assert video.frame_count == 10800
    assert peak < 4e6  # all frames at once are 66 MB, the 32 are 0.2 MB
    assert took < 10


def test_seeking_and_decoding_everything_agree(
    three_hours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought = read_video(three_hours, 16)
    monkeypatch.setattr(decoding, "_worth_seeking", lambda listing, picked: False)
    decoded = read_video(three_hours, 16)
    assert sought.frames.tobytes() == decoded.frames.tobytes()
    assert sought.seconds.tobytes() == decoded.seconds.tobytes()


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv", "vfr.webm"])
def test_seeking_in_a_variable_rate_lands_right(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.choice([20, 40, 200, 1000], 900, p=[0.6, 0.3, 0.09, 0.01]))
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    fast = {"deadline": "realtime", "cpu-used": "8"} if codec != "libx264" else None
    path = write_clip(tmp_path / name, times - times[0], codec=codec, options=fast, keyframes=60)
    monkeypatch.setattr(decoding, "SEEK_GAP", 20)
    video = read_video(path, 9)
    seconds = (times - times[0]) / 1000
    assert numbers(video.frames) == choose_frames(seconds, 9).tolist()
    assert np.allclose(video.seconds, seconds[numbers(video.frames)])


def test_a_seek_that_lands_wrong_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mp4", range(0, 8000, 40))
    real, seeks = av.open, []

    class Sloppy:
        """A container whose seeks overshoot by 12 frames, as in those without an index."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            self.container = real(*args, **kwargs)

        def seek(self, offset: int, *, stream: av.VideoStream) -> None:
            seeks.append(offset)
            self.container.seek(offset + int(0.48 / stream.time_base), stream=stream)

        def __enter__(self) -> Sloppy:
            return self

        def __exit__(self, *error: object) -> None:
            self.container.close()

        def __getattr__(self, name: str) -> object:
            return getattr(self.container, name)

    monkeypatch.setattr(av, "open", Sloppy)
    monkeypatch.setattr(decoding, "SEEK_GAP", 20)
    assert numbers(read_video(path, 5).frames) == [0, 49, 99, 149, 199]
    assert seeks  # it did try


def test_progress_rises_to_one_and_can_stop_the_reading(three_hours: Path) -> None:
    shares: list[float] = []
    read_video(three_hours, 8, on_progress=shares.append)
    assert shares[0] == 0.0 and shares[-1] == 1.0
    assert shares == sorted(shares) and len(shares) > 8

    def stop(share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_video(three_hours, 8, on_progress=stop)


# --- damaged files -----------------------------------------------------------------------------


def test_a_file_cut_in_the_middle_gives_what_decodes_and_says_so(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", range(0, 8000, 40))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    video = read_video(cut, 8)
    assert "promises 8.0 s" in video.warning
    assert numbers(video.frames) == [round(t * 25) for t in video.seconds]
    assert 20 < video.frame_count < 180
    assert video.duration == pytest.approx(video.frame_count / 25)


def test_an_mp4_cut_in_the_middle_of_a_frame(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", STEADY, muxing={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 8 // 10])
    video = read_video(cut, 8)
    assert video.warning
    assert numbers(video.frames)[0] == 0
    assert len(video.frames) <= video.frame_count < 50


@pytest.mark.parametrize(("lost", "word"), [(100, "damaged"), (2000, "cut off")])
def test_an_mp4_without_its_index_is_refused(tmp_path: Path, lost: int, word: str) -> None:
    whole = write_clip(tmp_path / "whole.mp4", STEADY)  # the index is at the end
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-lost])
    assert word in refusal(cut)


def test_a_clip_trimmed_by_an_edit_list_starts_where_it_is_shown(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", STEADY)
    trimmed = tmp_path / "trimmed.mp4"
    with (
        av.open(str(whole)) as source,
        av.open(
            str(trimmed), "w", options={"avoid_negative_ts": "disabled", "use_editlist": "1"}
        ) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:  # the first 20 frames go before zero
                early = int(Fraction(800, 1000) / packet.time_base)
                packet.pts, packet.dts = packet.pts - early, packet.dts - early
                packet.stream = stream
                target.mux(packet)
    video = read_video(trimmed, 4)
    assert numbers(video.frames) == [20, 29, 39, 49]
    assert video.seconds.tolist() == pytest.approx([0, 0.36, 0.76, 1.16])


@pytest.mark.parametrize("seed", range(12))
def test_noise_in_the_file_gives_frames_or_one_sentence(tmp_path: Path, seed: int) -> None:
    name = ["a.mp4", "a.mkv", "a.ts", "a.avi"][seed % 4]
    data = bytearray(write_clip(tmp_path / name, STEADY).read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0 if seed < 4 else 200, len(data), 60):
        data[place] = rng.integers(256)
    (tmp_path / name).write_bytes(data)
    try:
        video = read_video(tmp_path / name, 8)
    except InputError as error:
        assert_one_sentence(str(error))
    else:
        assert 1 <= len(video.frames) <= 8
        assert np.all(np.diff(video.seconds) > 0)


# --- refusals ----------------------------------------------------------------------------------


def refusal(path: object, *args: object, **kwargs: object) -> str:
    with pytest.raises(InputError) as caught:
        read_video(path, *args, **kwargs)
    assert_one_sentence(str(caught.value))
    return str(caught.value)


def assert_one_sentence(text: str) -> None:
    assert text.endswith((".", "?")) and "\n" not in text and len(text) < 250


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path / "missing.mp4")
    assert "is an address; download" in refusal("http://127.0.0.1:9/clip.mp4")
    assert "folder" in refusal(tmp_path)
    assert "No video was given" in refusal("")
    assert "No video was given" in refusal(None)
    assert "cannot be read" in refusal("a\0b.mp4")
    assert refusal("x" * 5000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_refuses_a_pipe_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "no file" in refusal(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"this is not a video at all\n" * 50, "not a video"),
        ("zeros.mp4", bytes(5000), "not a video"),
        ("page.mp4", b"<html><body>404</body></html>", "not a video"),
        ("head.mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "cut off"),
        ("head.mkv", b"\x1a\x45\xdf\xa3" + bytes(40), "cut off"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "playlist"),
        ("list2.mp4", b"ffconcat version 1.0\nfile other.mp4\n", "playlist"),
    ],
)
def test_refuses_what_is_not_a_video(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert word in refusal(tmp_path / name)


def test_refuses_sound(tmp_path: Path) -> None:
    assert "no video track" in refusal(write_sound(tmp_path / "sound.mp4"))
    assert "sound only" in refusal(write_sound(tmp_path / "sound.wav"))


@pytest.mark.parametrize("frames", [0, -1, MAX_FRAMES + 1, 2.5, 8.0, "8", None, True, float("nan")])
def test_refuses_a_frame_number_that_makes_no_sense(tmp_path: Path, frames: object) -> None:
    path = write_clip(tmp_path / "a.mp4", [0])
    assert "frames must be a whole number from 1 to 4096" in refusal(path, frames)


def test_takes_numpy_integers_and_refuses_a_bad_max_side(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY)
    assert len(read_video(path, np.int64(3)).frames) == 3
    for side in (0, -5, 1.5, "64"):
        assert "max_side" in refusal(path, 4, max_side=side)


def test_a_file_name_is_never_a_protocol_or_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp4", "%03d.mp4", "日本 clip.mp4", "-i.mp4"):
        write_clip(tmp_path / "clip.mp4", [0, 40]).rename(tmp_path / name)
        assert numbers(read_video(name).frames) == [0, 1]


def test_video_checks_itself() -> None:
    frames, seconds = np.zeros((2, 4, 4, 3), np.uint8), np.array([0.0, 1.0])
    Video(frames, seconds, "a", 2.0, 2, 1.0, (4, 4))
    for wrong in (frames[0], frames.astype(float), frames[..., :1]):
        with pytest.raises(ValueError, match="frames must be"):
            Video(wrong, seconds, "a", 2.0, 2, 1.0, (4, 4))
    for wrong in (seconds[:1], seconds[::-1].copy(), np.zeros(2)):
        with pytest.raises(ValueError, match="seconds must be"):
            Video(frames, wrong, "a", 2.0, 2, 1.0, (4, 4))


def test_nothing_is_printed_and_nothing_stays_set(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", STEADY, muxing={"movflags": "faststart"})
    cut, text = tmp_path / "cut.mp4", tmp_path / "text.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 8 // 10])
    text.write_bytes(b"no video")
    code = (
        "import os, sys\n"
        "from stc_core.answering.video import read_video\n"
        "before = dict(os.environ)\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_video(path)\n"
        "    except ValueError: pass\n"
        "assert dict(os.environ) == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(cut), str(text)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_number_reads_what_numbered_wrote() -> None:
    assert [number(numbered(i)) for i in (0, 1, 77, 65535)] == [0, 1, 77, 65535]
