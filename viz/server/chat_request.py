"""Read a request for a chat completion: messages with one video, of OpenAI's form, into a run.

What asks for something that is not done here is refused in one sentence; sampling parameters, which
change nothing in greedy decoding, and fields of other servers are left alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stc_core.errors import InputError
from stc_core.method_text import MethodText, read_short
from stc_core.text import checked_text
from viz.server.job import LONGEST, MOST_FRAMES
from viz.server.talk import LONGEST_SAID, MOST

LARGEST = 64 << 20  # bytes of a request; base64 takes four for three of the video
MOST_TOKENS = 1024  # of an answer
TOKENS = 256  # of an answer, where the request says nothing
METHOD = "stc@0.02"
ROLES = ("user", "assistant")
DATA_URL = re.compile(
    r"data:(video/[\w.+-]+|image/gif|application/octet-stream)(?:;[^;,]+)*;base64,"
)
NOT_DONE = ("tools", "functions", "stop", "logprobs", "audio")


@dataclass(frozen=True)
class ChatRequest:
    """Hold what a request asks for, checked.

    Attributes
    ----------
    video : bytes
        The file.
    ending : str
        That its name should have: ".mp4".
    question, system : str
    history : tuple of (str, str)
        Earlier questions and answers.
    method : MethodText
    frames : int or None
        None: as many as the model was trained on.
    max_tokens : int
    stream, usage : bool
        Whether to answer in pieces, and to say the usage at their end.
    model : str or None
    """

    video: bytes
    ending: str
    question: str
    system: str
    history: tuple[tuple[str, str], ...]
    method: MethodText
    frames: int | None
    max_tokens: int
    stream: bool
    usage: bool
    model: str | None


def read_chat(body: bytes) -> ChatRequest:
    """Read the body of a request; ``InputError`` says what is wrong with it."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict):
        raise InputError("the request must be a JSON object with the list messages")
    _refuse_what_is_not_done(sent)
    system, turns, url = _conversation(sent.get("messages"))
    video, ending = _video(url)
    options = sent.get("stream_options")
    model = sent.get("model")
    if model is not None and not isinstance(model, str):
        raise InputError("model must be a name that GET /v1/models lists")
    return ChatRequest(
        video,
        ending,
        turns[-1],
        system,
        tuple(zip(turns[:-1:2], turns[1::2], strict=True)),
        read_short(sent.get("method") or METHOD),
        _whole(sent.get("frames"), "frames", 0, MOST_FRAMES) or None,
        _most_tokens(sent),
        _switch(sent.get("stream"), "stream"),
        isinstance(options, dict) and bool(options.get("include_usage")),
        model or None,
    )


def _refuse_what_is_not_done(sent: Mapping[str, Any]) -> None:
    for name in NOT_DONE:
        if sent.get(name):
            raise InputError(f"{name} is not supported here; leave it out")
    if sent.get("n") not in (None, 1):
        raise InputError("n must be 1: the answer is decoded greedily, so there is one")
    form = sent.get("response_format")
    if form is not None and not (isinstance(form, dict) and form.get("type") == "text"):
        raise InputError("response_format must be of the type text; leave it out")


def _conversation(messages: object) -> tuple[str, list[str], object]:
    """Return (system prompt, [question, answer, ..., question], the video's URL)."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise InputError("messages must be a list of objects with role and content")
    roles = [one.get("role") for one in messages]
    system = roles[:1] in (["system"], ["developer"])
    turns = roles[system:]
    if len(turns) % 2 == 0 or turns != [ROLES[place % 2] for place in range(len(turns))]:
        raise InputError(
            "messages must be at most one of the role system, then user and assistant in turn, the "
            "last one of the role user"
        )
    if len(turns) > 2 * MOST + 1:
        raise InputError(f"a conversation may have {MOST} earlier turns at most; send fewer")
    read = [_content(one.get("content"), place) for place, one in enumerate(messages)]
    if any(urls for place, (_, urls) in enumerate(read) if place != system):
        raise InputError("the video belongs into the first message of the role user")
    urls = read[system][1]
    if len(urls) != 1:
        raise InputError(
            f"the first message of the role user must hold one part of the type video_url; it "
            f"holds {len(urls) or 'none'}"
        )
    texts = [_text(text, role) for (text, _), role in zip(read, roles, strict=True)]
    return texts[0] if system else "", texts[system:], urls[0]


def _text(text: str, role: str) -> str:
    """Return the text of a message, checked."""
    if role == "assistant":
        return checked_text(text, "an earlier answer", LONGEST_SAID, controls=True)
    if role == "user" and not text.strip():
        raise InputError("a message of the role user has no text; ask something")
    what = "the question" if role == "user" else "the system prompt"
    return checked_text(text.strip(), what, LONGEST)


def _content(content: object, place: int) -> tuple[str, list[object]]:
    """Return (text, URLs of videos) of a message."""
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise InputError(f"the content of message {place} must be a text or a list of parts")
    texts: list[str] = []
    urls: list[object] = []
    for part in content:
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "video_url" and isinstance(part.get("video_url"), dict):
            urls.append(part["video_url"].get("url"))
        else:
            raise InputError(
                f"message {place} has a part that is neither a text nor a video; parts are "
                '{"type": "text", "text": ...} and {"type": "video_url", "video_url": {"url": ...}}'
            )
    return "\n".join(texts), urls


def _video(url: object) -> tuple[bytes, str]:
    """Return the file in a data URL, and the ending for its name."""
    head = DATA_URL.match(url) if isinstance(url, str) else None
    if head is None:
        raise InputError(
            "the video must be in the request itself, as data:video/mp4;base64,...; this server "
            "fetches no addresses and opens no files"
        )
    try:
        video = base64.b64decode(url[head.end() :], validate=True)  # type: ignore[index]
    except (binascii.Error, ValueError):
        video = b""
    if not video:
        raise InputError("the video's data URL holds no base64 text of a file; encode the file so")
    return video, mimetypes.guess_extension(head[1]) or ".mp4"


def _most_tokens(sent: Mapping[str, Any]) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        if sent.get(name) is not None:
            return _whole(sent[name], name, 1, MOST_TOKENS)
    return TOKENS


def _whole(value: object, name: str, least: int, most: int) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"{name} must be a whole number from {least} to {most}")
    return value


def _switch(value: object, name: str) -> bool:
    if value not in (None, True, False) or isinstance(value, int) and not isinstance(value, bool):
        raise InputError(f"{name} must be true or false")
    return bool(value)
