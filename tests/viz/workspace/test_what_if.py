"""Edits and evidence in the browser: dragging, drafts, boxes and what was kept of them.

The server's side, with the model, is in ``test_edits.py``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from handmade import build
from playwright.sync_api import expect

from stc_core import Edited, TokenGrid, Trace
from stc_core.benchmark.video_folder import Folder, cells_of
from stc_core.methods.base import Decision, Method
from viz.examples import Known

GRID = TokenGrid(6, 4, 5, 160, 200)
KEPT, CENTER, MEMBERS = (3, 21, 22, 60, 119), 44, (43, 45, 64)
NASTY = "<img src=x onerror=alert(1)> ${1+1} {{x}}"


def trace(**fields) -> Trace:
    return build(
        GRID,
        kept=KEPT,
        centers={CENTER: MEMBERS},
        ended={3: CENTER, 119: -1},
        seconds=np.arange(6) * 0.4,
        **fields,
    )


@dataclass(frozen=True, kw_only=True)
class Fixed(Method):
    """The decision before the LLM that a trace shows."""

    trace: Trace

    def outside(self, tokens, contribution, grid):
        step = self.trace.stage("outside")
        return Decision.of(torch.tensor(step.fate), torch.tensor(step.target))


def tab(opened, name: str) -> None:
    opened.page.get_by_role("tab", name=name, exact=True).click()


def drag(opened, view: str, first: int, last: int, *keys: str) -> None:
    """From the middle of one token to that of another, and a bit more, so that both are inside."""
    page = opened.page
    x0, y0 = opened.center(view, first)
    x1, y1 = opened.center(view, last)
    for key in keys:
        page.keyboard.down(key)
    page.mouse.move(x0 - 2, y0 - 2)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
    page.mouse.move(x1 + 2, y1 + 2)
    page.mouse.up()
    for key in keys:
        page.keyboard.up(key)


def locked(opened, tokens) -> None:
    tokens = ",".join(map(str, sorted(tokens)))
    opened.wait(f"[...v.locked].sort((a, b) => a - b).join() === '{tokens}'")


def cells(frame: int, rows, cols) -> list[int]:
    return [frame * 20 + row * 5 + col for row in rows for col in cols]


# --- selecting -----------------------------------------------------------------------------------


def test_dragging_selects_a_rectangle(bench):
    opened = bench(trace())
    drag(opened, "strip", 21, 33, "Alt")  # frame 1, from (0, 1) to (2, 3)
    locked(opened, cells(1, range(3), (1, 2, 3)))
    drag(opened, "strip", 20, 20, "Alt", "Shift")  # too short to be a drag: a click that adds
    locked(opened, [20, *cells(1, range(3), (1, 2, 3))])
    drag(opened, "strip", 100, 106, "Alt", "Shift")
    locked(opened, [20, *cells(1, range(3), (1, 2, 3)), *cells(5, (0, 1), (0, 1))])

    tab(opened, "What if")
    tool = opened.page.get_by_role("button", name="Drag to select")
    tool.click()
    expect(tool).to_have_attribute("aria-pressed", "true")
    opened.set(frame=2, time=0.8)
    drag(opened, "player", 40, 46)
    locked(opened, cells(2, (0, 1), (0, 1)))
    opened.page.keyboard.press("Escape")
    expect(tool).to_have_attribute("aria-pressed", "false")
    locked(opened, cells(2, (0, 1), (0, 1)))  # the first Escape leaves the tool only
    opened.page.keyboard.press("Escape")
    locked(opened, [])

    opened.page.get_by_role("tab", name="Space and time").click()
    drag(opened, "plane", 21, 63, "Alt")  # frames 1 to 3, cells 1 to 3
    locked(opened, [20 * frame + cell for frame in (1, 2, 3) for cell in (1, 2, 3)])


def test_the_keyboard_selects_too(bench):
    opened = bench(trace())
    opened.page.evaluate("workspace.lock(21)")
    opened.page.locator("[data-view=strip] .ws-top-layer").focus()
    opened.page.keyboard.press("Shift+ArrowRight")
    opened.page.keyboard.press("Shift+ArrowDown")
    locked(opened, [21, 22, 27])
    tab(opened, "What if")
    opened.page.get_by_role("button", name="This cell in every frame").press("Enter")
    locked(opened, {21, 22, *range(7, 120, 20)})
    opened.page.get_by_role("button", name="This frame").press("Enter")
    locked(opened, {*range(20, 40), *range(7, 120, 20)})


# --- drafts --------------------------------------------------------------------------------------


def test_drafts_add_up_to_what_the_method_takes(bench):
    """After any acts those tokens enter that plain sets say, and ``Edited`` lets them in."""
    shown, lot = trace(), random.Random(4)
    base = shown.stage("outside").survivors.tolist()

    def act() -> tuple[str, list[int]]:
        name = lot.choice(["without", "just", "with"])
        return name, lot.sample(range(120), 12) + lot.sample(base, 3)

    rows = [[act() for _ in range(5)] for _ in range(60)]
    found = bench(shown).page.evaluate(
        """([base, rows]) => rows.map((acts) => {
          const inside = new Set(base);
          let draft = new Draft();
          return acts.map(([act, tokens]) => {
            draft = draft[act](inside, tokens);
            return [draft.plain(), [...draft.entered(inside)].sort((a, b) => a - b)];
          });
        })""",
        [base, rows],
    )
    nothing = torch.zeros(120, 2), torch.zeros(120), GRID
    for acts, states in zip(rows, found, strict=True):
        inside = set(base)
        for (name, tokens), (plain, entered) in zip(acts, states, strict=True):
            inside = {
                "without": inside - {*tokens},
                "just": inside & {*tokens},
                "with": inside | {*tokens},
            }[name]
            assert entered == sorted(inside)
            if inside:
                edited = Edited(Fixed(trace=shown), **plain).outside(*nothing)
                assert edited.survivors.tolist() == entered


def test_acts_that_make_no_sense_say_why(bench):
    opened = bench(trace())
    tab(opened, "What if")
    page = opened.page
    panel = page.locator("[data-panel=edits]")
    remove, keep, swap, add = (
        panel.get_by_role("button", name=name)
        for name in ("Remove (", "Keep only these (", "Swap in (", "Add (")
    )
    why = panel.locator("p[aria-live]")

    def states() -> list[bool]:
        return [button.is_enabled() for button in (remove, keep, swap, add)]

    assert states() == [False] * 4 and why.inner_text() == "Select tokens first."
    opened.set(locked=[43, 0])  # a member and a token that was dropped
    assert states() == [False, False, True, True]
    assert swap.inner_text() == "Swap in (2): still 6"
    assert add.inner_text() == "Add (2): 6 → 8"
    assert "None of the selected tokens enters the LLM as itself." in why.inner_text()
    opened.set(locked=[3, 44])
    assert states() == [True, True, False, False]
    opened.set(locked=[*KEPT, CENTER])
    assert states() == [False, False, False, False]
    assert "Nothing would be left" in why.inner_text()

    opened.set(locked=[3, 44, 0])
    remove.click()
    assert panel.locator(".ws-chip").all_text_contents() == ["− 2 tokens removed✕"]
    opened.set(locked=[0, 1])
    add.click()
    opened.set(locked=[])
    chips = panel.locator(".ws-chip")
    assert chips.count() == 2
    chips.nth(1).get_by_role("button").first.click()
    locked(opened, [0, 1])
    chips.nth(0).get_by_role("button").nth(1).click()
    assert chips.all_text_contents() == ["+ 2 tokens put in✕"]
    panel.get_by_role("button", name="Undo").click()
    assert chips.count() == 2
    again = panel.get_by_role("button", name="Answer again")
    assert not again.is_enabled()  # nobody is there to answer
    assert "Only a running page can answer again" in panel.inner_text()


def test_swapping_in_keeps_the_budget(bench):
    """Means of clusters make room first, then what the pool took last."""
    opened = bench(trace())
    tab(opened, "What if")
    panel = opened.page.locator("[data-panel=edits]")
    opened.set(locked=[0, 1])
    panel.get_by_role("button", name="Swap in (2): still 6").click()
    assert panel.locator(".ws-chip").all_text_contents() == [
        "− 2 tokens removed✕", "+ 2 tokens put in✕",
    ]  # fmt: skip
    assert "6 tokens would enter the LLM, 6 did." in panel.inner_text()
    panel.locator(".ws-chip").first.get_by_role("button").first.click()
    locked(opened, [44, 119])  # the center, and of a pool without order the last token
    opened.set(locked=[*range(10, 17)])
    assert not panel.get_by_role("button", name="Swap in (7)").is_enabled()
    assert "Only 6 tokens can make room; add them instead." in panel.inner_text()


def test_news_of_the_server_are_text(bench):
    opened = bench(trace(answer=NASTY))
    tab(opened, "What if")
    page = opened.page
    panel = page.locator("[data-panel=edits]")
    page.evaluate("workspace.served = true; workspace.send = (...sent) => { window.sent = sent; }")

    def ask(token: int) -> dict:
        opened.set(locked=[token])
        panel.get_by_role("button", name="Remove (").click()
        panel.get_by_role("button", name="Answer again").click()
        name, sent = page.evaluate("window.sent")
        assert name == "edit" and sent["key"] == "test"
        return sent

    def news(**detail) -> None:
        page.evaluate(
            "d => document.dispatchEvent(new CustomEvent('tokens-edit', {detail: d}))", detail
        )

    sent = ask(3)
    assert (sent["remove"], sent["add"], sent["only"]) == ([3], [], None)
    status = panel.locator(".ws-edit-status")
    news(id="another", error="of another workspace")
    assert status.inner_text().startswith("Waiting for the model")
    news(id=sent["id"], stage="vision tower", fraction=0.25, elapsed=1.2)
    assert status.inner_text().startswith("vision tower … 1.2 s")
    assert panel.locator("progress").evaluate("bar => bar.value") == 0.25
    news(id=sent["id"], error=NASTY)
    assert status.inner_text() == NASTY
    sent = ask(21)
    assert sent["remove"] == [3, 21]
    panel.get_by_role("button", name="Cancel").click()
    assert page.evaluate("window.sent[0]") == "stop_edit"
    news(id=sent["id"], done={})  # too late
    assert panel.locator(".ws-run").count() == 1
    assert page.locator("img").count() == 0


# --- evidence ------------------------------------------------------------------------------------


def test_boxes_mean_the_cells_that_the_benchmark_counts(bench):
    shown, lot = trace(), np.random.default_rng(3)
    boxes = []
    for _ in range(80):
        low, start = lot.uniform(0, 0.7, 2), lot.uniform(0, 2)
        high = low + lot.uniform(0.25, 1 - low)
        boxes.append([start, start + lot.uniform(0, 1), *low.tolist(), *high.tolist()])
    boxes.append([0.0, 2.0, 0.41, 0.51, 0.42, 0.52])  # smaller than a quarter of any cell
    found = bench(shown).page.evaluate(
        "boxes => boxes.map((box) => [...cellsOf(workspace.trace, [box])])", boxes
    )
    for box, tokens in zip(boxes, found, strict=True):
        assert tokens == GRID.indices(cells_of((tuple(box),), shown.seconds, GRID, 1)).tolist()
    assert len(found[-1]) == 6


def test_cells_become_boxes_and_the_same_cells_again(bench):
    tokens = [0, 1, 2, 4, 5, 24, 25, 44, 119]
    opened = bench(trace())
    boxes, back = opened.page.evaluate(
        """tokens => {
          const boxes = boxesAround(workspace.trace, tokens);
          return [boxes, [...cellsOf(workspace.trace, boxes)]];
        }""",
        tokens,
    )
    assert back == tokens
    assert len(boxes) == 7  # only 0 to 2 are neighbors in a row
    assert all(0 <= box[0] <= box[1] for box in boxes)


def test_evidence_is_drawn_counted_listed_and_exported(bench, tmp_path):
    known = Known("what color is the star?", "red", 6, np.array([[1, 0, 1], [1, 0, 2], [1, 1, 1]]))
    allowed = ["clipboard-read", "clipboard-write"]
    opened = bench(trace(question=known.text), known, permissions=allowed)
    page, shown = opened.page, opened.trace
    tab(opened, "Evidence")
    panel = page.locator("[data-panel=evidence]")
    numbers = panel.locator(".ws-recall")

    def said(tokens) -> None:
        _, door, end = shown.alive(np.array(tokens))
        rows = numbers.locator("tbody tr").all_inner_texts()
        assert rows[0].split("\t")[1] == f"{door} of {len(tokens)}"
        assert rows[1].split("\t")[1] == f"{end} of {len(tokens)}"
        assert rows[0].split("\t")[5].startswith(f"{door} of 6")
        assert rows[1].split("\t")[5].startswith(f"{end} of 4")

    said([21, 22, 26])
    assert "Known from the world" in numbers.inner_text()

    panel.get_by_role("button", name="Draw evidence").click()
    bars = page.locator("[data-view=bars] .ws-top-layer")
    bars.scroll_into_view_if_needed()
    x0, x1, y = page.evaluate(
        """() => {
          const { bars } = workspace.views;
          const box = bars.layers.top.canvas.getBoundingClientRect();
          const middle = (f) => bars.span(f)[0] + bars.span(f)[1] / 2;
          return [box.left + middle(2), box.left + middle(4), box.top + 40];
        }"""
    )
    page.mouse.move(x0, y)
    page.mouse.down()
    page.mouse.move(x1 - 5, y)
    page.mouse.move(x1, y)
    page.mouse.up()
    opened.wait("v.frame === 2")
    assert [
        panel.get_by_label(f"{end} frame of the bracket").input_value() for end in ("First", "Last")
    ] == ["2", "4"]
    drag(opened, "player", 40, 47)
    opened.wait("v.drawn.boxes === 1")
    drawn = [cell for frame in (2, 3, 4) for cell in cells(frame, (0, 1), (0, 1, 2))]
    said([21, 22, 26, *drawn])
    assert panel.locator(".ws-boxes li").count() == 1
    opened.set(frame=5, time=2.0)
    opened.wait("v.drawn.boxes === 0")  # the box is of frames 2 to 4

    panel.get_by_role("button", name="Select", exact=True).click()
    locked(opened, drawn)
    opened.set(locked=[119])
    panel.get_by_role("button", name="Add the selected cells (1)").click()
    said([21, 22, 26, *drawn, 119])

    panel.locator("summary", has_text="For the benchmark").click()
    page.evaluate("workspace.urls.clip = 'gradio_api/file=/a%20b/my%20clip.mp4'")
    panel.get_by_label("Right answer").fill("green")
    panel.get_by_role("button", name="Copy", exact=True).click()
    panel.get_by_text("Copied.").wait_for()
    line = page.evaluate("navigator.clipboard.readText()")
    (tmp_path / "my clip.mp4").write_bytes(b"a video")
    (tmp_path / "questions.jsonl").write_text(line, encoding="utf-8")
    (read,) = Folder(None, tmp_path, tmp_path / "questions.jsonl").lines
    assert (read.video, read.question, read.answer) == ("my clip.mp4", known.text, "green")
    assert GRID.indices(cells_of(read.boxes, shown.seconds, GRID, 1)).tolist() == [*drawn, 119]

    panel.get_by_role("button", name="Remove box 1").click()
    said([21, 22, 26, 119])


def test_drawn_evidence_belongs_to_its_clip(bench):
    opened = bench(trace())
    tab(opened, "Evidence")
    page = opened.page
    page.evaluate("workspace.lock(119)")
    panel = page.locator("[data-panel=evidence]")
    assert "No evidence is known" in panel.inner_text()
    opened.wait("v.locked.length === 1")
    panel.get_by_role("button", name="Add the selected cells").click()
    again = "o => workspace.show({bundle: 'bundle.bin', sprite: workspace.urls.sprite, key: o})"
    page.evaluate(again, "other")
    assert panel.locator(".ws-boxes li").count() == 0
    page.evaluate(again, "test")
    assert panel.locator(".ws-boxes li").count() == 1
