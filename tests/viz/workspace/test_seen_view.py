"""What the LLM sees, in the browser: pixels as Python has them, the wipe, links, thumbnails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.pace import pace
from playwright.sync_api import expect
from recorded import recorded, walked

from stc_core import Trace
from stc_core.record.grid import TokenGrid
from viz.pictures.seen import seen

SIDE = 32  # pixels of a cell, whole blocks of JPEG


def colored(**fields) -> Trace:
    """The recorded trace with a color of its own for every cell, brighter to the lower right."""
    trace = recorded(**fields)
    grid = trace.grid
    color = np.random.default_rng(5).integers(20, 200, (grid.size, 1, 1, 3))
    ramp = np.add.outer(np.arange(SIDE), np.arange(SIDE))[None, ..., None] * 40 // (2 * SIDE)
    cells = (color + ramp).reshape(grid.frames, grid.rows, grid.cols, SIDE, SIDE, 3)
    frames = cells.transpose(0, 1, 3, 2, 4, 5).reshape(
        grid.frames, grid.rows * SIDE, grid.cols * SIDE, 3
    )
    return replace(trace, frames=frames.astype(np.uint8))


def drawn(made, view: str) -> np.ndarray:
    """(n, 9, 3): pixels of every token's cell in a view, at quarters of its sides."""
    found = made.page.evaluate(
        """(name) => {
          const view = workspace.views[name];
          const { canvas } = view.layers.over;
          const seen = [];
          for (let token = 0; token < workspace.trace.n; token += 1) {
            if (name === 'player' && workspace.trace.frameOf(token) !== workspace.state.frame) {
              workspace.goTo(workspace.trace.frameOf(token));
              workspace.state.flush();
            }
            const { x, y, w, h } = view.placeOf(token);
            const scale = canvas.width / view.layers.wide;
            for (const down of [0.25, 0.5, 0.75]) {
              for (const across of [0.25, 0.5, 0.75]) {
                const at = [(x + across * w) * scale, (y + down * h) * scale].map(Math.floor);
                seen.push(...view.layers.over.getImageData(...at, 1, 1).data);
              }
            }
          }
          return seen;
        }""",
        view,
    )
    pixels = np.array(found).reshape(-1, 9, 4)
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3]


