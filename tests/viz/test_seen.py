"""The clip as the LLM has it, against a slow reference that goes from pixel to pixel."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from handmade import build, near, pixels
from hypothesis import given, settings
from hypothesis import strategies as st

import viz
from stc_core import Fate, InputError, Stage, Trace
from stc_core.record.grid import TokenGrid
from viz.pictures import fates, heatmap, overlay, palette
from viz.pictures.seen import seen
from viz.pictures.strip import Strip

SEEN = (None, (0, 5, 40, 45), (-10, 0, 50, 60), (0, 0, 40, 60), (12.5, 3.25, 31.0, 70.0))


def slow(trace: Trace, frames: np.ndarray, stage: str, fill: str) -> np.ndarray:
    grid, (tall, wide) = trace.grid, frames.shape[1:3]
    target = fates.outside(trace)[1] if stage == "outside" else trace.target

    def span(low, high, whole, count, place, size) -> tuple[int, int]:
        def at(k) -> int:
            share = (low + k * (high - low) / count) / whole
            return floor(min(max(share, 0), 1) * size + 0.5)

        return at(place), at(place + 1)

    def cell(token) -> tuple[int, int, int, int, int]:
        frame, row, col = grid.locate(token)
        top, left, bottom, right = grid.seen
        return (frame, *span(top, bottom, grid.height, grid.rows, row, tall),
                *span(left, right, grid.width, grid.cols, col, wide))  # fmt: skip

    def crop(token, h, w) -> np.ndarray | None:
        """The token's cell in another size: the pixel under the middle of each."""
        frame, y0, y1, x0, x1 = cell(token)
        if y0 == y1 or x0 == x1:
            return None
        made = np.zeros((h, w, 3), np.uint8)
        for y in range(h):
            for x in range(w):
                made[y, x] = frames[frame, y0 + floor(Fraction(2 * y + 1, 2 * h) * (y1 - y0)),
                                    x0 + floor(Fraction(2 * x + 1, 2 * w) * (x1 - x0))]  # fmt: skip
        return made

    out = np.zeros_like(frames)
    for place in np.ndindex(*frames.shape[:3]):
        red, green, blue = (int(value) for value in frames[place])
        light = (77 * red + 150 * green + 29 * blue) // 256
        out[place] = floor(0.35 * light + 0.65 * 150 + 0.5)
    cells = [cell(token) for token in range(grid.size)]
    most = (max(c[2] - c[1] for c in cells), max(c[4] - c[3] for c in cells))
    for token in range(grid.size):
        carrier = int(target[token])
        frame, y0, y1, x0, x1 = cells[token]
        if carrier < 0 or y0 == y1 or x0 == x1:
            continue
        if fill == "carrier":
            picture = crop(carrier, y1 - y0, x1 - x0)
        else:
            crops = [crop(int(member), *most) for member in np.flatnonzero(target == carrier)]
            crops = [one.astype(int) for one in crops if one is not None]
            mean = np.floor(sum(crops) / len(crops) + 0.5).astype(np.uint8)
            picture = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
            for y in range(y1 - y0):
                for x in range(x1 - x0):
                    down = floor(Fraction(2 * y + 1, 2 * (y1 - y0)) * most[0])
                    across = floor(Fraction(2 * x + 1, 2 * (x1 - x0)) * most[1])
                    picture[y, x] = mean[down, across]
        out[frame, y0:y1, x0:x1] = palette.BLANK if picture is None else picture
    return out


@st.composite
def cases(draw):
    """A trace of any fates on any grid, crop and letterbox included, with noisy frames."""
    rows, cols, frames = (draw(st.integers(1, 4)) for _ in range(3))
    grid = TokenGrid(frames, rows, cols, 40, 60, draw(st.sampled_from(SEEN)))
    n = grid.size
    homes = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4, unique=True))
    rest = [token for token in range(n) if token not in homes]
    goals = {token: draw(st.sampled_from([*homes, -1])) for token in rest}
    centers = {home: tuple(t for t in rest if goals[t] == home) for home in homes}
    kept = [home for home in homes if not centers[home]]
    ended = {}
    if len(homes) > 1:
        ended = {homes[0]: draw(st.sampled_from([-1, homes[1]]))}
    tall, wide = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    noise = rng.integers(0, 256, (frames, tall, wide, 3), np.uint8)
    made = {home: group for home, group in centers.items() if group}
    return build(grid, kept=kept, centers=made, ended=ended, frames=None), noise


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(["outside", "end"]), st.sampled_from(["carrier", "mean"]))
def test_as_the_slow_reference(case, stage, fill):
    trace, frames = case
    before = frames.copy()
    expected = slow(trace, frames, stage, fill)
    np.testing.assert_array_equal(seen(trace, frames, stage, fill), expected)
    np.testing.assert_array_equal(frames, before)


def test_own_pixels_carriers_pixels_and_gray(six_fates):
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (2, 40, 60, 3), np.uint8)
    door, end = (seen(six_fates, frames, stage) for stage in ("outside", "end"))

    def cell(video, token):
        frame, row, col = six_fates.grid.locate(token)
        return video[frame, 20 * row : 20 * row + 20, 20 * col : 20 * col + 20]

    for token, carrier in {0: 0, 1: 1, 2: 2, 3: 2, 4: 2, 7: 2, 6: 6}.items():
        np.testing.assert_array_equal(cell(door, token), cell(frames, carrier))
    np.testing.assert_array_equal(cell(end, 1), cell(frames, 0))  # merged inside the LLM
    for video, token in ((door, 8), (end, 8), (end, 6)):  # dropped before and inside the LLM
        gray = cell(video, token)
        assert (gray[..., 0] == gray[..., 1]).all() and (gray[..., 1] == gray[..., 2]).all()
        assert gray.min() >= 97 and gray.max() <= 187
        light = cell(frames, token).astype(float) @ (0.299, 0.587, 0.114)
        assert np.corrcoef(light.ravel(), gray[..., 0].ravel())[0, 1] > 0.99  # still to be made out
    mean = cell(seen(six_fates, frames, "outside", "mean"), 2).astype(int)
    members = np.mean([cell(frames, token) for token in (2, 3, 4, 7)], axis=0)
    assert np.abs(mean - members).max() <= 0.5


