"""Measure seconds and bytes, and describe the machine."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stc_core.errors import InputError
from stc_core.methods import STC
from stc_core.record.grid import TokenGrid
from stc_core.record.stopwatch import Stopwatch


def held_bytes(device: torch.device) -> int:
    """Return the bytes that the process holds now; on a GPU, also reset the counter of the peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    return _status("VmRSS")


def most_bytes(device: torch.device) -> int:
    """Return the peak: on a GPU since ``held_bytes``, in memory since the process started."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def _status(name: str) -> int:
    """Return the bytes that Linux counts for this process.

    ``getrusage`` is no use: its peak is the parent's where that was higher.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        raise InputError("the peak of memory on a CPU is read from /proc, which only Linux has")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return 1024 * int(lines[name].split()[0])


def seconds_of(work: Callable[[], Any], device: torch.device, times: int = 3) -> float:
    """Return the median seconds of ``times`` runs, after an uncounted one if there are several."""
    if times > 1:
        work()
    spent = []
    for _ in range(times):
        watch = Stopwatch(device)
        with watch("work"):
            work()
        spent.append(watch.seconds["work"])
    return statistics.median(spent)


def device_named(name: str | None) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"speed is measured on cpu or cuda, not on {name!r}")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("there is no CUDA GPU here; leave --device out to measure the CPU")
    return torch.device(name)


def about_machine(
    device: torch.device, dtype: torch.dtype, grid: TokenGrid, width: int
) -> dict[str, Any]:
    gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if gpu else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "dtype": str(dtype).removeprefix("torch."),
        "frames": grid.frames,
        "tokens": grid.size,
        "width": width,
        "method": repr(STC()),
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
