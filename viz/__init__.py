"""Draw pictures of a trace with pure functions: no model, no torch, no gradio.

    picture = viz.render(trace, "outside")     # .png and .svg are bytes, .alt is a sentence
    for name in viz.PICTURES: ...              # budget, contribution, seen, outside, ...

Names are fetched when they are first used: the page starts without matplotlib.
"""

from importlib import import_module

__all__ = ["PICTURES", "Picture", "figure", "render"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".pictures.sheets", __name__), name)
