"""Compute the probability of a given answer after a prompt that a cache holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from stc_core.errors import moved
from stc_core.hooks.attaching import attach
from stc_core.hooks.kv_cache import cache_argument
from stc_core.models.stock import StockModel


@torch.no_grad()
def log_probability(
    model: StockModel, cache, first: Tensor, ids: list[int], position: Tensor
) -> float:
    """Return the natural logarithm of the probability that ``model`` continues with these tokens.

    The tokens are fed one by one, as when they are generated: no step that compresses the prompt
    ever sees them.

    Parameters
    ----------
    model : StockModel
    cache
        Holds the prompt, compressed or not, and only the prompt again afterwards.
    first : (V,) float
        Logits of the token after the prompt.
    ids : list of int
        The tokens.
    position : (..., 1, 1) int64
        Position ids of the token after the prompt.
    """
    logits, total, name = first, 0.0, cache_argument(model)
    for number, token in enumerate(ids):
        if number:
            token_before = torch.tensor([[ids[number - 1]]], device=first.device)
            logits = model(
                input_ids=token_before,
                attention_mask=token_before.new_ones(1, cache.get_seq_length() + 1),
                position_ids=position + number - 1,
                **{name: cache},
            ).logits[0, -1]
        total += float(logits.float().log_softmax(-1)[token])
    rewind(cache, len(ids) - 1)
    return total


@contextmanager
def first_position(model: StockModel) -> Iterator[list[Tensor]]:
    """Yield a list that gets the position ids (..., 1, 1) of the token after the next prompt.

    They are counted as ``generate`` does, with or without ``compress``: one row, or several where
    positions have axes of their own (M-RoPE).
    """
    found: list[Tensor] = []

    def read(module: nn.Module, args: tuple, kwargs: dict) -> None:
        positions = kwargs.get("position_ids")
        if not found:
            if positions is None:
                raise moved("generate() no longer passes position ids")
            found.append(positions[..., :1, -1:] + 1)

    with ExitStack() as stack:
        attach(stack, model, read, with_kwargs=True)
        yield found


def rewind(cache, count: int) -> None:
    """Forget the last ``count`` tokens of a cache whose layers may differ in length."""
    if count:  # older releases read crop(0) as "keep nothing"
        for layer in cache.layers:
            layer.crop(-count)
