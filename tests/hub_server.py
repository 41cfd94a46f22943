"""A model hub on loopback: the few addresses of its interface that loading asks for."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the hub has and how it behaves; ``asked`` lists (method, path) of all requests."""

    url: str = ""
    models: dict[str, Path] = field(default_factory=dict)  # "org/name" -> folder
    gated: bool = False
    status: int = 0  # answer everything with this error
    delay: float = 0  # seconds before each answer
    cut: int | None = None  # break off files after so many bytes
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def serving():
    """A ``Hub`` that answers at ``hub.url``."""
    hub = Hub()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = urlsplit(self.path).path.strip("/")
            hub.asked.append((self.command, path))
            time.sleep(hub.delay)
            if hub.status:
                return self.refuse(hub.status)
            api = path.startswith("api/models/")
            org, name, *rest = path.removeprefix("api/models/").split("/")
            folder = hub.models.get(f"{org}/{name}")
            if folder is None:
                return self.refuse(401, "RepoNotFound")
            files = sorted(file for file in folder.iterdir() if file.is_file())
            if api and rest[:1] == ["tree"]:
                return self.send(json.dumps([described(file) for file in files]).encode())
            if api:
                about = {"id": f"{org}/{name}", "sha": REVISION, "private": False}
                listed = [{"rfilename": f.name, "size": f.stat().st_size} for f in files]
                return self.send(json.dumps(about | {"siblings": listed}).encode())
            if hub.gated:
                return self.refuse(403, "GatedRepo")
            file = folder / rest[-1]
            if not file.is_file():
                return self.refuse(404, "EntryNotFound")
            about = {"X-Repo-Commit": REVISION, "ETag": f'"{tag(file)}"'}
            return self.send(file.read_bytes(), about, hub.cut)

        def refuse(self, status, code=""):
            self.send(b"", {"X-Error-Code": code}, status=status)

        def send(self, body, headers=None, cut=None, status=200):
            start = 0
            if sent := self.headers.get("Range"):
                start, status = int(sent.removeprefix("bytes=").split("-")[0]), 206
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            if self.command == "HEAD":
                return
            if cut is not None and len(body) > cut:
                self.wfile.write(body[start : start + cut])
                self.close_connection = True
                return
            self.wfile.write(body[start:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def tag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def described(file: Path) -> dict:
    return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": tag(file)}
