"""Definitions of the glossary's words in the views of Inspect and in the table of errors."""

from __future__ import annotations

from playwright.sync_api import expect

from viz.lesson.glossary import spoken

ONCE = """() => [...document.querySelectorAll(
  '#answers, #workspace [data-view], .errors')].every((view) => {
  const told = [...view.querySelectorAll('.ls-term')].map((term) => term.dataset.meaning);
  return new Set(told).size === told.length;
})"""


def test_words_are_defined_once_in_each_view_for_pointer_and_keyboard(open_tab):
    page = open_tab(1440, 900).page
    word = page.locator("#answers .verdict .ls-term", has_text="evidence")
    expect(word).to_have_count(1)
    word.focus()
    tip = page.locator(f"[id='{word.get_attribute('aria-describedby')}']")
    expect(tip).to_have_text(f"evidence: {spoken()['evidence']}.")
    box = tip.bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= 1440
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    word.hover()
    expect(tip).to_be_visible()
    page.mouse.move(2, 2)
    expect(tip).to_be_hidden()
    sinks = page.locator("#workspace [data-view=controls] .ls-term", has_text="Sinks")
    expect(sinks).to_have_attribute("data-meaning", spoken()["sink"])
    page.locator("#workspace .ws-tabs").get_by_role("tab", name="Replay").click()
    expect(page.locator("#workspace [data-view=replay] .ls-term").first).to_be_visible()
    page.get_by_role("tab", name="Errors", exact=True).click()
    expect(page.locator(".errors .ls-term").first).to_be_visible()
    assert page.evaluate(ONCE)


def test_a_marked_word_stays_in_the_line_of_its_sentence(tab):
    """The card of a token is a flexible box: parts of a sentence would be columns of it."""
    page = tab.page
    page.evaluate("document.querySelector('#workspace .ws-player-view .ws-top-layer').focus()")
    term = page.locator("#workspace .ws-card-fate .ls-term")
    for key in ("ArrowRight", "ArrowDown") * 7:  # until one of a token that is not kept
        page.keyboard.press(key)
        page.wait_for_function("window.__tokenview.settled")
        if page.locator("#workspace .ws-card-fate").inner_text().startswith("merged into a center"):
            break
    expect(term.first).to_be_visible()
    flexible = """() => [...document.querySelectorAll('.ls-term')].filter((term) => {
      const box = getComputedStyle(term.parentElement).display;
      return /flex|grid/.test(box) && term.parentElement.childNodes.length > 1;
    }).map((term) => term.parentElement.outerHTML.slice(0, 120))"""
    assert page.evaluate(flexible) == []
