"""What a visitor does on the page, and what the page shows."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.page import ROOT, Tab
from stc_core import Trace
from viz.page.inspect_tab import TABS

CLIPS, TRACES = ROOT / "assets" / "clips", ROOT / "assets" / "traces"


def go(tab: Tab, name: str) -> None:
    """Choose one of the page's three tabs."""
    choose_tab(tab, "#tabs", name)


def choose_tab(tab: Tab, bar: str, name: str) -> None:
    """Choose a tab of Gradio's, also where it is in the menu of those that have no room."""
    wanted = tab.page.locator(bar).get_by_role("tab", name=name, exact=True)
    if not wanted.count():
        tab.page.locator(bar).get_by_role("button", name="More tabs").click()
        wanted = tab.page.locator(f"{bar} .overflow-dropdown").get_by_text(name, exact=True)
    wanted.click()


def source(tab: Tab) -> str:
    """Which trace the workspace shows: its key on the shelf."""
    return tab.page.locator("#workspace .workspace").get_attribute("data-key")


def downloaded(tab: Tab) -> Trace:
    """The trace that the page gives as a file."""
    with tab.page.expect_download() as waiting:
        tab.page.get_by_role("button", name="Trace (.npz)").click()
    return Trace.load(waiting.value.path())


def another(tab: Tab, than: str) -> None:
    """Wait until the workspace shows another trace."""
    tab.page.wait_for_function(
        "key => { const k = document.querySelector('#workspace .workspace').dataset.key;"
        " return k && k !== key }",
        arg=than,
    )


def view(tab: Tab) -> dict:
    return tab.page.evaluate("window.__tokenview")


def wait_view(tab: Tab, condition: str) -> None:
    """Until a condition on ``v``, the snapshot, holds and the views show it."""
    tab.page.wait_for_function(
        f"(v => ({condition}) && (v.settled || v.playing))(window.__tokenview)"
    )


def figure(tab: Tab, name: str) -> None:
    """Open the figures, scroll to one, since Gradio loads lazily, and wait until it is decoded."""
    if not tab.page.locator("#picture-budget").is_visible():
        tab.page.get_by_role("button", name="Figures for papers and slides").click()
    if name in TABS:
        choose_tab(tab, "#maps", TABS[name])
    tab.page.wait_for_function(
        "name => { const i = document.querySelector(`#picture-${name} img`);"
        " i?.parentElement.scrollIntoView();"
        " return i && i.complete && i.naturalWidth > 500 }",
        arg=name,
    )


def status(tab: Tab) -> str:
    return tab.page.locator("#status .status").inner_text()


def run_to_end(tab: Tab) -> str:
    """Press Run; the status line once it says how it ended and the views show the answer."""
    before = source(tab)
    # its words may be the same as before, down to the seconds, so the element is marked
    tab.page.evaluate("document.querySelector('#status .status').dataset.before = ''")
    tab.page.click("#run")
    tab.page.wait_for_function(
        "() => { const s = document.querySelector('#status .status');"
        " return s && !('before' in s.dataset) && !s.classList.contains('busy')"
        " && !document.querySelector('#run').disabled }"
    )
    said = status(tab)
    if "Answered" in said:
        another(tab, before)
    return said


def delay_news(tab: Tab, seconds: float) -> None:
    """Let what Gradio's queue sends reach the page late, behind the answers to other requests."""
    tab.page.evaluate(
        """wait => {
          const { fetch } = window;
          window.fetch = async (...how) => {
            const found = await fetch(...how);
            if (!String(how[0]?.url ?? how[0]).includes('/queue/data')) return found;
            const late = new TransformStream({ async transform(piece, out) {
              await new Promise((go) => setTimeout(go, wait));
              out.enqueue(piece);
            } });
            return new Response(found.body.pipeThrough(late), found);
          };
        }""",
        1000 * seconds,
    )


def choose_example(tab: Tab, number: int = 0) -> None:
    tab.page.locator("#examples .gallery-item").nth(number).click()
    first = examples()[number]["questions"][0]["text"]
    tab.page.wait_for_function(
        "text => document.querySelector('#question textarea').value === text", arg=first
    )


def examples() -> list[dict]:
    return json.loads((CLIPS / "clips.json").read_text(encoding="utf-8"))["clips"]


def open_settings(tab: Tab) -> None:
    if not tab.page.locator("#lambda input").is_visible():
        tab.page.get_by_role("button", name="More", exact=False).first.click()
    tab.page.locator("#lambda input").wait_for(state="visible")


def upload_trace(tab: Tab, path: Path) -> None:
    if not tab.page.locator("#trace-upload").is_visible():
        tab.page.get_by_role("button", name="Open a saved trace").click()
    clear = tab.page.locator("#trace-upload [aria-label='Clear']")
    if clear.count():
        clear.first.click()
    tab.page.locator("#trace-upload input[type=file]").set_input_files(path)


def saved_trace() -> Trace:
    return Trace.load(sorted(TRACES.glob("*.npz"))[0])


def open_second(tab: Tab) -> None:
    """Open the second trace that is saved with the project."""
    tab.page.get_by_role("button", name="Open a saved trace").click()
    tab.page.locator("#saved input").click()
    tab.page.get_by_role("option").nth(1).click()
