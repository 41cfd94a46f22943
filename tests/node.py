"""The node that the tests of the page's modules share."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def node_path() -> str:
    """Path of node; tests are skipped where there is none, except in CI."""
    path = shutil.which("node")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no node on PATH: in CI the modules of the page must be tested")
        pytest.skip("no node on PATH")
    return path
