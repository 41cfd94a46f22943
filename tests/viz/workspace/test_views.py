"""The linked views in a real browser: one selection, every stage, keys, words, replay, pace."""

from __future__ import annotations

import re

import numpy as np
import pytest
from handmade import build
from helpers.pace import pace
from playwright.sync_api import expect
from recorded import CENTERS, KEPT, NASTY, WALK, WORDS, recorded, walked

from stc_core import Fate
from stc_core.record.grid import TokenGrid
from viz.examples import Known

PLACED = ("player", "strip", "bars", "sheet", "plane")


def test_the_browser_reads_the_trace_as_it_was_written(bench):
    trace = recorded()
    page = bench(trace).page
    read = page.evaluate(
        """() => { const t = workspace.trace; return {
          n: t.n, fate: [...t.fate], target: [...t.target], order: [...t.order],
          nearest: [...t.nearest], walk: [...t.walk], entered: [...t.entered],
          members: [5, 40, 0, 6].map((i) => [...t.members(i, 'refilled')]),
          end: [...t.members(5)], keys: t.stages.map((s) => s.key), threshold: t.threshold,
          ranks: [...Array(t.n).keys()].map((i) => t.contributionRank(i)),
          at: [0, 0.49, 0.5, 9].map((s) => t.frameAt(s)), opening: t.opening,
          attention: [...t.attentionOf('attention', 1)].filter(Number.isFinite),
          missed: t.missed(3), full: [0, 3, 4].map((w) => t.fullWord(w)),
        } }"""
    )
    assert read["n"] == 48 and read["entered"] == [0, 5, 13, 30, 40]
    for name in ("fate", "target", "order", "nearest"):
        assert read[name] == getattr(trace, name).tolist(), name
    assert read["walk"] == list(WALK)
    assert read["members"] == [[5, 6, 7], [40, 41], [0], []] and read["end"] == [5, 6, 7, 13]
    assert read["keys"] == ["raw", "pool", "recycled", "refilled", "layer", "end"]
    assert read["threshold"]["accepted"] == pytest.approx(0.3)
    assert read["threshold"]["recycled"] == pytest.approx(0.75)
    order = np.argsort(-trace.contribution, kind="stable")
    assert [read["ranks"].index(place + 1) for place in range(48)] == order.tolist()
    assert read["at"] == [0, 0, 1, 3] and read["opening"] == 0
    assert read["attention"] == pytest.approx(trace.attention[1].astype(float), abs=2e-3)
    assert read["missed"]["top"] == [20] == read["missed"]["lost"] and read["full"] == [0, 3, 4]


def test_every_stage_shows_what_was_decided_by_then(bench):
    trace = recorded()
    page = bench(trace).page
    shown = page.evaluate("workspace.trace.stages.map((s) => [...workspace.trace.fateAt(s.key)])")
    raw, pool, recycled, refilled, layer, end = map(np.array, shown)
    kept, others = np.isin(np.arange(48), KEPT), ~np.isin(np.arange(48), KEPT)
    assert set(raw) == {6}
    assert set(pool[kept]) == {Fate.KEPT} and set(pool[others]) == {6}
    assert set(recycled[kept]) == {Fate.KEPT} and set(recycled[others]) == {7}
    assert np.array_equal(refilled, trace.stage("outside").fate)
    entered = trace.stage("outside").survivors
    assert np.array_equal(layer[entered], trace.fate[entered])
    assert set(np.delete(layer, entered)) == {8} and np.array_equal(end, trace.fate)


def test_the_token_card_tells_the_story(bench):
    page = bench(recorded()).page

    def story(token: int) -> str:
        return " ".join(page.evaluate("i => workspace.trace.story(i)", token))

    assert "Contribution rank 1 of 48. Considered 1st: the pool was empty" in story(0)
    assert "Considered 2nd: the nearest pool token, frame 0 (0, 0), has cosine 0.90" in story(1)
    assert "cosine 0.30, unlike enough to enter the pool" in story(13)
    assert "ranked 4th of 5 for the question and was merged into frame 0 (1, 1)" in story(13)
    assert "Never considered" in story(6)
    assert "Merged with 2 others into the center at frame 0 (1, 1), as one of 3." in story(6)
    assert "That token ranked 3rd of 5 for the question and was kept at layer 2." in story(6)
    assert "share of the token that carries it in the end is 1/6" in story(6)
    assert "was dropped after layer 2" in story(40) and "Dropped before the LLM." in story(20)


