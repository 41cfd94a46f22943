"""Define how the page looks: theme and stylesheet, both given to ``launch``.

Nothing is fetched.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

BLUE = gr.themes.Color(
    name="center", c50="#eef6fc", c100="#d7eaf7", c200="#b0d6ef", c300="#7fbde4", c400="#3f9bd2",
    c500="#0072b2", c600="#00639b", c700="#005180", c800="#004066", c900="#02304d", c950="#031f33",
)  # fmt: skip
SYSTEM = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

STYLES = ("page.css", "screen.css")  # how things look, where they stand


def theme() -> gr.themes.Base:
    """Return the theme: the blue of the cluster centers on neutral gray, fonts of the system."""
    return gr.themes.Default(
        primary_hue=BLUE, secondary_hue=BLUE, neutral_hue="slate", font=SYSTEM, font_mono=MONO
    ).set(
        body_background_fill="#f6f8fa",
        body_background_fill_dark="#0f141a",
        body_text_color_subdued="#57606a",  # 6:1 on the page, where Gradio's own has 2.5:1
        body_text_color_subdued_dark="#9aa7b4",
        block_label_text_color="#57606a",
        block_label_text_color_dark="#9aa7b4",
        block_radius="10px",
        block_shadow="none",
        button_primary_background_fill="*primary_500",
        button_primary_background_fill_hover="*primary_600",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_400",
    )


def stylesheet() -> str:
    here = Path(__file__).parent
    return "\n".join((here / name).read_text(encoding="utf-8") for name in STYLES)
