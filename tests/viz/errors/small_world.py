"""Lines of a result file about real clips of the world of shapes."""

from __future__ import annotations

from stc_core.shapes import make_clip


def asked(seeds, frames: int) -> list[dict]:
    """The first question of each clip with evidence: right without compression, wrong with STC."""
    made = []
    for seed in seeds:
        question = next(q for q in make_clip(seed, frames).questions if len(q.evidence))
        cells = len(question.evidence)
        one = {"case": str(seed), "clip": str(seed), "kind": question.kind, "frames": frames,
               "question": question.text, "expected": question.answer,
               "tokens": [392, 8, 4]}  # fmt: skip
        for method, answer in (("none", question.answer), ("STC(retention=0.02)", "wrong")):
            left = cells if method == "none" else 0
            names = ("door", "door_carried", "end", "end_carried")
            made.append(
                one
                | {
                    "method": method,
                    "answer": answer,
                    "right": method == "none",
                    "log_right": -0.1 if method == "none" else -3.0,
                    "evidence": {"cells": cells, **dict.fromkeys(names, left)},
                }
            )
            if method != "none":
                made[-1]["why"] = {"cause": "lost by tau", "sentence": "It needs the token."}
    return made
