"""One case at a time, on the real page: what is asked, what is shown, what the settings are of."""

from __future__ import annotations

import pytest
from helpers.page_actions import (
    another,
    choose_example,
    open_second,
    run_to_end,
    saved_trace,
    source,
    upload_trace,
)
from playwright.sync_api import expect

FLIPPED = "() => document.querySelectorAll('.rows .flipped').length > 1"


@pytest.fixture
def case(tab):
    """The page with the first flip of the error table open."""
    page, before = tab.page, source(tab)
    page.locator("#tabs").get_by_role("tab", name="Errors", exact=True).click()
    page.wait_for_function(FLIPPED)
    page.locator(".rows .flipped").first.click()
    another(tab, before)
    page.locator(".case-bar").wait_for()
    return tab


def stale(tab):
    return expect(tab.page.locator("#stale"))


def agree(tab) -> None:
    """Both sides are of one case, and nothing says otherwise."""
    shown = tab.page.locator("#answers .question")
    expect(shown).to_contain_text(tab.page.input_value("#question textarea"))
    expect(tab.page.locator("#stale .stale")).to_have_count(0)


def test_a_case_fills_the_left_side_and_the_settings_apply_to_it(case):
    page, before = case.page, source(case)
    agree(case)
    assert "clip-" in page.locator("#clip video").get_attribute("src")
    assert page.input_value("#retention input") == "0.02"
    page.fill("#retention input", "0.3")
    another(case, before)
    expect(page.locator("#run-line")).to_contain_text("retention=0.3,")
    agree(case)
    assert page.locator(".case-bar").is_visible()
    before = source(case)
    page.uncheck("#live input")
    page.fill("#retention input", "0.1")
    stale(case).to_contain_text("other settings")
    assert "Answered" in run_to_end(case)
    another(case, before)
    agree(case)
    assert page.locator(".case-bar").is_visible()


def test_the_bar_leads_to_the_flips_around_and_back(case):
    page, first = case.page, source(case)
    words = page.locator(".case-words").inner_text()
    expect(page.locator(".case-said")).to_be_empty()
    page.get_by_role("button", name="Previous flip").click()
    expect(page.locator(".case-said")).to_have_text("No earlier flip in the table.")
    page.get_by_role("button", name="Next flip").click()
    another(case, first)
    expect(page.locator(".case-words")).not_to_have_text(words)
    agree(case)
    page.get_by_role("button", name="Previous flip").click()
    expect(page.locator(".case-words")).to_have_text(words)
    agree(case)
    page.get_by_role("button", name="Back to Errors").click()
    chosen = page.locator(".rows [aria-selected=true]")
    expect(chosen).to_be_visible()
    page.locator("#tabs").get_by_role("tab", name="Inspect", exact=True).click()
    second = source(case)
    open_second(case)
    another(case, second)
    expect(page.locator(".case-bar")).to_be_hidden()
    agree(case)


def test_the_right_side_says_that_it_is_of_another_clip_or_question(tab):
    agree(tab)
    before = tab.page.input_value("#question textarea")
    tab.page.fill("#question textarea", "what moves?")
    stale(tab).to_contain_text(f"Still the answer to “{before}”")
    tab.page.fill("#question textarea", before)
    agree(tab)
    choose_example(tab, 1)
    stale(tab).to_contain_text("Still the answer about another clip")
    key = source(tab)
    assert "Answered" in run_to_end(tab)
    another(tab, key)
    agree(tab)


def test_a_saved_trace_fills_the_left_side(tab):
    choose_example(tab, 1)
    stale(tab).to_contain_text("another clip")
    before = source(tab)
    open_second(tab)
    another(tab, before)
    agree(tab)


def test_a_trace_without_its_clip_is_said_to_be_so(tab, tmp_path):
    before = source(tab)
    from dataclasses import replace

    trace = replace(saved_trace(), question="who is this?")
    upload_trace(tab, trace.save(tmp_path / "foreign.npz"))
    another(tab, before)
    stale(tab).to_contain_text("came without its clip")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720)])
def test_what_is_asked_stays_in_sight(open_tab, width, height):
    page = open_tab(width, height).page
    for name in ("ask", "see"):
        rolls = page.evaluate(
            "name => [...document.querySelectorAll(`#${name}, #${name} *`)].filter((e) =>"
            " /auto|scroll/.test(getComputedStyle(e).overflowY) && e.checkVisibility()"
            " && e.scrollHeight > e.clientHeight + 1 && e.clientHeight > 200).length",
            name,
        )
        assert rolls == 0, name
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    for part in ("#run", "#question", "#status"):
        box = page.locator(part).bounding_box()
        assert 0 <= box["y"] and box["y"] + box["height"] <= height, part
