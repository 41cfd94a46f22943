"""Small faults of the page that were mended, each where a visitor met it."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from dataclasses import replace

import pytest
from handmade import big
from helpers.page_actions import (
    TRACES,
    another,
    source,
    upload_trace,
    wait_view,
)
from helpers.walking import every_pair
from playwright.sync_api import expect

from stc_core import Trace


def test_every_trace_opens_in_any_order(tab, tmp_path):
    """Those of the project, one of 32 x 14 x 14 and one of 64 frames, there and back."""
    page = tab.page
    page.get_by_role("button", name="Open a saved trace").click()
    names = [path.stem for path in sorted(TRACES.glob("*.npz"))]
    large = replace(big(14, 14, 32), question="the large one?").save(tmp_path / "large.npz")
    long = replace(big(7, 7, 64), question="the long one?").save(tmp_path / "long.npz")
    kinds = every_pair([large, long, names[0], names[-1]])  # of 6272 and 3136 tokens, of few
    for one in [*names[1:], *kinds]:
        before = source(tab)
        if isinstance(one, str):
            page.locator("#saved input").click()
            page.get_by_role("option", name=one, exact=True).click()
        else:
            upload_trace(tab, one)
        another(tab, before)
        n = {large: 6272, long: 3136}.get(one)
        wait_view(tab, f"v.n === {n}" if n else "v.n > 0")
        assert page.locator("#workspace .ws-broken:visible").count() == 0
        shown = page.locator("#workspace .ws-question").inner_text().split()
        asked = page.locator("#answers .question").inner_text().split()[1:]
        assert "".join(asked) in "".join(shown)
        assert tab.errors == []


def test_a_trace_chosen_while_another_opens_is_shown(tab):
    """Three choices at once: the last one is shown, left and right."""
    page, saved = tab.page, sorted(TRACES.glob("*.npz"))
    slow = {"offline": False, "latency": 400, "downloadThroughput": -1, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)  # ms
    page.get_by_role("button", name="Open a saved trace").click()
    for trace in saved[1:4]:
        page.locator("#saved input").click()
        page.get_by_role("option", name=trace.stem, exact=True).click()
    key = hashlib.sha256(saved[3].read_bytes()).hexdigest()[:20]
    page.wait_for_function(
        "key => document.querySelector('#workspace .workspace').dataset.key === key", arg=key
    )
    asked = Trace.load(saved[3]).question
    page.wait_for_function(
        "asked => document.querySelector('#question textarea').value === asked", arg=asked
    )


def test_the_lesson_turns_by_key_wherever_the_focus_is(tab):
    page = tab.page
    page.locator("#tabs").get_by_role("tab", name="Learn", exact=True).click()
    page.wait_for_function("window.__lesson?.settled && window.__lesson.steps > 1")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("n")
    page.wait_for_function("window.__lesson.settled && window.__lesson.number === 1")
    page.keyboard.press("p")
    page.wait_for_function("window.__lesson.settled && window.__lesson.number === 0")
    page.locator("#tabs").get_by_role("tab", name="Inspect", exact=True).click()
    page.locator("#question textarea").fill("")
    page.locator("#question textarea").press("n")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("n")
    assert page.evaluate("window.__lesson.number") == 0
    assert page.input_value("#question textarea") == "n"


@pytest.mark.parametrize("width", [1920, 1440, 1280])
def test_the_error_table_reads_its_file_and_cuts_no_answer(open_tab, width):
    page = open_tab(width, 900).page
    page.evaluate(
        """() => {
          window.said = [];
          new MutationObserver(() => document.querySelectorAll('.errors .hint').forEach((hint) =>
            hint.checkVisibility() && window.said.push(hint.innerText))).observe(document.body,
            { subtree: true, childList: true, attributes: true });
        }"""
    )
    page.locator("#tabs").get_by_role("tab", name="Errors", exact=True).click()
    page.locator(".rows [role=row]").first.wait_for()
    said = page.evaluate("window.said")
    assert "Reading the result file …" in said
    assert not [words for words in said if "No result file" in words]
    expect(page.locator(".errors .hint:visible")).to_have_count(0)
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.rows [role=row]')].flatMap((row) =>
          [...row.children].filter((cell, place) => [1, 2, 3, 4, 5, 6].includes(place)
            && (cell.scrollWidth > cell.clientWidth || cell.scrollHeight > cell.clientHeight + 1)
          )).map((cell) => cell.innerText)"""
    )
    assert cut == []
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("n")
    expect(page.locator(".rows .flipped[aria-selected=true]")).to_have_count(1)


def test_headings_do_not_meet_the_handle_of_the_table_on_a_phone(open_tab):
    page = open_tab(390, 844, is_mobile=True, has_touch=True).page
    met = page.evaluate(
        """() => [...document.querySelectorAll('#workspace .ws-view')].filter((view) => {
          const heading = view.querySelector(':scope > h3');
          const handle = view.querySelector('summary');
          if (!heading?.checkVisibility() || !handle?.checkVisibility()) return false;
          const words = document.createRange();
          words.selectNodeContents(heading);
          const [a, b, host] = [words, handle, view.querySelector('.ws-host')].map((one) =>
            one.getBoundingClientRect());
          const over = a.right > b.left && a.left < b.right && a.bottom > b.top && a.top < b.bottom;
          return over || b.bottom > host.top + 1;
        }).map((view) => view.dataset.view)"""
    )
    assert met == []


def test_flow_has_no_black_lines(tab):
    page = tab.page
    page.locator("#workspace").get_by_role("tab", name="Flow", exact=True).click()
    page.locator(".ws-flow-band").first.wait_for()
    strokes = page.evaluate(
        "[...document.querySelectorAll('.ws-flow-band, .ws-flow-node')].map((one) =>"
        " getComputedStyle(one).stroke)"
    )
    assert set(strokes) <= {"none", "rgb(255, 255, 255)"}


def test_letters_work_wherever_the_focus_is_but_where_somebody_writes(tab):
    page, root = tab.page, tab.page.locator("#workspace .workspace")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("f")
    expect(root).to_have_class("workspace ws-staged")
    page.keyboard.press("Escape")
    expect(root).not_to_have_class("workspace ws-staged")
    page.locator(".ws-stage-go").press("h")
    expect(page.get_by_label("Image only (h)")).to_be_checked()
    page.locator("#question textarea").press("f")
    expect(root).not_to_have_class("workspace ws-staged")
    assert page.input_value("#question textarea").count("f") >= 1


def test_the_line_of_another_question_leaves_the_button_alone(open_tab):
    page = open_tab(1440, 900).page
    page.fill("#question textarea", "what else?")
    page.locator("#stale .stale").wait_for()
    line, button = (page.locator(one).bounding_box() for one in ("#stale .stale", "#fold button"))
    assert line["x"] + line["width"] <= button["x"]


def test_each_endpoint_has_its_own_name(served):
    with urllib.request.urlopen(f"{served.url}config") as answer:
        events = json.load(answer)["dependencies"]
    public = [one["api_name"] for one in events if one["api_visibility"] == "public"]
    assert sorted(public) == ["answer", "compare", "trace"]
