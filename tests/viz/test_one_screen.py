"""The page as one screen: every view at every size, stage mode, links to them, a telephone."""

from __future__ import annotations

import pytest
from handmade import big
from helpers.page_actions import another, source, upload_trace, wait_view
from playwright.sync_api import expect

SIZES = [(1920, 1080), (1440, 900), (1280, 720), (390, 844)]
VIEWS = ["overview", "proof", "sheet", "plane", "words", "budget", "scrub", "replay", "compare",
         "flow", "embedding", "edits", "evidence"]  # fmt: skip
STAGED = ["player", "strip", "bars", "sheet", "plane", "words", "budget", "flow", "embedding",
          "scrub"]  # fmt: skip
# What must be seen at once, whatever view is open: verdict, clip, its handles, tabs, token, legend.
ALWAYS = [".pair", ".verdict", ".ws-why-go", ".ws-player-view .ws-top-layer", ".ws-transport",
          ".ws-tabs", ".ws-card-title", ".ws-legend-view"]  # fmt: skip
BOXES = """(names) => names.map((name) => {
  const { left, top, right, bottom } = document.querySelector(name).getBoundingClientRect();
  return { name, left, top, right, bottom };
})"""


def outside(page, names: list[str], width: int, height: int) -> list[dict]:
    """Which of these elements are not wholly in the window."""
    boxes = page.evaluate(BOXES, names)
    return [b for b in boxes if b["left"] < 0 or b["top"] < 0 or b["right"] > width
            or b["bottom"] > height or b["right"] <= b["left"]]  # fmt: skip


def meeting(page, names: list[str]) -> list[tuple[str, str]]:
    """Which of these elements lie over each other, by more than a pixel."""
    boxes = page.evaluate(BOXES, names)
    return [(a["name"], b["name"]) for k, a in enumerate(boxes) for b in boxes[k + 1 :]
            if min(a["right"], b["right"]) - max(a["left"], b["left"]) > 1
            and min(a["bottom"], b["bottom"]) - max(a["top"], b["top"]) > 1]  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_view_opens_beside_the_clip_without_scrolling(open_tab, width, height, theme):
    phone = {"is_mobile": True, "has_touch": True} if width < 500 else {}
    tab = open_tab(width, height, theme, **phone)
    page = tab.page
    tabs = page.locator("#workspace .ws-tabs").get_by_role("tab")
    assert tabs.count() == len(VIEWS)
    for place, view in enumerate(VIEWS):
        tabs.nth(place).click()
        wait_view(tab, "v.ready")
        panel = page.locator(f"#workspace [data-panel={view}]")
        expect(panel).to_be_visible()
        assert page.locator("#workspace .ws-broken:visible").count() == 0, view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        if phone:
            continue
        assert page.evaluate("window.scrollY") == 0, view
        seen = [*ALWAYS, f"#workspace [data-panel={view}]"]
        if view == "overview":
            seen += [".ws-bars-view .ws-top-layer", ".ws-strip-view .ws-top-layer"]
        assert outside(page, seen, width, height) == [], view
        assert meeting(page, [*ALWAYS, f"#workspace [data-panel={view}]"]) == [], view
    assert tab.errors == []


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720)])
def test_question_method_ratio_and_run_are_in_sight(open_tab, width, height):
    tab = open_tab(width, height)
    names = ["#clip", "#question", "#method", "#retention", "#retention-slider", "#run", "#status"]
    assert outside(tab.page, names, width, height) == []
    assert meeting(tab.page, names) == []


def test_the_opening_asks_for_the_trace_and_nothing_else(chromium, served):
    """No field has changed, so nothing follows; a change of the question is told once."""
    from browser import PATIENCE

    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(PATIENCE)
    page, asked = context.new_page(), []
    page.on("request", lambda r: r.url.find("/run/") > 0 and asked.append(r.post_data))
    page.goto(served.url)
    page.wait_for_function("window.__tokenview?.ready")
    page.wait_for_timeout(3000)
    loads = [body for body in asked if '"data":[]' in body]  # of trace and tab
    assert len(loads) == 2 and asked == loads
    page.fill("#question textarea", "what flashed?")
    expect(page.locator("#stale")).to_contain_text("Press Run to ask this question.")
    context.close()


@pytest.mark.parametrize("frames", [32, 64])
def test_a_large_trace_has_one_screen_too(tab, tmp_path, frames):
    """Frames of 14 x 14: bars and strip in sight at 1280 x 720; a strip of many rows rolls."""
    before, page = source(tab), tab.page
    upload_trace(tab, big(14, 14, frames).save(tmp_path / "large.npz"))
    another(tab, before)
    wait_view(tab, f"v.n === {196 * frames}")
    page.evaluate("window.scrollTo(0, 0)")
    names = [".ws-player-view .ws-top-layer", ".ws-bars-view .ws-top-layer", ".ws-card-title",
             ".ws-strip-view > .ws-host", ".ws-legend-view"]  # fmt: skip
    assert outside(page, names, 1280, 720) == []
    assert meeting(page, names) == []


