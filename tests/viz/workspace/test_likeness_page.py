"""UMAP from the click on the panel to the points: Gradio, a real fit, a real browser."""

from __future__ import annotations

import gradio as gr
import numpy as np
from browser import PATIENCE, chromium  # noqa: F401
from handmade import build

from stc_core.record.grid import TokenGrid
from viz.page import projections
from viz.pictures.embedding import to_scale, umap
from viz.server.shelf import Shelf
from viz.workspace.component import workspace

FIT = 4 * PATIENCE  # milliseconds: importing umap-learn alone takes seconds on an idle machine


def test_umap_replaces_the_pca_once_it_is_fitted(chromium, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    features = np.random.default_rng(2).normal(size=(60, 4)).astype(np.float16)
    trace = build(TokenGrid(5, 3, 4, 30, 40), kept=(0, 7), features=features)
    shelf = Shelf(tmp_path / "shelf")
    value = shelf.addresses(trace, shelf.put(trace))
    with gr.Blocks() as demo:
        linked, news = workspace(), projections.build()
        projections.wire(linked, news, shelf)
        demo.load(lambda: value, None, linked)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, inbrowser=False, ssr_mode=False)
    page = chromium.new_page()
    try:
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.wait_for_function("window.__tokenview && window.__tokenview.ready")
        page.get_by_role("tab", name="Likeness", exact=True).click()
        view = page.locator("[data-view=embedding]")
        places = view.get_by_role("combobox", name="Places")
        view.get_by_text("the PCA is shown meanwhile").wait_for()
        assert places.input_value() == "pca"
        view.get_by_text("by UMAP (15 neighbors").wait_for(timeout=FIT)
        assert places.input_value() == "umap"
        stored = next((tmp_path / "shelf").rglob("umap.bin")).read_bytes()
        assert stored == to_scale(umap(features)).astype("<u2").tobytes()
    finally:
        page.close()
        demo.close()
