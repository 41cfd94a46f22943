"""Finished sheets: same trace same bytes, any text, any shape, and in time."""

from __future__ import annotations

import time
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from handmade import big, build, near, pixels

import viz
from stc_core.record.grid import TokenGrid
from viz.pictures import palette
from viz.pictures.words import TEXTS, alt, printable, wrap

NASTY = (
    "<img src=x onerror=alert(1)>", "${1+1}", "{{x}}", "$\\frac", "$x^2$ and $", "他拿起了什么？",
    "a\x00b\x1b[31m\x07", "\u202eright to left", "\ud800 lone", "x" * 5000, "&amp; ]]> <!-- --",
    "\n\n\t", "🙂 \U000e0041", "<|im_start|><video>",
)  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", viz.PICTURES)
def test_same_trace_same_bytes(six_fates, name):
    first, second = viz.render(six_fates, name), viz.render(six_fates, name)
    assert first.png == second.png and first.svg == second.svg


@pytest.mark.parametrize("name", viz.PICTURES)
def test_another_answer_another_picture(six_fates, name):
    other = replace(six_fates, answer="blue")
    assert viz.render(six_fates, name).png != viz.render(other, name).png


@pytest.mark.parametrize("name", viz.PICTURES)
def test_svg_is_well_formed_and_says_whose_it_is(six_fates, name):
    root = ElementTree.fromstring(viz.render(six_fates, name).svg)
    assert root.tag == f"{SVG}svg"
    words = " ".join("".join(node.itertext()) for node in root.iter(f"{SVG}text"))
    for needed in (
        TEXTS[name].title,
        "STC(retention=0.02)",
        "what color is the star?",
        "red",
        "12 video tokens",
    ):
        assert needed in words


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_any_text_is_drawn_as_text(six_fates, text):
    trace = replace(six_fates, question=text, answer=text, method=text, model=text)
    picture = viz.render(trace, "budget")
    assert pixels(picture.png).shape[2] == 3
    root = ElementTree.fromstring(picture.svg)
    assert not list(root.iter(f"{SVG}script"))
    words = "".join("".join(node.itertext()) for node in root.iter(f"{SVG}text"))
    assert printable(text, 20).rstrip("…")[:8].strip() in words


def test_svg_reads_well_elsewhere(six_fates):
    svg = viz.render(six_fates, "outside").svg.decode()
    assert svg.count("image{image-rendering: pixelated}") == 1 and "<image" in svg
    assert "font-family: 'DejaVu Sans'" in svg and "sans-serif" in svg


def test_markup_survives_as_it_was_typed(six_fates):
    svg = viz.render(replace(six_fates, question="$\\frac <b>{{x}}"), "budget").svg
    words = "".join(ElementTree.fromstring(svg).itertext())
    assert "Question: $\\frac <b>{{x}}" in words


