"""Every button of the page is pressed, on wide and narrow windows.

As in ``test_every_control.py`` a page error, an error on the console or a request to another
machine fails the test. Where a test ends the page rests: nothing goes on that nobody asked for.
"""

from __future__ import annotations

import pytest
from helpers.page_actions import choose_example, examples, figure, go, source
from helpers.resting import IDLE, activity
from helpers.walking import fits, use_all
from playwright.sync_api import expect

from viz.page.inspect_tab import ORDER

SIZES = [(1920, 1080, "light"), (1440, 900, "dark"), (1280, 720, "light"), (390, 844, "dark")]
STEP = "window.__lesson?.settled && window.__lesson.number === {}"
# What the walk over the views must have met; what else is there is pressed as well.
BUTTONS = ("Why?", "Scrub retention", "Add", "Uniform", "Cancel", "Play the selection",
           "Pause the selection", "Leave the replay", "Clear the selection", "Undo", "Discard",
           "Draw evidence", "For the benchmark", "Image only (h)", "Play", "Pause", "Copy link",
           "Copy as code", "Frame as PNG", "Figure as PNG", "Figure as SVG",
           "Trace (.npz)")  # fmt: skip


def rests(page) -> None:
    """Check that the page comes to rest: a second in which it does nothing of itself."""
    for _ in range(60):  # what the server still does for it may take its time
        if (seen := activity(page, 1)) == IDLE:
            return
    assert seen == IDLE


@pytest.mark.parametrize("walked", SIZES, indirect=True, ids=lambda size: str(size[0]))
def test_every_button_of_the_views(walked):
    page, used = walked.page, []
    for tab in page.locator("#workspace .ws-tabs [role=tab]").all():
        tab.click()
        used += use_all(page, "#workspace [data-panel]:not([hidden])")
        fits(page)
    rest = "[role=tab], [data-panel], #figures, #exports, .ws-stage-go"
    used += use_all(page, "#see", skip=rest)
    pressed = {one.split(": ")[-1] for one in used}
    assert set(BUTTONS) <= pressed
    if (stage := page.locator(".ws-stage-go")).is_visible():
        stage.click()
        page.keyboard.press("?")
        page.keyboard.press("Escape")  # the list of keys
        page.keyboard.press("Escape")
        expect(page.locator(".ws-staged")).to_have_count(0)


def test_figures_and_files(walked):
    page = walked.page
    for name in ORDER:
        figure(walked, name)
        for form in ("png", "svg"):
            with page.expect_download() as saved:
                page.locator(f"#{name}-{form}").click()
            assert saved.value.suggested_filename.endswith(form)
    page.get_by_role("button", name="Files to share").click()
    use_all(page, "#export-picture, #export-stage")
    for button, ending in (("video", ".webm"), ("report", ".html")):
        page.locator(f"#export-{button}").click()
        file = page.locator("#export-file")
        expect(file).to_contain_text(ending)
        with page.expect_download() as saved:
            file.click()
        assert saved.value.suggested_filename.endswith(ending)
    expect(page.locator("#export-status")).not_to_contain_text("…")


def test_what_is_asked(walked):
    page, before = walked.page, source(walked)
    for fold in ("More", "Open a saved trace"):
        page.get_by_role("button", name=fold, exact=False).first.click()
    alone = "#run, #method, #saved, .record, #clip, #examples, #suggestions, #trace-upload"
    used = use_all(page, "#ask", skip=alone)
    assert {"question: Question", "tau: tau, similarity threshold"} <= set(used)
    for number in range(len(examples())):
        choose_example(walked, number)
        pages = page.locator("#suggestions .paginate button")
        while not (here := pages.last.get_attribute("class")) or "current-page" not in here:
            pages.last.click()  # those at the end are offered as one gets there
        last = page.locator("#suggestions .gallery-item").last
        last.click()
        expect(page.locator("#question textarea")).to_have_value(last.inner_text())
    assert source(walked) == before  # Cancel: test_asking.py
    page.fill("#frames input", "4")
    page.click("#run")
    expect(page.locator("#status .done")).to_contain_text("Answered")
    page.locator("#turns li button").click()
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#turns .turns")).to_be_hidden()
    rests(page)


def test_every_control_of_the_error_table(walked):
    page = walked.page
    go(walked, "Errors")
    page.locator(".rows [role=row]").first.wait_for()
    page.locator(".errors [name=second]").select_option(index=2)
    page.locator(".errors .assoc summary").first.wait_for()
    used = use_all(page, ".errors", skip="[name=dataset], .gallery .card")
    names = ("Order", "Kind", "Search", "Clear filters", "Copy link", "Save filter", "Gallery",
             "Export CSV", "JSONL", "By kind of question")  # fmt: skip
    assert all(any(f": {name}" in one for one in used) for name in names)
    page.get_by_role("button", name="Show more").first.click()
    page.locator(".errors [name=view-table]").click()
    page.fill(".errors [name=filter-name]", "mine")
    page.get_by_role("button", name="Save filter").click()
    expect(page.locator(".errors [name=saved]")).to_have_value("#mine")
    page.get_by_role("button", name="Delete filter").click()
    page.evaluate("document.activeElement.blur()")
    for key in ("n", "n", "p"):
        page.keyboard.press(key)
    expect(page.locator(".rows .flipped[aria-selected=true]")).to_have_count(1)
    page.locator(".detail input").fill("walked")  # a tag, and the menu of tags has it
    page.locator(".errors [name=mark]").select_option(label="tag: walked")
    page.locator(".errors [name=dataset]").click()
    expect(page.locator(".exported")).to_contain_text("errors-fiftyone.zip")
    page.get_by_role("button", name="Clear filters").click()
    before = source(walked)
    page.get_by_role("button", name="Open in the workspace").click()
    for button in ("Next flip", "Previous flip"):
        page.get_by_role("button", name=button).click()
    page.wait_for_function(
        "key => document.querySelector('#workspace .workspace').dataset.key !== key", arg=before
    )
    page.get_by_role("button", name="Back to Errors").click()
    expect(page.locator(".rows [aria-selected=true]")).to_be_visible()


def test_the_lesson_from_its_first_to_its_last_button(walked):
    page, used = walked.page, []
    go(walked, "Learn")
    page.wait_for_function(STEP.format(0))
    for number in range(6):
        page.get_by_role("button", name=f"Step {number + 1}", exact=False).click()
        page.wait_for_function(STEP.format(number))
        used += use_all(page, "#lesson .ls-place")
        fits(page)
    assert {"Play the selection", "Play", "Image only (h)"} <= {one.split(": ")[-1] for one in used}
    page.get_by_role("button", name="Start again").click()
    page.wait_for_function(STEP.format(0))
    for number in (1, 2):
        page.get_by_role("button", name="Next (n)").click()
        page.wait_for_function(STEP.format(number))
    page.get_by_role("button", name="Play the selection").click()  # and it stops with the quiz
    page.get_by_role("button", name="Quiz", exact=False).click()
    frame = page.get_by_role("application", name="The frame of the quiz", exact=False)
    frame.focus()
    for number in range(page.evaluate("window.__lesson.quiz.kept.length || 3")):
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown" if number % 6 == 5 else "ArrowRight")
    page.get_by_role("button", name="Check").click()
    expect(page.locator(".ls-score")).to_contain_text("chance")
    page.get_by_role("button", name="Try again").click()
    rests(page)
    page.get_by_role("button", name="Back to the lesson").click()
    page.get_by_role("button", name="Back (p)").click()
    page.wait_for_function(STEP.format(1))
    page.get_by_role("button", name="Present", exact=True).click()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(STEP.format(2))
    page.get_by_role("button", name="Play the selection").click()
    page.keyboard.press("Escape")
    expect(page.locator(".ls-presenting")).to_have_count(0)
    go(walked, "Inspect")  # the replay stops with the tab
    rests(page)


def test_every_tab_of_the_page_rests(walked):
    page = walked.page
    rests(page)
    go(walked, "Learn")
    page.wait_for_function(STEP.format(0))
    rests(page)
    go(walked, "Errors")
    page.locator(".rows [role=row]").first.wait_for()
    page.locator(".errors .assoc summary").first.wait_for()  # the server has counted
    rests(page)


def test_the_tour_goes_back_and_ends(open_tab):
    page = open_tab(query="&tour=1").page
    card = page.get_by_role("dialog", name="Tour of the page")
    count = card.locator(".tour-count")
    expect(count).to_contain_text("1 of")
    for button, place in (("Next", 2), ("Next", 3), ("Back", 2)):
        card.get_by_role("button", name=button).click()
        expect(count).to_contain_text(f"{place} of")
    page.keyboard.press("ArrowRight")
    expect(count).to_contain_text("3 of")
    card.get_by_role("button", name="End").click()
    expect(card).to_have_count(0)
    rests(page)
