"""Answer ``POST /v1/chat/completions`` as OpenAI's servers do, and list ``GET /v1/models``.

A request takes the way of one through the page: the gate, the password, the limits of uploads, the
visitors' turns, the shelf of traces. Its reply holds the link to its trace beside the answer.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from stc_core.errors import InputError
from stc_core.record.trace import Trace
from stc_core.writing import written_whole
from viz.page.model_menu import Models
from viz.server.chat_request import LARGEST, ChatRequest, read_chat
from viz.server.origin import Origin, remember
from viz.server.runner import Failure, Runner, Step, Stopped, Unavailable, disk_is_full, failure
from viz.server.shelf import Shelf
from viz.server.turns import Full, TooMany, Turns
from viz.server.uploads import NoRoom, Uploads

CHAT, MODELS = "/v1/chat/completions", "/v1/models"
KINDS = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error",
         503: "server_error"}  # fmt: skip
CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class Refused(InputError):
    """Report a request that is refused with a status of its own."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Chat:
    """Hold what the two routes need of the page.

    Parameters
    ----------
    runner, shelf, models, uploads
        Those of the page and its gate.
    auth : (str, str) or None
        User and password, which a request gives as ``Bearer user:password`` or as basic
        authentication.
    """

    def __init__(
        self,
        runner: Runner,
        shelf: Shelf,
        models: Models,
        uploads: Uploads,
        auth: tuple[str, str] | None = None,
    ) -> None:
        self._runner, self._shelf, self._models, self._uploads = runner, shelf, models, uploads
        self._auth = None if auth is None else ":".join(auth).encode()
        self._receiving = Turns()  # requests whose video is in memory
        self._started = int(time.time())

    @property
    def routes(self) -> list[Route]:
        """Return the routes, for the app that serves the page."""
        return [
            Route(CHAT, self.complete, methods=["POST"]),
            Route(MODELS, self.list_models, methods=["GET"]),
        ]

    async def list_models(self, request: Request) -> Response:
        """Return the models that may be asked."""
        try:
            self._check_password(request)
        except InputError as error:
            return refusal(error)
        fixed = {"object": "model", "created": self._started, "owned_by": "stc"}
        data = [{"id": label, **fixed} for label in self._models.labels]
        return JSONResponse({"object": "list", "data": data})

    async def complete(self, request: Request) -> Response:
        """Answer one question about one video, whole or in pieces."""
        run = None
        try:
            self._check_password(request)
            asked, video = await self._received(request)
            label = self._label(asked.model)
            origin = Origin(str(video), asked.question, asked.frames, str(asked.method), label,
                            asked.history, asked.system)  # fmt: skip
            reply = Reply(asked, label or self._models.first, f"{request.base_url}?trace=")
            run = self._run(asked, origin, _visitor(request))
            news = _news(request, run)
            async for first in news:  # an error before the first words has a status
                if not isinstance(first, Step) or (asked.stream and first.said):
                    break
            if asked.stream:
                events = self._events(request, reply, origin, first, news, run)
                return StreamingResponse(
                    events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
                )
            key = await run_in_threadpool(self._kept, first.trace, origin, _visitor(request))
            return JSONResponse(reply.whole(first.trace, key))
        except ClientDisconnect:
            _close(run)
            return Response(status_code=499)  # nobody reads it
        except Exception as error:
            _close(run)
            return refusal(error)

    def _check_password(self, request: Request) -> None:
        if self._auth is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        text = given.strip().encode("latin-1")
        if scheme.lower() == "basic":
            with contextlib.suppress(ValueError):
                text = base64.b64decode(text)
        if scheme.lower() not in ("basic", "bearer") or not hmac.compare_digest(text, self._auth):
            raise Refused(401, "this page asks for a password; give user:password as the API key")

    async def _received(self, request: Request) -> tuple[ChatRequest, Path]:
        """Return the request and the file of its video, which counts as an upload."""
        visitor = request.client.host if request.client else ""
        length = request.headers.get("content-length", "")
        if "transfer-encoding" in request.headers or not (length.isascii() and length.isdecimal()):
            raise Refused(411, "a request must say its length in advance; send Content-Length")
        size = int(length.lstrip("0")[:20] or 0)
        if size > LARGEST:
            async for _ in request.stream():
                pass  # a client reads no answer before it has sent everything
            raise Refused(
                413,
                f"a request may have {LARGEST >> 20} MiB, which hold a video of "
                f"{LARGEST * 3 // 4 >> 20} MiB; send a smaller one",
            )
        self._receiving.enter(visitor)
        paths: list[str] = []
        try:
            try:
                self._uploads.begin(visitor, size)
            except InputError as error:
                raise TooMany(str(error)) from error
            except NoRoom as error:
                raise Failure(str(error)) from error
            try:
                body = b"".join([part async for part in request.stream()])
                asked = await run_in_threadpool(read_chat, body)
                del body  # the video is in ``asked``
                path = await run_in_threadpool(self._stored, asked)
                paths.append(str(path))
            finally:
                self._uploads.end(visitor, size, paths)
        finally:
            self._receiving.leave(visitor)
        return asked, path

    def _stored(self, asked: ChatRequest) -> Path:
        """Write the video where uploads lie, as Gradio does: into a folder named by its content."""
        folder = self._uploads.folder / hashlib.sha256(asked.video).hexdigest()
        path = folder / f"video{asked.ending}"
        if not path.exists():
            folder.mkdir(exist_ok=True)
            with written_whole(path) as partial:
                partial.write_bytes(asked.video)
        return path

    def _label(self, name: str | None) -> str | None:
        """Return the label of a model; None for the first one, which needs no name."""
        if name is None or name == self._models.first:
            return None
        try:
            self._models.source(name)
        except InputError as error:
            raise Refused(404, str(error)) from error
        return name

    def _run(self, asked: ChatRequest, origin: Origin, visitor: str) -> Iterator[Any]:
        chosen = {"model": origin.model} if origin.model else {}
        return self._runner.run(
            f"{visitor} chat {uuid.uuid4().hex}",
            video=Path(origin.video),
            question=origin.question,
            method=origin.method,
            frames=origin.frames,
            max_new_tokens=asked.max_tokens,
            record=True,
            stream=asked.stream,
            **origin.before,
            **chosen,
        )

    def _kept(self, trace: Trace, origin: Origin, visitor: str) -> str:
        home = self._shelf.put(trace, visitor=visitor)
        remember(home, origin)
        return home.parent.name

    async def _events(
        self, request: Request, reply: Reply, origin: Origin, first: Any, news: Any, run: Any
    ) -> AsyncIterator[str]:
        """Yield the pieces, the end with the trace's link, and the mark after it."""
        try:
            yield _event(reply.chunk({"role": "assistant", "content": ""}))
            while True:
                done = not isinstance(first, Step)
                text = reply.new(first.trace.answer if done else first.said.get("compressed", ""))
                if text:
                    yield _event(reply.chunk({"content": text}))
                if done:
                    break
                first = await anext(news)
            key = await run_in_threadpool(self._kept, first.trace, origin, _visitor(request))
            for chunk in reply.last(first.trace, key):
                yield _event(chunk)
        except ClientDisconnect:
            return
        except Exception as error:
            yield _event(_body(error)[1])
        finally:
            _close(run)
        yield "data: [DONE]\n\n"