@pytest.mark.parametrize("name", viz.PICTURES)
@pytest.mark.parametrize(
    "grid",
    [
        TokenGrid(1, 1, 1),
        TokenGrid(1, 5, 5, 80, 80),
        TokenGrid(40, 2, 2, 90, 160),
        TokenGrid(3, 2, 9, 40, 400),
        TokenGrid(2, 3, 3, 900, 100),
        TokenGrid(2, 6, 6, 360, 640, (-140, 0, 500, 640)),
    ],
    ids=str,
)
def test_every_shape_can_be_drawn(grid, name):
    trace = build(grid, kept=(grid.size // 2,), frames=None)  # no pictures, no scores, no layer K
    for words in (True, False):
        assert len(viz.render(trace, name, 700, words).png) > 1000


def test_letterboxed_tokens_are_counted_in_words():
    grid = TokenGrid(1, 6, 6, 360, 640, (-140, 0, 500, 640))
    svg = viz.render(build(grid, kept=(0, 14)), "outside").svg.decode()
    assert "1 marked tokens lie in the letterbox" in svg


def test_unmeasured_scores_are_said_not_drawn():
    trace = build(TokenGrid(2, 2, 2, 20, 20))
    assert "Not measured in this run" in viz.render(trace, "relevance").svg.decode()
    assert "not measured" in alt(trace, "relevance")


@pytest.mark.parametrize("name", ["outside", "inside", "timeline"])
def test_legend_names_and_counts_what_is_there(six_fates, name):
    svg = "".join(ElementTree.fromstring(viz.render(six_fates, name).svg).itertext())
    fate = six_fates.stages[0].fate if name == "outside" else six_fates.fate
    for code, spec in palette.CODES.items():
        found = int((fate == code).sum())
        assert (f"{spec.label}: {found} (" in svg) == (found > 0)


def test_color_bar_prints_its_range_and_unit():
    score = np.linspace(0.25, 0.75, 8).astype(np.float32)
    svg = viz.render(build(TokenGrid(2, 2, 2, 9, 9), contribution=score), "contribution").svg
    words = "".join(ElementTree.fromstring(svg).itertext())
    assert "range over this video: 0.25 to 0.75" in words and "attention received" in words


def test_budget_bar_is_to_scale():
    grid = TokenGrid(1, 4, 5, 40, 50)
    trace = build(grid, kept=(0, 1, 2, 3), centers={4: tuple(range(5, 20))}, ended={0: 1})
    image = pixels(viz.render(trace, "budget", 1000, words=False).png)
    yellow = near(image, np.array(palette.rgb("#F0E442")) * 255)
    rows = [yellow[round(y * image.shape[1] / 1000)].sum() for y in (8, 80, 152)]
    long = (1000 - 8 - 210) * image.shape[1] / 1000
    np.testing.assert_allclose(rows, [long * 4 / 20, long * 4 / 5, long * 3 / 5], rtol=0.03)


def test_timeline_bars_stand_over_their_seconds():
    grid = TokenGrid(3, 1, 4, 10, 40)
    seconds = np.array([0.0, 1.0, 4.0])  # unevenly sampled
    trace = build(grid, kept=(0, 8, 9, 10), seconds=seconds)
    image = pixels(viz.render(trace, "timeline", 1000, words=False).png)
    yellow = near(image, np.array(palette.rgb("#F0E442")) * 255)
    yellow = yellow[: image.shape[0] // 2]  # the upper chart
    scale = image.shape[1] / 1000
    left, unit = 4 + 56, (992 - 56) / 5  # from -0.5 to 4.5 seconds
    high = [int(yellow[:, round((left + (t + 0.5) * unit) * scale)].sum()) for t in seconds]
    # the dark line around each bar takes about ten pixels of every one
    assert high[1] == 0 and high[2] == pytest.approx(3 * high[0] + 20, rel=0.05) and high[0] > 20


def test_alt_text_has_the_numbers(six_fates):
    assert "highest at 1.50 s in row 2, column 3" in alt(six_fates, "contribution")
    assert "5 tokens have a value" in alt(six_fates, "relevance")
    assert "the one at 0.00 s has the most tokens in the LLM, 4" in alt(six_fates, "timeline")
    for name in viz.PICTURES:
        assert len(alt(six_fates, name)) > 30


def test_printable_and_wrap():
    assert printable("a\x00b\n c\u202e") == "ab c"
    assert printable("x" * 50, 10) == "x" * 9 + "…"
    lines = wrap("word " * 100, 200, 12)
    assert len(lines) > 5 and all(len(line) < 40 for line in lines)


@pytest.mark.parametrize(("rows", "limit"), [(5, 4.0), (14, 8.0)])
def test_all_pictures_of_32_frames_in_time(rows, limit):
    trace = big(rows, rows)
    viz.render(trace, "budget")  # fonts are looked up once a process
    start = time.process_time()  # the machine may be busy with other work
    for name in viz.PICTURES:
        assert viz.render(trace, name, 900, words=False).png
    assert time.process_time() - start < limit


def test_threads_do_not_meet(six_fates):
    from concurrent.futures import ThreadPoolExecutor

    alone = {name: viz.render(six_fates, name).svg for name in viz.PICTURES}
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            (name, pool.submit(lambda n: viz.render(six_fates, n).svg, name))
            for name in [*viz.PICTURES] * 2
        ]
        assert all(job.result() == alone[name] for name, job in jobs)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_clip_as_narrow_as_a_thread_is_drawn_small(size):
    trace = build(TokenGrid(8, 2, 2, *size), kept=(0, 5), frames=None)
    for name in viz.PICTURES:
        assert pixels(viz.render(trace, name, 600).png).shape[0] < 6000
