"""Run the vision tower in bounded batches of frames, and not again for a clip it has seen.

The tower is the part of a run that no compression makes cheaper, and it knows neither the question
nor the method. So what it gives is kept by the content of its pixels, together with what went into
the attention modules that methods read. On the next run with the same pixels those modules alone
run again, on the same input: whoever listens to them (``compress`` does) hears the same, bit for
bit.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stc_core.errors import InputError
from stc_core.hooks.attaching import attach
from stc_core.hooks.run_cache import RunCache, bytes_of, fingerprint
from stc_core.methods import Method
from stc_core.models.contribution import contribution_module, pooling_head
from stc_core.models.families import family_of
from stc_core.models.memory import WORKING, tower_bytes
from stc_core.models.stock import StockModel
from stc_core.record.flops import VisionShape
from stc_core.record.stopwatch import Stopwatch

EVERY_LAYER = 1 / 8  # of a cache: as long as the inputs of all layers take no more, all are kept
Call = tuple[tuple, dict]  # positional and named arguments


@dataclass
class _Seen:
    """Hold one clip: the tower's output, the calls of its attention modules, the time taken."""

    output: Any
    calls: Mapping[int, list[Call]]  # by the module's place in the tower
    seconds: float = 0.0


@contextmanager
def vision(
    model: StockModel,
    *,
    cache: RunCache | None = None,
    methods: Iterable[Method] = (),
    batch: int | None = None,
    watch: Stopwatch | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[None]:
    """Let the model's vision tower run in batches, and once for each clip, inside the ``with``.

    So does a projector that comes before the patches are made fewer, but for every run.

    Frames (or time steps of a packed video) do not see each other in the towers of the known
    families, so batches change nothing but the order of sums inside the kernels. A tower called
    with anything else runs as a whole. Both modules carry a method of their own meanwhile;
    afterwards, and after an exception, they are as they were.

    Parameters
    ----------
    model
        A stock Video-LLM of a family in ``stc_core.models.families``. Changed weights are noticed.
    cache
        Where features are kept; None keeps nothing.
    methods
        Those that will be tried: what they read of the tower is kept from the first run on. The
        layers that others read are kept too as long as that is little.
    batch
        Frames at once; None: as many as the tower works on in 1 GiB.
    watch
        Counts the time that the tower once took whenever its features are given again, so that
        costs stay those of a run from the start.
    report
        Called with the frames that are done and all of them, where there are several batches. What
        it raises ends the run.
    """
    if batch is not None and batch < 1:
        raise InputError(f"a batch of the vision tower has 1 frame or more, not {batch}")
    family = family_of(model.config)
    tower = family.tower(model)
    stock = tower.forward
    names = list(inspect.signature(stock).parameters)
    read = [module for module in (*family.attentions(tower), family.head(tower)) if module]
    wanted = _read_by(model, methods)

    def run(calls: list[Call], ends: list[int]) -> Any:
        outputs = []
        for (args, named), end in zip(calls, ends, strict=True):
            outputs.append(stock(*args, **named))
            if len(calls) > 1:
                report(end, ends[-1])
        return outputs[0] if len(outputs) == 1 else _joined(outputs)

    @functools.wraps(stock)  # whoever hooks the tower reads its signature
    def forward(*args: Any, **kwargs: Any) -> Any:
        calls, ends = _batches(model, names, args, kwargs, batch)
        if cache is None or torch.is_grad_enabled():  # gradients go through the tower itself
            return run(calls, ends)
        began = watch.so_far() if watch else 0.0
        listened = {place for place, module in enumerate(read) if _is_listened_to(module, tower)}
        key = fingerprint(model, "vision", ends, args, kwargs)
        seen = cache.get(key, lambda seen: listened <= seen.calls.keys())
        if seen is None:
            also = {place for place, module in enumerate(read) if module in wanted}
            room = cache.limit * EVERY_LAYER / len(calls)
            with _recorded(read, listened | also, room) as heard:
                seen = _Seen(run(calls, ends), heard)
            seen.seconds = watch.so_far() - began if watch else 0.0
            cache.put(key, seen, bytes_of((seen.output, list(heard.values()))))
        else:
            for place in listened:
                for inputs, named in seen.calls[place]:
                    read[place](*inputs, **named)
            if watch:
                watch.credit(seen.seconds - (watch.so_far() - began))
        return copy.copy(seen.output)  # models write their features into it

    with ExitStack() as stack:
        stack.enter_context(_instead(tower, forward))
        projector = family.projection(model)
        if projector is not None:
            stack.enter_context(_instead(projector, _in_parts(projector, batch)))
        yield


@contextmanager
def _instead(module: nn.Module, forward: Callable) -> Iterator[None]:
    """Let this module run ``forward`` inside the ``with``."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _in_parts(projector: StockModel, batch: int | None) -> Callable[[Tensor], Tensor]:
    """Return the forward of a projector of single patches that takes few frames at a time."""
    stock = projector.forward
    layers = [layer for layer in projector.modules() if isinstance(layer, nn.Linear)]
    width = max(layer.out_features for layer in layers)

    @functools.wraps(stock)
    def forward(features: Tensor) -> Tensor:
        each = 3 * width * features[:1].numel() // features.shape[-1] * features.element_size()
        some = batch or max(1, WORKING // max(1, each))
        if len(features) <= some or torch.is_grad_enabled():
            return stock(features)
        whole: Any = None  # a tensor, as soon as its width is known
        for first in range(0, len(features), some):
            part = stock(features[first : first + some])
            if whole is None:
                whole = part.new_empty(len(features), *part.shape[1:])
            whole[first : first + some] = part
        return whole

    return forward


def _batches(
    model: StockModel, names: list[str], args: tuple, kwargs: dict, batch: int | None
) -> tuple[list[Call], list[int]]:
    """Split a call into several, and say how many frames are done after each of them.

    Pixels are (F, C, H, W), or (T * rows * cols, values) beside ``grid_thw`` (1, 3) with T, rows
    and cols in patches. What else is counted in frames is divided alike.
    """
    bound = dict(zip(names, args, strict=False)) | kwargs
    tensors = {name: value for name, value in bound.items() if isinstance(value, Tensor)}
    grid = tensors.pop("grid_thw", None)
    tensors.pop("merge_sizes", None)  # of the video as a whole
    pixels = next(iter(tensors.values()), None)
    if pixels is None:
        return [(args, kwargs)], [0]
    if grid is None:
        frames, each = len(pixels), 1
        plain = pixels.ndim == 4 and all(len(value) == frames for value in tensors.values())
        patches = VisionShape.from_config(model.config).patches
    else:
        frames, each = (int(grid[0, 0]), int(grid[0, 1:].prod())) if len(grid) == 1 else (0, 0)
        plain = len(tensors) == 1 and len(pixels) == frames * each
        patches = each
    each_frame = tower_bytes(VisionShape.from_config(model.config), patches, pixels.element_size())
    batch = batch or max(1, WORKING // max(1, each_frame))
    if not plain or frames <= batch:
        return [(args, kwargs)], [frames]
    ends = [min(frames, first + batch) for first in range(0, frames, batch)]
    calls = []
    for first, end in zip([0, *ends], ends, strict=False):
        part = {name: value[first * each : end * each] for name, value in tensors.items()}
        if grid is not None:
            part["grid_thw"] = torch.cat([grid.new_tensor([[end - first]]), grid[:, 1:]], dim=1)
        calls.append(((), bound | part))
    return calls, ends


def _joined(parts: list[Any]) -> Any:
    """Join the outputs of batches: tensors along their first dimension."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, Mapping):
        return type(first)(**{key: _joined([part[key] for part in parts]) for key in first})
    if isinstance(first, (tuple, list)):
        return type(first)(_joined(list(values)) for values in zip(*parts, strict=True))
    return first


def _read_by(model: StockModel, methods: Iterable[Method]) -> set[nn.Module]:
    """Return the attention modules of the vision tower whose weights these methods read."""
    family = family_of(model.config)
    return {
        pooling_head(model, family)
        if method.signal == "head"
        else contribution_module(model, family, method.contribution_layer)
        for method in methods
    }


@contextmanager
def tower_output(model: StockModel) -> Iterator[list[Tensor]]:
    """Keep what the vision tower's last layer gives inside the ``with``, a tensor for each run.

    Where ``vision`` is entered inside, its batches are one run, and features of its cache count.
    """
    found: list[Tensor] = []
    tower = family_of(model.config).tower(model)
    with ExitStack() as stack:
        attach(
            stack,
            tower,
            lambda module, args, out: found.append(out.last_hidden_state),
            after=True,
        )
        yield found


def _is_listened_to(module: nn.Module, tower: StockModel) -> bool:
    """Tell whether this module is listened to: by a kernel of its own or, at a head, by a hook."""
    config = getattr(module, "config", None)
    if config is None:
        return bool(module._forward_hooks)
    return config._attn_implementation != tower.config._attn_implementation


@contextmanager
def _recorded(
    modules: list[nn.Module], wanted: set[int], room: float
) -> Iterator[dict[int, list[Call]]]:
    """Yield the calls of the ``wanted`` modules, and of all where they fit into the room."""
    calls: dict[int, list[Call]] = {}
    everything: bool | None = None  # not known before the first of them

    def note(place: int, args: tuple, kwargs: dict) -> None:
        nonlocal everything
        if everything is None:
            everything = bytes_of((args, kwargs)) * len(modules) <= room
        if everything or place in wanted:
            calls.setdefault(place, []).append((args, kwargs))

    with ExitStack() as stack:
        for place, module in enumerate(modules):
            attach(
                stack,
                module,
                lambda _, args, kwargs, place=place: note(place, args, kwargs),
                with_kwargs=True,
            )
        yield calls
