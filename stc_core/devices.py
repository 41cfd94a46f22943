"""Ask a device for what clocks and memory counters need. torch is imported for a GPU alone."""

from __future__ import annotations

__all__ = ["forget_peak_memory", "peak_memory", "wait_for"]


def wait_for(device: str) -> None:
    """Wait until a GPU has done what it was given; a CPU has."""
    if device.startswith(("cuda", "mps")):
        import torch

        torch.cuda.synchronize(device) if device.startswith("cuda") else torch.mps.synchronize()


def forget_peak_memory(device: str) -> None:
    """Let the peak of a CUDA device's memory begin anew."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str) -> int | None:
    """Return the most bytes that torch held on a CUDA device, None for other devices."""
    if not device.startswith("cuda"):
        return None
    import torch

    return int(torch.cuda.max_memory_allocated(device))
