"""Example clips: what is shipped is what the world draws, and browsers can play it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from stc_core.shapes import TRAIN_SEEDS, make_clip

CLIPS = Path(__file__).resolve().parents[2] / "assets" / "clips"
LISTED = json.loads((CLIPS / "clips.json").read_text())


def read(path: Path) -> np.ndarray:
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        good, frame = video.read()
        if not good:
            return np.stack(frames)
        frames.append(frame[..., ::-1])


def test_there_are_six_small_clips_and_one_is_not_square():
    clips = LISTED["clips"]
    assert len(clips) >= 6 and any(c["height"] != c["width"] for c in clips)
    assert {c["file"] for c in clips} == {p.name for p in CLIPS.glob("*.mp4")}
    for clip in clips:
        assert (CLIPS / clip["file"]).stat().st_size < 300_000
        assert clip["seed"] not in TRAIN_SEEDS and clip["questions"]


@pytest.mark.parametrize("entry", LISTED["clips"], ids=lambda e: e["file"])
def test_a_clip_shows_the_scene_of_its_seed(entry):
    size = (entry["height"], entry["width"])
    clip = make_clip(entry["seed"], LISTED["frames"], size)
    frames = read(CLIPS / entry["file"])
    assert frames.shape == clip.frames.shape
    assert np.abs(frames.astype(int) - clip.frames).mean() < 6  # what H.264 may change
    for told, question in zip(entry["questions"], clip.questions, strict=True):
        assert told["text"] == question.text and told["answer"] == question.answer
        assert told["evidence"] == question.evidence.tolist()


@pytest.mark.parametrize("entry", LISTED["clips"], ids=lambda e: e["file"])
def test_browsers_can_start_before_the_whole_file_is_there(entry):
    content = (CLIPS / entry["file"]).read_bytes()
    assert content[4:8] == b"ftyp" and content.index(b"moov") < content.index(b"mdat")
    assert b"avc1" in content


def test_most_example_questions_are_answered_right_and_failures_are_kept():
    asked = [q for clip in LISTED["clips"] for q in clip["questions"]]
    right = np.mean([q["said"] == q["answer"] for q in asked])
    assert right > 0.75


def test_odd_sides_are_refused(tmp_path):
    from stc_core.shapes.exam.example_clips import write_video

    with pytest.raises(ValueError, match="even"):
        write_video(tmp_path / "x.mp4", np.zeros((2, 33, 32, 3), np.uint8), 4)


def test_a_written_video_can_be_read_back(tmp_path):
    from stc_core.shapes.exam.example_clips import write_video

    frames = make_clip(0, 6, (64, 96)).frames
    write_video(tmp_path / "x.mp4", frames, 4)
    assert np.abs(read(tmp_path / "x.mp4").astype(int) - frames).mean() < 8
