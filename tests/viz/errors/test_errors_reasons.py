"""Causes, shares, pictures, links and exports of the error table, in headless Chromium."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
from made_up import write
from playwright.sync_api import expect
from small_world import asked
from table_page import count, found

SEEDS = range(2_000_000_000, 2_000_000_012)


@pytest.fixture(scope="module")
def answers():
    """Twelve questions of real clips; of every second one the cause is another."""
    made = asked(SEEDS, 8)
    for line in made[3::4]:
        line["why"] = {"cause": "not the evidence", "sentence": "The model reads it wrongly."}
    return made


@pytest.fixture
def page(open_page):
    return open_page()


def test_the_numbers_of_the_server_stand_in_the_panel(page, answers):
    expect(page.locator(".rates")).to_contain_text("right 100.0 % (75.8–100.0) → 0.0 % (0.0–24.2)")
    expect(page.locator(".two-by-two tbody tr").first).to_contain_text("12")
    expect(page.locator(".sentence")).to_contain_text("Nothing can be compared")
    page.get_by_text("By kind of question").click()
    rows = page.locator(".assoc details").first.locator("tbody tr")
    expect(rows.first).to_be_visible()
    assert rows.count() == len({line["kind"] for line in answers}) > 1
    expect(page.locator(".whys h3")).to_contain_text("all 12 turned answers explained")
    expect(page.locator(".why-rate").first).to_contain_text("50.0 % (25.4–74.6)")


def test_a_cause_filters_and_a_link_brings_it_back(page, open_page, served):
    page.locator(".whys button", has_text="not the evidence").click()
    expect(page.locator(".found")).to_contain_text("6 of 12 questions: not the evidence")
    whys = page.locator(".rows [role=row] [role=gridcell]:nth-child(9)").all_inner_texts()
    assert set(whys) == {"not the evidence"}
    page.get_by_label("Search").fill("what")
    page.get_by_role("button", name="Gallery").click()
    wanted, query = found(page), page.url.split("?")[1]
    assert "errors=" in query and "view%3Dgallery" in query

    def opened(query):
        other = open_page(served.url.rstrip("/"), theme=f"light&{query}")
        other.locator(".gallery .card").first.wait_for()
        return other

    other = opened(query)
    expect(other.locator(".found")).to_have_text(wanted)
    why = other.get_by_label("Why it turned").locator(":checked")
    assert why.inner_text() == "not the evidence"
    nonsense = "errors=view%3Dgallery%26why%3D99%26kind%3D%3Cb%3E%26flip0%3D7"
    assert count(opened(nonsense)) == 12  # what a link cannot mean is left out


def test_pictures_in_rows_gallery_and_detail(page, served):
    picture = page.get_by_role("img", name="the clip at").first
    expect(picture).to_be_visible()
    assert picture.evaluate("one => one.style.backgroundImage").startswith('url("data:image/jpeg')
    page.get_by_role("button", name="Gallery").click()
    cards = page.locator(".gallery .card")
    expect(cards.nth(11).get_by_role("img")).to_be_visible()
    assert cards.count() == 12 and "wrong" in cards.first.inner_text()
    box = cards.first.bounding_box()
    assert box["height"] > box["width"]  # the picture and the words below it
    cards.nth(2).click()
    expect(page.locator("#workspace textarea")).not_to_have_value("")
    assert served.opened[-1][0].id == str(SEEDS[2])
    expect(page.locator(".detail [role=img]")).to_be_visible()
    expect(page.locator(".detail .reason")).to_contain_text("lost by tau. It needs the token.")


def test_exports_hold_what_is_shown(page, tmp_path, answers):
    page.get_by_label("Why it turned").select_option(label="lost by tau")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="JSONL").click()
    lines = [json.loads(line) for line in Path(waiting.value.path()).read_text().splitlines()]
    assert len(lines) == 6 and lines[0]["answers"][1]["why"] == "lost by tau"
    first = next(line for line in answers if line.get("why", {}).get("cause") == "lost by tau")
    assert lines[0]["case"] == first["case"] and lines[0]["answers"][0]["right"] is True
    assert lines[0]["answers"][1]["evidence"] == first["evidence"]
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export CSV").click()
    text = Path(waiting.value.path()).read_text("utf-8-sig")
    assert "why: STC at 2 %" in text and text.count("It needs the token.") == 6
    with page.expect_download() as waiting:
        page.get_by_role("button", name="FiftyOne").click()
    expect(page.locator(".exported")).to_contain_text("Saved 6 questions as errors-fiftyone.zip")
    assert waiting.value.suggested_filename == "errors-fiftyone.zip"
    with zipfile.ZipFile(waiting.value.path()) as zipped:
        names = zipped.namelist()
        samples = json.loads(zipped.read("samples.json"))["samples"]
    assert len(samples) == 6 and sum(name.endswith(".mp4") for name in names) == 6


def test_a_file_without_causes_says_how_to_get_them(page, tmp_path, answers):
    plain = [{k: v for k, v in line.items() if k != "why"} for line in answers]
    path = write(tmp_path / "plain.jsonl", plain)
    with page.expect_file_chooser() as waiting:
        page.get_by_role("button", name="Open a result file").click()
    waiting.value.set_files(path)
    expect(page.locator(".about")).to_contain_text("python -m stc_core benchmark --why")
    assert not page.get_by_label("Why it turned").is_visible()
    heads = page.locator(".head [role=columnheader]").all_inner_texts()
    assert not any(re.search(r"\bwhy$", head) for head in heads)
