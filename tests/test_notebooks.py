"""The notebooks of the documentation run from top to bottom, and are stored without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
every_book = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)


def test_the_page_links_every_notebook():
    page = (ROOT / "docs" / "notebooks.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(notebooks/([\w-]+)\.ipynb\)", page))
    assert linked == {path.stem for path in BOOKS} and len(BOOKS) == 3


@every_book
def test_outputs_are_not_stored(path):
    book = json.loads(path.read_text("utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


@every_book
def test_it_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    about = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources=about).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    kinds = {kind for output in outputs for kind in output.get("data", ())}
    assert {"text/html", "image/png"} <= kinds  # a trace and a picture have shown themselves
