"""Put several questions about one clip into one sequence, where none sees another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, LlavaOnevisionForConditionalGeneration

from stc_core.models.stock import StockModel


def alone(
    turn: Tensor, place: Tensor, prefix: int, places: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return positions and a mask with which every turn sees the prefix and itself only.

    Parameters
    ----------
    turn : (B, P) int64
        Turn of each token after the prefix, counted from 1; 0 for padding.
    place : (B, P) int64
        Place of each token within its turn.
    prefix : int
        Number of tokens that all turns share.
    places : (B, prefix) int64, optional
        Positions of the shared tokens where these have gaps; default: 0, 1, 2, ...

    Returns
    -------
    positions : (B, L) int64
        L is prefix + P.
    mask : (B, 1, P, L) bool
        True where a token of a turn sees another token.
    """
    b, p = turn.shape
    if places is None:
        places = torch.arange(prefix, device=turn.device).expand(b, -1)
    positions = torch.cat([places, places[:, -1:] + 1 + place], dim=1)
    causal = torch.ones(p, p, dtype=torch.bool, device=turn.device).tril()
    own = (turn[:, None, :] == turn[:, :, None]) & causal
    return positions, torch.cat([own.new_ones(b, p, prefix), own], dim=2)[:, None]


def attend_by_turns(model: LlavaOnevisionForConditionalGeneration) -> None:
    """Make the decoder read the masks of ``alone``: the same attention at half the price."""
    AttentionInterface.register("turns", _turns_attention)
    model.model.language_model.set_attn_implementation("turns")


def _turns_attention(
    module: StockModel,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend causally in the prefix and by the mask in the turns: query (B, heads, L, d)."""
    key, value = (x.repeat_interleave(module.num_key_value_groups, dim=1) for x in (key, value))
    prefix = query.shape[2] - attention_mask.shape[2]
    first = F.scaled_dot_product_attention(
        query[:, :, :prefix],
        key[:, :, :prefix],
        value[:, :, :prefix],
        is_causal=True,
        scale=scaling,
    )
    rest = query[:, :, prefix:]
    if query.is_cuda:
        then = F.scaled_dot_product_attention(rest, key, value, attention_mask, scale=scaling)
    else:  # the kernel of CPUs is slow with masks
        weights = rest @ key.transpose(2, 3) * scaling + attention_mask
        then = weights.softmax(dim=-1, dtype=torch.float32).to(value.dtype) @ value
    return torch.cat([first, then], dim=2).transpose(1, 2), None
