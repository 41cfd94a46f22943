"""Links, copies, exports and the lesson on a small page of their own, in headless Chromium."""

from __future__ import annotations

import ast
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlparse

import gradio as gr
import numpy as np
import pytest
from browser import PATIENCE, chromium  # noqa: F401
from decided import GRID, SPOT, decided
from handmade import build

from stc_core import STC, Trace
from viz.examples import Known
from viz.page import cards, share
from viz.server.shelf import Shelf

NASTY = 'what "flashed"? <img src=x onerror=alert(1)> ${1+1} {{x}} \'\\n\u2028'
KNOWN = Known(NASTY, "red bar", 8, np.array([GRID.locate(token) for token in SPOT]))


# --- the trace of an address, no browser ---------------------------------------------------------


@pytest.fixture
def library(tmp_path, six_fates):
    """(shelf, two saved traces, the path of a third on the shelf)."""
    saved = [replace(six_fates, answer=name).save(tmp_path / f"{name}.npz") for name in ("1", "2")]
    shelf = Shelf(tmp_path / "shelf")
    return shelf, saved, shelf.put(replace(six_fates, answer="3"))


def test_addresses_name_saved_traces_and_those_on_the_shelf(library):
    shelf, saved, other = library
    assert share.wanted({}, shelf, saved) == share.Wanted(saved[0])
    assert share.wanted({"trace": "2"}, shelf, saved).path == saved[1]
    assert share.wanted({"trace": "2.npz"}, shelf, saved).path == saved[1]
    assert share.wanted({"trace": other.parent.name}, shelf, saved).path == other
    key = shelf.put(Trace.load(saved[1]), saved[1]).parent.name
    assert share.key_of(saved[1]) == key  # so a link outlives the shelf
    empty = Shelf(shelf.folder.parent / "another")
    assert share.wanted({"trace": key}, empty, saved).path == saved[1]


@pytest.mark.parametrize("name", ["0" * 20, "../../etc/passwd", "x" * 100_000, "\0", "<img>"])
def test_a_trace_that_is_gone_is_one_sentence_and_the_first(library, name):
    shelf, saved, _ = library
    found = share.wanted({"trace": name}, shelf, saved)
    assert found.path == saved[0] and not found.asked and found.note.count(".") == 1
    assert share.wanted({"trace": name}, shelf, []).path is None


@pytest.mark.parametrize(
    ("text", "step"), [("1", 1), ("6", 6), ("0", None), ("7", None), ("x", None), ("²", None)]
)
def test_step_of_the_lesson(text, step):
    assert share.lesson_step({"learn": text}) == step and share.lesson_step({}) is None


# --- the page ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A page with workspace, exports and lesson; ``saved``: the trace it opens on."""
    from viz.lesson.lesson_tab import lesson_tab
    from viz.page.theme import stylesheet, theme
    from viz.workspace.component import workspace

    folder = tmp_path_factory.mktemp("share")
    lost = build(GRID, kept=(0, 50), answer="blue bar", baseline={"answer": "red bar"})
    saved = [
        decided(question=NASTY).save(folder / "a.npz"),
        replace(lost, question=NASTY).save(folder / "b.npz"),
    ]
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "served")
    shelf = Shelf(folder / "served" / "shelf")

    def start(request: gr.Request):
        query = request.query_params
        found = share.wanted(query, shelf, saved)
        trace = Trace.load(found.path)
        value = shelf.addresses(trace, shelf.put(trace, found.path), KNOWN)
        tab = "learn" if share.lesson_step(query) else "inspect"
        note = cards.status(found.note)
        return value | {"other": not found.asked}, note, gr.Tabs(selected=tab)

    with gr.Blocks(title="share", analytics_enabled=False) as demo:
        with gr.Tabs() as tabs:
            with gr.Tab("Inspect", id="inspect"):
                note = gr.HTML(elem_id="note")
                linked = workspace(elem_id="workspace")
                exports = share.build()
            with gr.Tab("Learn", id="learn"):
                lesson_tab(shelf, saved, lambda path, trace: KNOWN)
        share.wire(exports, linked, shelf, lambda key, trace: KNOWN)
        demo.load(start, None, [linked, note, tabs])
    _, url, _ = demo.launch(
        prevent_thread_lock=True, quiet=True, theme=theme(), css=stylesheet(), ssr_mode=False
    )
    yield SimpleNamespace(url=url, saved=saved[0])
    demo.close()
    if before is None:
        del os.environ["GRADIO_TEMP_DIR"]
    else:
        os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture
