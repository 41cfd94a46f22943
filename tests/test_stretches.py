"""A stretch of a video, and frames that are in memory."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from stc_core import STC, Conversation, InputError, answer, load
from stc_core.__main__ import cli
from stc_core.answering.video import Video, choose_in, read_video

CLIP = Path(__file__).parent.parent / "assets" / "clips" / "five-on-clouds.mp4"
QUESTION = "what color is the star?"


@pytest.fixture(scope="module")
def vlm():
    return load(device="cpu")


@pytest.fixture(scope="module")
def whole():
    return read_video(CLIP, 1024)


def shown_between(times, start, end):
    """The slow, obvious answer: what is on the screen at some moment of [start, end)."""
    until = [*times[1:], np.inf]
    return [i for i, t in enumerate(times) if t < end and until[i] > start + 1e-3] or [
        max(i for i, t in enumerate(times) if t <= start + 1e-3)
    ]


@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=30),
    st.integers(0, 20_000),
    st.integers(1, 20_000),
    st.integers(1, 12),
)
def test_a_stretch_takes_what_is_shown_in_it(gaps, start, length, count):
    times = np.cumsum([0, *gaps]) / 1000
    start, end = start / 1000, (start + length) / 1000
    picked = choose_in(times, count, (start, end))
    allowed = shown_between(times, start, end)
    assert set(picked) <= set(allowed)
    assert len(picked) == min(count, len(allowed))


def test_a_stretch_of_a_file_is_that_part_of_the_whole(whole):
    part = read_video(CLIP, 4, start=2.0, end=4.0)
    assert len(part.frames) == 4
    assert (part.duration, part.frame_count) == (whole.duration, whole.frame_count)
    assert part.seconds[0] <= 2.0 + 1e-3 and part.seconds[-1] < 4.0
    for frame, time in zip(part.frames, part.seconds, strict=True):
        (index,) = np.flatnonzero(whole.seconds == time)
        assert (frame == whole.frames[index]).all()
    last = read_video(CLIP, 4, start=whole.duration - 0.01)
    assert last.seconds.tolist() == [whole.seconds[-1]]
    everything = read_video(CLIP, 8, start=0, end=10**6)
    assert everything.seconds.tolist() == read_video(CLIP, 8).seconds.tolist()


@pytest.mark.parametrize(
    ("start", "end"),
    [(-1, None), (2, 2), (3, 2), ("0", None), (0, "1"), (float("nan"), None), (0, float("nan"))],
)
def test_a_stretch_that_is_none_is_refused(start, end):
    with pytest.raises(InputError, match="start and end must be seconds with 0 <= start < end"):
        read_video(CLIP, 4, start=start, end=end)


def test_a_stretch_behind_the_end_is_refused(whole):
    with pytest.raises(InputError, match=rf"the video ends at {whole.duration:.1f} s; start"):
        read_video(CLIP, 4, start=whole.duration)


def test_the_answer_is_about_the_stretch_and_a_cache_tells_stretches_apart(vlm):
    method = STC(retention=0.1)
    talk = Conversation(vlm, CLIP, method, frames=4, start=1.0, end=2.0)
    said = talk.ask(QUESTION)
    part = read_video(CLIP, 4, start=1.0, end=2.0)
    expected = answer(vlm, part, QUESTION, method)
    assert said.text == expected.text and said.logprob == expected.logprob
    assert said.trace.seconds.tolist() == part.seconds.tolist()
    other = answer(vlm, CLIP, QUESTION, method, frames=4, start=3.0, end=4.0, cache=talk.cache)
    assert other.trace.seconds[0] == pytest.approx(3.0, abs=0.2)
    with pytest.raises(InputError, match="end belongs to the whole conversation"):
        talk.ask(QUESTION, end=3.0)


def test_few_frames_of_a_stretch_are_noted(vlm):
    said = answer(vlm, CLIP, QUESTION, frames=32, start=1.0, end=1.01)
    assert any("32 frames were asked for, and the stretch has 1" in n for n in said.trace.notes)


def test_the_command_line_takes_a_stretch():
    run = CliRunner().invoke(
        cli, ["answer", str(CLIP), QUESTION, "--start=2", "--end=3", "--frames=4", "--json"]
    )
    assert run.exit_code == 0 and json.loads(run.stdout)["answer"]
    run = CliRunner().invoke(cli, ["answer", str(CLIP), QUESTION, "--start", "900"])
    assert run.exit_code == 2 and "the video ends at" in run.stderr
    assert "Traceback" not in run.stderr


# --- frames in memory ----------------------------------------------------------------------------


def test_frames_in_memory_are_a_video(vlm):
    part = read_video(CLIP, 6)
    made = Video.from_frames(part.frames, part.seconds, duration=part.duration)
    method = STC(retention=0.1)
    found, expected = (answer(vlm, video, QUESTION, method) for video in (made, part))
    assert (found.text, found.logprob) == (expected.text, expected.logprob)
    assert (found.trace.fate == expected.trace.fate).all()
    plain = Video.from_frames(part.frames)
    assert plain.seconds.tolist() == [0, 1, 2, 3, 4, 5] and plain.duration == 6.0
    assert Video.from_frames(part.frames[:1]).duration == 1.0
    late = Video.from_frames(part.frames, part.seconds + 7)
    assert late.seconds.tolist() == part.seconds.tolist()
    with pytest.raises(InputError, match="are for files"):
        answer(vlm, made, QUESTION, start=1.0)


FRAMES = np.zeros((3, 4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "seconds", "words"),
    [
        (FRAMES.astype(np.float32), None, "of uint8"),
        (FRAMES[0], None, "an array"),
        (FRAMES[..., :1], None, "an array"),
        (FRAMES[:0], None, "an array"),
        (np.zeros((4097, 1, 1, 3), np.uint8), None, "from 1 to 4096"),
        (FRAMES, [0, 1], "3 rising numbers"),
        (FRAMES, [0, 2, 1], "3 rising numbers"),
        (FRAMES, ["a", "b", "c"], "3 rising numbers"),
        (FRAMES, [0, 1, float("nan")], "3 rising numbers"),
    ],
)
def test_frames_that_are_none_are_refused(frames, seconds, words):
    with pytest.raises(InputError, match=words):
        Video.from_frames(frames, seconds)
