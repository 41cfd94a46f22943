"""The view Why? without a server: what it says then, and that news of a server stay text."""

from __future__ import annotations

from handmade import build

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
    lines = host.locator(".ws-why-rows li")
    assert lines.count() == 2 and host.locator("img").count() == 0
    assert "25" in lines.first.locator(".ws-why-chance").inner_text()
    assert "3 of 3 draws say" in lines.nth(1).inner_text()
    assert lines.nth(1).get_by_role("button").count() == 3
    assert host.get_by_role("button", name="Search on").is_visible()
    host.get_by_role("button", name="Search on").click()
    assert page.evaluate("window.sent[1].more") is True
    news(error=NASTY)
    assert NASTY in host.locator(".ws-why-status").inner_text()
