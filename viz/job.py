"""From what was typed on the page to the arguments of ``answer``, or a sentence about it."""

from __future__ import annotations

from stc_core.errors import InputError

from .rerun import method_spec

LONGEST = 2000  # characters of a question: far more than any; 10,000 words are a mistake
MOST_FRAMES = 128


def job_of(
    video, question, retention, frames, keep_inside, baseline, tau, clusters, layer, lam
) -> dict:
    """The keyword arguments of ``answer``; ``InputError`` says what is missing or out of range."""
    if not video:
        raise InputError("choose an example clip or upload a video first")
    text = (question or "").strip()
    if not text:
        raise InputError("the question is empty; type one or choose one below the clip")
    if len(text) > LONGEST:
        raise InputError(
            f"the question has {len(text)} characters; {LONGEST} is the most this page takes"
        )
    _within(retention, "the retention ratio", 0, 1, open_low=True)
    frames = _whole(frames, "the number of frames")
    if frames is not None:
        _within(frames, "the number of frames", 1, MOST_FRAMES)
    layer = _whole(layer, "layer K")
    _within(keep_inside, "R, the share kept inside the LLM,", 0, 1, open_low=True)
    _within(tau, "tau", -1, 1)
    _within(clusters, "the cluster ratio", 0, 1)
    _within(lam, "lambda", 0, 1)
    if layer is not None and layer < 0:
        raise InputError(f"layer K must be 0 or more, not {layer}; empty is the paper's choice")
    method = method_spec(
        "stc", retention, tau=tau, cluster_ratio=clusters, layer=layer, keep_inside=keep_inside,
        lam=lam,
    )  # fmt: skip
    return {
        "video": str(video), "question": text, "method": method, "frames": frames,
        "baseline": bool(baseline), "record": True,
    }  # fmt: skip


def _whole(text, name: str) -> int | None:
    """A whole number typed as text; None where nothing was typed."""
    text = str(text or "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        raise InputError(f"{name} must be a whole number or empty; it is {text[:20]!r}") from None


def _within(value, name: str, low: float, high: float, open_low: bool = False) -> None:
    above = f"above {low}" if open_low else f"{low}"
    good = isinstance(value, (int, float)) and -1e300 < value < 1e300  # nan is not
    if not good or value > high or value < low or (open_low and value == low):
        given = "empty" if value is None else f"{value:g}" if good else "not a number"
        raise InputError(f"{name} must be {above} to {high}; it is {given}")
