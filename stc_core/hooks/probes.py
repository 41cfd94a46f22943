"""Read what an attention module attends to while it runs; change nothing.

An attention module under a probe carries a copy of its config meanwhile; everything is undone on
the way out. What is relied on is checked where it is used, so that a changed library fails in one
clear sentence. ``versions.py`` names the releases that all of this was tested with.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from stc_core.errors import moved
from stc_core.hooks.attaching import attach
from stc_core.hooks.attention import attention_paid
from stc_core.models.stock import StockModel
from stc_core.record.stopwatch import Stopwatch


def kernel_name(model: StockModel) -> str:
    """Return the name of the attention kernel that a model runs, such as "sdpa"."""
    return model.config._attn_implementation


def _kernel_of(module: StockModel) -> Callable:
    """Return the attention function that the module would call by itself."""
    name = module.config._attn_implementation
    if name in ALL_ATTENTION_FUNCTIONS:
        return ALL_ATTENTION_FUNCTIONS[name]
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if eager is None:
        raise moved(f"{type(module).__name__} has no attention function named {name!r}")
    return eager


@contextmanager
def probe(module: StockModel, look: Callable[[Tensor, Tensor, float], None]) -> Iterator[None]:
    """Call ``look(query, key, scaling)`` whenever this attention module runs; change nothing.

    query (batch, heads, q, head_dim) and key (batch, kv_heads, keys, head_dim) arrive after norms
    and rotary embedding, whatever the family. The module goes on with its own kernel: its config is
    swapped for a copy that names a pass-through, registered in the library's table under a name of
    its own for the time of the context. The mask is untouched, because it is made by the decoder,
    whose config still names the stock kernel. Where frames of different sizes are packed into one
    call, ``look`` is called for each of them: a tower of packed frames is seen as any other.
    """
    stock, kernel = module.config, _kernel_of(module)

    def pass_through(inner, query, key, value, attention_mask, **kwargs):
        scaling = kwargs.get("scaling")
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        ends = kwargs.get("cu_seq_lens_q")  # FlashAttention's; other kernels get them one by one
        for part in [slice(None)] if ends is None else map(slice, *_pairs(ends)):
            look(query[:, :, part], key[:, :, part], scaling)
        inner.config = stock  # FlashAttention looks its own name up
        try:
            return kernel(inner, query, key, value, attention_mask, **kwargs)
        finally:
            inner.config = routed

    # modules ask for "flash" in the name of their kernel before they pack frames into one call
    name = f"{stock._attn_implementation}_stc_probe_{id(pass_through):x}"
    routed = copy.copy(stock)
    routed._attn_implementation_internal = name
    if routed._attn_implementation != name:
        raise moved("a config names its attention kernel elsewhere")
    try:
        ALL_ATTENTION_FUNCTIONS[name] = pass_through
        module.config = routed
        yield
    finally:
        module.config = stock
        if name in ALL_ATTENTION_FUNCTIONS:
            del ALL_ATTENTION_FUNCTIONS[name]


def _pairs(ends: Tensor) -> tuple[list[int], list[int]]:
    """Return starts and ends of packed segments from their cumulative lengths (segments + 1,)."""
    bounds = ends.tolist()
    return bounds[:-1], bounds[1:]


@contextmanager
def tower_calls(tower: StockModel, begun: Callable[[Tensor | None], None]) -> Iterator[None]:
    """Call ``begun(grid_thw or None)`` whenever this vision tower starts; change nothing.

    grid_thw (videos, 3): time steps, rows and columns of patches, where the tower is told them.
    """
    names = list(inspect.signature(tower.forward).parameters)

    def read(module: nn.Module, args: tuple, kwargs: dict) -> None:
        begun((dict(zip(names, args, strict=False)) | kwargs).get("grid_thw"))

    with ExitStack() as stack:
        attach(stack, tower, read, with_kwargs=True)
        yield


@contextmanager
def probe_head(attention: nn.Module, look: Callable[[Tensor], None]) -> Iterator[None]:
    """Call ``look(weights (F, P))`` whenever this pooling head runs; change nothing.

    attention: the ``torch.nn.MultiheadAttention`` between the head's one probe and the F x P
    patches. The tower calls it with ``need_weights``, so the mean over heads is in its result.
    """

    def read(module: nn.Module, args: tuple, result: object) -> None:
        weights = result[1] if isinstance(result, tuple) and len(result) == 2 else None
        if weights is None or weights.ndim != 3 or weights.shape[1] != 1:
            raise moved("the vision tower's pooling head does not give its attention weights")
        look(weights[:, 0].float())

    with ExitStack() as stack:
        attach(stack, attention, read, after=True)
        yield


@contextmanager
def listening(model: StockModel, layer: int, last: int, watch: Stopwatch) -> Iterator[list[Tensor]]:
    """Record what one decoder layer attends to while ``model`` reads one prompt and answers it.

    Yields a list that fills with float32 tensors on the CPU, means over heads: (last, L), from the
    last tokens of the prompt to all L that it has in this layer, then (1, L + i) for the i-th token
    that is fed back, i = 1, 2, ... The watch is paused meanwhile. May be entered within a
    ``compress`` whose inside stage reads the same layer.
    """
    heard: list[Tensor] = []

    @torch.no_grad()
    def look(query: Tensor, key: Tensor, scaling: float) -> None:
        with watch.paused():
            cols = torch.arange(key.shape[2], device=key.device)
            rows = cols[-last:] if query.shape[2] > 1 else cols[-1:]
            heard.append(attention_paid(query[:1], key[:1], scaling, rows, cols, None).cpu())

    with probe(model.get_decoder().layers[layer].self_attn, look):
        yield heard
