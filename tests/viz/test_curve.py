"""The figure and the film of a sweep."""

from __future__ import annotations

import html
import math
from dataclasses import replace

import av
import numpy as np
import pytest
from handmade import build, pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sweep import made_sweep
from PIL import Image

from stc_core import InputError, TokenGrid
from viz.pictures import curve, sweep_film
from viz.pictures.sweep_words import value_words

GRID = TokenGrid(6, 4, 5, 160, 200)


def test_the_figure_says_what_turns_where_and_who_is_who():
    sweep = made_sweep(GRID)
    picture = curve.render(sweep)
    assert picture.png[:4] == b"\x89PNG" and pixels(picture.png).shape[1] == 1600
    svg = picture.svg.decode()
    label = "red · right, uncompressed, the run"
    for words in ("Question: what color?", "turns", "the run", label, "blue", "100 %", "1 %",
                  "probability of the answer", "retention ratio"):  # fmt: skip
        assert words in html.unescape(svg), words
    assert picture.alt == (
        "Probability of each answer over the retention ratio, 4 stops from 1 % to 100 %: between "
        "5 % and 20 % it turns from 'blue' to 'red'."
    )
    assert curve.render(sweep).svg == picture.svg


def test_a_sweep_without_a_turn_says_so_and_markup_stays_text():
    nasty = "<b onload=alert(1)> $x^2$ \u202e"
    sweep = made_sweep(GRID, dict.fromkeys((0.01, 0.2), nasty), {nasty: (0.4, 0.5)},
                       question=nasty, baseline={}, expected=None)  # fmt: skip
    picture = curve.render(sweep)
    assert "the answer is the same at all of them" in picture.alt
    svg = picture.svg.decode()
    assert "<b onload" not in svg and "\u202e" not in svg and "&lt;b onload" in svg
    assert "never turns" in svg


def test_a_sweep_of_one_stop_is_drawn():
    sweep = made_sweep(GRID, {0.2: "red"}, {"red": (0.5,)})
    assert curve.render(sweep).png and curve.place_of(sweep, 0.2) == 0.5


@pytest.mark.parametrize(("over", "planned", "value", "place"), [
    ("retention", (0.01, 1.0), 1.0, 0.0), ("retention", (0.01, 1.0), 0.1, 0.5),
    ("retention", (0.01, 1.0), 0.01, 1.0), ("layer", (0, 8), 2, 0.25),
    ("tau", (-1.0, 1.0), 0.0, 0.5),
])  # fmt: skip
def test_ratios_lie_by_their_logarithm_others_evenly(over, planned, value, place):
    sweep = replace(made_sweep(GRID), over=over, planned=planned, stops=())
    assert curve.place_of(sweep, value) == pytest.approx(place)


@pytest.mark.parametrize(("over", "value", "words"), [
    ("retention", 1.0, "100 %"), ("retention", 0.005, "0.5 %"), ("retention", 0.0346, "3.46 %"),
    ("tau", 0.7, "tau 0.7"), ("layer", 5, "layer 5"),
])  # fmt: skip
def test_a_value_in_words(over, value, words):
    assert value_words(over, value) == words


def test_unlikely_answers_that_nobody_asked_for_get_no_curve():
    chances = {
        "red": (0.01,) * 4,
        "blue": (0.7, 0.6, 0.1, 0.05),
        "dim": (0.01, 0.019, 0.0001, 0.01),
    }
    chances |= {f"other {k}": (0.5 - k / 100,) * 4 for k in range(8)}
    said = {0.01: "blue", 0.05: "dim", 0.2: "other 0", 1.0: "other 1"}
    sweep = made_sweep(GRID, said, chances)
    drawn = curve.drawn_answers(sweep)
    assert drawn == ["red", "other 0", "blue", "other 1"]
    many = {value / 100: f"other {value % 8}" for value in range(1, 9)}
    sweep = made_sweep(GRID, many, {f"other {k}": (0.5 - k / 100,) * 8 for k in range(8)})
    assert len(curve.drawn_answers(sweep)) == 6