def test_dark_footage_does_not_disappear():
    """Nearly all merged, as in real runs: the fates' overlay halves the light, this keeps it."""
    grid = TokenGrid(4, 4, 4, 64, 64)
    trace = build(grid, kept=(5,), centers={0: tuple(t for t in range(1, 64) if t != 5)}, frames=30)
    assert seen(trace).mean() == pytest.approx(30)


def test_without_a_stage_outside_everything_is_there():
    target, fate = np.array([0, 0, 2, -1]), np.array([0, 4, 0, 5], np.uint8)
    frames = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), np.uint8)
    stages = (Stage("inside", 2, target, fate),)
    trace = Trace.from_stages(TokenGrid(1, 2, 2, 20, 20), stages, frames=frames, method="m")
    np.testing.assert_array_equal(seen(trace, stage="outside"), frames)
    assert not np.array_equal(seen(trace), frames)


@pytest.mark.parametrize(
    ("frames", "given_", "words"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), {"stage": "raw"}, "stage must be one of outside, end"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"fill": "gray"}, "fill must be one of carrier, mean"),
        (None, {}, "holds no frames; give those of its clip"),
        (np.zeros((3, 8, 8, 3), np.uint8), {}, r"\(2, height, width, 3\), not \(3, 8, 8, 3\)"),
        (np.zeros((2, 8, 8, 4), np.uint8), {}, r"not \(2, 8, 8, 4\)"),
        (np.zeros((2, 8, 8, 3)), {}, "must be uint8"),
        (np.zeros((2, 0, 8, 3), np.uint8), {}, r"not uint8 of \(2, 0, 8, 3\)"),
    ],
)
def test_bad_input_is_one_sentence(six_fates, frames, given_, words):
    with pytest.raises(InputError, match=words) as caught:
        seen(replace(six_fates, frames=None), frames, **given_)
    assert "\n" not in str(caught.value)


def test_the_sheet_shows_the_carriers():
    """Two frames, all of it merged into one red cell: the whole strip is red."""
    grid = TokenGrid(2, 2, 2, 40, 40)
    frames = np.full((2, 40, 40, 3), 20, np.uint8)
    frames[1, 20:, 20:] = (200, 30, 30)
    trace = replace(build(grid, kept=(), centers={7: tuple(range(7))}), frames=frames)
    shown = pixels(viz.render(trace, "seen", words=False).png)
    strip = Strip.fit(grid, 4, 0, 1192)
    red = near(shown, (200, 30, 30), 3).sum() / (2 * 1.6**2 * strip.wide * strip.tall)
    assert 0.85 < red <= 1
    plain = pixels(viz.render(trace, "outside", words=False).png)
    assert near(plain, (200, 30, 30), 3).sum() < 0.3 * near(shown, (200, 30, 30), 3).sum()


def test_frames_have_the_colors_of_the_fates(six_fates):
    from viz.pictures.canvas import Canvas, to_png

    strip = Strip.fit(six_fates.grid, 0, 0, 600)
    canvas = Canvas(600, int(strip.height) + 2)
    heatmap.survivors(canvas, strip, six_fates, "end")
    image = pixels(to_png(canvas.figure, 1.0))
    for fate in Fate:
        color = [round(255 * part) for part in palette.rgb(palette.CODES[fate].color)]
        for token in np.flatnonzero(six_fates.fate == fate):
            x0, y0, x1, y1 = strip.boxes(np.array([token]))[0].astype(int)
            edge = image[y0 : y0 + 3, x0:x1]
            inner = image[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]
            assert not near(inner, color, 20).any()
            if fate in (Fate.KEPT, Fate.CENTER, Fate.MERGED_INSIDE, Fate.DROPPED_INSIDE):
                assert near(edge, color, 60).any(), fate


def test_the_video_shows_it(tmp_path):
    """Read back: the middle of a merged cell has its carrier's color, not its own."""
    import cv2

    grid = TokenGrid(2, 2, 2, 40, 40)
    frames = np.full((2, 40, 40, 3), 20, np.uint8)
    frames[1, 20:, 20:] = (200, 30, 30)
    trace = build(grid, kept=(), centers={7: tuple(range(7))}, seconds=np.array([0.0, 1.0]))
    trace = replace(trace, frames=frames)
    means = {}
    for picture in overlay.PICTURES:
        path = overlay.write(trace, tmp_path / f"{picture}.webm", "outside", picture)
        more, first = cv2.VideoCapture(str(path)).read()
        assert more
        means[picture] = first[250:270, 230:250].reshape(-1, 3).mean(axis=0)
    blue, green, red = means["seen"]
    assert red > 150 and max(blue, green) < 80
    assert max(means["fates"]) < 80
    with pytest.raises(InputError, match="picture must be one of fates, seen"):
        overlay.write(trace, tmp_path / "o.webm", "end", "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fates.webm", "seen.webm"]
