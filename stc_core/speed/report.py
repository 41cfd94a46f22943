"""Show measurements of speed as tables and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class SpeedReport:
    """Hold seconds, bytes and shares; ``str`` makes tables of them.

    Attributes
    ----------
    about : dict
        What ran where.
    floor : float
        Seconds of the float32 product of all tokens, at ``about["tokens"]``.
    stages : dict
        Seconds of the parts of STC, "outside" being the whole stage before the LLM.
    rivals : dict
        Method -> seconds of its outside stage, means included.
    lengths : list of dict
        For each number of tokens the seconds of floor and outside stage, extra bytes.
    exponents : dict
        Growth of seconds and of extra bytes from the second longest to the longest.
    window : dict
        What ``STC(window=...)`` saves and how far its result is from the exact one.
    agreement : dict
        dtype -> share of tokens with another fate than in float64 on the CPU.
    """

    about: dict[str, Any]
    floor: float = math.nan
    stages: dict[str, float] = field(default_factory=dict)
    rivals: dict[str, float] = field(default_factory=dict)
    lengths: list[dict[str, float]] = field(default_factory=list)
    exponents: dict[str, float] = field(default_factory=dict)
    window: dict[str, float] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def __str__(self) -> str:
        def times(title: str, seconds: dict[str, float]) -> list[list[str]]:
            return [
                [title, "ms", "of the product"],
                *(
                    [name, f"{1e3 * value:.1f}", f"{value / self.floor:.3f}"]
                    for name, value in seconds.items()
                ),
            ]

        floor = {f"the product of {self.about['tokens']:,} tokens": self.floor}
        lengths = [["tokens", "product s", "outside s", "ratio", "extra MiB"]]
        for row in self.lengths:
            outside, product = row["outside"], row["floor"]
            cells = f"{product:.3f}", f"{outside:.3f}", f"{outside / product:.2f}"
            lengths.append([f"{row['tokens']:,}", *cells, f"{row['extra_bytes'] / 2**20:.0f}"])
        parts = [
            table([[name, str(value)] for name, value in self.about.items()]),
            table(times("stage of STC", floor | self.stages)),
            table(times("method, before the LLM", self.rivals)),
            table(lengths),
            "\n".join(f"{name} grow with exponent {e:.2f}" for name, e in self.exponents.items()),
            table([[name, f"{value:.4g}"] for name, value in self.window.items()]),
            table(
                [
                    ["dtype here", "other fates than in float64 on the CPU"],
                    *([name, f"{share:.4%}"] for name, share in self.agreement.items()),
                ]
            ),
        ]
        return "\n\n".join(part for part in parts if part)


def table(rows: list[list[str]]) -> str:
    """Format columns of equal width: the first aligned left, numbers aligned right."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(size) if place == 0 or len(row) == 2 else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
