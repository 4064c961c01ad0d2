"""Fixtures of the converters' tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import fsspec
import pytest
from ggufx.converters.io import ranges

import ggufx


@pytest.fixture(scope="session")
def converted(zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`converted(model, outtype)`: the GGUF file of a model of the zoo, without ggufx.* key-values."""
    root = tmp_path_factory.mktemp("gguf")

    def path(name: str, outtype: str = "auto") -> Path:
        out = root / f"{name}-{outtype}.gguf"
        if not out.exists():
            ggufx.hf_to_gguf(zoo(name), out, outtype=outtype, plain=True)
        return out

    return path


@pytest.fixture
def interrupted_rename(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """`interrupted_rename(number)`: within it, the `number`-th rename is an interrupt instead, which must reach the end."""

    @contextmanager
    def within(number: int) -> Iterator[None]:
        real, calls = os.replace, []

        def interrupted(old, new):
            calls.append(new)
            if len(calls) == number:
                raise KeyboardInterrupt
            real(old, new)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                yield

    return within


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub client's cache, empty; nothing is announced."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ranges, "_ANNOUNCED", {})
    return tmp_path / "cache"


@pytest.fixture
def memory():
    """fsspec's own store, empty."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.fixture(scope="module")
def s3():
    """moto's server on the loopback interface, by the real client, with one bucket."""
    pytest.importorskip("s3fs", reason="s3fs (the extra `s3`) is not installed")
    server = pytest.importorskip("moto.server", reason="moto, a local S3 server, is not installed")
    pytest.importorskip("flask_cors", reason="moto's server needs flask-cors")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("AWS_ENDPOINT_URL", f"http://{host}:{port}"), ("AWS_ACCESS_KEY_ID", "key"),
                            ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_DEFAULT_REGION", "us-east-1")):
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        store = fsspec.filesystem("s3")
        store.makedirs("bucket", exist_ok=True)
        yield store
        s3fs.S3FileSystem.clear_instance_cache()
    running.stop()