@pytest.mark.parametrize("view", PLACED)
def test_one_selection_in_every_view(bench, view):
    opened = bench(recorded(), width=1280, height=1000)
    page, token = opened.page, 5
    if view in ("sheet", "plane"):
        tab = {"sheet": "What the LLM got", "plane": "Space and time"}[view]
        page.get_by_role("tab", name=tab).click()
    x, y = opened.center(view, token)
    page.mouse.move(x, y)
    opened.wait(f"v.hover === {token} && v.focus === {token}")
    assert "(1, 1)" in page.locator(".ws-card-title").inner_text()
    assert opened.state["locked"] == []
    if view != "sheet":  # which has no place for lines, and the strip is behind its tab
        assert opened.state["drawn"]["links"] == 3
    page.mouse.click(x, y)
    opened.wait(f"v.locked.length === 1 && v.locked[0] === {token}")
    page.mouse.move(1, 1)
    opened.wait(f"v.hover === -1 && v.focus === {token}")
    x, y = opened.center(view, 0)
    page.keyboard.down("Shift")
    page.mouse.click(x, y)
    page.keyboard.up("Shift")
    opened.wait("String(v.locked) === '5,0' && v.focus === 0")
    page.keyboard.press("Escape")
    opened.wait("v.locked.length === 0 && v.focus <= 0")


def test_keys_move_by_cell_and_by_frame(bench):
    opened = bench(recorded())
    page = opened.page
    page.locator(".ws-strip-view canvas").last.focus()
    for key, token in (
        ("ArrowDown", 6),
        ("ArrowLeft", 5),
        ("ArrowUp", 1),
        ("ArrowUp", 1),
        ("PageDown", 13),
        ("ArrowRight", 14),
        ("PageDown", 26),
        ("PageDown", 38),
        ("PageDown", 38),
        ("PageUp", 26),
    ):
        page.keyboard.press(key)
        opened.wait(f"v.focus === {token} && v.frame === {token // 12}")
    page.keyboard.press("h")
    page.wait_for_function("document.querySelector('[name=image]').checked")
    page.keyboard.press("Home")
    opened.wait("v.frame === 0 && v.time === 0")
    page.keyboard.press("Escape")
    opened.wait("v.focus === -1")
    page.keyboard.press("PageDown")  # without a selection the frame alone moves
    opened.wait("v.frame === 1 && v.focus === -1")


def test_everything_is_reached_with_tab_and_arrows_alone(bench):
    """Tab goes through what is in sight; arrows along the tabs bring every other view in sight."""
    page = bench(recorded()).page
    here = """(({ activeElement: here }) => here.closest('[data-view]')?.dataset.view
      || here.closest('[role]')?.role || '')(document)"""

    def walk(turns: int) -> set[str]:
        reached = set()
        for _ in range(turns):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(here))
        return reached

    assert {"controls", "player", "bars", "strip", "tab"} <= walk(60)
    tabs = page.get_by_role("tab")
    views = ["proof", "sheet", "plane", "words", "budget", "scrub", "replay", "compare", "flow",
             "embedding", "edits", "evidence"]  # fmt: skip
    page.get_by_role("tab", selected=True).focus()
    for place, view in enumerate(views, 1):
        page.keyboard.press("ArrowRight")
        expect(tabs.nth(place)).to_be_focused()
        expect(page.locator("[data-panel]:visible")).to_have_attribute("data-panel", view)
        if view not in (
            "proof",
            "scrub",
            "embedding",
        ):  # this trace has none of them, and they say so
            assert view in walk(16), view
        tabs.nth(place).focus()
    page.keyboard.press("ArrowRight")
    expect(tabs.first).to_be_focused()
    page.keyboard.press("End")
    expect(tabs.last).to_be_focused()
    page.keyboard.press("Home")
    expect(page.locator("[data-panel]:visible")).to_have_attribute("data-panel", "overview")


def test_playing_moves_every_cursor_and_stops_at_the_end(bench):
    opened = bench(recorded())
    page = opened.page
    page.get_by_role("button", name="Play", exact=True).click()
    opened.wait("v.playing && v.frame >= 2 && v.time > 0.9")
    expect(page.locator(".ws-clock")).to_contain_text(re.compile("frame [23]"))
    opened.wait("!v.playing && v.frame === 3")
    page.locator(".ws-player-view canvas").last.focus()
    page.keyboard.press("Space")
    opened.wait("v.playing && v.frame < 3")
    page.keyboard.press("Space")
    opened.wait("!v.playing")


