"""The lesson and the tour on the whole page: the evidence given back, words, presenting."""

from __future__ import annotations

import pytest
from browser import chromium  # noqa: F401
from helpers.page import open_tab, served, tab  # noqa: F401
from playwright.sync_api import expect

from viz.lesson.glossary import TERMS

SETTLED = "window.__lesson?.settled && window.__lesson.number === {}"


@pytest.fixture
def learn(open_tab):  # noqa: F811
    page = open_tab(width=1440, height=900).page
    page.locator("#tabs").get_by_role("tab", name="Learn", exact=True).click()
    page.wait_for_function(SETTLED.format(0))
    return page


def test_the_lost_tokens_bring_the_answer_back_and_random_ones_do_not(learn):
    title = learn.locator(".ls-card .ls-title")
    expect(title).to_have_text("1. Right with all tokens, wrong with a few")
    learn.get_by_role("button", name="Step 6", exact=False).click()
    learn.wait_for_function(SETTLED.format(5))
    learn.get_by_role("button", name="back and ask again").click()
    given = learn.locator(".ls-given")
    expect(given).to_contain_text(": right. So these tokens were what the answer needed.")
    learn.wait_for_function("window.__lesson.workspace.ready !== false")
    learn.get_by_role("button", name="random").click()
    expect(given).to_contain_text("random tokens given back")
    expect(given).to_contain_text(": wrong. So it is not the number of tokens")
    learn.keyboard.press("p")  # and on, with the lesson's own trace again
    learn.wait_for_function(SETTLED.format(4))
    expect(given).to_have_text("")


def test_a_word_says_what_it_means_by_pointer_and_by_key(learn):
    word = learn.locator(".ls-term", has_text="tokens")
    tip = learn.get_by_role("tooltip")
    word.hover()
    expect(tip).to_have_text(f"tokens: {TERMS['token']}.")
    learn.mouse.move(2, 2)
    expect(tip).to_be_hidden()
    word.focus()
    expect(tip).to_be_visible()
    learn.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_presenting_is_large_turned_by_arrows_and_left_by_escape(learn):
    size = "getComputedStyle(document.querySelector('.ls-text')).fontSize"
    before = float(learn.evaluate(size)[:-2])
    learn.get_by_role("button", name="Present").click()
    assert float(learn.evaluate(size)[:-2]) > 1.35 * before
    learn.keyboard.press("ArrowRight")
    learn.wait_for_function(SETTLED.format(1))
    learn.keyboard.press("PageUp")
    learn.wait_for_function(SETTLED.format(0))
    learn.keyboard.press("Escape")
    expect(learn.locator(".ls-presenting")).to_have_count(0)
    learn.keyboard.press("ArrowRight")  # moves tokens now, not the steps
    assert learn.evaluate("window.__lesson.number") == 0


def test_the_tour_shows_every_part_and_ends(open_tab):  # noqa: F811
    page = open_tab(query="&tour=1").page
    card = page.get_by_role("dialog", name="Tour of the page")
    expect(card).to_be_visible()
    stops = page.evaluate("window.__tour.stops.length")
    assert stops >= 6
    titles = []
    for number in range(stops):
        expect(card).to_contain_text(f"{number + 1} of {stops}")
        titles.append(card.locator("h2").inner_text())
        box = card.bounding_box()
        assert box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= 1280
        assert box["y"] + box["height"] <= 720
        card.get_by_role("button", name="Done" if number == stops - 1 else "Next").click()
    expect(card).to_have_count(0)
    assert {"Ask", "The clip", "Learn", "Errors"} <= set(titles)
    assert page.evaluate("localStorage.getItem('video-tokens tour')") == "seen"


def test_the_tour_is_offered_once_and_only_on_a_bare_address(open_tab, served):  # noqa: F811
    first = open_tab().page  # its address chooses a theme
    expect(first.get_by_role("button", name="Start the tour")).to_have_count(0)
    page = first.context.new_page()  # one visitor; leaving a page would break off what it asks for
    page.goto(served.url)
    offer = page.get_by_role("button", name="Start the tour")
    expect(offer).to_be_visible()
    page.get_by_role("button", name="No, thanks").click()
    expect(offer).to_have_count(0)
    again = first.context.new_page()
    again.goto(served.url)
    again.wait_for_function("window.__tokenview?.ready")
    expect(again.get_by_role("button", name="Start the tour")).to_have_count(0)
