"""Compute attention weights from queries and keys, in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

# Bytes of attention weights of a vision tower at a time: what a cache holds, or few launches.
BLOCK = {"cpu": 1 << 22, "cuda": 1 << 24}


def attention_of_first(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """Return (F, P): what the first token of a vision layer pays to each patch.

    The mean over heads, in float32. In a tower with a class token that is the first.
    """
    return attention_received(query[:, :, :1], key, scaling)


def attention_received(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """Return (F, P): the attention that each patch of a vision layer receives.

    The mean over heads and over all queries of softmax(q k^T * scaling), in float32, some heads of
    one frame at a time: 729 patches and 16 heads of a whole clip would take 1.1 GB.
    """
    heads, queries = query.shape[1:3]
    shared = heads // key.shape[1]  # heads of queries that read one head of keys
    block = BLOCK.get(query.device.type, BLOCK["cuda"])
    some = max(1, block // (4 * queries * key.shape[2]))
    parts = torch.arange(heads, device=query.device).split(some)
    received = query.new_zeros(len(query), key.shape[2], dtype=torch.float32)
    for row, q, k in zip(received, query, key, strict=True):
        for part in parts:
            logits = q[part].float() @ k[part // shared].float().transpose(-1, -2)
            weights = logits.mul_(scaling).softmax(dim=-1)
            row += weights.mean(dim=(0, 1)) * (len(part) / heads)
    return received


def attention_paid(
    query: Tensor,
    key: Tensor,
    scaling: float,
    rows: Tensor,
    cols: Tensor,
    pad: Tensor | None,
    heads: str = "mean",
) -> Tensor:
    """Return the attention from some tokens to some earlier ones in a causal layer.

    query (1, heads, Q, head_dim), key (1, kv_heads, L, head_dim), the queries being the last Q of L
    places: all of them at prefill, one when decoding. rows (q,) and cols (n,) are places in the
    sequence; pad (L,) bool is True at padding. Returns (q, n) float32, the mean (or with ``heads``
    "max" the maximum) over heads of the softmax over all that a row may see.
    """
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)[0].float()
    first = key.shape[1] - query.shape[2]  # place of the first query
    logits = (query[0][:, rows - first].float() @ key.transpose(-1, -2)) * scaling
    hidden = torch.arange(logits.shape[-1], device=logits.device) > rows[:, None]
    if pad is not None:
        hidden = hidden | pad.to(hidden.device)
    weights = logits.masked_fill(hidden, -torch.inf).softmax(dim=-1)[..., cols]
    return weights.amax(dim=0) if heads == "max" else weights.mean(dim=0)


def attention_among(query: Tensor, key: Tensor, scaling: float, row: int, cols: Tensor) -> Tensor:
    """Return (n,) float32: what one token pays to some earlier ones in a causal layer.

    The mean over heads of the softmax over the places ``cols`` (n,) alone; query and key as for
    ``attention_paid``, of a whole prompt.
    """
    key = key[0][:, cols].float().repeat_interleave(query.shape[1] // key.shape[1], dim=0)
    logits = (key @ query[0][:, row].float()[..., None]).squeeze(-1) * scaling
    return logits.softmax(dim=-1).mean(dim=0)