class Reply:
    """Write the reply to one request, whole or in chunks.

    Parameters
    ----------
    asked : ChatRequest
    model : str
        Its label.
    link : str
        The address of a trace but for its key.
    """

    def __init__(self, asked: ChatRequest, model: str, link: str) -> None:
        self._asked, self._link, self._told = asked, link, ""
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, trace: Trace, key: str) -> dict[str, Any]:
        """Return the reply in one piece."""
        message = {"role": "assistant", "content": trace.answer, "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": self._why_it_ended(trace),
            "logprobs": None,
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(trace),
            "stc": self._about(trace, key),
        }

    def new(self, text: str) -> str:
        """Return what a text has beyond what was told before."""
        new = text[len(self._told) :]
        self._told += new
        return new

    def chunk(self, delta: Mapping[str, str], reason: str | None = None) -> dict[str, Any]:
        """Return one piece of the reply."""
        choice = {"index": 0, "delta": dict(delta), "finish_reason": reason, "logprobs": None}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def last(self, trace: Trace, key: str) -> Iterator[dict[str, Any]]:
        """Yield the pieces after the text."""
        yield self.chunk({}, self._why_it_ended(trace)) | {"stc": self._about(trace, key)}
        if self._asked.usage:
            yield self.chunk({}) | {"choices": [], "usage": _usage(trace)}

    def _why_it_ended(self, trace: Trace) -> str:
        made = trace.costs["generated_tokens"]
        said = sum(word.kind == "answer" for word in trace.words)  # without the token that ends it
        return "length" if made >= self._asked.max_tokens and made != said + 1 else "stop"

    def _about(self, trace: Trace, key: str) -> dict[str, Any]:
        alive = dict(zip(("full", "llm", "end"), trace.alive(), strict=False))
        return {
            "trace": f"{self._link}{key}",
            "key": key,
            "method": trace.method,
            "retention": self._asked.method.retention,
            "frames": trace.grid.frames,
            "tokens": {"end": alive["llm"], **alive},
        }


def refusal(error: Exception) -> Response:
    """Return an error as OpenAI's servers write it: one sentence and a fitting status."""
    status, body = _body(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse(body, status, headers)


def _body(error: Exception) -> tuple[int, dict[str, Any]]:
    status = 500
    if isinstance(error, Stopped):
        words, status = "The run was stopped.", 503
    else:
        words, status = str(failure(error)), _status(error)
    kind = KINDS.get(status, "invalid_request_error")
    told = {"message": words, "type": kind, "param": None, "code": CODES.get(status)}
    return status, {"error": told}


def _status(error: BaseException) -> int:
    if isinstance(error, Failure) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, TooMany):
        return 429
    short = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if isinstance(error, (Full, Unavailable, NoRoom)) or disk_is_full(error) or short:
        return 503
    return 400 if isinstance(error, InputError) else 500


async def _news(request: Request, run: Iterator[Any]) -> AsyncIterator[Any]:
    """Yield what a run yields; end it where nobody waits for it any more."""
    while (news := await run_in_threadpool(next, run, None)) is not None:
        if await request.is_disconnected():
            raise ClientDisconnect
        yield news


def _close(run: Any) -> None:
    if run is not None:
        run.close()


def _visitor(request: Request) -> str:
    """Return who asks, for turns and the shelf: an address, since there is no session."""
    return f"address-{request.client.host if request.client else ''}"


def _usage(trace: Trace) -> dict[str, int]:
    costs = trace.costs
    prompt, said = costs["text_tokens"] + costs["tokens_llm"], costs["generated_tokens"]
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
