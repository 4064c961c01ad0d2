"""Models in object stores: the same files as from a folder, by ranges; and every way in which a store can refuse.

S3 is moto's server on the loopback interface, with the real client; what any store has in common is tried with fsspec's own
store in memory.
"""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from ggufx.converters.errors import InputError, NetworkError, UnsupportedError, UsageError
from ggufx.converters.run.execute import execute
from ggufx.converters.sources import hub, object_store

import ggufx

pytestmark = pytest.mark.usefixtures("cache")


def put(store, folder: str, source: Path) -> None:
    for path in source.iterdir():
        store.pipe_file(f"{folder}/{path.name}", path.read_bytes())


def same_both_ways(scheme: str, store, zoo, tmp_path: Path) -> None:
    source = zoo("llama")
    put(store, f"bucket/{source.name}", source)
    url = f"{scheme}://bucket/{source.name}"
    ggufx.hf_to_gguf(source, tmp_path / "here.gguf", outtype="q8_0")
    ggufx.hf_to_gguf(url, tmp_path / "there.gguf", outtype="q8_0")
    assert (tmp_path / "there.gguf").read_bytes() == (tmp_path / "here.gguf").read_bytes()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))  # weights are never stored here
    store.pipe_file("bucket/files/m.gguf", (tmp_path / "here.gguf").read_bytes())
    ggufx.quantize(f"{scheme}://bucket/files/m.gguf", tmp_path / "again.gguf", "f16", allow_requantize=True)
    ggufx.quantize(tmp_path / "here.gguf", tmp_path / "local.gguf", "f16", allow_requantize=True)
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()
    assert ggufx.inspect(f"{scheme}://bucket/files/m.gguf").architecture == "llama"
    assert ggufx.inspect(url).parameters == ggufx.inspect(source).parameters


def test_s3(s3, zoo, tmp_path: Path):
    same_both_ways("s3", s3, zoo, tmp_path)
    with pytest.raises(InputError, match="s3://bucket/none: no such folder, or nothing is in it"):
        hub.resolve_model("s3://bucket/none")
    with pytest.raises(InputError, match="s3://nobucket/a: no such"):
        hub.resolve_model("s3://nobucket/a")


def test_any_store(memory, zoo, tmp_path: Path):
    same_both_ways("memory", memory, zoo, tmp_path)


def test_an_object_that_changes_is_an_error(memory, zoo, tmp_path: Path):
    put(memory, "bucket/m", zoo("llama"))
    plan = ggufx.hf_to_gguf("memory://bucket/m", tmp_path / "a.gguf", dry_run=True)
    with pytest.raises(UsageError, match="object store, its headers alone are here"):
        ggufx.write_plan(plan, tmp_path / "plan.json")
    data = bytearray(memory.cat_file("bucket/m/model.safetensors"))
    data[-1] ^= 1
    memory.pipe_file("bucket/m/model.safetensors", bytes(data))
    with pytest.raises(InputError, match="the object changed since the conversion was planned"):
        execute(plan)
    assert not list(tmp_path.glob("a.gguf*"))
    execute(ggufx.hf_to_gguf("memory://bucket/m", tmp_path / "a.gguf", dry_run=True))


def test_how_stores_refuse(memory, monkeypatch: pytest.MonkeyPatch, zoo, tmp_path: Path):
    put(memory, "bucket/m", zoo("llama"))
    for error, kind, said in ((PermissionError("no"), NetworkError, "access is refused"),
                              (TimeoutError("late"), NetworkError, "cannot be read")):
        with monkeypatch.context() as patch:
            patch.setattr(type(memory), "cat_file", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
            with pytest.raises(kind, match=said):
                ggufx.hf_to_gguf("memory://bucket/m", tmp_path / "a.gguf")
    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "cat_file", lambda *_, **__: b"short")
        with pytest.raises(NetworkError, match="does not answer with the range"):
            ggufx.hf_to_gguf("memory://bucket/m", tmp_path / "a.gguf")
    monkeypatch.setattr(fsspec, "filesystem", lambda _: (_ for _ in ()).throw(ImportError("no")))
    with pytest.raises(UnsupportedError, match="needs gcsfs, which is not installed"):
        hub.resolve_model("gs://bucket/m")
    assert not list(tmp_path.glob("a.gguf*"))


@pytest.mark.parametrize(("text", "repo", "file"), [
    ("s3://bucket/a/b/", "s3://bucket/a/b", None), ("gs://b/m.gguf", "gs://b", "m.gguf"), ("s3://bucket", "s3://bucket", None),
    ("file:///etc", None, None), ("http://host/a", None, None), ("s3:///a", None, None), ("org/name", None, None),
])
def test_urls(text: str, repo: str | None, file: str | None):
    where = object_store.ObjectReference.parse(text)
    assert (where and where.repo, where and where.file) == (repo, file)


def test_a_url_of_the_hub_is_its_id():
    assert hub._of_hf_url("hf://org/name@v1/") == "org/name@v1"
    assert hub._of_hf_url("hf://org/name/sub/a.gguf") == "org/name:sub/a.gguf"


def test_names_that_lead_out_are_not_read(memory, zoo):
    put(memory, "bucket/m", zoo("llama"))
    memory.store["/bucket/m/../evil"] = memory.store["/bucket/m/config.json"]
    assert not any(".." in name for name in object_store.Objects(object_store.ObjectReference("memory", "bucket/m")).names)
