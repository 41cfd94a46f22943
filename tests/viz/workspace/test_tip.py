"""The line at the pointer: a token's story beside it, for the keyboard too, not for fingers."""

from __future__ import annotations

import pytest
from browser import chromium  # noqa: F401
from playwright.sync_api import expect
from recorded import recorded

TABS = {"sheet": "What the LLM got", "plane": "Space and time"}
STORIES = {
    0: "0.00 s, cell (0, 0): kept as itself; rank 1 of 5 for the question",
    5: "0.00 s, cell (1, 1): cluster center of 3 tokens; the pool was full before its turn",
    13: "0.50 s, cell (0, 1): merged inside the LLM into frame 0 (1, 1); "
    "unlike the pool (cosine 0.30), rank 4 of 5 for the question",
    41: "1.50 s, cell (1, 1): merged into a center before the LLM at frame 3 (1, 0) with 1 other, "
    "which was dropped inside the LLM; the pool was full before its turn",
    20: "0.50 s, cell (2, 0): dropped before the LLM; the pool was full before its turn",
    14: "0.50 s, cell (0, 2): dropped before the LLM; too alike the pool (cosine 0.80)",
}


def boxes(page, view: str, token: int) -> tuple[dict, dict]:
    """The line and the token's cell, in pixels of the window."""
    return page.evaluate(
        """([view, token]) => {
          const v = workspace.views[view];
          const box = v.layers.top.canvas.getBoundingClientRect();
          const { x, y, w, h } = v.placeOf ? v.placeOf(token) : v.corner(v.seat(token));
          const of = ({ left, top, right, bottom }) => ({ left, top, right, bottom });
          return [of(document.querySelector('.ws-tip').getBoundingClientRect()),
            of(new DOMRect(box.left + x, box.top + y, w, h))];
        }""",
        [view, token],
    )


def test_it_tells_what_became_of_a_token_where_and_why(bench):
    page = bench(recorded()).page
    for token, story in STORIES.items():
        page.evaluate("token => workspace.goTo(workspace.trace.frameOf(token))", token)
        x, y = page.evaluate(
            """(token) => {
              workspace.state.flush();
              const { player } = workspace.views;
              const box = player.layers.top.canvas.getBoundingClientRect();
              const { x, y, w, h } = player.placeOf(token);
              return [box.left + x + w / 2, box.top + y + h / 2];
            }""",
            token,
        )
        page.mouse.move(x, y)
        expect(page.locator(".ws-tip")).to_have_text(story)


@pytest.mark.parametrize("view", ["player", "strip", "bars", "sheet", "plane"])
def test_it_covers_no_part_of_its_token_and_stays_in_the_window(bench, view):
    opened = bench(recorded(), width=1280, height=720)
    page, tip = opened.page, opened.page.locator(".ws-tip")
    if view in TABS:
        page.get_by_role("tab", name=TABS[view]).click()
    for token in (0, 5):
        page.mouse.move(*opened.center(view, token))
        expect(tip).to_have_text(STORIES[token])
        line, cell = boxes(page, view, token)
        assert line["bottom"] <= cell["top"] or line["top"] >= cell["bottom"]
        assert 0 <= line["left"] and line["right"] <= 1280
        assert 0 <= line["top"] and line["bottom"] <= 720
    page.mouse.move(1, 1)
    expect(tip).to_be_hidden()


def test_the_keyboard_has_it_at_the_token_and_escape_takes_it_away(bench):
    opened = bench(recorded())
    page, tip = opened.page, opened.page.locator(".ws-tip")
    page.locator("[data-view=strip] .ws-top-layer").focus()
    assert tip.is_hidden()
    page.keyboard.press("ArrowDown")  # the middle of the frame
    page.keyboard.press("ArrowLeft")
    expect(tip).to_have_text(STORIES[5])
    line, cell = boxes(page, "strip", 5)
    assert line["bottom"] <= cell["top"] or line["top"] >= cell["bottom"]
    assert line["left"] <= cell["right"] and line["right"] >= cell["left"]
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.keyboard.press("ArrowDown")
    expect(tip).to_be_visible()
    page.locator("select[name=overlay]").focus()
    expect(tip).to_be_hidden()


def test_a_finger_has_none(bench):
    opened = bench(recorded(), width=390, height=844, has_touch=True, is_mobile=True)
    page = opened.page
    page.touchscreen.tap(*opened.center("player", 5))
    opened.wait("v.locked.length === 1")
    assert page.locator(".ws-tip").is_hidden()
