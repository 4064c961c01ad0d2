"""Headers of models on the Hub, read by ranges: how many requests, how many bytes, and every answer that is no range.

The real client in a process of its own; the Hub is on the loopback interface and sends files on from a second server, as the
real one does.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ggufx.cli.exit import ExitStatus
from ggufx.converters.io.gguf import encode_header, layout
from ggufx.converters.io.values import string, strings

import ggufx

COMMIT = "ab" * 20
TOKEN = "hf_right"


class Server(ThreadingHTTPServer):
    """`repos`: folders by id. `requests`: what was asked of it. `mood`: what is wrong with its answers."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], repos: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.repos = repos
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        self.sent = 0
        self.moods: dict[str, str] = {}
        self.store = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Hub(Answers):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        api = parts[:2] == ["api", "models"]
        name, *rest = ["/".join(parts[2:4]), *parts[4:]] if api else ["/".join(parts[:2]), *parts[2:]]
        folder, mood = self.server.repos.get(name), self.server.moods.get(name, "")
        if parts[0] == "mark":
            self.server.requests.append(self.path)
            return self.answer(200, {})
        self.server.requests.append(f"{self.command} {'api' if api else rest[-1]}")
        if folder is None:
            return self.answer(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no"})
        if mood == "expired":
            return self.answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if api:
            siblings = [{"rfilename": file} for file in files]
            return self.answer(200, {"Content-Type": "application/json"}, json.dumps(
                {"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0}).encode())
        assert rest[:2] == ["resolve", COMMIT]  # never a branch
        if mood == "closed" or (mood == "gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            return self.answer(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "no"})
        file = "/".join(rest[2:])
        path = folder / file
        there = {"X-Repo-Commit": COMMIT, "ETag": f'"{abs(hash(path)):064x}"', "X-Linked-Size": str(path.stat().st_size)}
        if self.command == "HEAD":
            return self.answer(200, {**there, "Content-Length": str(path.stat().st_size)})
        if path.suffix in (".safetensors", ".gguf"):
            there["X-Linked-Etag"] = there["ETag"]
            return self.answer(302, {**there, "Location": f"{self.server.store}/{name}/{file}"})
        return self.answer(200, there, path.read_bytes())


class Store(Answers):
    def do_GET(self) -> None:
        parts = urlsplit(self.path).path.strip("/").split("/")
        name = "/".join(parts[:2])
        path, mood = self.server.repos[name] / "/".join(parts[2:]), self.server.moods.get(name, "")
        self.server.tokens.append(self.headers.get("Authorization"))
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        size = path.stat().st_size
        start, stop = int(span[1]), min(int(span[2]) + 1, size)
        self.server.requests.append(f"{path.name} {start}-{stop}")
        if mood == "whole":
            return self.answer(200, {"Content-Length": str(1 << 40)})
        if mood == "elsewhere":
            start += 1
        with path.open("rb") as file:
            file.seek(start)
            body = file.read(stop - start)
        self.server.sent += len(body)
        told = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
        if mood == "breaking" and sum(path.name in request for request in self.server.requests) < 3:
            self.close_connection = True
            return self.answer(206, {**told, "Content-Length": str(len(body))}, body[: len(body) // 2])
        return self.answer(206, told, body)


CLIENT = """
import json, sys, urllib.request
from typer.testing import CliRunner
import ggufx
from ggufx.cli.main import app
endpoint, calls = json.load(sys.stdin)
answers = []
for number, call in enumerate(calls):
    urllib.request.urlopen(f"{endpoint}/mark/{number}").read()
    done = CliRunner().invoke(app, call)
    answers.append({"code": done.exit_code, "out": done.stdout, "err": done.stderr})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def repos(zoo, tmp_path_factory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("repos")
    (top / "plain").mkdir()
    ggufx.hf_to_gguf(zoo("llama"), top / "plain" / "llama.gguf")
    ggufx.split(top / "plain" / "llama.gguf", top / "plain" / "parts", max_tensors=10)
    ggufx.gguf_to_hf(top / "plain" / "llama.gguf", top / "shards", max_shard_size=100_000)
    (top / "large").mkdir()
    laid = layout([("w", "Q6_K", (1 << 21, 256 + 256))])  # 860 MB, of which nothing is there
    words = strings([f"{n:020d}" for n in range(320_000)])
    head = encode_header({"general.architecture": string("llama"), "tokenizer.ggml.tokens": words}, laid)
    with open(top / "large" / "large.gguf", "wb") as file:
        file.write(head)
        file.truncate(len(head) + laid[0].nbytes)
    return {"org/plain": top / "plain", "org/shards": top / "shards", "org/large": top / "large"}


@pytest.fixture
def hub(repos) -> Iterator[Server]:
    servers = [Server(handler, dict(repos)) for handler in (Hub, Store)]
    hub, store = servers
    hub.store, store.moods, store.requests = store.url, hub.moods, hub.requests
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    hub.sent_by_store = store
    yield hub
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def ask(hub, tmp_path) -> Callable[..., list[dict[str, Any]]]:
    def run(*calls: list[str], **env: str) -> list[dict[str, Any]]:
        clean = {key: text for key, text in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1",
                    "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", **env}
        done = subprocess.run([sys.executable, "-c", CLIENT], input=json.dumps([hub.url, calls]), capture_output=True,
                              text=True, env={**clean, **settings}, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def asked(hub: Server) -> list[list[str]]:
    """The requests of each call; a redirect and what it leads to are one."""
    calls: list[list[str]] = []
    for request in hub.requests:
        if "/mark/" in request:
            calls.append([])
        elif not re.fullmatch(r"GET .*\.(gguf|safetensors)", request):
            calls[-1].append(request)
    return calls


def test_headers_alone(hub, ask, repos, tmp_path):
    answers = ask(
        ["inspect", "org/plain:llama.gguf", "--json"],
        ["inspect", "org/large:large.gguf", "--json"],
        ["inspect", "org/plain:parts-00001-of-00003.gguf", "--json"],
        ["hf-to-gguf", "org/shards", "--outtype", "q8_0", "--dry-run", "--json"],
        ["hf-to-gguf", "org/shards", "--outtype", "q8_0", "--dry-run", "--json"],
        ["inspect", "org/shards", "--json"],
        ["types", "org/shards", "--json"],
        ["quantize", "org/plain:llama.gguf", "{outtype}.gguf", "q8_0", "--dry-run", "--json"],
        ["gguf-to-hf", "org/plain:llama.gguf", "out", "--dry-run", "--json"],
        ["split", "org/plain:llama.gguf", "out", "--max-tensors", "5", "--dry-run", "--json"],
        ["edit", "org/plain:llama.gguf", "e.gguf", "--set", "general.name=x", "--dry-run", "--json"],
        ["merge-lora", "org/none", "--base", "org/shards", "-o", "out", "--dry-run"],
    )
    assert [answer["code"] for answer in answers[:-1]] == [0] * 11, answers
    calls = asked(hub)
    small = sum(path.suffix != ".safetensors" for path in repos["org/shards"].iterdir())
    shards = sum(path.suffix == ".safetensors" for path in repos["org/shards"].iterdir())
    assert shards > 2
    assert len(calls[0]) == 2
    assert len(calls[1]) == 4  # 9 MB of header: 1, 4 and 16 MiB
    assert len(calls[2]) == 1 + 3
    ranges = [request for request in calls[3] if "safetensors " in request]
    assert len(ranges) == shards
    assert calls[3].count("GET api") == 1
    assert len([request for request in calls[3] if request.startswith("GET ") and request != "GET api"]) <= small
    assert calls[4:11] == [["GET api"]] * 7  # what was read is known, what is small is in the cache
    assert hub.sent_by_store.sent < 20 << 20
    assert set(hub.sent_by_store.tokens) == {None}
    cache = tmp_path / "home"
    assert not [path for path in cache.rglob("*") if path.suffix in (".gguf", ".safetensors")]
    # and it is what the files themselves say
    local = ggufx.hf_to_gguf(repos["org/shards"], tmp_path / "x.gguf", outtype="q8_0", dry_run=True)
    planned = json.loads(answers[3]["out"])
    assert planned["tensors"] == [{"name": t.name, "type": t.type, "shape": list(t.shape), "bytes": t.nbytes,
                                   "wanted": t.wanted} for t in local.tensors]
    seen = json.loads(answers[0]["out"])["summary"]
    assert {**seen, "path": "", "files": []} == {
        **ggufx.inspect(repos["org/plain"] / "llama.gguf").to_json(), "path": "", "files": []}
    assert json.loads(answers[2]["out"])["summary"]["parameters"] == seen["parameters"]


def test_answers_that_are_no_range(hub, ask, repos):
    moods = ("gated", "closed", "whole", "elsewhere", "expired", "breaking")
    for mood in moods:
        hub.repos[f"org/{mood}"] = hub.sent_by_store.repos[f"org/{mood}"] = repos["org/plain"]
        hub.moods[f"org/{mood}"] = mood
    granted, closed, whole, elsewhere, expired, breaking, none, near, broken = ask(
        *(["inspect", f"org/{mood}:llama.gguf"] for mood in moods), ["inspect", "org/none:llama.gguf"],
        ["inspect", "org/plain:lama.gguf"], ["inspect", "./llama.gguf"], HF_TOKEN=TOKEN)
    assert granted["code"] == 0, granted  # the token is the Hub's; who stores the files does not get it
    assert breaking["code"] == 0, breaking  # asked for again
    assert set(hub.sent_by_store.tokens) == {None}
    for answer, status, said in (
            (closed, ExitStatus.NETWORK, "access is restricted"), (expired, ExitStatus.NETWORK, "answered 401"),
            (whole, ExitStatus.NETWORK, "the server does not answer with the range that was asked for"),
            (elsewhere, ExitStatus.NETWORK, "the server does not answer with the range that was asked for"),
            (none, ExitStatus.BAD_INPUT, "no such repository"), (near, ExitStatus.BAD_INPUT, "the nearest is llama.gguf"),
            (broken, ExitStatus.BAD_INPUT, "no such file")):
        assert answer["code"] == status, answer
        assert said in answer["err"]
        assert answer["err"].count("error:") == 1


def test_a_plan_of_headers_can_be_carried_out(hub, ask, repos, tmp_path):
    """The seam holds for whole files too: nothing of the model is on the disk."""
    code = ("import ggufx; from ggufx.converters.run.execute import execute;"
            "execute(ggufx.hf_to_gguf('org/shards', 'streamed.gguf', outtype='q8_0', dry_run=True))")
    clean = {key: text for key, text in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={
        **clean, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"})
    assert done.returncode == 0, done.stderr
    cached = tmp_path / "models--org--shards" / "snapshots" / COMMIT  # the name is part of the file
    cached.parent.mkdir(parents=True)
    cached.symlink_to(repos["org/shards"])
    ggufx.hf_to_gguf(cached, tmp_path / "local.gguf", outtype="q8_0")
    assert (tmp_path / "streamed.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()
