"""Choose frames of a file by its packets' times, and where these fail by what really decodes.

Only this side of reading needs FFmpeg: frames that are in memory are a ``Video`` without it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stc_core.answering import webp
from stc_core.answering.decoding import (
    Listing,
    Pictures,
    Progress,
    Source,
    decode_all,
    end_of_all_tracks,
    list_packets,
    pictures,
    seconds,
    undecodable,
)
from stc_core.answering.video import TICK, Video, plausible
from stc_core.errors import InputError
from stc_core.text import readable

__all__ = ["check", "read"]

Choose = Callable[[np.ndarray], np.ndarray]  # (n,) seconds -> (T,) ascending places among them


def _check_start(start: float, duration: float) -> None:
    if start >= duration:
        raise InputError(
            f"the video ends at {duration:.1f} s; start must be before, not at {start:g} s"
        )


def check(file: Path, head: bytes) -> None:
    """Raise ``InputError`` where a file cannot be opened; decode nothing."""
    if webp.is_animated(head):
        webp.check(file, head, None)
        return
    with Source(file, head).opened():
        pass


def read(
    file: Path,
    head: bytes,
    track: int | None,
    choose: Choose,
    max_side: int | None,
    start: float,
    report: Progress,
) -> Video:
    """Read the frames that ``choose`` takes, with the decoder that the file wants.

    A file that ends before ``start``, in seconds, is refused; else as `read_video`.
    """
    source = Source(file, head, track)
    decoded = _read_webp if webp.is_animated(head) else _read
    return decoded(source, choose, max_side, start, report)


def _read_webp(
    source: Source,
    choose: Choose,
    max_side: int | None,
    start: float,
    report: Progress,
) -> Video:
    """Read what Pillow decodes, and say that it did."""
    size = webp.check(source.file, source.head, source.track)
    times = webp.listed(source.file)
    duration, times = float(times[-1]), times[:-1]
    _check_start(start, duration)
    picked = choose(times)
    frames = webp.decode(source.file, picked, max_side, report)
    name = readable(source.file.name)
    rate = len(times) / duration
    return Video(frames, times[picked], name, duration, len(times), rate, size, webp.NOTE)


def _read(
    source: Source,
    choose: Choose,
    max_side: int | None,
    start: float,
    report: Progress,
) -> Video:
    """Choose from the listed packets; where the decoder disagrees, from what it really gives."""
    listing = list_packets(source, report)
    times, found = listing.times, None
    if plausible(times):
        picked = choose(times)
        found = pictures(source, picked, max_side, report, listing)
    if found is None:  # damaged, or a container without usable timestamps
        times, order, note = _decoded_times(source, listing, report)
        picked = choose(times)
        found = pictures(source, order[picked], max_side, report)
        if found is None:
            raise undecodable(source)  # decodes differently each time
    else:
        note = _cut_off(source, listing)
    span = float(times[-1] - times[0])
    rate = (len(times) - 1) / span if span > 0 else listing.rate
    duration = listing.end if plausible(np.append(listing.times, listing.end)) else 0.0
    if duration <= times[-1]:
        duration = float(times[-1]) + (1 / rate if rate else 0.0)
    _check_start(start, max(duration, TICK))
    notes = [sentence for sentence in (note, _reshaped(found)) if sentence]
    return Video(
        found.frames,
        times[picked],
        readable(source.file.name),
        duration,
        len(times),
        rate,
        found.source,
        " ".join(notes) or None,
    )


def _decoded_times(
    source: Source, listing: Listing, report: Progress
) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Sorted times of all frames that decode, from the first one listed; their places in the order
    in which they come out, which damage upsets; and a sentence on the frames that do not decode.
    """
    listed = listing.times
    believed = plausible(listed)
    ticks, errors, damaged = decode_all(source, report)
    if len(ticks) == 0:
        raise undecodable(source)
    order = np.arange(len(ticks))
    if believed and np.isin(ticks, listing.ticks).all() and len(np.unique(ticks)) == len(ticks):
        order = np.argsort(ticks)
    elif believed and len(ticks) == len(listed):  # B-frames in AVI: the packets know better
        return listed, order, _damaged(len(listed), damaged) or _cut_off(source, listing)
    times = seconds(ticks[order], listing.base, listing.ticks[0] if believed else ticks[0])
    seen = np.append(np.diff(times) > 0, True)  # of frames with one time, the last alone is seen
    if not plausible(times) and plausible(times[seen]) and seen.mean() > 0.5:
        times, order = times[seen], order[seen]  # browsers record so, where they are late
    if not plausible(times):
        rate = listing.rate or 25.0
        note = (
            f"The file has no usable timestamps; its {len(times)} frames are taken as {rate:g} "
            "per second."
        )
        return np.arange(len(times)) / rate, np.arange(len(times)), note
    lost = (_lost(listing, times, errors) or _cut_off(source, listing)) if believed else None
    return times, order, lost or _damaged(len(times), damaged)


def _lost(listing: Listing, times: np.ndarray, errors: int) -> str | None:
    """Return a sentence on frames that are listed but do not decode, and when they would be shown.

    Some packets are no frames of their own: the second field of a frame, or a picture that only
    helps to decode others. Those stand beside a frame and cause no error.
    """
    listed = listing.times
    after = np.searchsorted(times, listed)
    nearest = np.minimum(
        np.abs(times[np.minimum(after, len(times) - 1)] - listed),
        np.abs(times[np.maximum(after, 1) - 1] - listed),
    )
    gap = float(np.median(np.diff(listed)))
    lost = nearest > (TICK if errors else 0.75 * gap)
    if not lost.any():
        return None
    edges = np.flatnonzero(np.diff(np.pad(lost, 1)))  # first lost, first found, first lost, ...
    ends = np.append(listed, max(listing.end, float(listed[-1])))
    spans = [f"{listed[a]:.1f} s to {ends[b]:.1f} s" for a, b in edges.reshape(-1, 2)]
    where = spans[0] if len(spans) == 1 else f"{len(spans)} stretches from {spans[0]} on"
    return (
        f"Only {len(times)} of the {max(listing.promised_total, len(listed))} frames could be "
        f"decoded, {where} is missing (the file is damaged, or was trimmed without encoding it "
        "again)."
    )


def _damaged(count: int, damaged: int) -> str | None:
    """Return a sentence on frames that decode, but not as they were."""
    if not damaged:
        return None
    return f"The file is damaged; {damaged} of its {count} frames show it."


def _cut_off(source: Source, listing: Listing) -> str | None:
    """Return a sentence where the file's header promises more than there is."""
    end, promised = listing.end or float(listing.times[-1]), listing.promised_end
    if listing.total < listing.promised_total and promised > end + 0.5 / (listing.rate or 25):
        return (
            f"The file promises {promised:.1f} s and {listing.promised_total} frames, but its "
            f"frames end at {end:.1f} s with the {listing.total}th; it may have been cut off."
        )
    clock = max(0.0, listing.start) + end
    if promised > 1.02 * clock + 1 and promised > 1.02 * end_of_all_tracks(source) + 1:
        return (
            f"The file promises {promised:.1f} s, but its frames end at {end:.1f} s; it may have "
            "been cut off."
        )
    return None


def _reshaped(found: Pictures) -> str | None:
    """Return a sentence where frames have another aspect ratio than the first."""
    height, width = found.source
    others = [(h, w) for h, w in found.others if abs(h * width - w * height) > max(h, w)]
    if not others:
        return None
    return (
        f"The picture changes its shape from {width} x {height} to "
        f"{others[0][1]} x {others[0][0]}; what differs from the first frame has black borders."
    )
