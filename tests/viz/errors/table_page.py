"""A page that holds nothing but the error table, and what it shows."""

from __future__ import annotations

import re
from pathlib import Path

from stc_core import InputError


class Served:
    """A page that holds nothing but the tab, and what was asked of it."""

    def __init__(self, folder: Path, results: Path) -> None:
        import gradio as gr

        from viz.errors.errors_tab import errors_tab
        from viz.page import cards
        from viz.page.theme import stylesheet, theme

        self.opened: list = []

        def open_case(case, methods, visitor):
            self.opened.append((case, methods))
            yield cards.status(f"Opens {case.id} …", "busy"), {workspace: ""}
            if case.id == "101":
                raise InputError("this clip is not there")
            yield cards.status(f"Opened {case.id}.", "done"), {workspace: case.question}

        with gr.Blocks(title="errors", analytics_enabled=False) as self.demo:
            with gr.Tabs(), gr.Tab("First"):
                gr.HTML("<h1>Errors</h1>")
                workspace = gr.Textbox(label="workspace", elem_id="workspace")
                errors_tab(results, folder / "tables", open_case, [workspace])
        _, self.url, _ = self.demo.launch(
            prevent_thread_lock=True,
            quiet=True,
            theme=theme(),
            css=stylesheet(),
            ssr_mode=False,
            max_file_size="500mb",
            run_history=False,
        )


def found(page) -> str:
    return page.locator(".found").inner_text()


def count(page) -> int:
    return int(re.match(r"[\d,]+", found(page)).group().replace(",", ""))
