"""The overlay video: what it shows, how long it is, and that a browser plays it."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from browser import PATIENCE, chromium  # noqa: F401
from handmade import build

from stc_core import Fate, InputError
from stc_core.record.grid import TokenGrid
from viz.pictures import overlay

TIMES = np.array([1.0, 1.5, 3.0])  # not from zero, not evenly


@pytest.fixture(scope="module")
def trace():
    """Token 4 kept in the middle of frame 1, which comes half a second after the start."""
    grid = TokenGrid(3, 3, 3, 90, 120)
    return build(grid, kept=(13,), ended=None, seconds=TIMES, question="<b>what?</b>")


@pytest.fixture(scope="module")
def video(trace, tmp_path_factory):
    return overlay.write(trace, tmp_path_factory.mktemp("video") / "overlay.webm", "outside")


def yellow(picture: np.ndarray) -> int:
    """Pixels of (h, w, 3) BGR in the color of kept tokens, as near as a lossy codec leaves it."""
    blue, green, red = picture.astype(int).transpose(2, 0, 1)
    return int(((red > 180) & (green > 170) & (blue < 140)).sum())


def test_frames_come_at_their_times_with_their_marks(video, trace):
    reader = cv2.VideoCapture(str(video))
    rate = reader.get(cv2.CAP_PROP_FPS)
    shown = []
    while True:
        more, picture = reader.read()
        if not more:
            break
        shown.append(yellow(picture))
    assert len(shown) == round(3.5 * rate)  # the last frame lasts as long as the one before
    legend = min(shown)  # holds the color in every frame
    marked = [count > legend + 200 for count in shown]
    wanted = [0.5 <= number / rate < 2 for number in range(len(shown))]
    assert marked == wanted


def test_chromium_plays_it(video, chromium, tmp_path):  # noqa: F811
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    (video.parent / "play.html").write_text(
        '<!doctype html><video src="overlay.webm" muted preload="auto"></video>'
    )
    page.goto((video.parent / "play.html").as_uri())
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    assert page.evaluate("document.querySelector('video').duration") == pytest.approx(3.5, abs=0.13)
    page.evaluate("document.querySelector('video').play()")
    page.wait_for_function("document.querySelector('video').currentTime > 0.2")
    page.close()


def test_what_is_missing_is_drawn_all_the_same(tmp_path):
    bare = build(TokenGrid(1, 2, 2, 20, 20), frames=None, seconds=np.array([7.0]))
    shares = list(overlay.steps(bare, tmp_path / "bare.webm"))
    assert shares[-1] == 1 and shares == sorted(shares)
    assert (tmp_path / "bare.webm").stat().st_size > 500


def test_stopping_leaves_nothing(trace, tmp_path):
    making = overlay.steps(trace, tmp_path / "half.webm")
    next(making)
    making.close()
    assert list(tmp_path.iterdir()) == []


def test_a_long_clip_has_fewer_frames_a_second(trace, tmp_path, monkeypatch):
    monkeypatch.setattr(overlay, "MOST", 14)
    path = overlay.write(replace(trace, seconds=TIMES * 8), tmp_path / "long.webm")
    reader = cv2.VideoCapture(str(path))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 14
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("change", "name", "stage", "words"),
    [
        ({}, "o.mp4", "end", "WebM"),
        ({}, "o.webm", "middle", "stage"),
        ({}, "none/o.webm", "end", "does not exist"),
        ({"seconds": np.array([0.0, 1.0, 1.0])}, "o.webm", "end", "rising times"),
        ({"seconds": np.array([0.0, 1.0, 1e6])}, "o.webm", "end", "hours"),
    ],
)
def test_bad_input_is_one_sentence(trace, tmp_path, change, name, stage, words):
    started = time.perf_counter()
    with pytest.raises(InputError, match=words) as caught:
        overlay.write(replace(trace, **change), tmp_path / name, stage)
    assert "\n" not in str(caught.value) and time.perf_counter() - started < 30
    assert list(tmp_path.iterdir()) == []


def test_both_stages_differ(six_fates):
    early, late = (overlay._Sheet(six_fates, stage) for stage in ("outside", "end"))
    assert early.fate[1] == Fate.KEPT and late.fate[1] == Fate.MERGED_INSIDE
    assert not np.array_equal(early.draw(0), late.draw(0))
