"""Animated WebP, which Pillow decodes: every frame at its time, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from clips import numbered, numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stc_core.answering import webp
from stc_core.answering.video import check_video, read_video
from stc_core.errors import InputError

LENGTHS = [40, 100, 500, 20, 1000, 60, 60, 240]


def animated(lengths: list[int], height: int = 32, width: int = 64) -> bytes:
    """An animated WebP whose frames say which they are, shown for so many milliseconds."""
    pictures = [Image.fromarray(numbered(index, height, width)) for index in range(len(lengths))]
    out = io.BytesIO()
    pictures[0].save(
        out, "WEBP", save_all=True, append_images=pictures[1:], duration=lengths, lossless=True
    )
    return out.getvalue()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a.webp"
    path.write_bytes(animated(LENGTHS))
    return path


def test_every_frame_is_there_at_its_time(clip: Path) -> None:
    check_video(clip)
    video = read_video(clip, 1024)
    assert numbers(video.frames) == list(range(len(LENGTHS)))
    assert np.array_equal(video.frames, [numbered(index) for index in range(len(LENGTHS))])
    assert video.seconds.tolist() == pytest.approx(np.cumsum([0, *LENGTHS[:-1]]) / 1000)
    assert (video.duration, video.frame_count) == (pytest.approx(2.02), 8)
    assert video.source_size == (32, 64) and video.name == "a.webp"
    assert video.warning == webp.NOTE and "Pillow" in video.warning


def test_frames_are_sampled_in_time_and_reduced(clip: Path) -> None:
    shares: list[float] = []
    video = read_video(clip, 3, max_side=32, on_progress=shares.append)
    assert numbers(video.frames) == [0, 4, 7] and video.frames.shape == (3, 16, 32, 3)
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    part = read_video(clip, 8, start=0.7, end=1.7)
    assert numbers(part.frames) == [4, 5] and part.seconds.tolist() == pytest.approx([0.66, 1.66])
    assert read_video(clip, 1, track=0).frame_count == 8


@given(st.lists(st.integers(1, 400), min_size=2, max_size=6))
@settings(max_examples=25, deadline=None)
def test_listed_times_are_those_of_the_decoder(tmp_path_factory, lengths: list[int]) -> None:
    path = tmp_path_factory.mktemp("webp") / "a.webp"
    path.write_bytes(animated(lengths))
    shown = [length if length > 10 else 100 for length in lengths]  # as browsers do
    assert webp.listed(path) == pytest.approx(np.cumsum([0, *shown]) / 1000)
    with Image.open(path) as image:
        assert image.n_frames == len(lengths)


def refusal(path: Path, **options) -> str:
    with pytest.raises(InputError) as raised:
        read_video(path, **options)
    return str(raised.value)


def test_what_cannot_be_used_is_refused(clip: Path) -> None:
    whole = clip.read_bytes()
    assert "has 1 video track; track must be 0, not 1" in refusal(clip, track=1)
    assert "the video ends at 2.0 s" in refusal(clip, start=3.0)
    clip.write_bytes(whole[: len(whole) // 2])
    assert "'a.webp' is damaged" in refusal(clip)
    clip.write_bytes(whole[:32])
    assert "'a.webp' is damaged" in refusal(clip)


def test_a_huge_canvas_is_refused_before_it_is_made(clip: Path) -> None:
    whole = bytearray(clip.read_bytes())
    whole[24:30] = b"\xff\x3f\0" * 2
    clip.write_bytes(whole)
    for look in (check_video, read_video):
        with pytest.raises(InputError, match="16384 x 16384 pixels, more than the 16,777,216"):
            look(clip)
