"""Count what an answer costs: tokens, arithmetic, memory, time.

Two countings of arithmetic stand side by side and are never mixed:

- `paper_flops`, the convention of arXiv 2603.21957 and its peers: visual tokens only, a
  multiply-add is one operation, attention without grouped queries, two FFN matrices, 100 decoded
  tokens, no vision tower, no compression. For comparing with published tables.
- `real_flops`: 2 operations per multiply-add, grouped queries, the FFN's real matrices, text
  tokens, vision tower, projector, compression, head, the tokens really generated (`flops.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from stc_core.record.flops import (
    LLMShape,
    VisionShape,
    inside_flops,
    not_negative,
    outside_flops,
    real_flops,
)
from stc_core.record.stopwatch import Stopwatch

__all__ = [
    "Costs",
    "LLMShape",
    "Stopwatch",
    "VisionShape",
    "inside_flops",
    "kv_cache_bytes",
    "layers_after",
    "outside_flops",
    "paper_flops",
    "real_flops",
]


# --- the paper's convention --------------------------------------------------------------------


def paper_flops(
    tokens_per_layer: Sequence[int], hidden: int, ffn: int, decode_tokens: int = 100
) -> float:
    """Count the FLOPs of prefill and decoding in the convention of the published tables.

    Per layer with n visual tokens, d = hidden, m = ffn, R = decode_tokens:
    prefill ``4nd^2 + 2n^2 d + 2ndm``, decode ``R ((4d^2 + 2dm) + 2(dn + d(R + 1)/2))``
    (arXiv 2603.21957; the formula is HoliTom's). It is a convention, not the cost: the module
    docstring says what it leaves out.

    Parameters
    ----------
    tokens_per_layer : visual tokens in each decoder layer, one entry per layer (`layers_after`).
    hidden, ffn : widths of the residual stream and of the FFN.
    decode_tokens : R, tokens generated.

    Returns
    -------
    FLOPs (not TFLOPs).
    """
    not_negative(tokens_per_layer=min(tokens_per_layer, default=0), decode_tokens=decode_tokens)
    d, m, r = hidden, ffn, decode_tokens
    total = 0.0
    for n in tokens_per_layer:
        total += 4 * n * d * d + 2 * n * n * d + 2 * n * d * m
        total += r * ((4 * d * d + 2 * d * m) + 2 * (d * n + d * (r + 1) / 2))
    return total


def layers_after(layer: int, depth: int, before: int, after: int) -> list[int]:
    """Return the tokens per layer: `before` in layers 0 to `layer` inclusive, then `after`.

    The reading of "compress after layer index K" under which the paper's FLOPs column comes out:
    K = 18 of 28 is 19 long layers and 9 short ones.
    """
    if not 0 <= layer < depth:
        raise ValueError(
            f"layer must be 0 to {depth - 1} in a model of {depth} layers, not {layer}"
        )
    return [before] * (layer + 1) + [after] * (depth - layer - 1)


def kv_cache_bytes(
    tokens_per_layer: Sequence[int], kv_heads: int, head_dim: int, bytes_per_value: int = 2
) -> int:
    """Count the bytes of keys and values after the prefill; the caller adds text tokens."""
    return 2 * sum(tokens_per_layer) * kv_heads * head_dim * bytes_per_value


# --- the record --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Costs:
    """Hold what one answer cost: a part of the trace, and what the page compares.

    Parameters
    ----------
    tokens_full : N, visual tokens of the video.
    tokens_llm : visual tokens that entered the LLM.
    tokens_end : visual tokens in its last layer.
    tokens_per_layer : visual tokens in each layer.
    text_tokens, generated_tokens : prompt tokens that are not visual; tokens generated.
    paper_flops : FLOPs in the paper's convention.
    real_flops : FLOPs by part, from `real_flops`.
    kv_bytes : bytes of the KV cache after the prefill, text included.
    seconds : wall time per stage: decode (of the video), vision, compression, prefill, ...
    seconds_per_token : wall time of each generated token after the first.
    time_to_first_token : seconds, None where nothing was generated.
    peak_memory_bytes : of the GPU; None on a CPU.
    """

    tokens_full: int
    tokens_llm: int
    tokens_end: int
    tokens_per_layer: tuple[int, ...] = ()
    text_tokens: int = 0
    generated_tokens: int = 0
    paper_flops: float = 0.0
    real_flops: dict[str, float] = field(default_factory=dict)
    kv_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    seconds_per_token: tuple[float, ...] = ()
    time_to_first_token: float | None = None
    peak_memory_bytes: int | None = None

    @property
    def retention(self) -> float:
        """Return the share of the video's tokens that entered the LLM, 0 to 1."""
        return self.tokens_llm / self.tokens_full if self.tokens_full else 1.0

    @property
    def mean_seconds_per_token(self) -> float | None:
        """Return the mean over the tokens after the first; None where there was none."""
        times = self.seconds_per_token
        return sum(times) / len(times) if times else None

    def to_json(self) -> dict[str, Any]:
        """Return a dict of plain numbers, lists and dicts, for `json.dump`."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Costs:
        """Read what `to_json` gave; fields that this version does not know are refused."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(record) - known)
        missing = sorted({"tokens_full", "tokens_llm", "tokens_end"} - set(record))
        if unknown or missing:
            wrong = f"unknown {unknown}" if unknown else f"missing {missing}"
            raise ValueError(f"not a record of costs: {wrong}; was it made by a newer version?")
        lists = {"tokens_per_layer", "seconds_per_token"}
        values: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in record.items()}
        return cls(**values)


def _plain(value: Any) -> Any:
    """Turn numbers of numpy and torch into Python's; JSON has no nan and no infinity."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, (int, float)):
        number = value
    else:
        number = value.item()
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"a cost must be a finite number, not {number}")
    return number
