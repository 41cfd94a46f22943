"""How soon the package and the page are there, by the machine's own pace."""

from __future__ import annotations

import subprocess
import sys

TIMED = """
import sys, time
start = time.process_time()  # of this process alone: other work on the machine does not count
import {name}
took = time.process_time() - start
print(took, *(name for name in ("torch", "transformers", "cv2") if name in sys.modules))
"""


def seconds(name: str) -> tuple[float, set[str]]:
    """The best of three imports in a process of its own, and the heavy packages that came along."""
    best, heavy = float("inf"), set()
    for _ in range(3):
        command = [sys.executable, "-c", TIMED.format(name=name)]
        took, *loaded = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.split()
        best, heavy = min(best, float(took)), heavy | set(loaded)
    return best, heavy


def test_importing_the_package_costs_less_than_numpy():
    """Two seconds are the promise; names are fetched when they are used, so it is far less."""
    took, heavy = seconds("stc_core")
    assert not heavy and took < seconds("numpy")[0]


def test_the_page_is_built_without_a_model():
    """What ``app.py`` imports before it listens is Gradio and little else."""
    took, heavy = seconds("viz.whole_page")
    assert not heavy & {"torch", "transformers"}
    assert took < 1.5 * seconds("gradio")[0]
