"""Keep the KV cache of a compressed prompt, and go on with it in another ``with`` or process."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from stc_core.errors import InputError
from stc_core.hooks.claiming import occupy, unwrapped
from stc_core.hooks.kept_file import Content, read_content, write_content
from stc_core.hooks.kv_cache import CompressedCache, cache_argument
from stc_core.hooks.shortening import Door, Seam, Sequence
from stc_core.models.families import family_of
from stc_core.models.memory import context_of
from stc_core.models.stock import StockModel
from stc_core.record.flops import LLMShape
from stc_core.record.trace import Trace

SAMPLE = 256  # values of each weight that tell a model from others

__all__ = ["KeptCache", "load_cache", "resume"]


@dataclass(frozen=True, eq=False)
class KeptCache:
    """Hold the KV cache of a compressed prompt after its ``with compress`` was left.

    It is made by the ``keep`` of the trace that ``compress`` yields, continued by ``resume``, and
    never changed by either. A file of it holds the cache, the trace and what tells the model;
    ``load_cache`` reads it.

    Attributes
    ----------
    cache : DynamicCache
        Keys and values of one prompt and of what was generated after it.
    sequence : Sequence
        How the prompt was shortened.
    trace : Trace
        The fate of every video token of the prompt.
    model : str
        Digest of the weights that filled the cache.
    about : dict
        What the owner wants to have kept beside it, as JSON.
    """

    cache: Any
    sequence: Sequence
    trace: Trace
    model: str
    about: Mapping[str, Any]

    @classmethod
    def of(cls, model: StockModel, seam: Seam, cache: Any, trace: Trace) -> KeptCache:
        """Make a copy of the last prompt's cache; ``InputError`` where it is something else."""
        sequence = seam.of(cache)
        if type(cache) not in (DynamicCache, CompressedCache) or sequence is None:
            raise InputError("only the cache that generate() handed back last can be kept")
        if any(type(layer).__name__ != "DynamicLayer" for layer in cache.layers):
            raise InputError("a cache of a sliding window cannot be kept; ask anew instead")
        if len(cache.layers[0].keys) != 1 or sequence.padded:
            raise InputError(
                "a cache can be kept of one prompt without padding, generated without beams or "
                "several samples; generate once more without them"
            )
        held = replace(copy.deepcopy(sequence), continued=False)
        return cls(copy.deepcopy(cache), held, trace, weights_digest(model), {})

    @property
    def tokens(self) -> int:
        """Return the tokens that the first layer holds, text and video together."""
        return self.cache.get_seq_length()

    @property
    def position(self) -> Tensor:
        """Return the position ids (..., 1, 1) of the next token, as ``generate`` counts them."""
        return self.sequence.ends + self.tokens - self.sequence.short

    def save(self, path: str | os.PathLike) -> Path:
        """Write everything to one safetensors file, whole or not at all.

        Raises
        ------
        InputError
            The folder does not exist or the file cannot be written.
        """
        sequence = self.sequence
        tensors = {"ends": sequence.ends, "shift": torch.as_tensor(sequence.shift)}
        for name, places in (("door", sequence.door), ("inner", sequence.inner)):
            if places is not None:
                tensors[name] = places
        for index, layer in enumerate(self.cache.layers):
            tensors |= {f"keys.{index}": layer.keys, f"values.{index}": layer.values}
        header = {
            "length": sequence.length,
            "short": sequence.short,
            "layer": sequence.layer,
            "model": self.model,
            "about": dict(self.about),
        }
        return write_content(Path(path), Content(header, tensors, self.trace))

    def check_model(self, model: StockModel) -> None:
        """Raise ``InputError`` unless these are the weights that filled the cache."""
        if weights_digest(model) != self.model:
            raise InputError(
                f"this cache was filled by the model {self.trace.model!r} with other weights or in "
                f"another dtype; load that model as it was, or ask this one anew"
            )


