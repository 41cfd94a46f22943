"""The page's parts: what a visitor sees and sets, and what happens on a click. All with gradio."""
