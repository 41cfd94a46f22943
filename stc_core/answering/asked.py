"""Turn a video and a question into frames, what ``compress`` asks about them, and the prompt.

What a ``RunCache`` holds is not made again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from stc_core.answering.frame_selection import Chosen, choose_in_file, choose_in_video
from stc_core.answering.prompt import Prompt, build_prompt, checked_turns
from stc_core.answering.reporting import Reporter
from stc_core.answering.video import MAX_SIDE, Video, read_video, thumbnails
from stc_core.errors import InputError
from stc_core.hooks.run_cache import RunCache, fingerprint
from stc_core.models.vlm import VLM

DECODED = 256 << 20  # bytes that decoded frames may take, where the model needs no more
WHOLE = {"start": 0.0, "end": None, "track": None}  # of a file
PICTURE_SIDE = 256  # pixels, longer side of the frames that a trace carries
PICTURES = 192 << 20  # bytes of them together: very many are smaller


def asked_about(
    vlm: VLM,
    video: str | os.PathLike | Video,
    question: str,
    frames: int | None,
    room: int,
    cache: RunCache | None,
    decode: Reporter,
    part: Mapping[str, Any] = WHOLE,
    *,
    system: str = "",
    history: Sequence[tuple[str, str]] = (),
) -> tuple[Video, dict[str, Any], Prompt]:
    """Return a video's frames, what ``compress`` wants to know of them, and the prompt.

    Parameters
    ----------
    vlm, video, question, frames, cache, system, history
        As for ``answer``.
    room : int
        Tokens that may follow on the prompt.
    decode : Reporter
        Told of the decoding, and of its seconds.
    part : mapping
        "start", "end" and "track" of a file, as for ``answer``.
    """
    checked_turns(question, system, history)
    shown, about, clip = shown_of(vlm, video, frames, cache, decode, part)
    ask = partial(prompt_about, vlm, shown, question, room, cache, clip)
    return shown, about, ask(system=system, history=history)


def shown_of(
    vlm: VLM,
    video: str | os.PathLike | Video,
    frames: int | None,
    cache: RunCache | None,
    decode: Reporter,
    part: Mapping[str, Any],
) -> tuple[Video, dict[str, Any], tuple | None]:
    """Return a video's frames, what ``compress`` wants to know of them, and what tells the file.

    Parameters
    ----------
    vlm, video, frames, cache, decode, part
        As for ``asked_about``.
    """
    clip: tuple | None = None
    if isinstance(video, Video):
        _no_part(part)
        shown, about = video, about_video(vlm, video)
    else:
        count = vlm.frames if frames is None else frames
        clip = _identity(video, count, part)
        read = partial(_read, vlm, video, count, decode, part)
        shown, about, seconds = recalled(vlm, cache, clip and ("clip", clip), read)
        decode.seconds["decode"] = seconds
    return shown, about, clip


def prompt_about(
    vlm: VLM,
    shown: Video,
    question: str,
    room: int,
    cache: RunCache | None,
    clip: tuple | None,
    *,
    system: str = "",
    history: Sequence[tuple[str, str]] = (),
) -> Prompt:
    """Return the prompt about a video that ``shown_of`` gave.

    Parameters
    ----------
    vlm, question, room, cache, system, history
        As for ``asked_about``.
    shown, clip
        From ``shown_of``.
    """
    texts = checked_turns(question, system, history)
    ask = partial(
        build_prompt,
        vlm,
        shown.frames,
        question,
        room,
        seconds=shown.seconds,
        duration=shown.duration,
        system=system,
        history=history,
    )
    asked = "prompt", clip, texts, bool(system.strip()), room, vlm.times, id(vlm.processor)
    return recalled(vlm, cache, clip and asked, ask)


def chosen_of(
    vlm: VLM,
    video: str | os.PathLike | Video,
    candidates: int,
    cache: RunCache | None,
    decode: Reporter,
    part: Mapping[str, Any],
) -> Chosen:
    """Return the frames of ``frames="auto"``, at most as many as are sampled by default."""
    step = vlm.family.step(vlm.model.config)
    if isinstance(video, Video):
        _no_part(part)
        with decode("decode"):
            return choose_in_video(video, vlm.frames, candidates, step)

    def look() -> tuple[Chosen, float]:
        with decode("decode"):
            chosen = choose_in_file(
                video,
                vlm.frames,
                candidates,
                step,
                max_side=partial(_side, vlm),
                part=part,
                report=lambda share: decode.tell("decode", share),
            )
        return chosen, decode.seconds["decode"]

    clip = _identity(video, candidates, part)
    chosen, seconds = recalled(vlm, cache, clip and ("chosen", vlm.frames, step, clip), look)
    decode.seconds["decode"] = seconds
    return chosen


def about_video(vlm: VLM, video: Video) -> dict[str, Any]:
    """Return what ``compress`` wants to know of a clip, by the time steps of the model's grid.

    Where a step holds several frames it is shown by its first and stands at their mean time; the
    last one is repeated where one is missing, as the processors do it.
    """
    step = vlm.family.step(vlm.model.config)
    seconds = np.pad(video.seconds, (0, -len(video.seconds) % step), mode="edge")
    pictures = video.frames[::step]
    return {
        "seconds": seconds.reshape(-1, step).mean(axis=1),
        "size": video.source_size,
        "seen": vlm.family.seen(vlm.processor, *video.source_size),
        "frames": thumbnails(
            pictures, min(PICTURE_SIDE, math.isqrt(PICTURES // (3 * len(pictures))))
        ),
    }


def _no_part(part: Mapping[str, Any]) -> None:
    """Refuse a stretch or a track of a ``Video``."""
    if part != WHOLE:
        raise InputError("start, end and track are for files; cut the Video's frames instead")


def _read(
    vlm: VLM, path: str | os.PathLike, frames: int, decode: Reporter, part: Mapping[str, Any]
) -> tuple[Video, dict[str, Any], float]:
    """Return a file's frames, what ``about_video`` says of them, the seconds of decoding."""
    with decode("decode"):
        video = read_video(
            path,
            frames,
            max_side=_side(vlm, frames),
            on_progress=lambda share: decode.tell("decode", share),
            **part,
        )
    return video, about_video(vlm, video), decode.seconds["decode"]


def _side(vlm: VLM, frames: int) -> int:
    """Return the longer side of decoded frames in pixels: less where there are very many.

    But twice what the model makes of a frame, so that nothing it could see is lost; the sides of
    models that choose their own are left alone.
    """
    size = getattr(getattr(vlm.processor, "video_processor", None), "size", None) or {}
    side = max(size.get("height") or 0, size.get("width") or 0)
    if not side or not isinstance(frames, int) or frames < 1:
        return MAX_SIDE
    return min(MAX_SIDE, max(math.isqrt(DECODED // (3 * frames)), 2 * side))


def _identity(path: str | os.PathLike, frames: int, part: Mapping[str, Any]) -> tuple | None:
    """Return what tells that a file is still the same; None for what is no file."""
    try:
        name, file = os.fspath(path), os.stat(path)
    except (OSError, TypeError, ValueError):  # reading it says better what is wrong
        return None
    same = file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns
    return name, *same, frames, *part.values()


def recalled(vlm: VLM, cache: RunCache | None, what: tuple | None, make: Callable[[], Any]) -> Any:
    """Return what ``make`` gave before for the same model and ``what``, else what it gives now."""
    if cache is None or what is None:
        return make()
    return cache.kept(fingerprint(vlm.model, what), make)