@contextmanager
def resume(model: nn.Module, kept: KeptCache) -> Iterator[Callable[[Tensor], dict[str, Any]]]:
    """Go on after a kept prompt inside the ``with``.

    ::

        with compress(model, STC()) as trace:
            output = model.generate(**inputs, return_dict_in_generate=True)
            kept = trace.keep(output.past_key_values)  # output.cache since transformers 5.24
        ...
        with resume(model, kept) as after:
            model.generate(**after(ids))

    The cache holds the prompt and all generated tokens but the last, which was never fed: ``ids``
    begin with it. What was dropped inside the LLM was decided by the first question.

    Parameters
    ----------
    model
        The model that filled the cache, or the same checkpoint loaded again.
    kept
        From ``trace.keep`` or ``load_cache``. It can be gone on from any number of times.

    Yields
    ------
    callable
        Takes ids (1, n) of the tokens that follow on the kept ones and returns the arguments of
        ``generate`` or of a forward call, with a copy of the cache.

    Raises
    ------
    InputError
        Another model, another video among the new tokens, or a model within a ``with``.
    """
    stock = unwrapped(model)
    placeholder = family_of(stock.config).placeholder(stock.config)

    def no_video(ids: Tensor | None, compressed: bool = False) -> None:
        if ids is not None and (ids == placeholder).any():
            raise InputError(
                "a kept cache goes on with text only; compress another video in a `with "
                "compress(...)` of its own"
            )

    def at_door(door: Door) -> None:
        no_video(door.ids)

    seam = Seam(stock, at_door, None, lambda *_: None, no_video)

    def after(ids: Tensor) -> dict[str, Any]:
        cache = copy.deepcopy(kept.cache)
        if type(cache) is DynamicCache or isinstance(cache, CompressedCache):
            seam.lend(cache, copy.deepcopy(kept.sequence))
        new = torch.arange(ids.shape[1], device=ids.device)
        return {
            "input_ids": ids,
            "attention_mask": ids.new_ones(1, kept.tokens + ids.shape[1]),
            "position_ids": kept.position.to(ids.device) + new,
            cache_argument(stock): cache,
        }

    with ExitStack() as stack:
        occupy(stock, stack)
        kept.check_model(stock)
        stack.enter_context(seam.open())
        yield after


def load_cache(path: str | os.PathLike, model: nn.Module) -> KeptCache:
    """Read a file that ``KeptCache.save`` wrote; everything in it is checked.

    Parameters
    ----------
    path
        The file.
    model
        The model that filled the cache; its devices take the keys and values.

    Raises
    ------
    InputError
        No such file, a damaged one, one of another model or of a newer version: one sentence.
    """
    stock = unwrapped(model)
    shape, layers = LLMShape.from_config(stock.config), stock.get_decoder().layers
    most = context_of(stock.config)
    content = read_content(Path(path), len(layers), (shape.kv_heads, shape.head_dim), most)
    header, tensors = content.header, content.tensors
    cache = DynamicCache()
    for index, layer in enumerate(layers):
        device = next(layer.parameters()).device
        cache.update(
            tensors[f"keys.{index}"].to(device), tensors[f"values.{index}"].to(device), index
        )
    first = next(layers[0].parameters()).device
    places = {name: tensors[name].to(first) for name in ("door", "inner") if name in tensors}
    sequence = Sequence(
        header["length"],
        header["short"],
        ends=tensors["ends"].to(first),
        shift=tensors["shift"].to(first),
        layer=header["layer"],
        door=places.get("door"),
        inner=places.get("inner"),
    )
    kept = KeptCache(cache, sequence, content.trace, header["model"], header["about"])
    kept.check_model(stock)
    return kept


def weights_digest(model: StockModel) -> str:
    """Return the SHA-256 of the names, shapes and dtypes of all weights and 256 values of each.

    The values are evenly spaced, so that a model of 7 billion weights takes a moment; a fine-tuned
    one differs in nearly all of them. Weights that are not in memory count by name alone.
    """
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        if weight.is_meta or not weight.numel():
            continue
        flat = weight.detach().reshape(-1)
        count = min(SAMPLE, len(flat))
        places = torch.linspace(0, len(flat) - 1, count, dtype=torch.float64).long()
        values = flat[places.to(flat.device)].cpu().contiguous()
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
