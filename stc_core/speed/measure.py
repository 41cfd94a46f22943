"""Measure what compression costs on this machine: stages, rivals, length, memory, agreement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch

from stc_core.errors import InputError
from stc_core.methods import STC
from stc_core.record.grid import TokenGrid
from stc_core.speed.clocks import about_machine, device_named, seconds_of
from stc_core.speed.inputs import SIDE, WIDTH, made_up
from stc_core.speed.lengths import agreement, length, windowed
from stc_core.speed.parts import product, rivals, stages
from stc_core.speed.report import SpeedReport

FRAMES = 32
LENGTHS = {"cpu": (8, 32, 128), "cuda": (8, 32, 128, 512, 1024)}  # frames: 1,568 to 200,704 tokens
ENOUGH = 200  # seconds after which no further length is begun


def measure(
    device: str | None = None,
    *,
    quick: bool = False,
    frames: Sequence[int] | None = None,
    size: int = FRAMES,
    width: int | None = None,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> SpeedReport:
    """Measure what compression costs on ``device``, by default the GPU if there is one.

    Parameters
    ----------
    device : str, optional
    quick : bool
        Small tokens, in seconds: for ratios and growth, not for times.
    frames : sequence of int, optional
        Lengths to try, of 196 tokens a frame. Default: up to 25,088 tokens on a CPU and 200,704 on
        a GPU, as far as they are likely to end within five minutes.
    size : int
        Frames at which stages and methods are measured.
    width : int, optional
        Of a token. Default: 3584, and 256 with ``quick``.
    progress : callable
        Called with (stage, share 0..1).

    Returns
    -------
    SpeedReport
    """
    where = device_named(device)
    kind = "cpu" if where.type == "cpu" else "cuda"
    side, usual = (7, 256) if quick else (SIDE, WIDTH)
    width = usual if width is None else width
    dtype = torch.float32 if kind == "cpu" else torch.bfloat16
    chosen = tuple(frames or ((64, 256) if quick else LENGTHS[kind]))
    if min(*chosen, size) < 1:
        raise InputError(
            f"a length of {min(*chosen, size)} frames cannot be measured; ask for 1 or more"
        )
    if width < 1:
        raise InputError(f"tokens of width {width} cannot be measured; ask for 1 or more")
    first = time.monotonic()
    grid = TokenGrid(size, side, side)
    report = SpeedReport(about_machine(where, dtype, grid, width))
    report = _standard(report, where, dtype, grid, progress)
    progress("agreement", 0.5)
    report.agreement = agreement(where, TokenGrid(8, side, side), width)
    for done, count in enumerate(sorted(chosen)):
        if frames is None and _too_long(report.lengths, count * side**2, time.monotonic() - first):
            break
        progress(f"{count * side**2:,} tokens", 0.6 + 0.4 * done / len(chosen))
        report.lengths.append(length(where, dtype, TokenGrid(count, side, side), width))
    report.exponents = _exponents(report.lengths)
    progress("done", 1.0)
    return report


def _standard(
    report: SpeedReport,
    device: torch.device,
    dtype: torch.dtype,
    grid: TokenGrid,
    progress: Callable[[str, float], None],
) -> SpeedReport:
    """Fill in what is measured at one length."""
    tokens, contribution = made_up(grid, report.about["width"], dtype, device)
    progress("stages", 0.0)
    report.floor = seconds_of(lambda: product(tokens), device)
    report.stages = stages(tokens, contribution, grid)
    progress("methods", 0.2)
    report.rivals = rivals(tokens, contribution, grid)
    progress("windows", 0.4)
    report.window = windowed(tokens, contribution, grid)
    return report


def profile(device: str | None = None, frames: int = FRAMES) -> str:
    """Return the table of ``torch.profiler`` for ``STC().outside`` and its means."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    where = device_named(device)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if where.type == "cuda" else [])]
    grid = TokenGrid(frames, SIDE, SIDE)
    dtype = torch.float32 if where.type == "cpu" else torch.bfloat16
    tokens, contribution = made_up(grid, WIDTH, dtype, where)
    STC().outside(tokens, contribution, grid).apply(tokens)
    with profiler(activities=kinds, profile_memory=True) as seen:
        STC().outside(tokens, contribution, grid).apply(tokens)
    by = "self_cuda_time_total" if where.type == "cuda" else "self_cpu_time_total"
    table = seen.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=32)
    machine = about_machine(where, dtype, grid, WIDTH)
    return f"{grid.size:,} tokens of width {WIDTH}, {machine}\n\n{table}"


def _too_long(lengths: list[dict[str, float]], tokens: int, spent: float) -> bool:
    """Tell whether this length, by the square of the last one's, would exceed ``ENOUGH``."""
    if not lengths:
        return False
    last = lengths[-1]
    return spent + (last["floor"] + last["outside"]) * (tokens / last["tokens"]) ** 2 > ENOUGH


def _exponents(lengths: list[dict[str, float]]) -> dict[str, float]:
    if len(lengths) < 2:
        return {}
    short, long = lengths[-2:]
    ratio = math.log(long["tokens"] / short["tokens"])
    names = {"seconds": "outside", "extra bytes": "extra_bytes"}
    return {
        name: math.log(max(1, long[key]) / max(1, short[key])) / ratio
        for name, key in names.items()
    }
