"""Files that mislead a reader: interlaced, several tracks, damaged, hostile; and what is said."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from clips import number, numbered, numbers, write_clip, write_sound, write_tracks

from stc_core.answering import video_file
from stc_core.answering.upright import combed
from stc_core.answering.video import read_video
from stc_core.errors import InputError

STEADY = range(0, 2000, 40)


def refusal(path: object, **kwargs: object) -> str:
    with pytest.raises(InputError) as caught:
        read_video(path, **kwargs)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and len(text) < 250
    return text


# --- interlaced ----------------------------------------------------------------------------------


def moving(index: int, height: int = 64, width: int = 128) -> np.ndarray:
    """(H, W, 3): a bar that goes right by 6 pixels a step."""
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[height // 8 : -height // 8, 8 + 6 * index : 32 + 6 * index] = (220, 200, 60)
    return picture


def woven(index: int) -> np.ndarray:
    """Two moments, the upper field first."""
    picture = moving(2 * index)
    picture[1::2] = moving(2 * index + 1)[1::2]
    return picture


FIELDS = {"flags": "+ildct+ilme"}
X264 = {"options": {"x264-params": "interlaced=1:tff=1"}}
MPEG2 = {"codec": "mpeg2video", "base": Fraction(1, 25), "options": FIELDS | {"b": "4000000"}}
PRORES = {"codec": "prores_ks", "pixels": "yuv422p10le", "options": {"flags": "+ildct"}}
INTERLACED = [("a.mp4", X264), ("a.mkv", MPEG2), ("a.ts", MPEG2), ("a.mov", PRORES)]


def is_flagged(path: Path) -> bool:
    with av.open(str(path)) as file:
        return all(frame.interlaced_frame for frame in file.decode(video=0))


@pytest.mark.parametrize(("name", "kwargs"), INTERLACED)
def test_a_film_stored_as_interlaced_shows_the_same_frames(
    tmp_path: Path, name: str, kwargs: dict
) -> None:
    path = write_clip(tmp_path / name, range(0, 320, 40), picture=moving, **kwargs)
    assert is_flagged(path)
    video = read_video(path)
    assert (len(video.frames), video.warning) == (8, None)
    for index, frame in enumerate(video.frames):
        assert np.abs(frame.astype(int) - moving(index)).mean() < 2


@pytest.mark.parametrize(("name", "kwargs"), INTERLACED)
def test_of_two_moments_in_a_frame_one_is_shown(tmp_path: Path, name: str, kwargs: dict) -> None:
    path = write_clip(tmp_path / name, range(0, 320, 40), picture=woven, **kwargs)
    assert is_flagged(path) and combed(woven(0))
    for index, frame in enumerate(read_video(path).frames):
        assert not combed(frame)
        off = [np.abs(frame.astype(int) - moving(2 * index + k)).mean() for k in (0, 1)]
        assert off[0] < 4 < off[1]


def test_dv(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.avi",
        [0, 40, 80],
        codec="dvvideo",
        base=Fraction(1, 25),
        picture=lambda index: numbered(index, 576, 720),
    )
    video = read_video(path, max_side=None)
    assert numbers(video.frames) == [0, 1, 2]
    assert video.source_size[0] == 576


def test_combing_is_two_moments_and_not_detail() -> None:
    assert combed(woven(3))
    assert not combed(moving(3))
    assert not combed(np.random.default_rng(0).integers(0, 60, (64, 64, 3), dtype=np.uint8) // 8)
    assert not combed(np.zeros((3, 64, 3), np.uint8))


# --- memory that nobody wrote --------------------------------------------------------------------

SHOW = """
import hashlib, sys
import numpy as np
from stc_core.answering.video import read_video
sentinels = [np.full((96, 160, 3), 171, np.uint8) for _ in range(200)]
del sentinels
for path in sys.argv[1:]:
    try: print(hashlib.sha256(read_video(path, 32).frames.tobytes()).hexdigest())
    except ValueError as error: print(error)
