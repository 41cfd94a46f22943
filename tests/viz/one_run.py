"""The server side of a page and one run on it, of which something is asked again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stc_core.method_text import make_method
from stc_core.record.trace import Trace
from viz.server.origin import Origin, remember
from viz.server.runner import Runner
from viz.server.shelf import Shelf

CLIPS = Path(__file__).resolve().parents[2] / "assets" / "clips"
CLIP = CLIPS / "two-on-waves.mp4"
QUESTION = "what color is the star ?"


@dataclass
class Page:
    """What a page has on the server after one run."""

    vlm: object
    runner: Runner
    shelf: Shelf
    origin: Origin
    home: Path
    trace: Trace

    @classmethod
    def after_one_run(cls, folder: Path) -> Page:
        """With its shelf in ``folder``."""
        from stc_core import load
        from viz.server.rerun import answered

        vlm = load(device="cpu")

        def ask(model, video, question, method, progress, **options):
            return answered(
                model, video, question, make_method(method), progress=progress, **options
            )

        runner, shelf = Runner(lambda: vlm, ask), Shelf(folder)
        method = "STC(retention=0.05)"
        origin = Origin(str(CLIP), QUESTION, 8, method)
        *_, said = runner.run(
            "me",
            video=str(CLIP),
            question=QUESTION,
            method=method,
            frames=8,
            baseline=True,
            record=True,
        )
        home = shelf.put(said.trace)
        remember(home, origin)
        return cls(vlm, runner, shelf, origin, home, said.trace)

    @property
    def key(self) -> str:
        return self.home.parent.name