def test_the_asking_side_folds_and_a_link_keeps_it_so(open_tab):
    tab = open_tab(1280, 720)
    page, side = tab.page, tab.page.locator("#ask-now")
    clip = page.locator(".ws-player-view .ws-top-layer")
    before = clip.bounding_box()["width"]
    button = page.get_by_role("button", name="Hide the asking side")
    button.press("Enter")
    expect(side).to_be_hidden()
    page.wait_for_function(
        "w => document.querySelector('.ws-player-view .ws-top-layer').clientWidth > w", arg=before
    )
    page.wait_for_url("**ask=hidden*")
    folded = open_tab(1280, 720, query="&ask=hidden&panel=flow").page
    expect(folded.locator("#ask-now")).to_be_hidden()
    expect(folded.locator("#workspace [data-panel=flow]")).to_be_visible()
    folded.get_by_role("button", name="Show the asking side").click()
    expect(folded.locator("#ask-now")).to_be_visible()
    folded.wait_for_function("!location.search.includes('ask=')")


def test_stage_mode_is_led_by_keys_and_survives_in_the_link(open_tab):
    from axe_playwright_python.sync_playwright import Axe

    tab = open_tab(1440, 900)
    page, root = tab.page, tab.page.locator("#workspace .workspace")
    page.locator(".ws-strip-view .ws-top-layer").focus()
    page.keyboard.press("f")
    expect(root).to_have_class("workspace ws-staged")
    for digit, view in zip("1234567890", STAGED, strict=True):
        page.keyboard.press(digit)
        wait_view(tab, "v.ready")
        shown = page.locator("#workspace [data-view]:visible")
        names = shown.evaluate_all("all => all.map((one) => one.dataset.view)")
        assert [name for name in names if name != "legend"] == [view]
        parts = [f"[data-view={view}]", ".ws-stage-title", ".ws-stage-said", ".ws-stage-foot"]
        parts = [f"#workspace {name}" for name in parts]
        assert outside(page, parts, 1440, 900) == [], view
        assert meeting(page, parts) == [], view
    page.keyboard.press("1")
    wait_view(tab, "v.frame > 0")
    page.keyboard.press("Home")
    wait_view(tab, "v.frame === 0")
    page.keyboard.press("ArrowRight")
    wait_view(tab, "v.frame === 1")
    page.keyboard.press("ArrowUp")
    wait_view(tab, "v.stage === 'layer'")
    page.keyboard.press("Space")
    wait_view(tab, "v.playing")
    page.keyboard.press("Space")
    wait_view(tab, "!v.playing")
    assert page.locator(".ws-stage-help").is_hidden()
    page.keyboard.press("?")
    expect(page.locator(".ws-stage-help")).to_contain_text("Escape")
    found = [f["id"] for f in Axe().run(page).response["violations"]
             if f["impact"] in ("serious", "critical")]  # fmt: skip
    assert found == []
    page.wait_for_url("**show=player*")
    page.keyboard.press("Escape")  # the list of keys first
    expect(page.locator(".ws-stage-help")).to_be_hidden()
    expect(root).to_have_class("workspace ws-staged")
    page.keyboard.press("Escape")
    expect(root).not_to_have_class("workspace ws-staged")
    expect(page.locator("#run")).to_be_visible()
    expect(page.locator(".ws-strip-view .ws-top-layer")).to_be_focused()
    page.wait_for_function("!location.search.includes('show=')")
    linked = open_tab(1440, 900, query="&show=bars&stage=refilled&f=3").page
    expect(linked.locator("#workspace .workspace")).to_have_class("workspace ws-staged")
    expect(linked.locator(".ws-stage-foot")).to_contain_text("Tokens over time · stage “refilled”")


def test_a_telephone_has_question_answer_clip_and_settings_in_this_order(open_tab):
    page = open_tab(390, 844, is_mobile=True, has_touch=True).page
    names = ["#question", "#run", ".pair", ".ws-player-view", ".ws-controls-view", ".ws-tabs",
             "#suggestions", "#settings"]  # fmt: skip
    tops = [box["top"] for box in page.evaluate(BOXES, names)]
    assert tops == sorted(tops)
    assert page.locator(".ws-stage-go").is_hidden() and page.locator("#fold").is_hidden()