def test_the_stage_slider_redraws_and_says_what_it_shows(bench):
    opened = bench(recorded())
    page = opened.page
    words = page.locator(".ws-stage-words")
    for label, needed, blocks in (
        ("raw", "All 48 video tokens", 48),
        ("pool", "The pool: 3 tokens", 3),
        ("recycled", "3 were considered and not taken, 42 were never reached", 48),
        ("refilled", "5 tokens enter the LLM: 3 as themselves, 2 as centers", 5),
        ("layer 2", "After layer 2, 3 of the 5 go on", 5),
        ("end", "in the end", 5),
    ):
        page.locator(".ws-stages label", has_text=label).click()
        page.wait_for_function(
            "needed => document.querySelector('.ws-stage-words').textContent.includes(needed)",
            arg=needed,
        )
        opened.wait(f"v.drawn.bars === {blocks}")
        assert needed in words.inner_text()
    page.locator(".ws-stages input:checked").focus()
    page.keyboard.press("ArrowLeft")
    opened.wait("v.stage === 'layer'")


def test_the_replay_steps_through_the_walk(bench):
    opened = bench(recorded())
    page = opened.page
    page.get_by_role("tab", name="Replay").click()
    says = page.locator(".ws-replay-says")
    forward = page.get_by_role("button", name="One token on")
    for turn, (token, (near, cosine)) in enumerate(WALK.items(), 1):
        forward.click()
        opened.wait(f"v.step === {turn} && v.frame === {token // 12}")
        words = says.inner_text()
        assert f"Turn {turn} of 6: frame {token // 12}" in words
        assert ("accepted" if token in KEPT else "recycled") in words
        assert "pool is empty" in words if near < 0 else f"Cosine {cosine:.2f}" in words
    assert "In the pool now: 3" in says.inner_text()
    during = page.evaluate("[...workspace.look.fate]")
    assert [during[token] for token in WALK] == [0, 7, 0, 7, 0, 7] and during.count(6) == 42
    page.get_by_role("button", name="Play the selection").click()  # from the start again
    opened.wait("v.step < 6")
    opened.wait("v.step === 6")
    page.get_by_role("button", name="Leave the replay").click()
    opened.wait("v.step === -1")
    assert page.locator(".ws-stages input:checked").count() == 1


def test_a_method_without_order_has_no_replay(bench):
    grid = TokenGrid(2, 2, 2)
    opened = bench(build(grid, kept=(0, 5), frames=None, seconds=np.array([0.0, 1.0])))
    page = opened.page
    assert page.locator(".ws-stages label").all_inner_texts() == ["raw", "before the LLM", "end"]
    page.get_by_role("tab", name="Replay").click()
    assert "nothing to replay" in page.locator(".ws-replay-says").inner_text()


def test_a_word_shows_its_attention_and_what_was_lost(bench):
    opened = bench(recorded())
    page = opened.page
    shown = page.locator(".ws-word").all_inner_texts()
    assert [text.strip() for text in shown] == [word.text.strip() for word in WORDS]
    page.get_by_role("tab", name="Words", exact=True).click()
    page.locator(".ws-word", has_text="red").click()
    opened.wait("v.word === 3 && v.overlay === 'attention'")
    note = page.locator(".ws-words-view .ws-quiet-text").inner_text()
    assert "attends to most in the uncompressed run" in note and "1 not at all" in note
    assert "attention of the word" in page.locator(".ws-legend-view .ws-legend").inner_text()
    page.locator("select[name=overlay]").select_option("full")
    opened.wait("v.overlay === 'full'")
    page.locator(".ws-word", has_text="red").click()
    opened.wait("v.word === -1 && v.overlay === 'seen'")


@pytest.mark.parametrize("overlay", ["contribution", "similarity", "relevance", "members"])
def test_every_overlay_has_a_range(bench, overlay):
    opened = bench(recorded())
    opened.page.locator("select[name=overlay]").select_option(overlay)
    opened.wait(f"v.overlay === '{overlay}'")
    legend = opened.page.locator(".ws-legend-view .ws-legend")
    assert "range over the video" in legend.inner_text()