"""


def textured(index: int) -> np.ndarray:
    picture = np.random.default_rng(3).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    return np.roll(picture, 3 * index, axis=1)


@pytest.mark.skipif(sys.platform != "linux", reason="only its C library fills memory on demand")
def test_no_byte_of_a_frame_is_memory_that_nobody_wrote(tmp_path: Path) -> None:
    """The C library fills what it hands out with one byte, then with another: frames stay."""
    kinds = [
        ("a.mp4", {}),
        ("b.mov", PRORES),
        ("c.mkv", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("d.webm", {"codec": "libvpx"}),
        ("e.mkv", {"codec": "ffv1"}),
        ("g.ts", {}),
        ("f.avi", {"codec": "mpeg4"}),
        ("h.mov", {"codec": "png", "pixels": "rgb24"}),
        ("j.gif", {"codec": "gif", "pixels": "rgb8"}),
        ("i.mp4", X264),
        ("k.mkv", MPEG2),
    ]
    paths = []
    for name, kwargs in kinds:
        whole = write_clip(tmp_path / name, range(0, 640, 40), picture=textured, **kwargs)
        paths.append(str(whole))
        for seed, places in ((0, 12), (1, 60)):
            data, rng = bytearray(whole.read_bytes()), np.random.default_rng(seed)
            for place in rng.integers(min(1000, len(data) // 4), len(data) - 1200, places):
                data[place] = rng.integers(256)
            paths.append(str(tmp_path / f"{seed}{name}"))
            Path(paths[-1]).write_bytes(data)
    seen = set()
    for fill in ("90", "165"):
        done = subprocess.run(
            [sys.executable, "-c", SHOW, *paths],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"MALLOC_PERTURB_": fill},
        )
        assert len(done.stdout.splitlines()) == len(paths)
        seen.add(done.stdout)
    assert len(seen) == 1


# --- tracks --------------------------------------------------------------------------------------

THUMBNAILS = ("mjpeg", (32, 64), range(0, 4000, 200), Disposition(0))
FILM = ("libx264", (64, 128), range(0, 4000, 40), Disposition.default)


def test_the_default_track_is_taken_and_any_can_be_chosen(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mp4", [THUMBNAILS, FILM])
    for track in (None, 1):
        video = read_video(path, 8, track=track)
        assert (video.source_size, video.frame_count, video.warning) == ((64, 128), 100, None)
        assert numbers(video.frames) == [0, 14, 28, 42, 56, 70, 84, 99]
    video = read_video(path, 8, track=0)
    assert (video.source_size, video.frame_count, video.warning) == ((32, 64), 20, None)
    assert "2 video tracks; track must be from 0 to 1, not 2" in refusal(path, track=2)
    for track in (-1, 1.0, "1", True):
        assert "track must be a whole number" in refusal(path, track=track)


def test_of_equal_tracks_the_largest_is_taken(tmp_path: Path) -> None:
    small, large = (*THUMBNAILS[:3], Disposition.default), FILM
    assert read_video(write_tracks(tmp_path / "a.mkv", [small, large]), 2).frame_count == 100
    assert read_video(write_tracks(tmp_path / "b.mkv", [large, small]), 2).frame_count == 100
    one = write_clip(tmp_path / "one.mp4", [0, 40])
    assert "has 1 video track; track must be from 0 to 0, not 1" in refusal(one, track=1)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def test_a_song_with_a_cover_is_no_video(tmp_path: Path) -> None:
    song = write_tracks(tmp_path / "song.m4a", [], ("aac", 0, 1))
    cover = cv2.imencode(".jpg", numbered(5))[1].tobytes()
    covr = box(b"covr", box(b"data", (13).to_bytes(4, "big"), bytes(4), cover))
    handler = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    added = box(b"udta", box(b"meta", bytes(4), handler, box(b"ilst", covr)))
    data = song.read_bytes()
    at = data.index(b"moov") - 4  # the last box, so that no other one moves
    size = int.from_bytes(data[at : at + 4], "big")
    assert at + size == len(data)
    song.write_bytes(data[:at] + (size + len(added)).to_bytes(4, "big") + data[at + 4 :] + added)
    assert "has no video, only a cover picture" in refusal(song)


# --- sound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "start", "end", "first"),
    [
        ("longer.webm", "libopus", 0, 9, 0),
        ("longer.mkv", "aac", 0, 9, 0),
        ("longer.mp4", "aac", 0, 9, 0),
        ("earlier.mkv", "aac", 0, 9, 5000),
        ("earlier.mp4", "aac", 0, 9, 5000),
        ("plain.mov", "pcm_s16le", 0, 4, 0),
    ],
)
def test_sound_that_lasts_longer_or_begins_earlier_is_no_fault(
    tmp_path: Path, name: str, codec: str, start: float, end: float, first: int
) -> None:
    film = "libvpx" if name.endswith("webm") else "libx264"
    times = range(first, first + 2000, 40)
    tracks = [(film, (32, 64), times, Disposition.default)]
    video = read_video(write_tracks(tmp_path / name, tracks, (codec, start, end)), 8)
    assert numbers(video.frames) == [0, 7, 14, 21, 28, 35, 42, 49]
    assert video.duration == pytest.approx(2.0, abs=2e-3)
    assert video.warning is None


def test_a_film_with_sound_that_is_cut_off_says_so(tmp_path: Path) -> None:
    tracks = [("libx264", (64, 128), range(0, 20000, 40), Disposition.default)]
    path = write_tracks(tmp_path / "a.mkv", tracks, ("aac", 0, 20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "promises 20.0 s" in read_video(path, 8).warning


# --- damage --------------------------------------------------------------------------------------


def test_damage_in_the_middle_leaves_every_other_frame_and_is_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", range(0, 4000, 40), options={"bf": "2"}, picture=textured)
    whole = read_video(path, 200)
    data, places = bytearray(path.read_bytes()), []
    with av.open(str(path)) as file:
        packets = [(p.pos, p.size) for p in file.demux(video=0) if p.size]
    for pos, size in packets[30:50]:
        data[pos : pos + size] = bytes(size)
    path.write_bytes(data)
    with av.open(str(path)) as file:
        for packet in file.demux(video=0):
            try:
                places += [round(frame.time * 25) for frame in packet.decode()]
            except av.FFmpegError:
                continue
    assert 60 < len(places) < 90
    video = read_video(path, 200)
    assert places != sorted(places)  # damage upsets the decoder's order, but not the times
    assert [round(second * 25) for second in video.seconds] == sorted(places)
    assert np.array_equal(video.frames[:25], whole.frames[:25])
    assert np.array_equal(video.frames[-20:], whole.frames[-20:])
    assert video.frame_count == len(places)
    assert f"Only {len(places)} of the 100 frames could be decoded" in video.warning
    first = next(at for at, place in enumerate(sorted(places)) if place != at) / 25
    assert f"{first:.1f} s to " in video.warning and "is missing" in video.warning
    assert video.duration == pytest.approx(4.0)


def test_a_tail_that_is_cut_off_is_told_with_the_headers_count(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", STEADY, muxing={"movflags": "faststart"})
    with av.open(str(whole)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: packets[30].pos])
    video = read_video(cut, 64)
    assert numbers(video.frames) == list(range(30))
    assert "promises 2.0 s and 50 frames, but its frames end at 1.2 s" in video.warning


def test_a_picture_that_turns_midway_is_shown_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuvj420p"
        for index in range(6):
            shape = (32, 64) if index < 3 else (64, 32)
            picture = np.full((*shape, 3), 250, np.uint8)
            packet = av.Packet(cv2.imencode(".jpg", picture)[1].tobytes())
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            file.mux(packet)
    video = read_video(path)
    assert "changes its shape from 64 x 32 to 32 x 64" in video.warning
    assert video.frames.shape == (6, 32, 64, 3)
    assert video.frames[:3].min() > 240
    for frame in video.frames[3:]:  # 16 of 64 columns, in the middle
        assert frame[:, 25:39].min() > 240
        assert frame[:, :23].max() < 10 and frame[:, 41:].max() < 10


# --- what cannot be read, and why ----------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["https://example.org/a.mp4", "http://a/b", "rtsp://cam/1", "file:///etc/passwd"]
)
def test_an_address_is_not_a_file(address: str) -> None:
    assert "is an address; download the video and name the file" in refusal(address)


def test_a_codec_that_is_missing_is_named_as_the_reason(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [0, 40])
    path.write_bytes(path.read_bytes().replace(b"avc1\0", b"zzz9\0"))
    assert "The codec of 'a.mp4' is not one that the installed FFmpeg decodes" in refusal(path)


def test_a_still_webp_is_one_frame(tmp_path: Path) -> None:
    still = tmp_path / "still.webp"
    cv2.imwrite(str(still), numbered(5))
    video = read_video(still)
    assert number(video.frames[0]) == 5 and video.warning is None


def test_sound_with_no_picture_is_called_sound(tmp_path: Path) -> None:
    assert "sound only" in refusal(write_sound(tmp_path / "sound.mp4"))


# --- indexes that take all memory ----------------------------------------------------------------


def bomb(path: Path, entries: int) -> bytes:
    """An mp4 whose index says that it has so many frames of one byte."""
    data = write_clip(path, STEADY).read_bytes()
    at = data.index(b"stsz") + 8
    return data[:at] + (1).to_bytes(4, "big") + entries.to_bytes(4, "big") + data[at + 8 :]


def hidden_in_free(data: bytes) -> bytes:
    at = data.index(b"moov") - 4
    return data[:at] + box(b"free", data[at:])


def packed(data: bytes) -> bytes:
    at = data.index(b"moov") - 4
    body = len(data[at:]).to_bytes(4, "big") + zlib.compress(data[at:])
    return data[:at] + box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", body)))


@pytest.mark.parametrize("entries", [10_000, 30_000_000, 80_000_000, 0xFFFFFFFF])
@pytest.mark.parametrize("wrap", [bytes, hidden_in_free, packed])
def test_an_index_that_the_file_cannot_hold_is_refused_at_once(
    tmp_path: Path, entries: int, wrap: object
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(wrap(bomb(path, entries)))
    began = time.process_time()
    assert f"{entries:,} frames" in refusal(path)
    assert time.process_time() - began < 1


def test_refusing_an_index_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bomb(tmp_path / "a.mp4", 80_000_000))
    code = (
        "import resource, sys\n"
        "from stc_core.answering.video import read_video\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try: read_video(sys.argv[1])\n"
        "except ValueError: print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mp4")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    assert int(done.stdout) < 20_000  # kB on Linux, bytes on a Mac


def test_fragments_are_counted_too(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", STEADY, muxing={"movflags": "frag_keyframe+empty_moov"})
    data = path.read_bytes()
    at = data.index(b"trun") + 8
    path.write_bytes(data[:at] + (30_000_000).to_bytes(4, "big") + data[at + 4 :])
    assert "30,000,0" in refusal(path)


def test_an_honest_index_is_counted_right(tmp_path: Path) -> None:
    film = ("libx264", (32, 64), STEADY, Disposition.default)
    path = write_tracks(tmp_path / "a.mov", [film], ("pcm_s16le", 0, 2))
    with path.open("rb") as stream:  # 96,000 samples of sound, read in chunks
        assert 50 < video_file._Index(stream).entries(0, path.stat().st_size) < 1000
    path = write_clip(tmp_path / "a.mp4", STEADY)
    with path.open("rb") as stream:
        assert video_file._Index(stream).entries(0, path.stat().st_size) == 50


def test_the_bound_holds_for_large_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_file, "MAX_ENTRIES", 49)
    assert "50 frames, which is more than 49" in refusal(write_clip(tmp_path / "a.mp4", STEADY))


def many_boxes(_: Path) -> bytes:
    return box(b"ftyp", b"isom") + box(b"moov", box(b"skip", b"") * 2_000_000)


def many_boxes_outside(_: Path) -> bytes:
    return box(b"ftyp", b"isom") + box(b"skip", b"") * 2_000_000


def long_spread(path: Path) -> bytes:
    """A table of 2,000,000 rows about the chunks of plain sound."""
    sound = box(b"hdlr", bytes(8) + b"soun" + bytes(13))
    kind = box(b"stsd", bytes(8) + box(b"sowt", bytes(28)))
    rows = box(b"stsc", bytes(8) + (b"\0\0\0\1" * 3) * 2_000_000)
    table = box(b"stbl", kind, rows, box(b"stco", bytes(4) + b"\0\0\0\1" + bytes(4)))
    track = box(b"trak", box(b"mdia", sound, box(b"minf", table)))
    return box(b"ftyp", b"isom") + box(b"moov", track)


def packed_often(path: Path) -> bytes:
    """200 headers that unpack to 64 MB each."""
    body = bytes(4) + zlib.compress(bytes((64 << 20) - 100), 9)
    header = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", body))
    return box(b"ftyp", b"isom") + box(b"moov", header * 200)


@pytest.mark.parametrize("make", [many_boxes, many_boxes_outside, long_spread, packed_often])
def test_walking_an_index_is_bounded(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(make(path))
    began = time.process_time()
    assert "longer than that of any recording" in refusal(path)
    assert time.process_time() - began < 6  # 13 s to more than 100 s without the bounds


def test_samples_of_plain_sound_are_counted_by_their_table(tmp_path: Path) -> None:
    rows = [(1, 1000, 1), (3, 24, 1), (11, 0xFFFFFFFF, 1), (11, 512, 1)]
    path = tmp_path / "table"
    path.write_bytes(b"".join(n.to_bytes(4, "big") for row in rows for n in row))
    with path.open("rb") as stream:
        index = video_file._Index(stream)
        assert index._samples(0, 48, 12) == 2 * 1000 + 8 * 24 + 2 * 512
        assert index._samples(0, 0, 12) == 0


def test_an_address_is_one_as_a_path_too() -> None:
    for address in ("https://a.b/c.mp4", Path("https://a.b/c.mp4")):
        assert "is an address" in refusal(address)


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are text there")
def test_the_name_of_a_file_is_text_whatever_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"od\xffd.mp4")
    write_clip(path, STEADY)
    assert read_video(path, 2).name == "od\ufffdd.mp4"
    path.write_bytes(b"nothing")
    assert "'od\ufffdd.mp4'" in refusal(path)
