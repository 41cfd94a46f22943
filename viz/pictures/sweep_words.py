"""Write the settings of a sweep in words. Plain Python."""

from __future__ import annotations

NAMES = {"retention": "retention ratio", "tau": "tau", "layer": "layer K"}


def value_words(over: str, value: float) -> str:
    """Return "5 %", "tau 0.7" or "layer 5"."""
    if over == "retention":
        return f"{100 * value:.3g} %"
    return f"tau {value:g}" if over == "tau" else f"layer {value:g}"
