"""Let the vision tower see each clip once, however many methods then compress its tokens."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..families import contribution_module, family_of, pooling_head
from ..methods import Method


@contextmanager
def vision_once(model: nn.Module, methods: Iterable[Method] = ()) -> Iterator[None]:
    """Inside the ``with`` features of the clip seen last are given again instead of computed again.

    The first ``generate`` on a clip runs the stock tower and keeps the features that it gave and
    what went into the attention modules whose weights the methods read. On the next ``generate``
    with the same pixels those modules alone run again, on the same input, so that whoever listens
    to them (``compress`` does) hears the same; their time stays part of the compression's time.

    The model carries a method of its own meanwhile; afterwards, and after an exception, it is as
    it was.

    Parameters
    ----------
    model
        A stock Video-LLM of a family in ``stc_core.families``.
    methods
        Those that will be tried: they say which attention modules are listened to.
    """
    tower = family_of(model.config).tower(model)
    stock, own = tower.forward, tower.__dict__.get("forward")
    heard: list[tuple[nn.Module, tuple, dict]] = []
    seen: list[Any] = []  # the call and what it gave, once there was one

    @functools.wraps(stock)  # whoever hooks the tower reads its signature
    def forward(*args: Any, **kwargs: Any):
        if seen and _same(seen[0], (args, kwargs)):
            for module, inputs, named in heard:
                module(*inputs, **named)
        else:
            seen.clear()
            heard.clear()
            with ExitStack() as stack:
                for module in _listened_to(model, methods):
                    handle = module.register_forward_pre_hook(
                        lambda module, inputs, named: heard.append((module, inputs, named)),
                        with_kwargs=True,
                    )
                    stack.callback(handle.remove)
                seen[:] = (args, kwargs), stock(*args, **kwargs)
        return copy.copy(seen[1])  # models write their features into it

    try:
        tower.forward = forward
        yield
    finally:
        del tower.forward
        if own is not None:
            tower.forward = own


def _listened_to(model: nn.Module, methods: Iterable[Method]) -> list[nn.Module]:
    """The attention modules of the vision tower whose weights these methods read."""
    family = family_of(model.config)
    found: dict[int, nn.Module] = {}
    for method in methods:
        if method.signal == "head":
            module = pooling_head(model, family)
        else:
            module = contribution_module(model, family, method.contribution_layer)
        found[id(module)] = module
    return list(found.values())


def _same(a: Any, b: Any) -> bool:
    """Whether two nested tuples and dicts hold the same values, tensors bit for bit."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b
