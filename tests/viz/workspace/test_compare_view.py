"""The comparison in the browser: three handmade runs of one clip, no server."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from handmade import build
from helpers.pace import pace
from playwright.sync_api import expect

from stc_core import Fate, Trace
from stc_core.record.grid import TokenGrid
from viz.examples import Known
from viz.workspace.bundle import pack

GRID = TokenGrid(8, 7, 7, 112, 112)
NASTY = "<img src=x onerror=alert(1)> ${1+1} {{x}}"
ALIVE = (Fate.KEPT, Fate.CENTER)


def run(seed: int, kept: int, grid: TokenGrid = GRID, **fields) -> Trace:
    """Tokens by lot, some of them dropped inside the LLM."""
    rng = np.random.default_rng(seed)
    chosen = [int(token) for token in rng.permutation(grid.size)[:kept]]
    ended = {token: -1 for token in chosen[: kept // 3]}
    return build(
        grid,
        kept=chosen,
        ended=ended,
        seconds=np.arange(grid.frames) * 0.5,
        baseline={"answer": "a red star", "logprob": -0.25, "costs": {}},
        **fields,
    )


def three() -> list[Trace]:
    return [
        run(1, 30, answer="a red star", logprob=-0.5, method="STC(retention=0.08)"),
        run(
            2,
            40,
            answer="a blue star",
            logprob=-1.5,
            scores={"a red star": -3.25},
            method="Uniform(retention=0.1)",
        ),
        run(3, 12, answer=NASTY, logprob=-2.0, method="Random(retention=0.03)"),
    ]


def alive(trace: Trace, late: bool) -> np.ndarray:
    return np.isin(trace.fate if late else trace.stage("outside").fate, ALIVE)


def compare(bench, traces: list[Trace], specs=("uniform@0.1", "random@0.03"), about=None, **how):
    """A bench on which the first trace is shown and the others are compared with it."""
    opened = bench(traces[0], about, **how)
    page = opened.page
    given = []
    for trace, spec in zip(traces[1:], specs, strict=False):
        data = pack(trace, about)
        page.route(f"**/{spec}.bin", lambda route, _, data=data: route.fulfill(body=data))
        given.append({"spec": spec, "bundle": f"{spec}.bin"})
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.evaluate("given => workspace.views.compare.welcome(given)", given)
    opened.wait(f"v.drawn.compared === {len(traces)}")
    return opened


def test_marks_and_counts_are_those_of_the_traces(bench):
    traces = three()
    made = compare(bench, traces)
    for stage, late in (("end", True), ("refilled", False)):
        made.set(stage=stage)
        for pair, (x, y) in {"AB": (0, 1), "AC": (0, 2), "BC": (1, 2)}.items():
            made.set(pair=pair)
            one, other = alive(traces[x], late), alive(traces[y], late)
            both = int((one & other).sum())
            only = [int((one & ~other).sum()), int((other & ~one).sum())]
            assert made.state["drawn"]["pair"] == [0, *only, both]
            legend = made.page.locator(".ws-pair-legend").inner_text()
            neither = int((~one & ~other).sum())
            assert re.findall(r"\d+", legend) == [str(n) for n in (*only, both, neither)]
            jaccard = both / (both + sum(only))
            assert f"Jaccard {jaccard:.3f}" in made.page.locator(".ws-compare-view").inner_text()
    assert made.state["drawn"]["curves"] == 3


def test_the_selection_stays_and_is_shared(bench):
    traces = three()
    made = compare(bench, traces[:2])
    made.page.evaluate("workspace.lock(100); workspace.lock(57, true)")
    made.page.evaluate("workspace.views.compare.restore('')")
    made.wait("v.locked.length === 2")
    made.page.evaluate("workspace.state.set({ compare: ['uniform@0.1'] })")
    made.wait("v.drawn.compared === 2 && v.locked.length === 2 && v.frame === 1")
    x, y = made.page.evaluate(
        """() => {
          const { strip } = workspace.views.compare;
          strip.layers.top.canvas.scrollIntoView({ block: 'center' });
          const box = strip.layers.top.canvas.getBoundingClientRect();
          const cell = strip.placeOf(203);
          return [box.left + cell.x + cell.w / 2, box.top + cell.y + cell.h / 2];
        }"""
    )
    made.page.mouse.move(x, y)
    made.wait("v.hover === 203")
    stories = made.page.locator(".ws-story")
    assert stories.count() == 2
    for story, trace in zip(stories.all(), traces, strict=False):
        words = "Enters the LLM as itself" if alive(trace, False)[203] else "Dropped before the LLM"
        assert words in story.inner_text()
    made.page.mouse.click(x, y)
    made.wait("v.locked.length === 1 && v.locked[0] === 203 && v.frame === 4")
    made.page.keyboard.press("ArrowRight")
    made.wait("v.locked[0] === 204")


def test_answers_stand_against_the_uncompressed_run(bench):
    evidence = np.argwhere(np.arange(GRID.size).reshape(8, 7, 7) % 5 == 0)
    about = Known("?", "a red star", GRID.frames, evidence)
    traces = three()
    made = compare(bench, traces, about=about)
    rows = made.page.locator(".ws-compared tbody tr").all()
    cells = [[cell.inner_text() for cell in row.locator("th, td").all()] for row in rows]
    assert [row[0].split()[-1] for row in cells] == ["Uncompressed", "STC", "Uniform", "Random"]
    assert [row[1] for row in cells] == [
        "a red star right",
        "a red star right",
        "a blue star wrong",
        f"{NASTY} wrong",
    ]
    assert [row[2] for row in cells] == ["−0.25", "−0.50", "−1.50", "−2.00"]
    # A said the same words, B was asked about them, C was not
    assert [row[3] for row in cells] == ["−0.25", "−0.50 (−0.25)", "−3.25 (−3.00)", "–"]
    tokens = GRID.indices(evidence)
    for row, trace in zip(cells[1:], traces, strict=True):
        counts = [int(alive(trace, late).sum()) for late in (False, True)]
        assert row[4] == f"{counts[0]}, {counts[1]}"
        kept = [int(alive(trace, late)[tokens].sum()) for late in (False, True)]
        assert row[5] == f"{kept[0]}, {kept[1]} of {len(tokens)} cells"
    marked = [row.locator("mark").all_inner_texts() for row in rows]
    assert marked[:3] == [[], [], ["blue"]] and len(marked[3]) > 3
    assert made.page.locator(".ws-compared img").count() == 0


def test_the_table_says_what_the_pictures_show(bench):
    traces = three()
    made = compare(bench, traces[:2])
    made.page.locator(".ws-compare-view > details > summary").click()
    rows = made.page.locator(".ws-compare-view > details tbody tr")
    expect(rows).to_have_count(GRID.frames)
    one, other = (alive(trace, True).reshape(GRID.frames, -1) for trace in traces[:2])
    for frame, row in enumerate(rows.all()):
        numbers = [cell.inner_text() for cell in row.locator("th, td").all()]
        assert numbers == [
            str(frame),
            f"{frame * 0.5:.2f} s",
            str(one[frame].sum()),
            str(other[frame].sum()),
            str((one & ~other)[frame].sum()),
            str((other & ~one)[frame].sum()),
            str((one & other)[frame].sum()),
            str((~one & ~other)[frame].sum()),
        ]


def test_runs_go_away_one_by_one(bench):
    made = compare(bench, three())
    assert made.page.evaluate("workspace.views.compare.shared") == "uniform@0.1;random@0.03"
    made.page.get_by_role("button", name="Remove B, Uniform").click()
    made.wait("v.drawn.compared === 2")
    assert made.page.evaluate("workspace.views.compare.shared") == "random@0.03"
    expect(made.page.locator(".ws-compared")).not_to_contain_text("Uniform")
    made.page.get_by_role("button", name="Remove B, Random").click()
    made.page.locator(".ws-compared").wait_for(state="hidden")


def test_without_a_clip_the_reason_is_said(bench):
    made = bench(three()[0])
    made.page.get_by_role("tab", name="Compare", exact=True).click()
    assert "clip of this trace is not known" in made.page.locator(".ws-compare-status").inner_text()
    for name in ("Add", "Uniform", "Random", "Frames", "Downsample"):
        assert made.page.get_by_role("button", name=name, exact=True).is_disabled()
    made.page.evaluate("workspace.views.compare.restore('uniform@0.02;nothing@1;<b>')")
    made.page.wait_for_function("workspace.views.compare.shared === ''")


def test_a_run_of_other_tokens_is_refused_in_a_sentence(bench):
    made = bench(three()[0])
    other = pack(run(4, 10, TokenGrid(4, 7, 7, 112, 112)))
    made.page.route("**/b.bin", lambda route: route.fulfill(body=other))
    made.page.get_by_role("tab", name="Compare", exact=True).click()
    made.page.evaluate("workspace.views.compare.welcome([{ spec: 'stc@0.1', bundle: 'b.bin' }])")
    made.page.locator(".ws-compare-status", has_text="has other tokens").wait_for()


def test_all_methods_are_there_to_choose(bench):
    from stc_core import METHODS

    made = bench(three()[0])
    options = made.page.locator(".ws-compare-view select option")
    names = [option.get_attribute("value") for option in options.all()]
    labels = [option.inner_text() for option in options.all()]
    assert names == list(METHODS)
    assert labels == [kind.__name__ for kind in METHODS.values()]


DIFFERENT = [
    ("a red star", "a red star", []),
    ("a red star", "a blue star", ["red"]),
    ("Red.", "red", []),
    ("the star is red", "red", ["the", "star", "is"]),
    ("x a b", "a x b", ["a"]),
    ("a b a", "b", ["a", "a"]),
    ("", "red", []),
    ("red", "", ["red"]),
]


def test_ratios_and_words(bench):
    from stc_core.methods.base import paper_budget

    made = bench(three()[0])
    for grid in (TokenGrid(32, 7, 7, 112, 112), TokenGrid(32, 14, 14, 360, 640)):
        for entered in (1, 31, 128, 784, grid.size):
            entered = -(-entered // 32) * 32 if grid.per_frame > 99 else entered  # whole per frame
            ratio = made.page.evaluate("([n, all]) => ratioOf(n, all)", [entered, grid.size])
            assert paper_budget(ratio, grid) == entered and len(str(ratio)) <= 8
    for text, other, marked in DIFFERENT:
        words = made.page.evaluate("([a, b]) => differing(a, b)", [text, other])
        assert [word for word, differs in words if differs] == marked
        assert [word for word, _ in words] == text.split()


def test_hover_is_quick_with_three_large_runs(bench):
    grid = TokenGrid(128, 14, 14, 360, 640)
    made = compare(bench, [run(seed, 500, grid) for seed in (1, 2, 3)])
    # Drawn in one go: a pointer that Chromium puts over the page as it is laid out cannot step in.
    took = made.page.evaluate(
        """() => [...Array(20).keys()].map((k) => {
          workspace.hover(1000 + k);
          workspace.state.flush();
          const { focus, timing } = window.__tokenview;
          return focus === 1000 + k ? timing.work : Infinity;
        })"""
    )
    assert 0 < np.median(took) < 50 * pace(made.page)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_fits_the_window(bench, width, scheme):
    made = compare(bench, three(), width=width, color_scheme=scheme)
    assert made.page.evaluate("document.documentElement.scrollWidth") <= width + 1


def test_the_note_over_a_table_wider_than_its_place_is_read_whole(bench):
    made = compare(bench, three(), width=1440, height=900)
    place, note = made.page.locator(".ws-compared .ws-scroll").first.evaluate(
        "box => [box, box.querySelector('caption span')].map((one) =>"
        " one.getBoundingClientRect().right)"
    )
    assert note <= place


def test_logprobs_that_nobody_knows_are_dashes(bench):
    plain = [replace(trace, baseline={}, logprob=None, scores={}) for trace in three()[:2]]
    made = compare(bench, plain)
    words = made.page.locator(".ws-compared table").inner_text()
    assert "Uncompressed" not in words and words.count("–") >= 4
    assert made.page.locator(".ws-compared mark").all_inner_texts() == ["blue"]
