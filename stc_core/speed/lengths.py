"""Measure long videos: time and memory by length, in processes of their own; windows; agreement."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import torch
from torch import Tensor

from stc_core.methods import STC, Decision
from stc_core.methods.parts.progress import listening_to_progress
from stc_core.record.grid import TokenGrid
from stc_core.speed.clocks import held_bytes, most_bytes, seconds_of
from stc_core.speed.inputs import made_up
from stc_core.speed.parts import ROWS, product

WINDOW = 8  # frames


def windowed(tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> dict[str, float]:
    """Measure what centers from windows of ``WINDOW`` frames save, and what they change."""
    made: list[Decision] = []
    seconds = []

    def decide(window: int) -> None:
        made.append(STC(window=window).outside(tokens, contribution, grid))

    for window in (0, WINDOW):
        seconds.append(seconds_of(partial(decide, window), tokens.device, times=1))
    exact, other = made[-2:]
    return {
        f"window of {WINDOW} frames, seconds": seconds[1],
        "whole video, seconds": seconds[0],
        "share of tokens with another fate": _unlike(exact, other),
        "share of centers that are the same": _shared(exact.survivors, other.survivors),
        "squared distance to what carries a token, times the exact one": (
            spread(other, tokens) / spread(exact, tokens)
        ),
    }


def spread(decision: Decision, tokens: Tensor) -> float:
    """Return the mean squared distance of the carried tokens to the means that carry them."""
    place = torch.searchsorted(decision.survivors, decision.target.clamp(min=0))
    carriers, total = decision.apply(tokens).float(), 0.0
    for rows in torch.arange(len(tokens), device=tokens.device).split(ROWS):
        error = (tokens[rows].float() - carriers[place[rows]]).square().sum(dim=1)
        total += float(error[decision.target[rows] >= 0].sum())
    return total / int((decision.target >= 0).sum())


def agreement(device: torch.device, grid: TokenGrid, width: int) -> dict[str, float]:
    """Return {dtype: share of tokens whose fate differs from that in float64 on the CPU}."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        tokens, contribution = made_up(grid, width, dtype, device, seed=1)
        here = STC(window=0).outside(tokens, contribution, grid)
        there = STC(window=0).outside(tokens.cpu().double(), contribution.cpu(), grid)
        found[str(dtype).removeprefix("torch.")] = _unlike(here, there)
    return found


def length(
    device: torch.device, dtype: torch.dtype, grid: TokenGrid, width: int
) -> dict[str, float]:
    """Measure seconds and extra bytes of one outside stage, means included, in its own process.

    The process is new because the peak of its memory is counted from its start; on a GPU the
    counter can be reset.
    """
    if device.type == "cuda":
        return _length(str(device), dtype, grid, width, torch.get_num_threads())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(
            _length, str(device), dtype, grid, width, torch.get_num_threads()
        ).result()


def _length(
    device: str, dtype: torch.dtype, grid: TokenGrid, width: int, threads: int
) -> dict[str, float]:
    torch.set_num_threads(threads)
    where = torch.device(device)
    small = TokenGrid(2, 7, 7)  # libraries load their kernels at the first call
    few = made_up(small, width, dtype, where)
    STC(window=0).outside(*few, small).apply(few[0])
    tokens, contribution = made_up(grid, width, dtype, where)
    before = held_bytes(where)

    def outside() -> None:
        STC(window=0).outside(tokens, contribution, grid).apply(tokens)

    with listening_to_progress(_line(grid.size)):
        spent = seconds_of(outside, where, times=1)
    extra = max(0, most_bytes(where) - before)
    floor = seconds_of(lambda: product(tokens), where, times=1)
    return {"tokens": grid.size, "floor": floor, "outside": spent, "extra_bytes": extra}


def _line(tokens: int) -> Callable[[float], None]:
    """Show the progress of the clustering on stderr, where it takes long enough."""

    def show(share: float) -> None:
        if tokens > 25_088:
            print(f"clustering {tokens:,} tokens: {share:.0%}", file=sys.stderr)

    return show


def _unlike(one: Decision, other: Decision) -> float:
    return float((one.fate.cpu() != other.fate.cpu()).double().mean())


def _shared(one: Tensor, other: Tensor) -> float:
    return float(torch.isin(one, other).double().mean())
