"""The workspace at rest does nothing, and what plays stops where nobody sees it."""

from __future__ import annotations

import pytest
from helpers.resting import IDLE, activity
from recorded import recorded, walked

OPEN = """names => names.forEach((name) => {
  document.querySelector(`[data-view=${name}] > .ws-twin`).open = true;
})"""
CELLS = "[...document.querySelectorAll('[data-view={}] td')].map((one) => one.textContent)"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_at_rest_no_view_does_anything(bench, width, height):
    opened = bench(walked(32), width=width, height=height)
    page = opened.page
    for tab in page.locator(".ws-tabs [role=tab]").all():
        tab.click()
        opened.wait("v.ready")
        page.wait_for_timeout(600)  # the pause before the address, and the sizes of the new panel
        assert activity(page, 0.4) == IDLE, tab.inner_text()


def test_open_tables_wait_for_the_end_of_what_plays(bench):
    """They would be made anew eight times a second or more, each of up to 300 rows."""
    opened = bench(walked(32))
    page = opened.page
    page.get_by_role("tab", name="Replay").click()
    page.evaluate(OPEN, ["player", "strip"])
    page.wait_for_function(CELLS.format("strip") + ".length > 100")
    page.evaluate(
        """() => {
          window.made = 0;
          new MutationObserver((seen) => {
            for (const one of seen.flatMap(({ addedNodes }) => [...addedNodes])) {
              made += Boolean(one.matches?.('.ws-scroll'));
            }
          }).observe(document.body, { subtree: true, childList: true });
        }"""
    )
    page.get_by_label("Tokens per second").select_option("120")
    page.get_by_role("button", name="Play the selection").click()
    page.wait_for_function("window.__tokenview.step > 60")
    assert page.evaluate("window.made") == 0
    page.get_by_role("button", name="Pause the selection").click()
    page.wait_for_function("window.made > 0")
    frame = opened.state["frame"]
    page.wait_for_function(CELLS.format("player") + f"[0] === '{frame}'")


def test_a_table_behind_a_tab_is_made_when_it_comes_in_sight(bench):
    opened = bench(recorded())
    page = opened.page
    page.get_by_role("tab", name="Replay").click()
    page.evaluate(OPEN, ["player", "sheet"])
    page.wait_for_function(CELLS.format("sheet") + ".length > 0")
    page.evaluate("document.querySelector('[data-view=sheet] .ws-scroll').dataset.before = ''")
    opened.set(stage="pool", frame=2)
    page.wait_for_function(CELLS.format("player") + "[0] === '2'")
    assert page.locator("[data-view=sheet] [data-before]").count() == 1
    page.get_by_role("tab", name="What the LLM got").click()
    page.wait_for_function(CELLS.format("sheet") + ".length > 0")
    assert page.locator("[data-view=sheet] [data-before]").count() == 0


@pytest.mark.parametrize("what", ["replay", "clip"])
def test_what_plays_stops_where_it_is_hidden(bench, what):
    opened = bench(walked(32))
    page = opened.page
    page.evaluate(
        {
            "replay": "workspace.choose('replay'); workspace.views.replay.toggle()",
            "clip": "workspace.views.player.toggle()",
        }[what]
    )
    assert page.evaluate("workspace.state.replaying || workspace.state.playing")
    page.evaluate("workspace.root.hidden = true")  # as behind another tab of the page
    page.wait_for_function("!workspace.state.replaying && !workspace.state.playing")
    page.wait_for_timeout(300)
    assert activity(page, 0.4) == IDLE
    page.evaluate("workspace.root.hidden = false")
    opened.wait("v.ready && !v.playing")
