"""What if: edits from a browser, asked for real on the embedded model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from browser import PATIENCE, chromium  # noqa: F401
from handmade import build
from hypothesis import given, settings
from hypothesis import strategies as st
from one_run import CLIP, QUESTION, Page
from playwright.sync_api import expect

from stc_core import STC, Edited, Fate, InputError, TokenGrid, Trace
from stc_core.method_text import read_method
from stc_core.methods.base import Decision, Method
from viz.page.what_if import ask_again, joined, read_edit, wire
from viz.server.origin import Origin, recall, remember, shelve
from viz.server.runner import Failure, Step

NOTHING = {"remove": [], "add": [], "only": None}


# --- reading -------------------------------------------------------------------------------------


def test_an_edit_is_read_as_it_was_sent():
    sent = {"remove": [3, 0], "add": [], "only": None, "key": "x", "more": 1}
    assert read_edit(sent, 4) == {"remove": [3, 0], "add": [], "only": None}
    assert read_edit({**NOTHING, "only": []}, 4) == {**NOTHING, "only": []}


@pytest.mark.parametrize(("name", "tokens"), [
    ("remove", [4]), ("remove", [-1]), ("add", [True]), ("add", [1.0]), ("only", ["1"]),
    ("only", [[1]]), ("remove", [10**30]), ("add", [float("nan")]), ("remove", [None]),
])  # fmt: skip
def test_tokens_are_whole_numbers_of_the_clip(name, tokens):
    with pytest.raises(InputError, match="must be whole numbers from 0 to 3"):
        read_edit({**NOTHING, name: tokens}, 4)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("remove", None),
        ("add", "12"),
        ("only", {"0": 1}),
        ("remove", 3),
        ("add", [0] * 5),
    ],
)
def test_tokens_come_as_lists_no_longer_than_the_clip(name, tokens):
    with pytest.raises(InputError, match="must be a list of at most 4"):
        read_edit({**NOTHING, name: tokens}, 4)


def test_an_edit_changes_something():
    with pytest.raises(InputError, match="changes nothing"):
        read_edit(NOTHING, 4)


# --- two edits as one ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fixed(Method):
    """Whatever it is given, this."""

    decision: Decision

    def outside(self, tokens, contribution, grid):
        return self.decision


def edits(data, entered: list[int], n: int) -> dict:
    """Some edit of a trace in which these tokens entered."""
    some = st.lists(st.sampled_from(entered), unique=True, max_size=3)
    add = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=3))
    only = data.draw(st.none() | some)
    remove = [t for t in data.draw(some) if t not in add and t not in (only or ())]
    return {"remove": remove, "add": add, "only": only}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_two_edits_do_the_same_as_one(data, seed):
    grid = TokenGrid(2, 3, 4, 30, 40)
    rng = torch.Generator().manual_seed(seed)
    tokens, contribution = torch.randn(24, 6, generator=rng), torch.rand(24, generator=rng)
    method = STC(retention=0.3)
    stock = method.outside(tokens, contribution, grid)
    entered = set(stock.survivors.tolist())
    first = edits(data, sorted(entered), 24)
    try:
        once = Edited(method, **first).outside(tokens, contribution, grid)
        second = edits(data, once.survivors.tolist(), 24)
        kept = once.survivors.tolist() if second["only"] is None else second["only"]
        back = set(first["add"]) - (set(kept) - set(second["remove"])) - entered  # swaps taken back
        part = {**first, "add": sorted(set(first["add"]) - back)}
        rest = {**second, "remove": sorted(set(second["remove"]) - back)}
        step = Edited(method, **part).outside(tokens, contribution, grid)
        twice = Edited(Fixed(decision=step), **rest).outside(tokens, contribution, grid)
    except InputError:  # no token was left
        return
    whole = Edited(method, **joined(first, second, once.survivors.tolist()))
    found = whole.outside(tokens, contribution, grid)
    assert found.fate.tolist() == twice.fate.tolist()
    assert found.target.tolist() == twice.target.tolist()


# --- asking the model ----------------------------------------------------------------------------


class Asking(Page):
    """A page on which a run is edited."""

    def ask(self, **sent) -> tuple[list[Step], dict]:
        *steps, done = ask_again(
            self.runner, self.shelf, {}, "me", {"key": self.key, **NOTHING, **sent}
        )
        return steps, done

    def shown(self, done: dict) -> Trace:
        return Trace.load(self.shelf.find(done["urls"]["key"]))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Asking:
    return Asking.after_one_run(tmp_path_factory.mktemp("shelf"))


def entered(trace: Trace) -> list[int]:
    return trace.stage("outside").survivors.tolist()


def test_an_edit_is_run_and_compared(page):
    from stc_core import answer

    tokens = entered(page.trace)
    fresh = np.flatnonzero(~np.isin(page.trace.fate, (Fate.KEPT, Fate.CENTER)))[:2].tolist()
    steps, done = page.ask(remove=tokens[:3], add=fresh)
    assert steps and all(0 <= step.fraction <= 1 for step in steps)

    trace = page.shown(done)
    assert entered(trace) == sorted({*tokens[3:], *fresh})
    method = Edited(STC(retention=0.05), remove=tokens[:3], add=fresh)
    assert trace.method == repr(method)
    alone = answer(page.vlm, CLIP, QUESTION, method=method, frames=8, score=[page.trace.answer])
    assert done["answer"] == alone.text == trace.answer
    assert done["logprob"] == pytest.approx(alone.logprob, abs=1e-4)
    assert done["score"] == pytest.approx(alone.scores[page.trace.answer], abs=1e-4)
    assert done["before"] == {"answer": page.trace.answer, "logprob": page.trace.logprob}
    if done["answer"] == page.trace.answer:
        assert done["score"] == pytest.approx(done["logprob"], abs=1e-3)
    assert trace.baseline["answer"] == page.trace.baseline["answer"]  # the same uncompressed run
    assert np.array_equal(trace.full_attention, page.trace.full_attention)


def test_taking_the_tokens_away_takes_the_answer_away(page):
    """All but one token gone, the answer must become less likely; this is what the page is for."""
    worst = entered(page.trace)[0]
    _, done = page.ask(only=[worst])
    assert done["score"] < done["before"]["logprob"] - 0.1
    assert entered(page.shown(done)) == [worst]


def test_an_edited_trace_can_be_edited_again(page):
    tokens = entered(page.trace)
    _, once = page.ask(remove=tokens[:2])
    _, twice = page.ask(key=once["urls"]["key"], remove=tokens[2:4])
    _, whole = page.ask(remove=tokens[:4])
    assert entered(page.shown(twice)) == entered(page.shown(whole)) == tokens[4:]
    assert twice["answer"] == whole["answer"]
    origin = recall(page.shelf.folder, twice["urls"]["key"])
    assert (origin.video, origin.question, origin.frames) == (str(CLIP), QUESTION, 8)
    assert read_method(origin.method).edit == {
        "remove": (),
        "add": (),
        "only": tuple(tokens[4:]),
    }


@pytest.mark.parametrize("key", ["0" * 20, "../../etc/passwd", None, 3, ["a"]])
def test_only_traces_on_the_shelf(page, key):
    with pytest.raises(InputError, match="no longer on the server"):
        page.ask(key=key, remove=[0])


@pytest.mark.parametrize("origin", [None, Origin(str(CLIP), QUESTION)], ids=["none", "no method"])
def test_only_traces_whose_making_is_known(page, origin):
    home = page.shelf.put(build(TokenGrid(2, 2, 2, 20, 20), kept=(0, 5)))
    home.with_name("origin.json").unlink(missing_ok=True)
    if origin is not None:
        remember(home, origin)
    with pytest.raises(InputError, match="not recorded how this trace was made"):
        page.ask(key=home.parent.name, remove=[0])


def test_what_the_method_refuses_is_said(page):
    stranger = int(np.flatnonzero(page.trace.fate == Fate.MERGED)[0])
    with pytest.raises(Failure, match="none of the"):
        page.ask(remove=[stranger])
    with pytest.raises(Failure, match="leave no token"):
        page.ask(remove=entered(page.trace))
    with pytest.raises(InputError, match="whole numbers from 0 to"):
        page.ask(remove=[page.trace.grid.size])


# --- from the browser to the model and back ------------------------------------------------------


@pytest.fixture
def opened(page, chromium):  # noqa: F811
    """A browser on a page of the workspace and nothing else."""
    import gradio as gr

    from viz.workspace.component import workspace

    with gr.Blocks(title="What if", analytics_enabled=False) as demo:
        gr.HTML("<h1>What if</h1>")
        view = workspace()
        wire(view, page.runner, page.shelf, {})
        _, urls = shelve(page.shelf, page.trace, page.origin, {}, page.home)
        demo.load(lambda: urls, None, view)
    folders = [str(page.shelf.folder), str(CLIP.parent)]
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, allowed_paths=folders)
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    tab, errors = context.new_page(), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(url)
    tab.wait_for_function("window.__tokenview && window.__tokenview.ready")
    yield tab
    context.close()
    demo.close()
    assert errors == []


def test_an_edit_from_click_to_answer(page, opened):
    first = entered(page.trace)[0]
    _, outcome = page.ask(only=[first])

    opened.get_by_role("tab", name="What the LLM got").click()
    crops = opened.locator("[data-view=sheet] .ws-top-layer")
    crops.click(position={"x": 29, "y": 29})
    opened.wait_for_function(f"window.__tokenview.locked[0] === {first}")
    opened.get_by_role("tab", name="What if").click()
    panel = opened.locator("[data-panel=edits]")
    panel.get_by_role("button", name="Keep only these (1)").click()
    panel.get_by_role("button", name="Answer again").click()
    status, runs = panel.locator(".ws-edit-status"), panel.locator(".ws-run")
    expect(runs).to_have_count(2, timeout=PATIENCE)
    before, score = outcome["before"]["logprob"], outcome["score"]
    same = outcome["answer"] == page.trace.answer
    expect(status).to_contain_text("stays" if same else f"is now “{outcome['answer']}”")
    numbers = f"goes from {before:.2f} to {score:.2f}".replace("-", "−")
    expect(status).to_contain_text(numbers)
    expect(runs.nth(1)).to_contain_text(f"Δ log p −{before - score:.2f}")

    runs.nth(1).click()
    opened.wait_for_function(f"document.querySelector('.workspace').dataset.key !== '{page.key}'")
    opened.wait_for_function(f"window.__tokenview.locked.join() === '{first}'")
    expect(runs.nth(1)).to_have_attribute("aria-current", "true")
    expect(runs).to_have_count(2)  # it is the same clip and question
    panel.get_by_role("button", name="Back to the original").click()
    opened.wait_for_function(f"document.querySelector('.workspace').dataset.key === '{page.key}'")
    expect(panel.locator(".ws-chip")).to_have_count(0)

    panel.get_by_role("button", name="Remove (1)").click()
    panel.get_by_role("button", name="Answer again").click()
    panel.get_by_role("button", name="Cancel").click()
    expect(status).to_have_text("Cancelled; nothing was changed.")
    panel.get_by_role("button", name="Answer again").click()  # the model is free again
    expect(runs).to_have_count(3, timeout=PATIENCE)
    edits = opened.locator("[data-view=edits]")
    edits.get_by_text("Read as table").click()
    expect(edits.locator("tbody tr")).to_have_count(3)
