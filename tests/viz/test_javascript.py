"""The modules of the page under node's own test runner: js/*.test.js, on traces packed here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import build
from made_sweep import made_sweep
from node import node_path  # noqa: F401

from stc_core.record.grid import TokenGrid
from viz.examples import Known
from viz.workspace.bundle import pack
from viz.workspace.sweep_bundle import pack_sweep

HERE = Path(__file__).parent
sys.path.append(str(HERE / "workspace"))  # where recorded.py lies
from recorded import recorded, walked  # noqa: E402

TESTS = sorted((HERE / "js").glob("*.test.js"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    """A folder of packed traces, by the names that the tests use."""
    trace = recorded()
    cell = np.full((4, 12), 0.1, np.float32)
    cell[:, 7] = 0.9
    cells = np.array([trace.grid.locate(token) for token in (30, 31)])
    boxed = TokenGrid(1, 4, 2, 100, 200, (-50.0, 0.0, 150.0, 200.0))
    folder = tmp_path_factory.mktemp("bundles")
    for name, data in {
        "recorded": pack(trace),
        "evidence": pack(trace, Known("?", "red", 4, cells)),
        "sinks": pack(replace(trace, contribution=cell.ravel())),
        "letterbox": pack(build(boxed, kept=(2,), frames=None)),
        "walked": pack(walked(8)),
        "scrub": pack_sweep(made_sweep(trace.grid)),
    }.items():
        (folder / f"{name}.bin").write_bytes(data)
    return folder


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.removesuffix(".test.js"))
def test_a_file_of_tests(node_path, bundles, path):  # noqa: F811
    done = subprocess.run(
        [node_path, "--test", "--test-reporter=tap", path],
        env={**os.environ, "BUNDLES": str(bundles)},
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert int(re.search(r"^# pass (\d+)", said, re.MULTILINE)[1]) > 0, said


def test_a_test_that_fails_is_a_failure_here(node_path, tmp_path):  # noqa: F811
    """What the tests above rest on: the status of node."""
    failing = tmp_path / "fails.test.mjs"
    failing.write_text("import test from 'node:test';\ntest('no', () => { throw new Error(); });")
    assert subprocess.run([node_path, "--test", failing], capture_output=True).returncode == 1
