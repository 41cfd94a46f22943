"""Keep for each of the page's tabs how far it is scrolled: all of them share one window."""

from __future__ import annotations

import gradio as gr

# What a tab leaves behind, its place, is not noted once it is hidden: the window moves by itself
# where the next tab is shorter.
PLACES = """
const panels = [...document.querySelectorAll('#tabs > [role=tabpanel]')];
const places = new Map();
let shown = null;
addEventListener('scroll', () => {
  if (shown?.checkVisibility()) places.set(shown, scrollY);
}, { passive: true });
const seen = new ResizeObserver(() => {
  const now = panels.find((panel) => panel.checkVisibility());
  if (!now || now === shown) return;
  if (shown) scrollTo(0, places.get(now) ?? 0);
  shown = now;
});
for (const panel of panels) seen.observe(panel);
"""


def places() -> gr.HTML:
    """Return the watcher, which shows nothing; it stands behind the tabs."""
    return gr.HTML(
        value=None,
        html_template="",
        js_on_load=PLACES,
        visible="hidden",
        elem_id="places",
    )
