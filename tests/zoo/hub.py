"""A Hub on the loopback interface: the part of its API that the real client's downloads and pushes use.

It can fail in every way that the real one does: `faults` are answered before anything else, each once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"


@dataclass
class Repo:
    """`commits` oldest first, each {name: content}; `main` is the last one. `mood` is how the server treats it.

    `messages` of the commits that were pushed; `pulls`: those that became pull requests instead.
    """

    commits: list[dict[str, bytes]]
    refs: dict[str, int] = field(default_factory=dict)
    mood: str = "open"
    private: bool = False
    messages: list[str] = field(default_factory=list)
    pulls: list[dict[str, bytes]] = field(default_factory=list)

    def sha(self, index: int) -> str:
        return hashlib.sha1(f"{index} {sorted(self.commits[index])}".encode()).hexdigest()

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        shas = [self.sha(index) for index in range(len(self.commits))]
        if revision in shas:
            return revision, self.commits[shas.index(revision)]
        index = {"main": len(shas) - 1, **self.refs}.get(revision)
        return None if index is None else (shas[index], self.commits[index])


@dataclass
class Fault:
    """Met once, by the next request like it (`METHOD /path`, a regular expression). `status` 0: the connection is dropped, of
    a PUT after `after` bytes; `lost`: the request is carried out, and its answer does not arrive."""

    where: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    after: int = 0
    lost: bool = False


class Hub(ThreadingHTTPServer):
    """Downloads: model info, tree, HEAD and GET of files (with ranges). Pushes: repositories, branches, LFS, commits.

    `tokens`: what whoami says of each. `received`: bytes of all PUTs, also of those that were dropped; `blobs`: what arrived.
    """

    daemon_threads = True

    def __init__(self, repos: dict[str, Repo]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos = repos
        self.served: list[str] = []  # "org/name/file" for each GET of a file
        self.hurry = threading.Event()
        self.tokens = {TOKEN: {"name": "me", "orgs": [{"name": "org"}], "auth": {"accessToken": {"role": "write"}}}}
        self.blobs: dict[str, bytes] = {}
        self.received = 0
        self.faults: list[Fault] = []
        self.asked: list[str] = []  # "METHOD /path" of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.fails():
            return None
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts == ["api", "whoami-v2"]:
            return self.json(self.identity) if self.identity else self.refuse(401, "")
        api = parts[:2] == ["api", "models"]
        parts = parts[2:] if api else parts
        name, rest = "/".join(parts[:2]), parts[2:]
        repo = self.server.repos.get(name)
        if repo is None:
            return self.refuse(404, "RepoNotFound")
        if repo.mood == "sick":
            return self.refuse(500, "")
        if repo.mood == "slow":
            self.server.hurry.wait(20)
        if repo.mood == "website":
            return self.answer(b"<html>Welcome</html>", {"Content-Type": "text/html"})
        verb, revision = (rest[0], rest[1]) if rest else ("revision", "main")
        if (found := repo.at(revision)) is None:
            return self.refuse(404, "RevisionNotFound")
        sha, files = found
        if repo.mood == "moving":
            repo.commits.append({**repo.commits[-1], f"extra{len(repo.commits)}": b""})
        if api and verb == "revision":
            siblings = [{"rfilename": file} for file in files]
            return self.json({"id": name, "sha": sha, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0,
                              "private": repo.private})
        if api:
            return self.json([{"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
                              for file, content in files.items()])
        if repo.mood == "gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(403, "GatedRepo")
        file = "/".join(rest[2:])
        if file not in files:
            return self.refuse(404, "EntryNotFound", sha)
        if self.command == "GET":
            self.server.served.append(f"{name}/{file}")
        etag = hashlib.sha256(file.encode() + files[file]).hexdigest()  # the client stores equal blobs once
        return self.answer(files[file], {"ETag": f'"{etag}"', "X-Repo-Commit": sha})

    # -- pushes --

    @property
    def identity(self) -> dict[str, Any] | None:
        return self.server.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def do_POST(self) -> None:
        if self.fails():
            return None
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.identity:
            return self.refuse(401, "")
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            bad = "license: nonsense" in json.loads(body)["content"]
            return self.answer(json.dumps({"errors": [{"message": "license is unknown"}] * bad, "warnings": []}).encode(), {},
                               400 if bad else 200)
        if batch := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self.batch(self.server.repos[batch[1]], json.loads(body))
        if not (match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/(.+)", path)):
            return self.refuse(404, "")
        repo = self.server.repos.get(match[1])
        revision = unquote(match[3])
        if repo is None:
            return self.refuse(404, "RepoNotFound")
        if repo.mood == "forbidden":
            return self.refuse(403, "", said="Forbidden: pass a token with write access")
        if match[2] == "branch":
            repo.refs[revision] = len(repo.commits) - 1
            return self.json({})
        if (found := repo.at(revision)) is None:
            return self.refuse(404, "RevisionNotFound")
        if match[2] == "preupload":
            return self.json({"files": [self.mode(found[1], file) for file in json.loads(body)["files"]]})
        return self.commit(match[1], repo, revision, found, [json.loads(line) for line in body.splitlines()])

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or self.identity['name']}/{asked['name']}"
        if name in self.server.repos:
            return self.refuse(409, "", said="You already created this model repo")
        if name.split("/")[0] not in (self.identity["name"], *(o["name"] for o in self.identity["orgs"])):
            return self.refuse(403, "", said=f"You don't have the rights to create a model under {name.split('/')[0]}")
        self.server.repos[name] = Repo([{".gitattributes": b"*.gguf filter=lfs"}], private=asked.get("visibility") == "private")
        return self.json({"url": f"{self.server.url}/{name}"})

    def mode(self, files: dict[str, bytes], asked: dict[str, Any]) -> dict[str, Any]:
        lfs = asked["path"].endswith((".gguf", ".safetensors"))
        old = files.get(asked["path"])
        git = None if old is None else hashlib.sha1(b"blob %d\0" % len(old) + old).hexdigest()
        return {"path": asked["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False,
                "oid": hashlib.sha256(old).hexdigest() if lfs and old is not None else git}

    def batch(self, repo: Repo, asked: dict[str, Any]) -> None:
        if repo.mood == "forbidden":
            return self.refuse(403, "", said="Forbidden: pass a token with write access")
        objects = [{**each, **({} if each["oid"] in self.server.blobs else {
            "actions": {"upload": {"href": f"{self.server.url}/blob/{each['oid']}", "header": {}}}})} for each in asked["objects"]]
        return self.json({"transfer": "basic", "objects": objects})

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        fault = self.next_fault()
        body = self.rfile.read(size if fault is None or fault.status else min(fault.after, size))
        self.server.received += len(body)
        if fault is not None:
            return self.fail(fault)
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(body).hexdigest() != oid:
            return self.refuse(400, "")
        self.server.blobs[oid] = body
        return self.json({})

    def commit(self, name: str, repo: Repo, revision: str, found: tuple[str, dict[str, bytes]], lines: list[Any]) -> None:
        (header,) = (line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit", found[0]) != found[0]:
            return self.refuse(412, "", said="A commit has happened since")
        files = dict(found[1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.blobs:
                    return self.refuse(400, "", said="the object was not uploaded")
                files[value["path"]] = self.server.blobs[value["oid"]]
        answer = {"commitUrl": "", "commitOid": "a" * 40, "pullRequestUrl": f"{self.server.url}/{name}/discussions/1"}
        if "create_pr=1" in self.path:
            repo.pulls.append(files)
        else:
            if revision != "main":
                repo.refs.setdefault("main", len(repo.commits) - 1)  # it stays where it is
            if "main" in repo.refs:
                repo.refs[revision] = len(repo.commits)
            repo.commits.append(files)
            repo.messages.append(header["summary"])
            answer["commitOid"] = repo.at(revision)[0]
        answer["commitUrl"] = f"{self.server.url}/{name}/commit/{answer['commitOid']}"
        if self.lost:
            return self.drop()
        return self.json(answer)

    lost = False

    def next_fault(self) -> Fault | None:
        line = f"{self.command} {self.path}"
        self.server.asked.append(line)
        self.lost = False
        fault = next((fault for fault in self.server.faults if re.search(fault.where, line)), None)
        if fault is not None:
            self.server.faults.remove(fault)
        return fault

    def fails(self) -> bool:
        """Whether a fault was met, which is then answered."""
        if (fault := self.next_fault()) is None:
            return False
        if fault.lost:
            self.lost = True
            return False
        if fault.status:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.fail(fault)
        return True

    def fail(self, fault: Fault) -> None:
        if not fault.status:
            return self.drop()
        return self.answer(b"", dict(fault.headers), fault.status)

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    # -- answers --

    def json(self, document: object) -> None:
        self.answer(json.dumps(document).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, sha: str = "0" * 40, said: str | None = None) -> None:
        self.answer(b"", {"X-Error-Code": code, "X-Error-Message": said or code, "X-Repo-Commit": sha}, status)

    def answer(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        if (span := self.headers.get("Range")) and status == 200:
            start = int(span.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"], status = f"bytes {start}-{len(body) - 1}/{len(body)}", 206
            body = body[start:]
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def running(server: Hub) -> Iterator[Hub]:
    """The server at work, on a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.hurry.set()
        server.shutdown()
        thread.join()
        server.server_close()


def point_client_at(server: Hub, monkeypatch: Any, home: Path) -> list[float]:
    """Make this process's client one of the server; what it would have slept is returned instead."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
    for name, value in {"ENDPOINT": server.url, "HF_HUB_CACHE": str(home), "HF_HUB_DISABLE_XET": True,
                        "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(constants, name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()
    slept: list[float] = []
    clock = SimpleNamespace(**{**vars(time), "sleep": slept.append})
    for module in ("huggingface_hub.utils._http", "ggufx.converters.publish.upload"):
        monkeypatch.setattr(f"{module}.time", clock)
    return slept