def test_cells_lie_where_the_encoder_saw_them(bench):
    """A crop to the left, a letterbox above and below: a cell is found at its own pixels."""
    grid = TokenGrid(2, 2, 2, 100, 200, (-50.0, 0.0, 150.0, 100.0))
    opened = bench(build(grid, kept=(0, 3), frames=90, seconds=np.array([0.0, 1.0])))
    found = opened.page.evaluate(
        """() => [[0.1, 0.2], [0.4, 0.2], [0.1, 0.9], [0.7, 0.5]].map(
          ([x, y]) => workspace.trace.at(1, x, y))"""
    )
    assert found == [4, 5, 6, -1]
    box = opened.page.evaluate("workspace.trace.box(0)")
    assert box == {"x": 0, "y": 0, "w": 0.25, "h": 0.5}


def test_strangers_text_stays_text(bench):
    text = " ".join(NASTY)
    opened = bench(
        recorded(question=text, answer=text, method=text, model=text, notes=(text,)),
        Known(text, text),
    )
    page = opened.page
    page.evaluate("() => { window.alerts = 0; window.alert = () => { window.alerts += 1 } }")
    for twin in page.locator("details.ws-twin:visible").all():
        twin.locator("summary").click()
    words = page.locator(".ws-words-view").inner_text()
    assert NASTY[0] in words and NASTY[2] in words
    assert page.locator(".workspace img, .workspace script").count() == 0
    page.wait_for_timeout(200)
    assert page.evaluate("window.alerts") == 0


def test_every_view_reads_as_a_table(bench):
    page = bench(recorded()).page
    rows = {
        "player": 12,
        "words": 5,
        "budget": 13,
        "bars": 4,
        "strip": 5,
        "sheet": 5,
        "plane": 12,
        "replay": 6,
    }
    for view, count in rows.items():
        if view != "player":
            panel = "overview" if view in ("bars", "strip") else view
            page.evaluate("name => workspace.choose(name)", panel)
        twin = page.locator(f"[data-view={view}] > details")
        assert twin.locator("table").count() == 0  # built when it is wanted
        twin.locator("summary").click()
        twin.locator("table").wait_for()
        assert twin.locator("thead th").count() >= 4, view
        assert twin.locator("tbody tr").count() == count, view


@pytest.mark.parametrize(("frames", "most"), [(32, 16), (128, 50)])
def test_hover_keeps_pace(bench, frames, most):
    """Milliseconds from the pointer to the last view drawn; the median, as others use the CPU."""
    opened = bench(walked(frames), width=1280, height=900)
    took = opened.page.evaluate(
        """async () => {
          const canvas = workspace.views.strip.layers.top.canvas;
          canvas.scrollIntoView();
          const box = canvas.getBoundingClientRect();
          const took = [];
          for (let k = 0; k < 60; k += 1) {
            canvas.dispatchEvent(new PointerEvent('pointermove', {
              clientX: box.left + (box.width * ((k * 7919) % 101)) / 101,
              clientY: box.top + (box.height * ((k * 104729) % 97)) / 97,
            }));
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            took.push(window.__tokenview.timing.work);
          }
          return took.slice(10);
        }"""
    )
    assert opened.state["n"] == frames * 196 and min(took) > 0
    assert float(np.median(took)) < most * pace(opened.page), sorted(took)


def test_six_thousand_selected_tokens_do_not_slow_the_pointer(bench):
    opened = bench(walked(32))
    opened.set(locked=list(range(6000)))
    took = opened.page.evaluate(
        """() => [...Array(24).keys()].map((k) => {
          const began = performance.now();
          workspace.state.set({ hover: 11 + 211 * k });
          workspace.state.flush();
          return performance.now() - began;
        })"""
    )
    usual = 16 * pace(opened.page)
    assert sorted(took)[6] < usual, sorted(took)  # others who use the CPU make some of them slow


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(bench, width):
    page = bench(
        walked(32), width=width, height=844, has_touch=width < 500, is_mobile=width < 500
    ).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 500:
        small = page.evaluate(
            """() => [...document.querySelectorAll('.workspace button, .ws-stages label')]
              .filter((b) => b.offsetParent).map((b) => b.getBoundingClientRect())
              .filter((b) => b.height < 43.5).length"""
        )
        assert small == 0


def test_only_centers_and_members_are_linked(bench):
    opened = bench(recorded())
    for token, links in ((5, 3), (7, 3), (20, 0), (30, 0)):
        opened.set(hover=token)
        assert opened.state["drawn"]["links"] == links, (token, CENTERS)