def expected(trace: Trace, stage: str, fill: str) -> np.ndarray:
    grid = trace.grid
    video = seen(trace, stage=stage, fill=fill)
    cells = video.reshape(grid.frames, grid.rows, SIDE, grid.cols, SIDE, 3).swapaxes(2, 3)
    at = [SIDE // 4, SIDE // 2, 3 * SIDE // 4]
    return cells[:, :, :, at][:, :, :, :, at].reshape(grid.size, 9, 3).astype(int)


@pytest.mark.parametrize("view", ["player", "strip"])
@pytest.mark.parametrize("fill", ["carrier", "mean"])
def test_the_browser_shows_what_python_renders(bench, view, fill):
    trace = colored()
    made = bench(trace)
    shown = {}
    for stage, ours in (("refilled", "outside"), ("end", "end")):
        made.set(stage=stage, fill=fill)
        shown[stage] = drawn(made, view)
        gap = np.abs(shown[stage] - expected(trace, ours, fill))
        assert gap.max() <= 12 and gap.mean() < 2.5, gap.max(axis=(1, 2))  # JPEG and scaling
    assert np.abs(shown["refilled"] - shown["end"]).max() > 40
    made.set(stage="raw")
    own = expected(replace_all_kept(trace), "end", "carrier")
    assert np.abs(drawn(made, view) - own).max() <= 12


def replace_all_kept(trace: Trace) -> Trace:
    from handmade import build

    n = trace.grid.size
    return replace(build(trace.grid, kept=range(n)), frames=trace.frames)


def test_in_the_pool_and_the_replay_only_the_pool_has_colors(bench):
    made = bench(colored())
    for fields in ({"stage": "pool"}, {"stage": "end", "step": 6}):
        made.set(**fields)
        pixels = drawn(made, "strip")[:, 4]
        gray = np.ptp(pixels, axis=1) <= 6
        assert np.flatnonzero(~gray).tolist() == [0, 13, 30]


def test_a_crop_and_a_letterbox(bench):
    """Of a letterbox nothing shows; what the encoder never saw is faded."""
    base = colored()
    grid = TokenGrid(4, 3, 4, 96, 128, (0, 32, 96, 160))  # the last column outside the picture
    trace = replace(base, grid=grid)
    made = bench(trace)
    made.set(stage="refilled")
    video = seen(trace, stage="outside")
    read = made.page.evaluate(
        """() => { const { layers } = workspace.views.player; const { canvas } = layers.over;
          workspace.goTo(0); workspace.state.flush();
          return [...Array(12).keys()].map((k) => [...layers.over.getImageData(
            Math.floor((((k % 4) + 0.5) / 4) * canvas.width),
            Math.floor(((Math.floor(k / 4) + 0.5) / 3) * canvas.height), 1, 1,
          ).data.slice(0, 3)]); }"""
    )
    ours = video[0][16::32, 16::32].reshape(-1, 3)
    assert np.abs(np.array(read) - ours).max() <= 12
    assert (np.ptp(ours[::4], axis=1) == 0).all()  # the first column was cropped away


def test_it_is_the_first_thing_to_see_and_needs_pictures(bench):
    made = bench(colored())
    assert made.state["overlay"] == "seen" and made.state["fill"] == "carrier"
    legend = made.page.locator(".ws-legend-view .ws-legend")
    expect(legend).to_contain_text("A merged cell shows the cell that carries it")
    choice = made.page.locator("select[name=fill]")
    choice.select_option("mean")
    expect(legend).to_contain_text("A merged cell shows the mean of its cluster")
    made.page.locator("select[name=overlay]").select_option("fate")
    made.wait("v.overlay === 'fate'")
    expect(choice).to_be_hidden()
    expect(made.page.get_by_role("slider", name="Wipe")).to_be_hidden()
    bare = bench(recorded(frames=None))
    assert bare.state["overlay"] == "fate"
    assert bare.page.locator("option[value=seen]").is_disabled()


def test_the_wipe_by_key_and_by_pointer(bench):
    made = bench(colored(), height=1000)
    page = made.page
    knob = page.get_by_role("slider", name="Wipe to the original frame")
    over = page.locator(".ws-player-view .ws-over-layer")
    expect(knob).to_have_attribute("aria-valuetext", "all as the LLM has it")
    knob.focus()
    for key, share in (("ArrowRight", 0.02), ("PageUp", 0.12), ("End", 1), ("Home", 0),
                       ("ArrowLeft", 0), ("ArrowUp", 0.02)):  # fmt: skip
        page.keyboard.press(key)
        made.wait(f"v.wipe === {share} && v.focus === -1 && v.frame === 0")
    expect(knob).to_have_attribute("aria-valuetext", "original in the left 2 %")
    box = page.locator(".ws-player-view .ws-layers").bounding_box()
    grip = knob.bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    made.wait("Math.abs(v.wipe - 0.5) < 0.01 && v.locked.length === 0")
    expect(knob).to_have_attribute("aria-valuenow", "50")
    assert "inset(0px 0px 0px 50%)" in over.evaluate("(c) => getComputedStyle(c).clipPath")
    page.keyboard.press("h")  # the whole original
    expect(knob).to_be_hidden()


def test_the_link_holds_it(bench):
    made = bench(colored(), served=True)
    page = made.page
    home = page.url.split("?")[0]  # the address may be written already
    has = "parts => { const q = new URLSearchParams(location.search);" \
          " return Object.entries(parts).every(([k, v]) => q.get(k) === v) }"  # fmt: skip
    page.wait_for_function(has, arg={"trace": "test", "overlay": None, "fill": None, "wipe": None})
    made.set(fill="mean", wipe=0.25)
    page.wait_for_function(has, arg={"overlay": None, "fill": "mean", "wipe": "0.25"})
    page.goto(page.url)
    made.wait("v && v.ready && v.overlay === 'seen' && v.fill === 'mean' && v.wipe === 0.25")
    page.goto(f"{home}?overlay=fate&stage=refilled&f=2")  # as links were before
    made.wait("v && v.ready && v.overlay === 'fate' && v.stage === 'refilled' && v.frame === 2")
    page.goto(f"{home}?fill=__proto__&wipe=1e9&overlay=seen")
    made.wait("v && v.ready && v.overlay === 'seen' && v.fill === 'carrier' && v.wipe === 0")


def test_it_plays(bench):
    made = bench(colored())
    made.page.get_by_role("button", name="Play", exact=True).click()
    made.wait("v.playing && v.frame >= 2")
    frame = made.page.evaluate(
        """() => { const { layers } = workspace.views.player; const { canvas } = layers.over;
          const { frame } = workspace.state;
          return [frame, ...layers.over.getImageData(
            Math.floor(canvas.width * 7 / 8), Math.floor(canvas.height / 6), 1, 1).data]; }"""
    )
    ours = seen(made.trace)[:, SIDE // 2, 3 * SIDE + SIDE // 2].astype(int)
    number, *pixel = frame
    near = [np.abs(ours[k] - pixel[:3]).max() for k in (number - 1, number) if k >= 0]
    assert min(near) <= 12  # of this frame, or of the one before until it is drawn


@pytest.mark.parametrize(("frames", "most"), [(32, 50), (128, 50)])
def test_it_is_drawn_in_a_breath(bench, frames, most):
    """Milliseconds for another frame of the clip, and for the strip; medians."""
    made = bench(walked(frames), width=1280, height=900)
    took = made.page.evaluate(
        """() => {
          const { player } = workspace.views;
          const turns = [...Array(24).keys()].map((k) => {
            workspace.state.set({ frame: k });
            const began = performance.now();
            workspace.state.flush();
            player.layers.over.getImageData(0, 0, 1, 1);
            return performance.now() - began;
          });
          const { strip } = workspace.views;
          const strips = [...Array(9).keys()].map(() => {
            const began = performance.now();
            for (let frame = 0; frame < workspace.trace.frames; frame += 1) {
              workspace.seen.draw(strip.layers.over, frame, strip.corner(frame));
            }
            strip.layers.over.getImageData(0, 0, 1, 1);
            return performance.now() - began;
          });
          return [turns.slice(4), strips].map((times) => times.sort((a, b) => a - b));
        }"""
    )
    assert made.state["n"] == frames * 196
    bound = most * pace(made.page)
    for times in took:
        assert 0 < times[len(times) // 2] < bound, took


def test_the_frame_downloads_as_it_is_shown(bench, tmp_path):
    import cv2

    made = bench(colored())
    made.set(frame=1, wipe=0.5, evidence=False)
    with made.page.expect_download() as waiting:
        made.page.get_by_role("button", name="Frame as PNG", exact=True).click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.name == "frame-1-seen.png"
    picture = cv2.imread(str(path))[..., ::-1].astype(int)
    tall, wide = picture.shape[:2]
    ours = seen(made.trace)[1]
    for row in range(3):
        for col in range(4):
            y, x = int((row + 0.3) / 3 * tall), int((col + 0.3) / 4 * wide)  # beside the numbers
            own = ours[int((row + 0.3) * SIDE), int((col + 0.3) * SIDE)]
            assert np.abs(picture[y, x] - own).max() <= 14, (row, col)


def test_members_are_thumbnails(bench):
    made = bench(colored())
    page = made.page
    made.set(locked=[6], frame=0)
    thumbs = page.locator(".ws-members .ws-thumb")
    expect(thumbs).to_have_count(3)  # carried by 5, together with 7 and 13
    names = [thumb.get_by_role("img").get_attribute("aria-label") for thumb in thumbs.all()]
    assert names == ["frame 0, 0.00 s, cell (1, 1)", "frame 0, 0.00 s, cell (1, 3)",
                     "frame 1, 0.50 s, cell (0, 1)"]  # fmt: skip
    pixel = (
        thumbs.nth(2)
        .locator("canvas")
        .evaluate(
            "(c) => [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data]"
        )
    )
    own = made.trace.frames[1, SIDE // 2, SIDE + SIDE // 2].astype(int)
    assert np.abs(own - pixel[:3]).max() <= 8
    page.get_by_role("button", name="frame 1, 0.50 s, cell (0, 1)").click()
    made.wait("String(v.locked) === '13' && v.frame === 1")


def test_of_a_large_cluster_some_are_shown_and_all_can_be_chosen(bench):
    trace = walked(32)
    made = bench(trace)
    center = int(np.bincount(trace.target[trace.target >= 0]).argmax())
    size = int((trace.target == center).sum())
    made.set(locked=[center], frame=center // 196)
    expect(made.page.locator(".ws-members .ws-thumb")).to_have_count(24)
    more = made.page.get_by_role("button", name=f"{size - 25} more; select all {size}")
    expect(more).to_have_text(f"+{size - 25} more")
    more.click()
    made.wait(f"v.locked.length === {size} && v.focus === {center}")
