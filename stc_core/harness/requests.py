"""Turn what a task of lmms-eval asks into what ``answer`` takes: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.answering.video import MAX_FRAMES, Video
from stc_core.errors import InputError

LONGEST = 16_384  # tokens of an answer


class Likelihood(str):
    """Unpack as (loss, said by itself), and be a text.

    lmms-eval 0.7.3 makes a text of every answer that is none, pairs of numbers among them, and
    strips it, while its tasks unpack the pairs: only a text that unpacks arrives.
    """

    pair: tuple[float, bool]

    def __new__(cls, loss: float, alone: bool) -> Likelihood:
        made = super().__new__(cls, f"{loss:.6g}")
        made.pair = loss, alone
        return made

    def strip(self, chars: str | None = None, /) -> Likelihood:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(self.pair)


@dataclass(frozen=True)
class Asked:
    """Hold one question as ``answer`` takes it.

    Attributes
    ----------
    video : str or Video
    question, system : str
    history : tuple of (question, answer)
    start, end : float
        Of the stretch of a file that the task names, in seconds; end None: to its end.
    """

    video: str | Video
    question: str
    system: str = ""
    history: tuple[tuple[str, str], ...] = ()
    start: float = 0.0
    end: float | None = None


def asked(messages: Sequence[Any]) -> Asked:
    """Read the chat messages of one question.

    Parameters
    ----------
    messages : sequence
        lmms-eval's ``ChatMessage``: roles and contents of text, video or images. One video, or
        images that are its frames, anywhere in the user's turns. A video's ``start_time`` and
        ``end_time`` are the stretch to look at.

    Raises
    ------
    InputError
        No video, several, sound, or turns in another order.
    """
    system, turns, videos, images = "", [], [], []
    start, end = 0.0, None
    for message in messages:
        said = []
        for content in message.content:
            if content.type == "text":
                said.append(content.text)
            elif content.type == "video":
                videos.append(content.url)
                start, end = content.start_time or 0.0, content.end_time
            elif content.type == "image":
                images.append(content.url)
            else:
                raise InputError(f"this model takes text and a video, not {content.type}")
        text = "\n".join(said)
        if message.role == "system":
            system = text
        else:
            turns.append((message.role, text))
    roles = [role for role, _ in turns]
    if len(roles) % 2 == 0 or roles != (["user", "assistant"] * len(roles))[: len(roles)]:
        raise InputError("a task must ask in turns of user and assistant that end with the user's")
    texts = [text for _, text in turns]
    pairs = tuple(zip(texts[:-1:2], texts[1:-1:2], strict=True))
    return Asked(shown(videos or images), texts[-1], system, pairs, start, end)


def shown(visuals: Sequence[Any] | None) -> str | Video:
    """Return the video of one question: a file's path, or frames as one ``Video``.

    Parameters
    ----------
    visuals : sequence
        One path, or pictures (PIL) or arrays (H, W, 3) of one size, a second apart.

    Raises
    ------
    InputError
        Nothing, several files, or frames of different sizes.
    """
    visuals = list(visuals or ())
    if not visuals:
        raise InputError("this task shows no video, and there is nothing to compress without one")
    paths = [visual for visual in visuals if isinstance(visual, (str, Path))]
    if paths:
        if len(visuals) > 1:
            raise InputError(f"a question must be about one video, not {len(visuals)}")
        return str(paths[0])
    if len(visuals) == 1 and np.ndim(visuals[0]) == 4:
        return Video.from_frames(visuals[0])
    frames = [np.asarray(_colored(visual), np.uint8) for visual in visuals[:MAX_FRAMES]]
    if len({frame.shape for frame in frames}) > 1:
        raise InputError("the frames of a question have different sizes, so they are no video")
    return Video.from_frames(np.stack(frames))


def _colored(picture: Any) -> Any:
    """Return a picture of PIL in three colors, anything else as it is."""
    return picture.convert("RGB") if hasattr(picture, "convert") else picture


def longest(settings: Mapping[str, Any]) -> int:
    """Return the longest answer in tokens that a task's generation settings allow."""
    return min(LONGEST, max(1, int(settings.get("max_new_tokens") or 64)))


def samples(settings: Mapping[str, Any]) -> bool:
    """Tell whether a task asks for sampling or beams, which ``answer`` does not do."""
    drawn = bool(settings.get("do_sample")) and (settings.get("temperature") or 0) > 0
    return drawn or int(settings.get("num_beams") or 1) > 1


def until(text: str, settings: Mapping[str, Any]) -> str:
    """Return the text up to the first of the task's stop words."""
    stops = settings.get("until") or []
    stops = [stops] if isinstance(stops, str) else stops
    ends = [text.find(stop) for stop in stops if stop]
    return text[: min((end for end in ends if end >= 0), default=len(text))].strip()