@settings(max_examples=200, deadline=None)
@given(wanted=st.lists(st.floats(0, 300), max_size=12))
def test_labels_stay_apart_and_in_order(wanted):
    placed = curve.spread(wanted, 0, 300)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    heights = [placed[number] for number in order]
    assert all(
        low + curve.APART <= high + 1e-6 for low, high in zip(heights, heights[1:], strict=False)
    )
    assert all(-1e-6 <= height <= 300 + 1e-6 for height in heights)


@settings(max_examples=100, deadline=None)
@given(
    line=st.lists(st.tuples(st.floats(0, 500), st.floats(0, 300)), min_size=2, max_size=8),
    pattern=st.sampled_from(curve.DASHES),
)
def test_dashes_cover_the_share_of_the_line_that_their_pattern_says(line, pattern):
    pieces = curve._dashed(line, pattern)
    inked = float(np.linalg.norm(pieces[:, 1] - pieces[:, 0], axis=1).sum())
    whole = sum(math.dist(one, other) for one, other in zip(line, line[1:], strict=False))
    if not pattern:
        assert inked == pytest.approx(whole)
        return
    period, ink = sum(pattern), sum(pattern[::2])
    assert inked <= whole + 1e-6
    assert abs(inked - whole * ink / period) <= period


# --- the film ------------------------------------------------------------------------------------


def trace_of_clip():
    return build(GRID, kept=(3, 60), seconds=np.arange(6) * 0.5)


def test_the_film_shows_each_stop_from_the_most_tokens_to_the_fewest(tmp_path):
    sweep, trace = made_sweep(GRID), trace_of_clip()
    for name in ("film.gif", "film.mp4"):
        shares = list(sweep_film.steps(sweep, trace, tmp_path / name))
        assert shares == sorted(shares) and shares[-1] == 1.0
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == 4 and gif.info["duration"] == 700 and gif.info["loop"] == 0
        assert gif.width % 2 == gif.height % 2 == 0
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].codec_context.name == "h264"
    assert len(frames) == 6  # the last one stays
    top = sweep_film.HEAD
    light = [frame[top:].astype(float).mean() for frame in frames[:4]]
    assert light[0] > light[-1]  # tokens fade
    assert sorted(each.name for each in tmp_path.iterdir()) == ["film.gif", "film.mp4"]


def test_a_stop_is_drawn_as_a_trace_with_its_own_method():
    sweep, trace = made_sweep(GRID), trace_of_clip()
    stop = sweep.stop(0.05)
    shown = sweep_film.trace_of(sweep, stop, trace)
    assert np.array_equal(shown.fate, stop.fate) and shown.answer == "blue"
    assert shown.method == "STC(retention=0.05, tau=0.7)" and shown.baseline == {"answer": "red"}


@pytest.mark.parametrize(("name", "change", "sentence"), [
    ("film.avi", {}, "is neither"),
    ("film.gif", {"stops": ()}, "has no stop yet"),
    ("film.gif", {"grid": TokenGrid(6, 4, 5, 160, 201)}, "another clip"),
])  # fmt: skip
def test_what_cannot_be_filmed_is_said(tmp_path, name, change, sentence):
    with pytest.raises(InputError, match=sentence):
        list(
            sweep_film.steps(replace(made_sweep(GRID), **change), trace_of_clip(), tmp_path / name)
        )
    with pytest.raises(InputError, match="frame must be 0 to 5"):
        list(sweep_film.steps(made_sweep(GRID), trace_of_clip(), tmp_path / "film.gif", frame=6))
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_nobody_waits_for_leaves_nothing(tmp_path):
    steps = sweep_film.steps(made_sweep(GRID), trace_of_clip(), tmp_path / "film.mp4")
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []
