"""Every method and setting, and everything open at once, on wide and narrow windows.

The fixture ``open_tab`` fails a test in which the page threw, wrote an error to the console or
asked anything of another machine. Every button: ``test_every_button.py``; the workspace's controls
on traces of all sizes: ``workspace/test_walk.py``.
"""

from __future__ import annotations

import pytest
from helpers.page_actions import go, open_settings
from helpers.walking import fits
from playwright.sync_api import expect

from stc_core.method_text import NAMES
from viz.server.method_fields import FIELDS, idea

SHOWN = ".status.error:visible, .toast-body.error:visible, #workspace .ws-broken:visible"
LESSON = "window.__lesson?.settled && window.__lesson.number === {}"


def test_every_method_and_every_setting(walked):
    page = walked.page
    open_settings(walked)
    for name in FIELDS:
        page.locator("#method input").click()
        page.get_by_role("option", name=NAMES[name], exact=True).click()
        expect(page.locator("#method-idea")).to_have_text(idea(name))
        for field in page.locator("#settings input:visible, #retention input").all():
            kind, before = field.get_attribute("type"), field.input_value()
            if kind == "checkbox":
                field.click()
                field.click()
            else:
                field.fill("1")
                field.fill(before)
    slider, number = page.locator("#retention-slider input"), page.locator("#retention input")
    for place, share in (("0", "0.005"), ("18", "1"), ("4", "0.02")):
        slider.fill(place)
        expect(number).to_have_value(share)
    number.fill("0.1")
    expect(page.locator("#retention-slider output")).to_have_text("10 % of the video tokens")
    page.locator("#method input").click()
    page.get_by_role("option", name=NAMES["stc"], exact=True).click()
    page.locator("#own-settings").click()
    expect(page.locator("#tau input")).to_have_value("0.8")
    for switch in ("#live", "#live"):
        page.locator(f"{switch} input").click()
    for fold in ("More", "Settings", "Open a saved trace"):
        for _ in range(2):
            page.locator("#ask").get_by_role("button", name=fold, exact=False).first.click()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1280, 720)])
def test_everything_open_at_once_is_no_wider_than_the_window(open_tab, width, height, theme):
    tab = open_tab(width, height, theme)
    page = tab.page
    open_settings(tab)
    for fold in ("Open a saved trace", "Figures for papers and slides", "Files to share"):
        page.get_by_role("button", name=fold).click()
    page.locator("#costs summary").first.click()
    fits(page)
    go(tab, "Learn")
    page.wait_for_function(LESSON.format(0))
    fits(page)
    go(tab, "Errors")
    page.locator(".rows [role=row]").first.wait_for()
    page.locator(".errors [name=second]").select_option(index=2)
    for summary in page.locator(".errors .assoc summary").all():
        summary.click()
    fits(page)
    assert page.locator(SHOWN).all_inner_texts() == []
