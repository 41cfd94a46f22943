"""Check every request before Gradio sees it: names, origins, sizes, uploads, queue places."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from typing import Any

import gradio as gr
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response

from stc_core.errors import InputError
from viz.page.chat import CHAT
from viz.server.hosts import READS, Hosts
from viz.server.runner import FULL, disk_is_full, sentence
from viz.server.uploads import NoRoom, Uploads, paths_in

log = logging.getLogger(__name__)

LARGEST_BODY = 8 << 20  # bytes of a request that is no upload
EVENTS = 16  # of one visitor that wait in Gradio's queue


class Gate:
    """Refuse what must not reach the page; an ASGI middleware.

    Parameters
    ----------
    app
        What is behind it.
    hosts : Hosts
    uploads : Uploads
    waiting : callable
        (session hash) -> events of that visitor that wait in Gradio's queue.
    """

    def __init__(
        self,
        app: Any,
        hosts: Hosts,
        uploads: Uploads,
        waiting: Callable[[str], int] = lambda session: 0,
    ) -> None:
        self.app, self._hosts, self._uploads, self._waiting = app, hosts, uploads, waiting

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        # a websocket has no method, and carries more than reads
        method, headers = scope.get("method", "CONNECT"), Headers(scope=scope)
        refusal = self._hosts.refusal(method, headers)
        if scope["type"] == "websocket":
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        if refusal is not None:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        if method in READS:
            await self.app(scope, receive, send)
        elif path in (CHAT, f"{scope.get('root_path', '')}{CHAT}"):
            await self.app(scope, receive, send)  # which has limits of its own
        elif path.endswith("/upload"):
            await self._upload(scope, receive, send, headers)
        else:
            await self._other(scope, receive, send, headers, path.endswith("/queue/join"))

    async def _other(
        self, scope: dict, receive: Callable, send: Callable, headers: Headers, joins: bool
    ) -> None:
        try:
            body = await _read(receive, LARGEST_BODY)
        except _Gone:
            return
        if body is None:
            words = f"A request may have {LARGEST_BODY >> 20} MiB at most; this one has more."
            await JSONResponse({"detail": words}, 413)(scope, receive, send)
            return
        if joins and self._waiting(_session(body)) >= EVENTS:
            words = "You have too much waiting on this page already; wait until some of it is done."
            await JSONResponse({"detail": words}, 503)(scope, receive, send)
            return
        await self.app(scope, _again(body, receive), send)

    async def _upload(
        self, scope: dict, receive: Callable, send: Callable, headers: Headers
    ) -> None:
        visitor = (scope.get("client") or ("",))[0]
        length = headers.get("content-length", "")
        # some servers let a request that comes in chunks name another length, too
        if "transfer-encoding" in headers or not (length.isascii() and length.isdecimal()):
            words = "An upload must say its length in advance."
            await PlainTextResponse(words, 411)(scope, receive, send)
            return
        size = int(length.lstrip("0")[:20] or 0)
        try:
            self._uploads.begin(visitor, size)
        except (InputError, NoRoom) as error:
            await _drain(receive)  # a browser reads no answer before it has sent everything
            status = 507 if isinstance(error, NoRoom) else 413
            await PlainTextResponse(sentence(error), status)(scope, receive, send)
            return
        answer: list[dict] = []  # held back until it is counted
        paths: list[str] = []

        async def hold(message: dict) -> None:
            answer.append(message)

        try:
            await self.app(scope, receive, hold)
            if answer and answer[0]["status"] == 200:
                paths = paths_in(b"".join(part.get("body", b"") for part in answer[1:]))
        except ClientDisconnect:
            answer = []
        except Exception as error:
            answer = []
            await _broken(error)(scope, receive, hold)
        finally:
            self._uploads.end(visitor, size, paths)
        for message in answer:
            await send(message)


def waiting_in(demo: gr.Blocks) -> Callable[[str], int]:
    """Return a function: session hash -> events of that visitor in the queue of a page."""

    def waiting(session: str) -> int:
        queues = demo._queue.event_queue_per_concurrency_id.values()
        return sum(event.session_hash == session for one in queues for event in one.queue)

    return waiting


def _broken(error: Exception) -> Response:
    if disk_is_full(error):
        log.error("an upload found the disk full: %s", error)
        return PlainTextResponse(FULL, 507)
    number = uuid.uuid4().hex[:8]
    log.error("upload %s failed", number, exc_info=error)
    words = f"Something broke here; tell who runs this page that its log says more under {number}."
    return PlainTextResponse(words, 500)


class _Gone(Exception):
    """The client has gone before it had sent everything."""


async def _read(receive: Callable, most: int) -> bytes | None:
    """Read the whole body; return None, and keep nothing, where it is longer."""
    body, whole = bytearray(), True
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        if whole:
            body += message.get("body", b"")
            if len(body) > most:
                whole, body = False, bytearray()
        if not message.get("more_body"):
            return bytes(body) if whole else None


async def _drain(receive: Callable) -> None:
    while True:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return


def _again(body: bytes, receive: Callable) -> Callable:
    """Return a ``receive`` that gives a body that was read before, then goes on."""
    given = False

    async def first() -> dict:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return first


def _session(body: bytes) -> str:
    try:
        session = json.loads(body).get("session_hash")
    except (ValueError, RecursionError, AttributeError):
        return ""  # Gradio says what is wrong with it
    return session if isinstance(session, str) else ""
