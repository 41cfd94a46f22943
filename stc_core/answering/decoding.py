"""Open, list, seek and decode videos with FFmpeg through PyAV, and check what it reports.

PyAV is the decoder of all but animated WebP (``webp``): it gives the container's own timestamps,
the tracks with their roles, the turn and the interlacing of each frame, and an error where OpenCV's
reader returns memory that it never wrote. Colors are those of OpenCV's reader to the bit.

Every function opens the file anew, so none leaves a decoder or a read position behind.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
from av.stream import Disposition

from stc_core.answering.upright import Converter, fitted, letterboxed, resized
from stc_core.answering.video_file import quoted
from stc_core.errors import InputError

__all__ = [
    "Listing",
    "Pictures",
    "Progress",
    "Source",
    "decode_all",
    "end_of_all_tracks",
    "list_packets",
    "pictures",
    "seconds",
    "undecodable",
]

SEEK_GAP = 40  # frames that a seek must save; it costs about as much as decoding so many
REPORT_EVERY = 256  # frames between calls of on_progress
IGNORED = getattr(getattr(av.stream, "Discard", None), "all", None)  # not before PyAV 18
UNKNOWN = -(1 << 63)  # a packet without a time

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Source:
    """Name one video track of one file.

    Parameters
    ----------
    file : Path
        Absolute.
    head : bytes
        The file's first bytes, by which a refusal can be more exact.
    track : int or None
        Number among the file's video tracks; None for the default or largest one.
    """

    file: Path
    head: bytes
    track: int | None = None

    @contextmanager
    def opened(
        self, patient: bool = False, all_tracks: bool = False
    ) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
        """Yield the file and the track, closed at the end whatever happens.

        `patient`: in one thread. Several are quicker, but what they make of damaged frames is a
        matter of chance. `all_tracks`: packets of the others are wanted too.
        """
        try:
            # nothing that a file names is fetched, and "%03d.png" is that one file
            options = {"protocol_whitelist": "file", "pattern_type": "none"}
            container = av.open(
                str(self.file), container_options=options, metadata_errors="replace"
            )
        except (av.FFmpegError, ValueError) as error:
            raise InputError(_why_not(self.file, self.head)) from error
        with container:
            stream = _track(container, self)
            stream.thread_type = "SLICE" if patient else "AUTO"
            if patient:
                stream.codec_context.thread_count = 1
            for other in container.streams:  # FFmpeg need not read the sound
                if IGNORED is not None and other is not stream and not all_tracks:
                    other.discard = IGNORED
            yield container, stream


@dataclass(frozen=True)
class Listing:
    """List what the packets of a track say, without decoding them.

    Attributes
    ----------
    ticks : (n,) int64
        Sorted times of the frames that are shown, in units of ``base``.
    keys : (k,) int64
        Those from which decoding can begin.
    base : float
        Seconds.
    end : float
        Seconds from the first frame to the end of the last; 0.0 where the container says none.
    start : float
        Seconds by the container's clock at the first frame.
    rate : float
        Frames per second by the header; 0.0 where it says none.
    total : int
        Packets, with those that an edit list hides.
    promised_total : int
        Packets by the header of an mp4 or mov, before any edit list; else 0.
    promised_end : float
        Seconds by the header, from the first frame or from zero on the clock.
    """

    ticks: np.ndarray
    keys: np.ndarray
    base: float
    end: float
    start: float
    rate: float
    total: int
    promised_total: int
    promised_end: float

    @property
    def times(self) -> np.ndarray:
        """Return (n,) float64, seconds from the first frame."""
        return seconds(self.ticks, self.base, self.ticks[0] if len(self.ticks) else 0)


@dataclass(frozen=True)
class Pictures:
    """Hold decoded pictures.

    Attributes
    ----------
    frames : (T, h, w, 3) uint8
        RGB.
    source : (int, int)
        Height and width of the source.
    others : list of (int, int)
        Sizes other than that.
    """

    frames: np.ndarray
    source: tuple[int, int]
    others: list[tuple[int, int]]


def list_packets(source: Source, report: Progress) -> Listing:
    """List the times of all packets of the track.

    Packets come in decoding order; sorting gives the order of presentation. What an edit list cuts
    off is never shown, so it is left out.
    """
    ticks, keys = array("q"), array("q")
    total = length = 0
    last = UNKNOWN
    with source.opened() as (container, stream):
        by_dts = container.format.name == "avi"  # it holds no times of presentation
        for packet in _packets(container, stream):
            total += 1
            if total % REPORT_EVERY == 0:
                report(0.0)
            if packet.is_discard or not packet.size:
                continue
            tick = packet.dts if by_dts else packet.pts
            tick = UNKNOWN if tick is None else tick
            ticks.append(tick)
            if packet.is_keyframe:
                keys.append(tick)
            if tick >= last:
                last, length = tick, packet.duration or 0
        if stream.time_base is None:
            raise undecodable(source)
        base = float(stream.time_base)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        promised = float(stream.duration or 0) * base or (container.duration or 0) / av.time_base
        exact = "mov" in container.format.name  # an AVI's count is often wrong
        shown = np.sort(np.frombuffer(ticks, np.int64))
        first = int(shown[0]) if len(shown) else 0
        end = (last - first + length) * base if length > 0 else 0.0
        return Listing(
            ticks=shown,
            keys=np.sort(np.frombuffer(keys, np.int64)),
            base=base,
            end=end,
            start=first * base,
            rate=rate if 0 < rate <= 1e5 else 0.0,
            total=total,
            promised_total=stream.frames if exact else 0,
            promised_end=promised if 0 < promised < 1e7 else 0.0,
        )


def end_of_all_tracks(source: Source) -> float:
    """Return when the last packet, of sound or picture, ends by the clock of the container (s)."""
    end = 0.0
    with source.opened(all_tracks=True) as (container, _):
        for packet in _packets(container, None):
            if packet.pts is not None:
                until = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
                end = max(end, until)
    return end


def decode_all(source: Source, report: Progress) -> tuple[np.ndarray, int, int]:
    """Decode everything that decodes, and keep only the times.

    Returns
    -------
    (n,) int64 times in ticks, as they come out; how often decoding failed; how many of the n frames
    the decoder itself calls damaged.
    """
    ticks, damaged = array("q"), 0
    errors: list[av.FFmpegError] = []
    with source.opened(patient=True) as (container, stream):
        for frame in _decoded(container, stream, errors):
            ticks.append(UNKNOWN if frame.pts is None else frame.pts)
            damaged += frame.is_corrupt
            if len(ticks) % REPORT_EVERY == 0:
                report(0.0)  # the end is not known, but the caller may want to stop
    return np.frombuffer(ticks, np.int64), len(errors), damaged


def seconds(ticks: np.ndarray, base: float, first: int) -> np.ndarray:
    """Return times in seconds from tick ``first`` on; missing ones become an impossible time."""
    return np.where(ticks == UNKNOWN, -np.inf, (ticks - first).astype(np.float64) * base)


def pictures(
    source: Source,
    picked: np.ndarray,
    max_side: int | None,
    report: Progress,
    listing: Listing | None = None,
) -> Pictures | None:
    """Decode up to each picked frame and convert it.

    With a `listing` seeking is allowed, and every frame must carry the time that is listed: None
    where one does not. Without, frames are counted as they come out from the start, `picked` in any
    order, and errors are passed over; None where there are fewer.
    """
    ways = [False]
    if listing is not None and _worth_seeking(listing, picked):
        ways = [True, False]
    for seek in ways:
        with source.opened(patient=listing is None) as (container, stream):
            if listing is None:
                walk = _count(container, stream, np.sort(picked), report)
            else:
                seek = seek and _indexed(container)
                walk = _walk(container, stream, listing, picked, report, seek)
            try:
                found = _convert(walk, stream, len(picked), max_side)
            except av.FFmpegError:
                found = None
            if found is not None:
                # row k is the k-th that came out; give each to the pick that asked for it
                ranks = np.argsort(np.argsort(picked))
                if np.any(np.diff(ranks) < 0):
                    found = replace(found, frames=found.frames[ranks])
                return found
    return None


def _convert(
    walk: Iterator[av.VideoFrame], stream: av.VideoStream, count: int, max_side: int | None
) -> Pictures | None:
    """Return all `count` frames of a walk, in the size and shape of the first one."""
    convert, frames, row = Converter(stream.sample_aspect_ratio), None, -1
    others: list[tuple[int, int]] = []
    for row, frame in enumerate(walk):
        shown = convert.shown_size(frame)
        if frames is None:
            source = shown
            height, width = fitted(*source, max_side)
            frames = np.zeros((count, height, width, 3), np.uint8)
        picture = convert(frame)
        if shown == source:
            picture = resized(picture, height, width)
        else:
            picture = letterboxed(picture, shown, height, width)
            others.append(shown)
        cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=frames[row])
    return Pictures(frames, source, others) if frames is not None and row + 1 == count else None


def _walk(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    listing: Listing,
    picked: np.ndarray,
    report: Progress,
    seek: bool,
) -> Iterator[av.VideoFrame]:
    """Yield the picked frames by their listed times; stop early where one is damaged or absent."""
    frames, at = _decoded(container, stream), -1
    starts = np.searchsorted(listing.keys, listing.ticks[picked], side="right") - 1
    for index, start in zip(picked, starts, strict=True):
        wanted, landed = int(listing.ticks[index]), None
        if seek and start >= 0:
            key = int(listing.keys[start])
            if np.searchsorted(listing.ticks, key) - at > SEEK_GAP:
                container.seek(key, stream=stream)
                frames, landed = _decoded(container, stream), True
        while landed or at < index:
            frame = next(frames, None)
            if frame is None or frame.pts is None or frame.is_corrupt:
                return
            if landed:
                at, landed = int(np.searchsorted(listing.ticks, frame.pts)), None
                if at > index:
                    return
            else:
                at += 1
            if at % REPORT_EVERY == 0:
                report(float(at / (picked[-1] + 1)))
        if frame is None or frame.pts != wanted:
            return
        report(float((index + 1) / (picked[-1] + 1)))
        yield frame


def _count(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    picked: np.ndarray,
    report: Progress,
) -> Iterator[av.VideoFrame]:
    """Yield the picked frames by their place among all that decode."""
    places = iter(picked)
    wanted = next(places)
    for at, frame in enumerate(_decoded(container, stream, [])):
        if at % REPORT_EVERY == 0:
            report(float(at / (picked[-1] + 1)))
        if at == wanted:
            report(float((at + 1) / (picked[-1] + 1)))
            yield frame
            wanted = next(places, None)
            if wanted is None:
                return


def _decoded(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    errors: list[av.FFmpegError] | None = None,
) -> Iterator[av.VideoFrame]:
    """Frames from here on; what does not decode is put into `errors`, or raised without it."""
    for packet in _packets(container, stream, errors):
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            if errors is None:
                raise
            errors.append(error)
    try:
        yield from stream.decode(None)  # what the decoder still holds
    except av.FFmpegError as error:
        if errors is None:
            raise
        errors.append(error)


def _packets(
    container: av.container.InputContainer,
    stream: av.VideoStream | None,
    errors: list[av.FFmpegError] | None = None,
) -> Iterator[av.Packet]:
    """Packets of a track, or of all, until the file ends or cannot be read on."""
    packets: Iterator[av.Packet] = container.demux(*([] if stream is None else [stream]))
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            return  # PyAV at the end of a file in which a track appeared late
        except av.FFmpegError as error:
            if errors is not None:
                errors.append(error)
            return
        if packet is None:
            return
        if packet.size or packet.pts is not None or packet.dts is not None:  # else: the end
            yield packet


def _worth_seeking(listing: Listing, picked: np.ndarray) -> bool:
    return bool(np.any(np.diff(picked, prepend=-1) > SEEK_GAP)) and len(listing.keys) > 1


def _indexed(container: av.container.InputContainer) -> bool:
    """Tell whether a seek goes by an index; elsewhere it searches, and may land wrong."""
    return any(name in ("mov", "matroska") for name in container.format.name.split(","))


# --- tracks, and saying why not ---------------------------------------------------------------


def _track(container: av.container.InputContainer, source: Source) -> av.VideoStream:
    """Return the track that was asked for; else the default one, the largest of several."""
    name = quoted(source.file.name)
    every = container.streams.video
    tracks = [track for track in every if not track.disposition & Disposition.attached_pic]
    if not tracks:
        if every:
            raise InputError(f"{name} has no video, only a cover picture; give a video file.")
        if container.streams.audio:
            raise InputError(f"{name} holds sound only and no video track; give a video file.")
        raise InputError(_why_not(source.file, source.head))
    if source.track is None:
        chosen = max(tracks, key=_rank)
    elif source.track < len(tracks):
        chosen = tracks[source.track]
    else:
        have = "1 video track" if len(tracks) == 1 else f"{len(tracks)} video tracks"
        raise InputError(
            f"{name} has {have}; track must be from 0 to {len(tracks) - 1}, not {source.track}."
        )
    if chosen.codec_context is None:
        raise InputError(
            f"The codec of {name} is not one that the installed FFmpeg decodes; export the video "
            "again, for example as H.264 mp4."
        )
    return chosen


def _rank(track: av.VideoStream) -> tuple[bool, int]:
    context = track.codec_context
    area = context.width * context.height if context is not None else 0
    return bool(track.disposition & Disposition.default), area


def _why_not(file: Path, head: bytes) -> str:
    name = quoted(file.name)
    if _container(head) == "sound":
        return f"{name} holds sound only and no video track; give a video file."
    if _container(head) == "video":
        return (
            f"No picture can be read from {name}: it has no video track, is cut off or is "
            "damaged; export it again, for example as H.264 mp4."
        )
    return f"{name} is not a video that can be read; give an mp4, mov, mkv, webm or avi file."


def _container(head: bytes) -> str:
    """Kind of file by its first bytes, as far as it matters here."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "video"
    if head.startswith(b"\x1a\x45\xdf\xa3") or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return "video"
    if head.startswith((b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf3")) or (
        head.startswith(b"RIFF") and head[8:12] == b"WAVE"
    ):
        return "sound"
    return "other"


def undecodable(source: Source) -> InputError:
    """Return the reason why a track with packets gives no frame."""
    name = quoted(source.file.name)
    return InputError(
        f"{name} is damaged and its frames cannot be decoded; export it again, for example as "
        "H.264 mp4."
    )
