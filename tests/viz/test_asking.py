"""Asking on the real page: methods, a stream of words, conversations, recordings."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qs, urlsplit

import pytest
import torch
from browser import FLAGS, PATIENCE, chromium  # noqa: F401
from clips import write_clip
from helpers.page import Tab, ready
from helpers.page_actions import (
    another,
    choose_example,
    delay_news,
    downloaded,
    examples,
    open_settings,
    run_to_end,
    source,
    status,
)
from playwright.sync_api import expect
from tiny.llava_onevision import build

import app
from stc_core.method_text import NAMES

# Every text that an element has had, from now on.
WATCH = """selector => {
  const host = document.querySelector(selector);
  window.heard = [];
  new MutationObserver(() => {
    const said = [...host.querySelectorAll('.writing .card p')].map((p) => p.textContent);
    if (said.length) window.heard.push(said);
  }).observe(host, { childList: true, subtree: true, characterData: true });
}"""


def choose_method(tab: Tab, name: str) -> None:
    tab.page.locator("#method input").click()
    tab.page.get_by_role("option", name=name, exact=True).click()
    expect(tab.page.locator("#method input")).to_have_value(name)


def asked(tab: Tab, question: str, turns: int) -> None:
    """Ask, and wait until the conversation has so many turns."""
    tab.page.fill("#question textarea", question)
    tab.page.click("#run")
    expect(tab.page.locator("#turns li")).to_have_count(turns)
    expect(tab.page.locator("#status .done")).to_contain_text("Answered")


# --- methods and the retention ratio --------------------------------------------------------------


def test_a_method_shows_the_fields_that_it_has_and_marks_the_answer_as_stale(tab):
    page = tab.page
    stale = expect(page.locator("#stale"))
    open_settings(tab)
    choose_method(tab, "FastVID")
    expect(page.locator("#method-idea")).to_contain_text("It has no R, cluster ratio, K or lambda.")
    expect(page.locator("#tau input")).to_have_value("0.9")  # its own
    for field in ("keep-inside", "cluster-ratio", "layer", "lambda"):
        expect(page.locator(f"#{field} input")).not_to_be_visible()
    stale.to_contain_text("other settings")
    choose_method(tab, "Uniform")
    expect(page.locator("#more")).not_to_be_visible()
    choose_method(tab, "STC")
    for field, value in {"keep-inside": "0.5", "tau": "0.7", "layer": "", "lambda": "0.5"}.items():
        expect(page.locator(f"#{field} input")).to_have_value(value)
    stale.to_be_empty()


def test_slider_and_number_are_one(tab):
    page = tab.page
    slider, number = page.locator("#retention-slider input"), page.locator("#retention input")
    expect(slider).to_have_attribute("aria-valuetext", "2 % of the video tokens")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(number).to_have_value("0.03")
    expect(page.locator("#stale")).to_contain_text("other settings")
    page.keyboard.press("Home")
    expect(number).to_have_value("0.005")
    page.keyboard.press("End")
    expect(number).to_have_value("1")
    number.fill("0.37")
    expect(slider).to_have_attribute("aria-valuetext", "37 % of the video tokens")
    assert number.input_value() == "0.37"  # the slider has no such stop
    number.fill("0.02")
    expect(page.locator("#stale")).to_be_empty()


def test_a_run_of_another_method_and_its_link(open_tab):
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    page, before = tab.page, source(tab)
    page.uncheck("#live input")
    page.fill("#frames input", "8")
    page.fill("#retention input", "0.1")
    choose_method(tab, "FastV")
    open_settings_of_layer(tab)
    page.fill("#layer input", "3")
    assert "Answered" in run_to_end(tab)
    another(tab, before)
    expect(page.locator("#run-line")).to_contain_text("FastV(retention=0.1")
    page.get_by_role("button", name="Copy link", exact=True).click()
    link = urlsplit(page.evaluate("navigator.clipboard.readText()"))
    linked = open_tab(query=f"&trace={parse_qs(link.query)['trace'][0]}")
    other = linked.page
    expect(other.locator("#method input")).to_have_value("FastV")
    open_settings_of_layer(linked)
    expect(other.locator("#layer input")).to_have_value("3")
    expect(other.locator("#retention input")).to_have_value("0.1")
    expect(other.locator("#keep-inside")).not_to_be_visible()
    expect(other.locator("#stale")).to_be_empty()


def open_settings_of_layer(tab: Tab) -> None:
    if not tab.page.locator("#layer input").is_visible():
        tab.page.get_by_role("button", name="More", exact=False).first.click()
    tab.page.locator("#layer input").wait_for(state="visible")


def test_compare_says_what_each_method_does_and_costs(tab):
    page = tab.page
    page.wait_for_function("document.querySelector('#workspace .ws-idea')?.textContent")
    texts = page.locator("#workspace form select option").all_text_contents()
    assert len(texts) == len(NAMES) and all("FLOPs" in text for text in texts), texts
    costs = dict(text.split(" · ") for text in texts)
    assert costs["STC"] == costs["HoliTom"] != costs["FastV"]
    assert costs["Uniform"] == costs["VidCom2"]
    idea = page.locator("#workspace .ws-idea").text_content()
    assert idea.startswith("One pool of attended") and "of those with all tokens" in idea


# --- words as they are written --------------------------------------------------------------------


def test_both_answers_are_shown_while_they_are_written(tab):
    page = tab.page
    choose_example(tab)
    page.fill("#frames input", "8")
    page.evaluate(WATCH, "#answers")
    before = source(tab)
    assert "Answered" in run_to_end(tab)
    another(tab, before)
    heard = page.evaluate("window.heard")
    trace = downloaded(tab)
    both = [trace.baseline["answer"], trace.answer]
    assert heard[0][0] == both[0] and heard[0][1] == ""  # one after the other
    assert heard[-1] == both
    expect(page.locator("#answers .writing")).to_have_count(0)
    expect(page.locator("#answers .card.accent .sure")).to_contain_text("%")


@pytest.fixture
def long_run(tab, tmp_path) -> Tab:
    """A page on which Run takes several seconds."""
    path = write_clip(tmp_path / "long.mp4", range(0, 12_800, 100))
    tab.page.locator("#clip-upload input").set_input_files(path)
    tab.page.wait_for_function("document.querySelector('#clip video')?.src.endsWith('long.mp4')")
    tab.page.fill("#question textarea", "what color is the square?")
    tab.page.fill("#frames input", "128")
    return tab


def test_cancel_brings_the_former_answers_back(long_run):
    page = long_run.page
    before = page.locator("#answers").inner_text()
    page.click("#run")
    page.locator("#cancel:not([disabled])").click()
    expect(page.locator("#status")).to_contain_text("Cancelled")
    page.wait_for_timeout(1000)
    assert page.locator("#answers").inner_text() == before


def test_run_can_be_pressed_as_soon_as_it_was_cancelled(long_run):
    page = long_run.page
    for _ in range(3):
        page.locator("#run:not([disabled])").click()
        page.locator("#cancel:not([disabled])").click()
    page.locator("#run:not([disabled])").click()
    expect(page.locator("#status")).to_contain_text("Answered")


def test_cancel_has_the_last_word_where_news_come_late(long_run):
    """As over a slow line: what the run reported before it was cancelled comes after Cancel."""
    page, line = long_run.page, long_run.page.locator("#status")
    delay_news(long_run, 0.5)
    page.click("#run")
    expect(line).to_contain_text(re.compile(r"… [0-9.]+ s"))
    page.locator("#cancel:not([disabled])").click()
    expect(line).to_contain_text("Cancelled")
    page.wait_for_timeout(8000)  # all of it has come
    expect(line).to_contain_text("Cancelled")
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#cancel")).to_be_disabled()


# --- conversations --------------------------------------------------------------------------------


def test_a_conversation_opens_its_turns_and_ends_with_its_clip(tab):
    page = tab.page
    choose_example(tab)
    page.fill("#frames input", "8")
    expect(page.locator("#turns .turns")).to_be_hidden()
    first, second = [question["text"] for question in examples()[0]["questions"]][:2]
    asked(tab, first, 1)
    trace = source(tab)
    asked(tab, second, 2)
    another(tab, trace)
    now = page.locator("#turns [aria-current]")
    expect(now).to_contain_text(second)
    page.locator("#turns li button").first.click()
    page.wait_for_function(
        "key => document.querySelector('#workspace .workspace').dataset.key === key", arg=trace
    )
    expect(page.locator("#answers .question")).to_contain_text(first)
    expect(page.locator("#question textarea")).to_have_value(first)
    expect(now).to_contain_text(first)
    expect(page.locator("#stale")).to_be_empty()
    assert page.locator("#remember input").is_disabled()
    expect(page.locator("#remember")).to_contain_text("has not learnt to read earlier turns")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#turns .turns")).to_be_hidden()
    asked(tab, first, 1)
    choose_example(tab, 1)
    expect(page.locator("#turns .turns")).to_be_hidden()


def test_an_upload_ends_the_conversation_about_the_clip_before(tab, tmp_path):
    page = tab.page
    for number in (1, 2):  # the clip of the conversation is an upload, too
        path = write_clip(tmp_path / f"clip{number}.mp4", range(0, 400 * number, 50))
        page.locator("#clip-upload input").set_input_files(path)
        page.wait_for_function(
            "n => document.querySelector('#clip video')?.src.endsWith(`clip${n}.mp4`)", arg=number
        )
        expect(page.locator("#turns .turns")).to_be_hidden()
        page.fill("#frames input", "4")
        asked(tab, "what color is it?", 1)


# --- a model that says many words -----------------------------------------------------------------


@pytest.fixture(scope="module")
def talkative(tmp_path_factory):
    """The page with a tiny model that never ends by itself; its address."""
    folder = tmp_path_factory.mktemp("talkative")
    for part in build(seed=1):
        if hasattr(part, "generation_config"):
            part.generation_config.eos_token_id = None
        part.save_pretrained(folder)
    home = tmp_path_factory.mktemp("served")
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(home)
    args = app.arguments(["--device", "cpu", "--model", str(folder)])
    parts = app.parts(args, home)
    demo = app.page(args, parts)
    how = app.settings(args, home, demo, parts) | {"prevent_thread_lock": True, "quiet": True}
    _, url, _ = demo.launch(**how)
    yield url
    demo.close()
    os.environ.pop("GRADIO_TEMP_DIR")
    if before is not None:
        os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture
def talking(chromium, talkative):  # noqa: F811
    """A tab on that page, with 4 frames of an example."""
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(PATIENCE)
    page.goto(talkative)
    tab = Tab(page)
    ready(tab)
    choose_example(tab)
    page.fill("#frames input", "4")
    yield tab
    page.close()


def test_long_answers_grow_word_by_word(talking):
    page, before = talking.page, source(talking)
    page.evaluate(WATCH, "#answers")
    assert "Answered" in run_to_end(talking)
    another(talking, before)
    trace = downloaded(talking)
    heard, grown = page.evaluate("window.heard"), []
    for place, whole in enumerate((trace.baseline["answer"], trace.answer)):
        texts = list(dict.fromkeys(said[place] for said in heard if said[place]))
        grown.append(len(texts))
        assert all(later.startswith(text) for text, later in zip(texts, texts[1:], strict=False))
        assert whole.startswith(texts[-1])
    assert max(grown) > 2, heard  # a starved machine sends many words at once
    expect(page.locator("#answers .card.accent p")).to_have_text(trace.answer)
    expect(page.locator("#answers .card.accent .sure")).to_contain_text("a token on average")


def test_the_tower_runs_once_and_the_model_reads_earlier_turns_where_asked(talking):
    page, seen = talking.page, []
    page.fill("#frames input", "3")  # four may be encoded already, for the test before
    page.uncheck("#baseline input")
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: seen.append(1) if type(module).__name__ == "SiglipEncoder" else None
    )
    try:
        asked(talking, "what color is the star ?", 1)
        once = len(seen)
        asked(talking, "is there a circle ?", 2)
        expect(page.locator("#notes")).not_to_contain_text("earlier turn")
        before = source(talking)
        page.check("#remember input")
        asked(talking, "where is it ?", 3)
        another(talking, before)
        expect(page.locator("#notes")).to_contain_text("The prompt held 2 earlier turns")
        assert once > 0 and len(seen) == once
    finally:
        hook.remove()
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#workspace .ws-why-status")).to_contain_text("in a new conversation")


# --- recordings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["webcam", "screen"])
def test_a_recording_is_a_clip(chromium, served, kind):  # noqa: F811
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    fake.append("--auto-select-desktop-capture-source=Entire screen")
    path = chromium.browser_type.executable_path
    path = os.environ.get("CHROMIUM", path if os.path.exists(path) else "/usr/bin/chromium")
    with chromium.browser_type.launch(executable_path=path, args=[*FLAGS, *fake]) as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(served.url)
        tab = Tab(page)
        ready(tab)
        page.get_by_role("button", name=f"Record {kind}").click()
        stop = page.locator(".record-stop")
        expect(stop).to_contain_text("(2 s)")
        expect(page.locator(".record-live")).to_be_visible()
        stop.click()
        expect(page.locator("#status .done")).to_contain_text(f"{kind}.webm is uploaded")
        assert "shown here as decoded" in status(tab)  # it has no duration to seek by
        page.wait_for_function("document.querySelector('#clip video').duration > 1")
        page.fill("#frames input", "4")
        before = source(tab)
        assert "Answered" in run_to_end(tab)
        another(tab, before)
        assert downloaded(tab).seconds[-1] > 1
        expect(page.locator("#notes")).not_to_contain_text("timestamps")
        expect(stop).to_be_hidden()


def test_a_browser_that_may_not_record_says_so(tab):
    tab.page.get_by_role("button", name="Record webcam").click()
    expect(tab.page.locator(".record-said")).not_to_be_empty()
    assert tab.page.locator("#clip video").count() == 1  # the clip before
