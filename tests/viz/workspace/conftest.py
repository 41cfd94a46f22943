"""The workspace without Gradio: a page of its own from a folder, served on loopback."""

from __future__ import annotations

import functools
import json
import threading
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import PATIENCE, chromium  # noqa: F401

from stc_core import Trace
from viz.examples import Known
from viz.workspace.bundle import pack, sprite
from viz.workspace.component import HERE, script, style
from viz.workspace.modules import joined

# Functions that tests call on the page's trace; the page itself keeps them inside.
PURE = "".join(
    joined(HERE / "js" / f"{name}.js", names)
    for name, names in {
        "pair": ("differing", "ratioOf"),
        "edits": ("Draft",),
        "evidence": ("boxesAround", "cellsOf"),
    }.items()
)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>workspace</title>
<link rel="icon" href="data:,"><style>body {{ font-family: system-ui; margin: 16px }}
{style}</style><main><h1>Workspace</h1><h2>Trace</h2><div class="workspace"></div></main>
<script>{script}{pure}
const workspace = mount(document.querySelector('.workspace'), {server});
workspace.show({urls});
</script></html>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


@dataclass
class Bench:
    """One open workspace: the page, what it complained about, what it can be asked."""

    page: object
    trace: Trace
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    @property
    def state(self) -> dict:
        return self.page.evaluate("window.__tokenview")

    def wait(self, condition: str) -> None:
        """Until a condition on ``v``, the snapshot, holds and the views show it.

        What plays changes in every frame, so there the views are always one behind.
        """
        self.page.wait_for_function(
            f"(v => ({condition}) && (v.settled || v.playing))(window.__tokenview)"
        )

    def set(self, **fields) -> None:
        self.page.evaluate("f => { workspace.state.set(f); workspace.state.flush() }", fields)

    def center(self, view: str, token: int) -> tuple[float, float]:
        """Where the middle of a token is in a view, in pixels of the viewport."""
        x, y = self.page.evaluate(
            """async ([view, token]) => {
              const v = workspace.views[view];
              const { canvas } = v.layers.top;
              const frame = () => new Promise((done) => requestAnimationFrame(done));
              let box, before;
              do { // until a panel that has just been opened is laid out
                before = JSON.stringify(box);
                canvas.scrollIntoView({ block: 'center' });
                await frame();
                await frame();
                box = canvas.getBoundingClientRect();
              } while (JSON.stringify(box) !== before);
              const cell = v.placeOf ? v.placeOf(token) : v.corner(v.seat(token));
              return [box.left + cell.x + cell.w / 2, box.top + cell.y + cell.h / 2];
            }""",
            [view, token],
        )
        return x, y


@pytest.fixture
def bench(chromium, tmp_path):  # noqa: F811
    """bench(trace, about=None, clip=None, width=1280, height=720, served=False) -> Bench.

    It shows the trace; ``served`` as with a server, which takes what is sent and never answers.
    """
    opened: list[tuple[Bench, ThreadingHTTPServer]] = []

    def make(
        trace: Trace,
        about: Known | None = None,
        clip: Path | None = None,
        width: int = 1280,
        height: int = 720,
        served: bool = False,
        **context,
    ) -> Bench:
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        (folder / "bundle.bin").write_bytes(pack(trace, about))
        urls = {"bundle": "bundle.bin", "key": "test"}
        if trace.frames is not None:
            (folder / "frames.jpg").write_bytes(sprite(trace))
            urls["sprite"] = "frames.jpg"
        if clip is not None:
            (folder / clip.name).write_bytes(clip.read_bytes())
            urls["clip"] = clip.name
        page = PAGE.format(
            style=style(),
            script=script(),
            pure=PURE,
            urls=json.dumps(urls),
            server="{ trigger() {} }" if served else "{}",
        )
        (folder / "index.html").write_text(page, encoding="utf-8")
        handler = functools.partial(Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = chromium.new_context(viewport={"width": width, "height": height}, **context)
        context.set_default_timeout(PATIENCE)
        made = Bench(context.new_page(), trace)
        opened.append((made, server))
        home = f"http://127.0.0.1:{server.server_port}/"
        made.page.on(
            "request",
            lambda r: r.url.startswith((home, "data:", "blob:")) or made.outside.append(r.url),
        )
        made.page.on("pageerror", lambda error: made.errors.append(str(error)))
        made.page.on("console", lambda m: m.type == "error" and made.errors.append(m.text))
        made.page.goto(home)
        made.wait("v && v.ready")
        return made

    yield make
    for made, server in opened:
        made.page.context.close()
        server.shutdown()
        assert made.errors == [] and made.outside == []