def visit(chromium, served):  # noqa: F811
    """visit(query) -> a tab that shows what the address asks for; it must not complain."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE)
    context.add_init_script("window.alerts = 0; window.alert = () => { window.alerts += 1 };")
    tabs, errors = [], []

    def open_one(query: str = "", ready: str = "window.__tokenview?.drawn.frames > 0"):
        tab = context.new_page()
        tabs.append(tab)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(served.url + query)
        tab.wait_for_function(ready)
        return tab

    yield open_one
    assert errors == [] and all(tab.evaluate("window.alerts") == 0 for tab in tabs)
    context.close()


def state(tab) -> dict:
    names = ("locked", "frame", "stage", "overlay", "step", "word")
    view = tab.evaluate("window.__tokenview")
    return {name: view[name] for name in names}


def query(tab) -> dict[str, str]:
    return {name: text for name, [text] in parse_qs(urlparse(tab.url).query).items()}


def wait_address(tab, **parts: str) -> None:
    tab.wait_for_function(
        "parts => { const q = new URLSearchParams(location.search);"
        " return Object.entries(parts).every(([name, text]) => q.get(name) === text) }",
        arg=parts,
    )


def test_a_link_brings_the_same_view(visit, served):
    first = visit("?kept=yes")
    token = 5 * GRID.per_frame + 2 * GRID.cols + 3
    first.locator("#workspace input[value=refilled]").check(force=True)
    first.locator("#workspace select[name=overlay]").select_option("contribution")
    first.locator("#workspace .ws-player-view input[type=range]").fill("5")
    first.locator("#workspace .ws-strip-view canvas.ws-top-layer").focus()
    for key in ("ArrowLeft", "ArrowUp"):  # the first takes the middle of the frame
        first.keyboard.press(key)
    first.get_by_role("tab", name="Space and time", exact=True).click()
    wait_address(
        first,
        tok=str(token),
        f="5",
        stage="refilled",
        overlay="contribution",
        panel="plane",
        kept="yes",
        trace=share.key_of(served.saved),
    )
    first.get_by_role("button", name="Copy link", exact=True).click()
    first.get_by_text("Link copied.").wait_for()
    link = first.evaluate("navigator.clipboard.readText()")
    assert link == first.url
    second = visit(f"?{urlparse(link).query}", "window.__tokenview?.drawn.plane > 0")
    second.wait_for_function(f"window.__tokenview.locked[0] === {token}")
    assert state(second) == state(first)
    assert second.locator("[data-panel=plane]").is_visible()
    second.keyboard.press("Escape")
    second.locator("#workspace input[value=end]").check(force=True)
    second.wait_for_function("!new URLSearchParams(location.search).has('stage')")
    assert query(second)["kept"] == "yes"  # what is not ours stays


def test_a_malformed_link_is_no_error(visit):
    plain = state(visit())
    bad = (
        "?f=99999999999&tok=abc.-1.99999.1e2&stage=__proto__&overlay=constructor&step=-5"
        "&word=1.5&panel=hasOwnProperty&cmp=%3Cimg%3E&learn=nine"
    )
    assert state(visit(bad)) == plain
    gone = visit("?trace=" + "0" * 20 + "&f=3&tok=7&stage=raw")
    assert state(gone) == plain  # frame and token are not of this trace
    gone.get_by_text("no longer here").wait_for()


def test_code_makes_the_run_again(visit, served):
    tab = visit()
    tab.get_by_role("button", name="Copy as code", exact=True).click()
    tab.get_by_text("Python copied").wait_for()
    code = tab.evaluate("navigator.clipboard.readText()")
    made = next(
        n
        for n in ast.walk(ast.parse(code))
        if isinstance(n, ast.Call) and ast.unparse(n.func) == "answer"
    )
    assert [ast.literal_eval(part) for part in made.args[1:]] == ["clip.mp4", NASTY]
    given = {key.arg: ast.unparse(key.value) for key in made.keywords}
    assert given.pop("method") == Trace.load(served.saved).method
    assert given == {"frames": "8", "baseline": "True", "record": "True"}
    assert "from stc_core.methods import STC\n" in code
    assert (
        repr(eval(Trace.load(served.saved).method, {"STC": STC})) == Trace.load(served.saved).method
    )


@pytest.mark.parametrize("button", ["Figure as PNG", "Figure as SVG"])
def test_figures_hold_picture_and_words(visit, button, tmp_path):
    tab = visit("?stage=pool")
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name=button, exact=True).click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.stem == "tokens-pool"
    if path.suffix == ".png":
        import cv2

        picture = cv2.imread(str(path)).astype(int)
        assert min(picture.shape[:2]) > 400
        blue, green, red = picture.transpose(2, 0, 1)
        assert ((red > 220) & (green > 210) & (blue < 90)).sum() > 200  # outlines of the pool
    else:
        from xml.etree import ElementTree

        root = ElementTree.fromstring(path.read_bytes())
        words = "".join("".join(root.itertext()).split())  # lines may break anywhere
        assert "<imgsrc=xonerror=alert(1)>" in words and "retention=0.06" in words
        assert len(root.findall("{http://www.w3.org/2000/svg}image")) >= 3


def test_video_and_report_are_made_and_downloaded(visit):
    tab = visit()
    tab.get_by_role("button", name="Files to share").click()
    for button, start, name in (
        ("#export-video", b"\x1a\x45\xdf\xa3", "seen-end.webm"),
        ("#export-report", b"<!doctype html>", "report.html"),
    ):
        tab.click(button)
        tab.get_by_text(f"{name} is ready").wait_for()
        with tab.expect_download() as waiting:
            tab.get_by_role("button", name=f"Download {name}").click()
        assert Path(waiting.value.path()).read_bytes().startswith(start)


# --- the lesson ----------------------------------------------------------------------------------

SETTLED = "window.__lesson?.settled && window.__lesson.number === {}"


def lesson(tab) -> dict:
    return tab.evaluate("window.__lesson")


def test_the_lesson_from_first_to_last(visit, served):
    tab = visit()
    tab.get_by_role("tab", name="Learn", exact=True).click()
    tab.wait_for_function(SETTLED.format(0))
    wait_address(tab, learn="1")
    view = lesson(tab)
    assert view["steps"] == 6 and view["workspace"]["overlay"] == "seen"
    assert view["workspace"]["locked"] == [SPOT[0]]
    assert tab.locator("#lesson .ls-dots [aria-current]").inner_text() == "1"
    tab.get_by_role("button", name="Next (n)").click()
    tab.wait_for_function(SETTLED.format(1))
    assert lesson(tab)["workspace"]["overlay"] == "similarity"
    assert len(lesson(tab)["workspace"]["locked"]) == 2
    tab.keyboard.press("n")
    tab.wait_for_function(SETTLED.format(2))
    view = lesson(tab)["workspace"]
    assert view["step"] > 0 and tab.locator("#lesson .ws-replay-view").is_visible()
    assert not tab.locator("#lesson .ws-bars-view").is_visible()
    wait_address(tab, learn="3")
    tab.keyboard.press("p")
    tab.wait_for_function(SETTLED.format(1))
    tab.get_by_role("button", name="Step 5", exact=False).click()
    tab.wait_for_function(SETTLED.format(4))
    assert NASTY.split(" ", 1)[0] in tab.locator("#lesson .ls-text").inner_text()
    tab.keyboard.press("n")
    tab.wait_for_function(SETTLED.format(5))
    assert lesson(tab)["workspace"]["locked"] == list(SPOT)
    assert tab.locator("#lesson img").count() == 0
    tab.get_by_role("button", name="Start again").click()
    tab.wait_for_function(SETTLED.format(0))
    tab.get_by_role("tab", name="Inspect", exact=True).click()
    tab.wait_for_function("!new URLSearchParams(location.search).has('learn')")


def test_a_link_opens_the_lesson_and_the_quiz_scores(visit, served):
    trace = Trace.load(served.saved)
    tab = visit("?learn=3", SETTLED.format(2))
    tab.get_by_role("button", name="Quiz", exact=False).click()
    tab.wait_for_function("window.__lesson.quiz.open")
    quiz = lesson(tab)["quiz"]
    frame, kept = quiz["frame"], quiz["kept"]
    here = [t for t in np.flatnonzero(trace.stages[0].fate == 0) if t // GRID.per_frame == frame]
    assert kept == here and not tab.locator("#lesson .ws-strip-view").is_visible()
    shows = [t for t in SPOT if t // GRID.per_frame == frame]
    assert shows  # something of the answer shows in it
    count = len(kept) or len(shows)
    canvas = tab.locator("#lesson .ls-quiz canvas.ws-top-layer")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def click(token: int) -> None:
        _, row, col = GRID.locate(token)
        canvas.click(
            position={
                "x": box["width"] * (col + 0.5) / GRID.cols,
                "y": box["height"] * (row + 0.5) / GRID.rows,
            }
        )

    cells = range(frame * 49, frame * 49 + 49)
    wrong = next(t for t in cells if t not in kept and t not in shows)
    chosen = [wrong, *(kept or shows)[1:count]]
    for token in chosen:
        click(token)
    tab.get_by_role("button", name="Check", exact=True).click()
    said = tab.locator("#lesson .ls-score").inner_text()
    if kept:
        assert f"agree on {count - 1} of {count} cell" in said
    hits = [sum(t in SPOT for t in tokens) for tokens in (chosen, kept)]
    chance = f"(chance: {count * len(shows) / 49:.2f} of {count})"
    assert f"you kept {hits[0]} {chance}, the method {hits[1]}" in said
    tab.get_by_role("button", name="Try again").click()
    canvas.focus()
    first = (kept or shows)[0]
    row, col = GRID.locate(first)[1:]
    steps = ["ArrowUp"] * 7 + ["ArrowLeft"] * 7 + ["ArrowDown"] * row + ["ArrowRight"] * col
    for key in [*steps, "Space"]:
        tab.keyboard.press(key)
    assert lesson(tab)["quiz"]["chosen"] == [first]
    tab.get_by_role("button", name="Back to the lesson").click()
    tab.wait_for_function(SETTLED.format(2) + " && !window.__lesson.quiz.open")
