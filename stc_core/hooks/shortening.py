"""Shorten the sequence of a stock model at two places: the decoder's door, and after layer K.

Forward hooks drop places from the prompt before the first layer and from the hidden states after
layer K, and fit masks, positions and cache to what is left.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stc_core.errors import InputError, moved
from stc_core.hooks.attaching import attach
from stc_core.hooks.attention import attention_among, attention_paid
from stc_core.hooks.kv_cache import NAMES, Lease, cache_given, mark
from stc_core.hooks.probes import probe
from stc_core.models.stock import StockModel


@dataclass
class Sequence:
    """Hold what one prefill left behind, so that decode steps can be matched to it."""

    length: int  # L, places of the prompt before compression
    short: int  # L', places that entered the LLM
    ends: Tensor  # position ids of the token after the prompt as the caller counts
    door: Tensor | None = None  # places that went on at the LLM's door, None: all
    inner: Tensor | None = None  # places (among those) that went on after layer K, None: all
    shift: Tensor | int = 0  # what compact numbering takes off later position ids
    layer: int | None = None  # K; places were dropped after it where ``inner`` says so
    padded: bool = False  # whether the prompt stood behind padding
    continued: bool = False  # whether a first step on its cache has been checked


@dataclass
class Door:
    """Hold the prompt as it stands before the first layer of the LLM.

    embeds (rows, L, d) with the video scattered in; ids (L,) its tokens; pad (L,) bool or None;
    deepstack: one tensor (V, d) for each of the first layers, added after that layer at the V
    visual places (Qwen3-VL), row after row; empty elsewhere. cached: a cache keeps the prompt.
    again: without one, this text is the last prompt's and one token more.
    first_pass: a function (layers, places (n,)) -> (n,) float32 that runs the first layers on the
    whole prompt: what its last token pays to these places among them, the mean over the layers.
    """

    embeds: Tensor
    ids: Tensor
    pad: Tensor | None
    first_pass: Callable[[range, Tensor], Tensor]
    deepstack: tuple[Tensor, ...] = ()
    cached: bool = True
    again: bool = False


@dataclass
class Shortened:
    """Hold what goes on from the door: places (L',) ascending, embeds (rows, L', d), deepstack.

    numbers: position ids (L',), rising or equal, where they are others than those of the places.
    """

    places: Tensor
    embeds: Tensor
    deepstack: tuple[Tensor, ...] = ()
    numbers: Tensor | None = None


@dataclass
class Seam:
    """Hook into one stock model, so that a caller can shorten its sequence at two places.

    Parameters
    ----------
    model : a stock ``...ForConditionalGeneration``
    at_door : Door -> Shortened or None
        Called once a prefill; None leaves the prompt as it is.
    layer : int or None
        K; None for no inner step.
    after_layer : (hidden (rows, L', d), attention, entered) -> (places (L",), hidden (rows, L", d))
        Or None. Called with the hidden states that leave layer K, a function
        ``attention(rows, cols, heads) -> (q, n)`` that reads the weights within it, and with
        ``entering`` the hidden states that entered it.
    later : (ids (rows, n) or None, compressed) -> None
        Called before n tokens join a cache that holds no video yet, or a compressed one; refuses a
        video among them.
    compact : bool
        Number the survivors 0, 1, 2 ... instead of keeping their position ids.
    entering : bool
        Keep the hidden states that enter layer K until they have left it.
    """

    model: StockModel
    at_door: Callable[[Door], Shortened | None]
    layer: int | None
    after_layer: Callable[[Tensor, Callable, Tensor | None], tuple[Tensor, Tensor] | None]
    later: Callable[[Tensor | None, bool], None]
    compact: bool = False
    entering: bool = False
    _ids: Tensor | None = field(default=None, init=False)
    _sequence: Sequence | None = field(default=None, init=False)
    _prefill: bool = field(default=False, init=False)
    _pad: Tensor | None = field(default=None, init=False)
    _seen: tuple | None = field(default=None, init=False)
    _entered: Tensor | None = field(default=None, init=False)  # what layer K was given
    _ahead: bool = field(default=False, init=False)  # in the first layers before the prompt itself
    _cache: weakref.ref | None = field(default=None, init=False)  # of the call under way
    _uncached: Tensor | None = field(default=None, init=False)  # ids of the last call without one
    _lease: Lease = field(default_factory=Lease, init=False)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Register every hook, and remove every one on the way out."""
        decoder = self.model.get_decoder()
        with ExitStack() as stack:

            def hook(module: nn.Module, function: Callable) -> None:
                attach(stack, module, function, with_kwargs=True)

            hook(self.model, self._refuse_calls)
            hook(self.model.base_model, self._note_ids)
            hook(decoder, self._enter_decoder)
            for index, layer in enumerate(decoder.layers):
                hook(layer, lambda _, args, kwargs, i=index: self._enter_layer(i, args, kwargs))
            if self.layer is not None:
                stack.enter_context(probe(decoder.layers[self.layer].self_attn, self._look))
            stack.callback(setattr, self._lease, "open", False)
            yield

    def _look(self, query: Tensor, key: Tensor, scaling: float) -> None:
        if self._prefill and self._sequence is not None:
            self._seen = (query[:1], key[:1], scaling)

    def _refuse_calls(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Refuse, before any work, calls whose result would not fit a shortened sequence."""
        if kwargs.get("labels") is not None:
            raise InputError(
                "labels of the whole prompt do not fit the logits of a compressed one; call the "
                "model without labels and compute the loss from the logits of the answer's tokens"
            )
        if module.training and getattr(self.model.get_decoder(), "gradient_checkpointing", False):
            raise InputError(
                "gradient checkpointing runs each layer twice, which compression cannot follow; "
                "call model.gradient_checkpointing_disable() first"
            )
        # assisted decoding appends its guesses to the prompt: the inside stage would read them
        wanted = kwargs.get("logits_to_keep", 0)
        if isinstance(wanted, int) and wanted > 1:
            raise InputError(
                "assisted decoding cannot be combined with compression; call generate() without "
                "assistant_model and prompt_lookup_num_tokens, and forward() without logits_to_keep"
            )

    def _note_ids(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._ids = args[0] if args else kwargs.get("input_ids")

    def of(self, cache: Any) -> Sequence | None:
        """Return how the prompt in a cache was shortened; None where it is not the last one's."""
        return getattr(cache, "sequence", None) or self._sequence

    def lend(self, cache: Any, sequence: Sequence) -> None:
        """Let a cache be continued here, until ``open`` is left."""
        mark(cache, self._lease, sequence)

    # the decoder's door

    def _enter_decoder(self, module: nn.Module, args: tuple, kwargs: dict):
        if self._ahead:
            return None
        if args or kwargs.get("inputs_embeds") is None:
            raise moved("the decoder is no longer called with inputs_embeds= by keyword")
        cache = cache_given(kwargs, "the decoder")
        self._cache = None if cache is None else weakref.ref(cache)  # nobody's memory is held here
        refuse_static_cache(cache, kwargs.get("attention_mask"))
        past = 0 if cache is None else cache.get_seq_length()
        self._prefill = past == 0
        # a cache that was shortened knows how, whatever other prompts came in between
        self._sequence = getattr(cache, "sequence", self._sequence)
        kwargs = dict(kwargs)
        if self._prefill:
            self._refuse_lost_cache(kwargs)
        else:
            self._continue(kwargs, past, cache)
            return args, kwargs
        self._sequence = self._seen = self._pad = self._entered = None
        embeds = kwargs["inputs_embeds"]
        mask = kwargs.get("attention_mask")
        if self._ids is None or self._ids.shape[1] != embeds.shape[1]:
            raise InputError(
                "compression finds the video by its placeholders; pass input_ids, "
                "not inputs_embeds alone"
            )
        again = self._continues_uncached(cache)
        pad = None if mask is None or bool(mask.all()) else mask[0] == 0
        deepstack = tuple(kwargs.get("deepstack_visual_embeds") or ())
        self._refuse_before(len(deepstack))
        cached = cache is not None
        first_pass = partial(self._first_pass, kwargs)
        door = Door(embeds, self._ids[0], pad, first_pass, deepstack, cached, again)
        shortened = self.at_door(door)
        if shortened is None:  # no video in this prompt: nothing of it is ours
            return args, kwargs
        positions = _positions(kwargs, embeds)
        places = shortened.places
        # several rows of them where positions have a time, a row and a column (M-RoPE)
        ends = positions[..., :1, :].amax(dim=-1, keepdim=True) + 1
        sequence = Sequence(embeds.shape[1], len(places), ends=ends, layer=self.layer)
        sequence.padded = pad is not None
        numbers = shortened.numbers
        if len(places) < embeds.shape[1] or numbers is not None:
            sequence.door = places
            positions = positions[..., places]
            if numbers is None and self.compact:
                real = torch.ones_like(places) if pad is None else (~pad[places]).long()
                numbers = (real.cumsum(0) - 1).clamp(min=0)
            if numbers is not None:
                positions = numbers.expand_as(positions)
                sequence.shift = ends - positions[..., :1, -1:] - 1
            kwargs |= {"inputs_embeds": shortened.embeds, "position_ids": positions}
            if deepstack:
                kwargs["deepstack_visual_embeds"] = list(shortened.deepstack)
                kwargs["visual_pos_masks"] = kwargs["visual_pos_masks"][:, places]
            if mask is not None:
                kwargs["attention_mask"] = mask[:, places]
            elif cache is None:
                # gaps in the position ids, no cache and no mask would be read as packed sequences
                shape = shortened.embeds.shape[:2]
                kwargs["attention_mask"] = embeds.new_ones(shape, dtype=torch.long)
            pad = None if pad is None else pad[places]
        self._sequence, self._pad = sequence, pad
        return args, kwargs

    def _refuse_lost_cache(self, kwargs: dict) -> None:
        """Refuse a call that goes on where a prompt ended and yet comes with an empty cache."""
        positions = kwargs.get("position_ids")
        if self._sequence is None or positions is None:
            return
        if (_column(positions)[:, 0] >= _column(self._sequence.ends)[:, 0]).all():
            raise moved("tokens that follow a prompt come without the cache that it has filled")

    def _check_first_step(self, sequence: Sequence, past: int, cache) -> None:
        """Compare the cache with what the prefill let through, once for each prompt."""
        if sequence.continued:
            return
        sequence.continued = True
        layers = len(self.model.get_decoder().layers)
        lengths = [cache.get_seq_length(layer) for layer in range(layers)]
        end = sequence.short if sequence.inner is None else len(sequence.inner)
        first = layers if sequence.layer is None else sequence.layer + 1
        grown = past - sequence.short
        expected = [sequence.short] * first + [end] * (layers - first)
        if lengths != [length + grown for length in expected]:  # the caller may have cut it
            raise moved(
                f"the cache of a prompt of {sequence.short} tokens, {end} after layer K, holds "
                f"{sorted(set(lengths), reverse=True)}"
            )

    def _continues_uncached(self, cache) -> bool:
        """Tell whether this prefill is the last prompt and its next token (no cache in use)."""
        ids, before = self._ids, self._uncached
        self._uncached = None if cache is not None else ids
        return (
            cache is None
            and ids is not None
            and before is not None
            and ids.shape == (len(before), before.shape[1] + 1)
            and torch.equal(ids[:, :-1], before)
        )

    def _refuse_before(self, count: int) -> None:
        if self.layer is not None and self.layer + 1 < count:
            raise InputError(
                f"this model adds visual features after each of its first {count} layers, so "
                f"tokens can be merged inside it after layer {count - 1} at the earliest, not "
                f"after layer {self.layer}"
            )

    def _continue(self, kwargs: dict, past: int, cache) -> None:
        """Give tokens after the prompt the mask and the positions that fit the cache."""
        sequence, new = self._sequence, kwargs["inputs_embeds"].shape[1]
        if sequence is None:
            if new > 1:
                self.later(self._ids, False)
            return
        self._check_first_step(sequence, past, cache)
        positions = kwargs.get("position_ids")
        start = sequence.ends + past - sequence.short
        if positions is None:
            positions = start + torch.arange(new, device=kwargs["inputs_embeds"].device)
        elif (_column(positions)[:, 0] != _column(start)[:, 0]).any():
            raise InputError(
                "this cache holds a compressed prompt: continue it with the new tokens only, "
                "attention_mask=ones(cache length + new) and position_ids from "
                f"{int(_column(start))} on"
            )
        if new > 1:
            self.later(self._ids, True)
        shift = sequence.shift  # of each axis, where the caller gives them all
        if isinstance(shift, Tensor) and positions.ndim < shift.ndim:
            shift = shift[-1]
        kwargs["position_ids"] = positions - shift
        mask = kwargs.get("attention_mask")
        if mask is not None and sequence.door is not None and mask.shape[1] > past + new:
            kwargs["attention_mask"] = torch.cat(
                [mask[:, sequence.door], mask[:, sequence.length :]], dim=1
            )

    @torch.no_grad()
    def _first_pass(self, kwargs: dict, layers: range, places: Tensor) -> Tensor:
        """Run the first layers on the whole prompt without a cache; ``Door`` says what for."""
        decoder = self.model.get_decoder()
        embeds, heard = kwargs["inputs_embeds"], []
        last = embeds.shape[1] - 1
        whole = kwargs | {name: None for name in NAMES if name in kwargs} | {"use_cache": False}
        if whole.get("attention_mask") is None:  # else position ids are read as packed sequences
            whole["attention_mask"] = embeds.new_ones(embeds.shape[:2], dtype=torch.long)

        def look(query: Tensor, key: Tensor, scaling: float) -> None:
            heard.append(attention_among(query, key, scaling, last, places.to(key.device)))

        with ExitStack() as stack:
            for layer in layers:
                stack.enter_context(probe(decoder.layers[layer].self_attn, look))
            if layers.stop < len(decoder.layers):
                attach(stack, decoder.layers[layers.stop], _enough)
            stack.callback(setattr, self, "_ahead", False)
            self._ahead = True
            try:
                decoder(**whole)
            except _Enough:
                pass
        if len(heard) != len(layers):
            raise moved("the first layers ran without their attention function")
        return torch.stack([found.to(places.device) for found in heard]).mean(dim=0)

    # the decoder's layers

    def _enter_layer(self, index: int, args: tuple, kwargs: dict):
        sequence = self._sequence
        if sequence is None:
            return None
        hidden = args[0] if args else kwargs.get("hidden_states")
        if hidden is None or "position_embeddings" not in kwargs:
            raise moved("decoder layers are called with other arguments")
        cache = cache_given(kwargs, "a decoder layer")
        if self._cache is not None and cache is not self._cache():
            raise moved("a decoder layer gets another cache than its decoder")
        if self._prefill and (sequence.door is not None or self.layer is not None):
            mark(cache, self._lease, sequence)
        kwargs = dict(kwargs)
        inside = sequence.layer is not None and index > sequence.layer
        if self._prefill and self.entering and index == self.layer:
            self._entered = hidden
        if self._prefill and self.layer is not None and index == self.layer + 1:
            shortened = self.after_layer(hidden, self._read_attention, self._entered)
            self._seen = self._entered = None
            if shortened is not None and len(shortened[0]) < hidden.shape[1]:
                sequence.inner, hidden = shortened
        if inside and sequence.inner is not None:
            _select(kwargs, sequence.inner, sequence.short, self._prefill)
        if sequence.door is not None or sequence.inner is not None:
            # rotary embeddings are made; FlashAttention would take gaps for packed sequences
            kwargs["position_ids"] = None
        if args:
            return (hidden, *args[1:]), kwargs
        return args, kwargs | {"hidden_states": hidden}

    def _read_attention(self, rows: Tensor, cols: Tensor, heads: str = "mean") -> Tensor:
        if self._seen is None:
            raise moved("layer K ran without its attention function")
        query, key, scaling = self._seen
        return attention_paid(query, key, scaling, rows, cols, self._pad, heads)


class _Enough(Exception):
    """Leave a decoder before its last layer."""


def _enough(*_: object) -> None:
    raise _Enough


def _positions(kwargs: dict, embeds: Tensor) -> Tensor:
    """Return the position ids (..., L) of a prefill; 0, 1, 2 ... where the caller gave none."""
    positions = kwargs.get("position_ids")
    if positions is None:
        positions = torch.arange(embeds.shape[1], device=embeds.device)[None]
    return positions


def _column(positions: Tensor) -> Tensor:
    """Return (rows, L) of position ids (..., rows, L): the last axis; in text all agree."""
    return positions.reshape(-1, *positions.shape[-2:])[-1]


def _select(kwargs: dict, places: Tensor, short: int, prefill: bool) -> None:
    """Fit the arguments of a layer after K to the ``places`` that went on of ``short`` tokens."""
    mask = kwargs.get("attention_mask")
    if prefill:
        kwargs["position_embeddings"] = tuple(
            part[..., places.to(part.device), :] for part in kwargs["position_embeddings"]
        )
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 4):
        raise InputError(
            "this attention kernel's masks cannot be shortened; load the model with "
            "attn_implementation 'sdpa', 'eager' or 'flash_attention_2'"
        )
    places = places.to(mask.device)
    if prefill and mask.ndim == 4:
        mask = mask[:, :, places]
    # columns: the prompt's survivors and, on later steps, all that came after the prompt
    kwargs["attention_mask"] = torch.cat([mask[..., places], mask[..., short:]], dim=-1)


def refuse_static_cache(cache, mask) -> None:
    """Raise ``InputError`` where memory for the whole prompt is laid out in advance."""
    static = getattr(cache, "is_compileable", False) or isinstance(mask, dict)
    if static or (isinstance(mask, Tensor) and mask.ndim == 4):
        raise InputError(
            "static caches cannot be shortened; call generate() without "
            "cache_implementation='static' and without a prepared 4-D mask"
        )
