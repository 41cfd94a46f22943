"""Another trace in the same workspace: every view is of it, whatever was chosen before."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from browser import chromium  # noqa: F401
from handmade import big
from helpers.page_actions import TRACES
from helpers.walking import every_pair
from recorded import recorded, walked

from stc_core import Trace
from viz.workspace.bundle import pack, sprite

LAST = {  # what a visitor may have chosen, all of it at the end of what there is
    "frame": 3,
    "time": 1.5,
    "locked": [47],
    "hover": 47,
    "stage": "layer",
    "overlay": "attention",
    "word": 4,
    "step": 5,
}
PANELS = ("sheet", "plane", "replay", "compare", "flow", "embedding", "edits", "evidence")


@pytest.fixture
def both(bench, tmp_path):
    """A bench with a small trace, and beside it the addresses of a large one."""
    opened, large = bench(recorded()), walked(32)
    folder = tmp_path / "0"
    (folder / "large.bin").write_bytes(pack(large))
    (folder / "large.jpg").write_bytes(sprite(large))
    return opened, large, {"bundle": "large.bin", "sprite": "large.jpg", "key": "large"}


def show(opened, urls) -> None:
    opened.page.evaluate("urls => workspace.show(urls)", urls)


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("overlay", ["attention", "fate"])
def test_nothing_of_the_trace_before_stays(both, panel, overlay):
    opened, large, urls = both
    page = opened.page
    page.evaluate("panel => workspace.choose(panel)", panel)
    opened.set(**LAST | {"overlay": overlay})
    show(opened, urls)
    n = large.grid.size
    opened.wait(f"v.n === {n} && v.drawn.frames === 32")
    assert page.locator("[data-view=budget] b").first.inner_text().replace(" ", "") == str(n)
    seen = page.evaluate(
        "({ look: workspace.look.fate.length, key: workspace.root.dataset.key,"
        " views: Object.values(workspace.views).every((v) => v.trace === workspace.trace) })"
    )
    assert seen == {"look": n, "key": "large", "views": True}
    state = opened.state
    assert state["locked"] == [] and state["word"] == state["step"] == -1
    assert page.locator(".ws-broken:visible").count() == 0
    assert large.question in page.locator(".ws-words-view").inner_text().replace("\n", " ")
    show(opened, {"bundle": "bundle.bin", "sprite": "frames.jpg", "key": "test"})
    opened.wait("v.n === 48 && v.drawn.frames === 4")


def test_a_view_that_throws_stops_no_other_and_is_tried_again(both):
    opened, large, urls = both
    page = opened.page
    page.evaluate(
        "() => { workspace.views.bars.layers.clear = () => { throw new Error('planted') } }"
    )
    show(opened, urls)
    opened.wait(f"v.n === {large.grid.size} && v.drawn.frames === 32")
    bars = page.locator("[data-view=bars]")
    assert "This view could not be drawn." in bars.inner_text()
    assert bars.locator(".ws-host").is_hidden() and bars.locator("details").is_hidden()
    assert page.locator(".ws-broken:visible").count() == 1
    page.evaluate("workspace.choose('sheet')")
    opened.wait("v.drawn.sheet > 0")  # those in sight; it rolls
    entered = page.evaluate("workspace.views.sheet.trace.entered.length")
    assert entered == len(large.stage("outside").survivors)
    page.evaluate("workspace.choose('overview')")
    page.evaluate("workspace.goTo(31)")  # the others go on
    opened.wait("v.frame === 31")
    assert any("planted" in error and "bars" in error for error in opened.errors)
    opened.errors.clear()
    page.evaluate("delete workspace.views.bars.layers.clear")
    show(opened, {"bundle": "bundle.bin", "sprite": "frames.jpg", "key": "test"})
    opened.wait("v.n === 48")
    assert page.locator(".ws-broken:visible").count() == 0
    assert bars.locator(".ws-host").is_visible()


def test_a_trace_that_cannot_be_fetched_leaves_nothing_of_the_one_before(both):
    opened, _, urls = both
    page = opened.page
    show(opened, {"bundle": "gone.bin", "key": "gone"})
    page.get_by_text("The trace could not be shown.").wait_for()
    assert page.locator(".ws-body").is_hidden()
    opened.errors.clear()  # the browser itself complains of the missing file
    show(opened, urls)
    opened.wait("v.drawn.frames === 32")
    assert page.locator(".ws-body").is_visible()
    assert page.get_by_text("The trace could not be shown.").is_hidden()


def test_a_trace_whose_colors_cannot_be_worked_out_is_a_sentence(both):
    opened, large, urls = both
    page = opened.page
    page.evaluate("() => { workspace.open = () => { throw new Error('planted') } }")
    show(opened, urls)
    page.get_by_text("The trace could not be shown.").wait_for()
    assert page.locator(".ws-body").is_hidden()
    assert any("planted" in error for error in opened.errors)
    opened.errors.clear()
    page.evaluate("delete workspace.open")
    show(opened, urls)
    opened.wait(f"v.n === {large.grid.size} && v.drawn.frames === 32")
    assert page.locator(".ws-body").is_visible()


SMALL = replace(big(7, 7, 8), question="the small one?", answer="seven")
LARGE = replace(walked(32), question="the large one?", answer="fourteen")


@pytest.mark.parametrize("traces", [(SMALL, LARGE), (LARGE, SMALL)], ids=["grows", "shrinks"])
def test_another_size_there_and_back(bench, tmp_path, traces):
    opened = bench(traces[0], served=True, permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    (tmp_path / "0" / "second.bin").write_bytes(pack(traces[1]))
    for number, place in ((0, None), (1, "second"), (0, "bundle"), (1, "second")):
        trace, other = traces[number], traces[1 - number]
        n, frames = trace.grid.size, trace.grid.frames
        if place:
            last = {
                "locked": [other.grid.size - 1],
                "hover": other.grid.size - 1,
                "stage": "refilled",
                "frame": other.grid.frames - 1,
            }
            opened.set(**last)
            show(opened, {"bundle": f"{place}.bin", "key": f"key{number}"})
        opened.wait(f"v.n === {n} && v.drawn.frames === {frames}")
        assert page.locator(".ws-broken:visible").count() == 0
        budget = page.locator("[data-view=budget] b").first.inner_text()
        assert budget.replace(" ", "") == str(n)
        words = page.locator(".ws-words-view").inner_text()
        assert all(said in words for said in (trace.question, trace.answer))
        assert not any(said in words for said in (other.question, other.answer))
        drawn = page.evaluate(
            "({ look: workspace.look.fate.length, bars: workspace.views.bars.stacks.length,"
            " places: workspace.views.bars.places.length, strip: workspace.views.strip.trace.n })"
        )
        assert drawn == {"look": n, "bars": frames, "places": n, "strip": n}
        page.get_by_role("button", name="Copy link").click()
        page.get_by_text("Link copied.").wait_for()
        link = parse_qs(urlsplit(page.evaluate("navigator.clipboard.readText()")).query)
        assert link.get("trace") == ([f"key{number}"] if place else ["test"])
        assert not {"tok", "f", "stage"} & set(link)


# What the views hold of the trace that was opened over one of which the last of all was chosen.
OPENED = """async (urls) => {
  const { trace: before, state } = workspace;
  state.set({ frame: before.frames - 1, locked: [before.n - 1], hover: before.n - 1, word: 0,
    stage: before.stages.at(-2).key, step: before.walk.length });
  state.flush();
  await workspace.show(urls);
  const { trace, look, views, root } = workspace;
  return {
    key: root.dataset.key, tokens: [trace.n, look.fate.length, views.bars.places.length],
    frames: [trace.frames, views.bars.stacks.length, Number(views.player.slider.max) + 1],
    ours: Object.values(views).every((view) => view.trace === trace),
    chosen: [state.locked.length, state.hover, state.word, state.step],
    broken: [...root.querySelectorAll('.ws-broken')].filter((one) => one.checkVisibility()).length,
    words: root.querySelector('.ws-question').textContent,
    budget: Number(root.querySelector('[data-view=budget] b').textContent.replace(/[^0-9]/g, '')),
  };
}"""


def test_every_trace_opens_after_every_other_one(bench, tmp_path):
    """Those of the project, one of 32 x 14 x 14 and one of 64 frames: 56 ordered pairs."""
    traces = [Trace.load(path) for path in sorted(TRACES.glob("*.npz"))]
    traces += [LARGE, replace(walked(64), question="the long one?")]
    opened, folder = bench(traces[0]), tmp_path / "0"
    urls = []
    for number, trace in enumerate(traces):
        (folder / f"{number}.bin").write_bytes(pack(trace))
        (folder / f"{number}.jpg").write_bytes(sprite(trace))
        urls.append({"bundle": f"{number}.bin", "sprite": f"{number}.jpg", "key": f"key{number}"})
    for number in every_pair(range(len(traces))):
        trace = traces[number]
        n, frames = trace.grid.size, trace.grid.frames
        found = opened.page.evaluate(OPENED, urls[number])
        assert "".join(trace.question.split()) in "".join(found.pop("words").split())
        assert found == {
            "key": f"key{number}",
            "tokens": [n] * 3,
            "frames": [frames] * 3,
            "ours": True,
            "chosen": [0, -1, -1, -1],
            "broken": 0,
            "budget": n,
        }
        assert opened.errors == []
