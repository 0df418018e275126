"""A model hub on the loopback address, with the part of the protocol that the hub's client needs to load a model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse


@dataclass
class FakeHub:
    """Repositories by name, with folders by revision; gated repositories; pull requests as (number, author, title)."""

    repositories: dict[str, dict[str, Path]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    pull_requests: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve the hub on a free port until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def commit_of(name: str, revision: str) -> str:
    """40 hexadecimal digits, as in git."""
    return hashlib.sha1(f"{name} {revision}".encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/"):
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            self._api(f"{owner}/{name}", rest)
        elif path.startswith("/api/"):
            self._send(404, b"")
        else:
            owner, name, _, *rest = path.strip("/").split("/")
            self._file(f"{owner}/{name}", rest)

    def do_POST(self) -> None:
        self.hub.asked.append(f"POST {self.path}")
        self._send(403, b"this hub is read only")

    def _api(self, repository: str, rest: list[str]) -> None:
        what, *arguments = rest or ["revision", "main"]
        if what == "discussions":
            found = self.hub.pull_requests.get(repository, [])
            keys = {"status": "open", "isPullRequest": True, "createdAt": "2024-01-01T00:00:00.000Z"}
            every = [keys | {"num": n, "author": {"name": author}, "title": title} for n, author, title in found]
            repo = {"name": repository, "type": "model"}
            self._json({"discussions": [one | {"repo": repo} for one in every], "count": len(every), "start": 0})
            return
        if what == "tree" and arguments[1:] and arguments[0] in self.hub.repositories.get(repository, {}):
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})  # a repository here has no folders
            return
        revision, folder = self._find(repository, "/".join(arguments))
        if folder is None:
            return
        files = sorted(folder.iterdir())
        if what == "tree":
            entry = {"type": "file", "oid": "0" * 40}
            self._json([entry | {"path": file.name, "size": file.stat().st_size} for file in files])
        else:
            names = [{"rfilename": file.name} for file in files]
            known = {"id": repository, "private": False, "gated": False, "tags": [], "downloads": 0, "likes": 0}
            self._json(known | {"sha": commit_of(repository, revision), "siblings": names})

    def _file(self, repository: str, rest: list[str]) -> None:
        *arguments, name = rest
        revision, folder = self._find(repository, "/".join(arguments))
        if folder is None:
            return
        if repository in self.hub.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to it is restricted"})
        elif not (folder / name).exists():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            content = (folder / name).read_bytes()
            headers = {
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                "X-Repo-Commit": commit_of(repository, revision),
            }
            self._send(200, content, headers)

    def _find(self, repository: str, asked: str) -> tuple[str, Path | None]:
        revisions = self.hub.repositories.get(repository)
        if revisions is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return asked, None
        for revision, folder in revisions.items():
            if asked in (revision, commit_of(repository, revision)):
                return revision, folder
        self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return asked, None

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""
