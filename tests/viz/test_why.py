"""Why? from a browser, on the embedded model: the sentence, its rows opened, cancel, refusals."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from browser import PATIENCE, chromium  # noqa: F401
from handmade import build
from one_run import CLIP, CLIPS, QUESTION, Page
from playwright.sync_api import expect

from stc_core import InputError, TokenGrid, Trace
from stc_core.method_text import make_method
from stc_core.why.explain import explain
from stc_core.why.report import Why
from viz.examples import Known, asked
from viz.page import why as module
from viz.page.why import explained, opened, wire
from viz.server.origin import Origin, recall, remember, shelve
from viz.server.runner import Step, Stopped

TURNED = "which shape does the small object have?"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    return Page.after_one_run(tmp_path_factory.mktemp("shelf"))


def known_of(page) -> dict:
    """What would be known of the question: its answer, and evidence in two cells."""
    cells = [page.trace.grid.locate(token) for token in (60, 61)]
    about = Known(QUESTION, page.trace.baseline["answer"], 8, np.array(cells))
    return {asked(CLIP, QUESTION): about}


def told(page, known=None, searches=None, **sent) -> tuple[list[Step], Why]:
    searches = OrderedDict() if searches is None else searches
    *steps, last = explained(
        page.runner, page.shelf, known or {}, searches, "me", {"key": page.key, **sent}
    )
    return steps, Why.from_json(last["done"])


def test_the_page_says_what_the_library_says(page):
    steps, why = told(page, known_of(page))
    method = make_method(page.origin.method)
    alone = explain(page.vlm, CLIP, QUESTION, method, frames=8, right=why.wanted, evidence=(60, 61))
    assert why == alone and why.tokens == (60, 61)
    assert all(isinstance(step, Step) and 0 <= step.fraction <= 1 for step in steps)
    assert why.row("compressed").answer == page.trace.answer
    assert why.row("full").answer == page.trace.baseline["answer"]


def test_rows_open_as_traces(page):
    _, why = told(page, known_of(page))
    for row in (why.row("random") or why.row("away"), why.row("tau off"), why.row("full")):
        sent = {"edit": row.edit} if row.edit else {"method": row.method}
        *_, last = opened(page.runner, page.shelf, {}, "me", {"key": page.key, **sent})
        trace = Trace.load(page.shelf.find(last["opened"]["key"]))
        assert trace.answer == row.answer and len(trace.outside.survivors) == row.tokens
        assert trace.baseline["answer"] == page.trace.baseline["answer"]
        assert recall(page.shelf.folder, last["opened"]["key"]).question == QUESTION


def test_a_search_that_ran_out_of_time_goes_on(page, monkeypatch):
    origin = Origin(str(CLIPS / "behind-a-triangle.mp4"), TURNED, 32, "STC(retention=0.02)")
    *_, said = page.runner.run("me", video=origin.video, question=TURNED, frames=32,
                               method=origin.method)  # fmt: skip
    home = page.shelf.put(said.trace)
    remember(home, origin)
    key, searches = home.parent.name, OrderedDict()
    monkeypatch.setattr(module, "SECONDS", 0.0)
    _, why = told(page, searches=searches, key=key)
    assert not why.found.done and list(searches) == [key]
    monkeypatch.setattr(module, "SECONDS", 600.0)
    _, why = told(page, searches=searches, key=key, more=True)
    assert why.found.done and why.tokens and not searches
    assert why.row("back").turned(why.wanted)


def test_only_traces_of_the_shelf(page):
    with pytest.raises(InputError, match="no longer on the server"):
        told(page, key="0" * 20)


@pytest.mark.parametrize("origin", [None, Origin(str(CLIP), QUESTION)], ids=["none", "no method"])
def test_only_traces_whose_making_is_known(page, origin):
    home = page.shelf.put(build(TokenGrid(2, 2, 2, 20, 20), kept=(0, 5)))
    home.with_name("origin.json").unlink(missing_ok=True)
    if origin is not None:
        remember(home, origin)
    with pytest.raises(InputError, match="not recorded how this trace was made"):
        told(page, key=home.parent.name)


@pytest.mark.parametrize(("sent", "words"), [
    ({"edit": 3}, "lists remove, add and only"), ({"method": "os.system('x')"}, "no method"),
    ({"method": ["STC"]}, "no method"), ({"edit": {"remove": [-1]}}, "must be"),
])  # fmt: skip
def test_rows_from_a_browser_are_checked(page, sent, words):
    with pytest.raises(InputError, match=words):
        list(opened(page.runner, page.shelf, {}, "me", {"key": page.key, **sent}))


def test_a_clip_that_is_gone_and_another_model(page, tmp_path):
    trace = build(TokenGrid(2, 2, 2, 20, 20), kept=(0, 5))
    home = page.shelf.put(trace)
    remember(home, Origin(str(tmp_path / "gone.mp4"), QUESTION, 8, page.origin.method))
    with pytest.raises(InputError):
        told(page, key=home.parent.name)
    remember(home, page.origin)
    with pytest.raises(InputError, match="made by the model"):
        told(page, key=home.parent.name)


def test_a_stop_ends_it(page):
    steps = explained(page.runner, page.shelf, {}, OrderedDict(), "me w", {"key": page.key})
    next(steps)
    page.runner.stop("me w")
    with pytest.raises(Stopped):
        list(steps)


@pytest.fixture
def tab(page, chromium):  # noqa: F811
    """A browser on a page of the workspace and nothing else."""
    import gradio as gr

    from viz.workspace.component import workspace

    with gr.Blocks(title="Why", analytics_enabled=False) as demo:
        gr.HTML("<h1>Why</h1>")
        view = workspace()
        wire(view, page.runner, page.shelf, known_of(page))
        _, urls = shelve(page.shelf, page.trace, page.origin, {}, page.home)
        demo.load(lambda: urls, None, view)
    folders = [str(page.shelf.folder), str(CLIP.parent)]
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, allowed_paths=folders)
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    opened_tab, errors = context.new_page(), []
    opened_tab.on("pageerror", lambda error: errors.append(str(error)))
    opened_tab.goto(url)
    opened_tab.wait_for_function("window.__tokenview && window.__tokenview.ready")
    yield opened_tab
    context.close()
    demo.close()
    assert errors == []


def test_from_the_button_to_a_row(page, tab):
    _, why = told(page, known_of(page))
    view = tab.locator("[data-view=why]")
    view.get_by_role("button", name="Why?").click()
    view.get_by_role("button", name="Cancel").click()
    expect(view.locator(".ws-why-status")).to_have_text("Cancelled; nothing was changed.")
    view.get_by_role("button", name="Why?").click()
    expect(view.locator(".ws-why-sentence")).to_have_text(why.sentence, timeout=PATIENCE)
    view.get_by_role("button", name="The runs that prove it").click()
    proof = tab.locator("[data-view=proof]")
    lines = proof.locator(".ws-why-rows li")
    draws = sum(row.kind == "random" for row in why.rows)
    expect(lines).to_have_count(len(why.rows) - max(0, draws - 1))
    expect(lines.nth(1)).to_contain_text(f"“{page.trace.answer}”")

    proof.get_by_role("button", name="Show these 2 tokens").click()
    tab.wait_for_function("window.__tokenview.locked.join() === '60,61'")
    lines.last.get_by_role("button").click()
    tab.wait_for_function(f"document.querySelector('.workspace').dataset.key !== '{page.key}'")
    expect(lines.last.locator("[aria-current]")).to_have_text("Shown")
    expect(view.locator(".ws-why-sentence")).to_have_text(why.sentence)  # it stays beside its runs
    proof.get_by_role("button", name="Back to the run in question").click()
    tab.wait_for_function(f"document.querySelector('.workspace').dataset.key === '{page.key}'")
