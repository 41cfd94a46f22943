"""Let the vision tower see each clip once, however many methods then compress its tokens."""

from __future__ import annotations

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
    body = model.base_model
    stock = body.get_video_features
    own = body.__dict__.get("get_video_features")
    heard: list[tuple[nn.Module, tuple, dict]] = []
    seen: list[Any] = []  # the call and its features, once there was one

    @functools.wraps(stock)  # generate() reads its signature
    def features(*args: Any, **kwargs: Any):
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
                found = stock(*args, **kwargs)
            seen[:] = (args, kwargs), found.pooler_output, type(found)
        # a new one each time, because generate() writes into it
        return seen[2](pooler_output=seen[1])

    try:
        body.get_video_features = features
        yield
    finally:
        del body.get_video_features
        if own is not None:
            body.get_video_features = own


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
