"""Measure the wall time of vision tower, prefill and decoding of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from stc_core.hooks.attaching import attach
from stc_core.hooks.kv_cache import cache_given
from stc_core.models.stock import StockModel
from stc_core.record.stopwatch import Stopwatch


@contextmanager
def timed(model: StockModel, tower: StockModel, watch: Stopwatch) -> Iterator[None]:
    """Add up "vision", "prefill" and "decoding" while ``model`` runs; enter before ``compress``.

    tower: the model's vision tower.
    """
    decoder = model.get_decoder()
    running: list[str] = []

    def begin(stage: str) -> None:
        running.append(stage)
        watch.start(stage)

    def enter_decoder(module: nn.Module, args: tuple, kwargs: dict) -> None:
        cache = cache_given(kwargs, "the decoder")
        first = cache is None or cache.get_seq_length() == 0
        begin("prefill" if first else "decoding")

    def end(*_) -> None:
        watch.stop(running.pop())

    with ExitStack() as stack:
        attach(stack, tower, lambda *_: begin("vision"))
        attach(stack, decoder, enter_decoder, with_kwargs=True)
        attach(stack, tower, end, after=True)
        attach(stack, decoder, end, after=True)
        yield
