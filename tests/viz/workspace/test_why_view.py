"""The view Why? without a server: what it says then, and that news of a server stay text."""

from __future__ import annotations

import pytest
from handmade import build
from recorded import walked

from stc_core import TokenGrid

NASTY = "<img src=x onerror=alert(1)> ${1+1} {{x}}"


def test_a_saved_page_and_a_trace_without_its_clip_say_why_they_cannot(bench):
    view = bench(build(TokenGrid(2, 2, 2, 20, 20), kept=(0, 5)))
    host = view.page.locator("[data-view=why]")
    go = host.get_by_role("button", name="Why?")
    assert not go.is_enabled()
    assert "Only a running page can tell why; this is a saved one." in host.inner_text()
    view.page.evaluate("workspace.served = true; workspace.show({ ...workspace.urls })")
    view.wait("v.ready")
    view.page.wait_for_function(
        "document.querySelector('[data-view=why]').innerText.includes('Nobody knows which clip')"
    )
    assert not go.is_enabled()


def test_news_are_text(bench):
    view = bench(build(TokenGrid(2, 2, 2, 20, 20), kept=(0, 5)))
    page = view.page
    page.evaluate("""() => {
      workspace.served = true;
      workspace.send = (...sent) => { window.sent = sent; };
      workspace.views.why.home = { key: 'a', again: true };
      workspace.views.why.fill();
    }""")
    host = page.locator("[data-view=why]")
    host.get_by_role("button", name="Why?").click()
    assert page.evaluate("window.sent[0]") == "why"

    def news(**told) -> None:
        page.evaluate(
            """(told) => document.dispatchEvent(new CustomEvent('tokens-why', {
              detail: { id: window.sent[1].id, ...told } }))""",
            told,
        )

    news(stage=NASTY, fraction=0.4, elapsed=1.0)
    assert NASTY in host.locator(".ws-why-status").inner_text()
    row = {"kind": "full", "label": NASTY, "answer": NASTY, "probabilities": {NASTY: 0.25},
           "tokens": 8, "budget": NASTY, "edit": None, "method": NASTY}  # fmt: skip
    draws = [{**row, "kind": "random", "label": f"random, draw {n}", "edit": {}} for n in (1, 2, 3)]
    news(done={"sentence": NASTY, "wanted": NASTY, "tokens": [1, 2], "rows": [row, *draws],
               "found": {"done": False}})  # fmt: skip
    assert host.locator(".ws-why-sentence").inner_text() == NASTY
    host.get_by_role("button", name="The runs that prove it").click()
    proof = page.locator("[data-view=proof]")
    lines = proof.locator(".ws-why-rows li")
    assert lines.count() == 2 and page.locator(".workspace img").count() == 0
    assert "25" in lines.first.locator(".ws-why-chance").inner_text()
    assert "3 of 3 draws say" in lines.nth(1).inner_text()
    assert lines.nth(1).get_by_role("button").count() == 3
    assert proof.get_by_role("button", name="Search on").is_visible()
    proof.get_by_role("button", name="Search on").click()
    assert page.evaluate("window.sent[1].more") is True
    news(error=NASTY)
    assert NASTY in host.locator(".ws-why-status").inner_text()


LONG = "Without the evidence, 11 tokens that the pool lost before the LLM, it says “ring”. " * 4


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720)])
def test_what_it_says_never_moves_the_clip(bench, width, height):
    view = bench(walked(8), width=width, height=height, served=True)
    page = view.page
    page.evaluate("""() => {
      workspace.send = (...sent) => { window.sent = sent; };
      workspace.views.why.home.again = true;
      workspace.views.why.fill();
    }""")
    clip, tabs = page.locator("[data-view=player] canvas").first, page.locator(".ws-tabs")
    host = page.locator("[data-view=why]")

    def places() -> list[dict]:
        return [clip.bounding_box(), tabs.bounding_box()]

    def news(**told) -> None:
        page.evaluate(
            """(told) => document.dispatchEvent(new CustomEvent('tokens-why', {
              detail: { id: window.sent[1].id, ...told } }))""",
            told,
        )

    before = places()
    host.get_by_role("button", name="Why?").click()
    assert places() == before
    news(stage="Uncompressed run: LLM reads video and question", fraction=0.4, elapsed=1.0)
    assert places() == before
    row = {"kind": "full", "label": "all tokens", "answer": "star", "probabilities": {"star": 0.25},
           "tokens": 8, "budget": "", "edit": None, "method": "STC"}  # fmt: skip
    news(done={"sentence": LONG, "wanted": "star", "tokens": [1, 2], "rows": [row] * 14,
               "found": {"done": True}})  # fmt: skip
    host.get_by_text(LONG.strip()).wait_for()
    assert places() == before
    proof = page.locator("[data-panel=proof]")
    assert proof.is_hidden()  # one click away
    host.get_by_role("button", name="The runs that prove it").click()
    assert proof.locator("li").count() == 14
    assert places() == before
    page.get_by_role("tab", name="Overview").click()
    assert places() == before
