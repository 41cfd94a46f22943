"""The windows of HoliTom and Tango, found by trying all."""

import itertools


def static_places(alike, start, stop):
    """Places that are alike through the window; none in a window of one frame."""
    if stop - start == 1:
        return []
    return [p for p in range(len(alike[0])) if all(alike[t][p] for t in range(start, stop - 1))]


def all_windows(frames):
    """Every way to cut so many frames into windows (start, stop)."""
    for cut in itertools.product((False, True), repeat=frames - 1):
        edges = [0, *(i + 1 for i, here in enumerate(cut) if here), frames]
        yield list(zip(edges[:-1], edges[1:], strict=True))


def saved(alike, windows):
    return sum(len(static_places(alike, a, b)) * (b - a - 1) for a, b in windows)


def cut_best(alike, frames):
    """The windows that save most; among equals the latest starts, from the last window on."""
    return max(
        all_windows(frames),
        key=lambda windows: (saved(alike, windows), [a for a, _ in reversed(windows)]),
    )
