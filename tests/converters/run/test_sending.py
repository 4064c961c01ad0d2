"""Outputs that become objects: they appear whole, of a set the one that completes it last, and nothing is left on this machine.

S3 is moto's server, with the real client; what any store has in common is tried with fsspec's own store in memory.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fsspec
import pytest
from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from ggufx.converters.errors import GgufxError, NetworkError, StorageError, UnsupportedError, UsageError
from ggufx.converters.io.objects import staged, staging_root, url_of
from ggufx.converters.run import staging
from typer.testing import CliRunner, Result

import ggufx

pytestmark = pytest.mark.usefixtures("cache")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def left() -> list[str]:
    """What lies where outputs are written first."""
    return sorted(str(p.relative_to(staging_root())) for p in staging_root().rglob("*")) if staging_root().exists() else []


def there_and_back(scheme: str, store, zoo, tmp_path: Path) -> None:
    model, url = zoo("llama"), f"{scheme}://bucket/models/m-{{outtype}}.gguf"
    local = ggufx.hf_to_gguf(model, tmp_path / "m-{outtype}.gguf", outtype=("q8_0", "f16"))
    sent = ggufx.hf_to_gguf(model, url, outtype=("q8_0", "f16"))
    assert [f.url for f in sent.files] == [f"{scheme}://bucket/models/m-{t}.gguf" for t in ("q8_0", "f16")]
    assert [f.sha256 for f in sent.files] == [f.sha256 for f in local.files]
    for file in local.files:
        assert store.cat_file(f"bucket/models/{file.path.name}") == file.path.read_bytes()
    assert left() == []
    with pytest.raises(GgufxError, match=f"exists already .2 files.: {scheme}:.*m-q8_0.gguf"):
        ggufx.hf_to_gguf(model, url, outtype=("q8_0", "f16"))
    ggufx.hf_to_gguf(model, url, outtype=("q8_0", "f16"), force=True)

    ggufx.gguf_to_hf(tmp_path / "m-f16.gguf", tmp_path / "back")
    ggufx.gguf_to_hf(f"{scheme}://bucket/models/m-f16.gguf", f"{scheme}://bucket/back/")
    here = {p.name: p.read_bytes() for p in (tmp_path / "back").iterdir()}
    assert {n.rpartition("/")[2]: store.cat_file(n) for n in store.find("bucket/back")} == here
    assert left() == []


def test_s3(s3, zoo, tmp_path: Path):
    there_and_back("s3", s3, zoo, tmp_path)
    with pytest.raises(StorageError, match="s3://nobucket: no such bucket"):
        ggufx.hf_to_gguf(zoo("llama"), "s3://nobucket/m.gguf", outtype="q8_0")
    assert left() == []


def test_s3_in_parts(s3, zoo, monkeypatch: pytest.MonkeyPatch):
    """A large object is sent in parts, and does not appear where one of them fails."""
    import s3fs

    real, failing = s3fs.S3FileSystem._call_s3, []

    async def called(self, method, *arguments, **options):
        calls.append(method)
        if method == "upload_part" and failing:
            raise TimeoutError("late")
        return await real(self, method, *arguments, **options)

    calls: list[str] = []
    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", called)
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: 5 << 20)
    folder = zoo("llama")
    failing.append(True)
    with pytest.raises(NetworkError, match=r"s3://bucket/parts.gguf: cannot be written .*Timeout") as failed:
        ggufx.hf_to_gguf(folder, "s3://bucket/parts.gguf", outtype="f32", metadata_file=_padding(folder))
    assert "abort_multipart_upload" in calls
    assert not s3.exists("bucket/parts.gguf")
    assert "the same call with --resume" in failed.value.hint or "resume=True" in failed.value.hint
    failing.clear()
    ggufx.hf_to_gguf(folder, "s3://bucket/parts.gguf", outtype="f32", metadata_file=_padding(folder), resume=True)
    assert "complete_multipart_upload" in calls
    assert left() == []


def _padding(folder: Path) -> Path:
    """Metadata that make a file of any model larger than two parts."""
    path = folder.parent / "padding.json"
    path.write_text(json.dumps({"general.description": "x" * (11 << 20)}))
    return path


def test_any_store(memory, zoo, tmp_path: Path):
    there_and_back("memory", memory, zoo, tmp_path)


def test_no_credentials(s3, zoo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(NetworkError, match="access is refused") as refused:
        ggufx.hf_to_gguf(zoo("llama"), "s3://bucket/secret.gguf", outtype="q8_0")
    assert "AWS_ACCESS_KEY_ID" in refused.value.hint
    assert left() == []
    s3fs.S3FileSystem.clear_instance_cache()


def test_without_the_client(monkeypatch: pytest.MonkeyPatch, zoo):
    monkeypatch.setattr(fsspec, "filesystem", lambda _: (_ for _ in ()).throw(ImportError("no")))
    with pytest.raises(UnsupportedError, match=r"s3://bucket/m.gguf: needs s3fs, which is not installed"):
        ggufx.hf_to_gguf(zoo("llama"), "s3://bucket/m.gguf", outtype="q8_0")


def test_the_first_part_comes_last(memory, zoo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "m.gguf", outtype="f16")
    parts = [f.path.name for f in ggufx.split(tmp_path / "m.gguf", tmp_path / "p", max_tensors=8).files]
    order, real = [], type(memory).put_file

    def put(self, here, there, **options):
        order.append(there.rpartition("/")[2])
        if len(order) == fails:
            raise TimeoutError("late")
        return real(self, here, there, **options)

    monkeypatch.setattr(type(memory), "put_file", put)
    fails = len(parts)
    with pytest.raises(NetworkError, match=f"{parts[0]}: cannot be written"):
        ggufx.split(tmp_path / "m.gguf", "memory://bucket/p", max_tensors=8)
    assert memory.find("bucket") == []
    assert sorted(order) == parts
    assert order[-1] == parts[0]
    assert [name.rpartition("/")[2] for name in left() if name.endswith(".gguf")] == parts
    fails, order[:] = 0, []
    made = ggufx.split(tmp_path / "m.gguf", "memory://bucket/p", max_tensors=8, resume=True)
    assert made.bytes_written == 0
    assert [f.url for f in made.files] == [f"memory://bucket/{name}" for name in parts]
    assert {name.rpartition("/")[2]: memory.cat_file(name) for name in memory.find("bucket")} == {
        name: (tmp_path / name).read_bytes() for name in parts}
    assert left() == []


def test_several_types_of_which_one_was_sent(memory, zoo, monkeypatch: pytest.MonkeyPatch):
    real, model = type(memory).put_file, zoo("llama")

    def put(self, here, there, **options):
        if "f16" in there:
            raise TimeoutError("late")
        return real(self, here, there, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "put_file", put)
        with pytest.raises(NetworkError, match=r"m-f16.gguf: cannot be written"):
            ggufx.hf_to_gguf(model, "memory://bucket/m-{outtype}.gguf", outtype=("q8_0", "f16"))
    assert memory.find("bucket") == ["/bucket/m-q8_0.gguf"]
    with pytest.raises(UsageError, match=r"m-q8_0.gguf: exists already"):
        ggufx.hf_to_gguf(model, "memory://bucket/m-{outtype}.gguf", outtype=("q8_0", "f16"))
    ggufx.hf_to_gguf(model, "memory://bucket/m-{outtype}.gguf", outtype=("q8_0", "f16"), resume=True)
    assert len(memory.find("bucket")) == 2
    assert left() == []
    memory.pipe_file("bucket/m-q8_0.gguf", b"another's")
    memory.rm_file("bucket/m-f16.gguf")
    with pytest.raises(UsageError, match=r"m-q8_0.gguf: exists already"):
        ggufx.hf_to_gguf(model, "memory://bucket/m-{outtype}.gguf", outtype=("q8_0", "f16"), resume=True)


def test_what_arrives_otherwise(memory, zoo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(memory), "put_file", lambda self, here, there, **_: self.pipe_file(there, b"short"))
    with pytest.raises(NetworkError, match=r"m.gguf: arrived otherwise than it was sent"):
        ggufx.hf_to_gguf(zoo("llama"), "memory://bucket/m.gguf", outtype="q8_0")
    assert memory.find("bucket") == []


def test_the_command(memory, zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = "memory://bucket/a/m.gguf"
    words = ("hf-to-gguf", zoo("llama"), "--outtype", "q8_0", "--outfile", url)
    plan = json.loads(call(*words, "--dry-run", "--json").stdout)
    assert [f["path"] for f in plan["files"]] == [url]
    assert plan["written_first"]["folder"] == str(staging_root() / "memory" / "bucket" / "a")
    assert plan["written_first"]["free"] > 0
    assert "written in " in call(*words, "--dry-run").stdout
    assert left() == []
    done = call(*words, "--json", "--checksums", tmp_path / "sums", "--verify")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    digest = hashlib.sha256(memory.cat_file("bucket/a/m.gguf")).hexdigest()
    assert [(f["path"], f["sha256"]) for f in document["files"]] == [(url, digest)]
    assert document["verify"]["same"] is True
    assert (tmp_path / "sums").read_text() == f"{digest}  a/m.gguf\n"
    said = call(*words, "--force")
    assert f"sent {url}" in said.stdout
    assert f"ggufx verify {zoo('llama')} {url}" in said.stderr
    for more, why in ((["--modelfile"], "a Modelfile names a file beside it"),
                      (["--engine", "ray"], "which no object is"),
                      (["--calibrate", __file__], "a matrix is made beside the files")):
        if "ray" in more:
            monkeypatch.setattr("ggufx.converters.run.execute.on_cluster", lambda engine: engine == "ray")
        refused = call(*words, "--force", *more)
        assert refused.exit_code == ExitStatus.USAGE, refused.output
        assert why in refused.stderr
    planned = call("plan", *words[:-1], "memory://bucket/b.gguf")
    assert planned.exit_code == ExitStatus.USAGE
    assert "memory://bucket/b.gguf: is in an object store" in planned.stderr
    assert left() == []


def test_nothing_is_sent_that_differs(memory, zoo, monkeypatch: pytest.MonkeyPatch):
    from ggufx.converters.verify.verify import Report

    monkeypatch.setattr(Report, "same", property(lambda _: False))
    done = call("hf-to-gguf", zoo("llama"), "--outtype", "q8_0", "--outfile", "memory://bucket/m.gguf", "--verify")
    assert done.exit_code == ExitStatus.NO
    assert "nothing was sent" in done.stderr
    assert memory.find("bucket") == []
    assert "memory/bucket/m.gguf" in left()


def test_no_room(memory, zoo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(staging.system, "free_space", lambda _: (1000, 1000))
    done = call("hf-to-gguf", zoo("llama"), "--outtype", "q8_0", "--outfile", "memory://bucket/m.gguf", "--dry-run")
    assert done.exit_code == ExitStatus.IO
    assert "no room for the result" in done.stderr


def test_a_batch(memory, zoo, tmp_path: Path):
    (tmp_path / "models.txt").write_text(f"{zoo('llama')}\n")
    words = ("batch", tmp_path / "models.txt", "--outtype", "q8_0", "--outfile", "memory://bucket/{name}/", "--json")
    done = call(*words)
    assert done.exit_code == 0, done.output
    (model,) = json.loads(done.stdout)["models"]
    (name,) = memory.find("bucket")
    assert (model["state"], model["files"][0]["path"]) == ("made", f"memory:/{name}")
    again = call(*words)
    assert [(m["state"], m["files"][0]["path"]) for m in json.loads(again.stdout)["models"]] == [("there", f"memory:/{name}")]
    memory.pipe_file(name, memory.cat_file(name)[:-1])
    failed = json.loads(call(*words).stdout)["models"]
    assert failed[0]["state"] == "failed"
    assert "exists already" in failed[0]["errors"][0]["message"]
    assert json.loads(call(*words, "--force").stdout)["models"][0]["state"] == "made"
    checked = call(*words, "--check")
    assert checked.exit_code == ExitStatus.USAGE
    assert left() == []


@pytest.mark.parametrize(("url", "here"), [
    ("s3://b/k.gguf", "s3/b/k.gguf"), ("gs://b/f/", "gs/b/f/"), ("s3://b", "s3/b/"), (Path("s3://b/out"), "s3/b/out"),
    ("az://b/{outtype}.gguf", "az/b/{outtype}.gguf"),
])
def test_places(url: str | Path, here: str):
    place = staged(url)
    assert str(place) == f"{staging_root()}/{here}"
    assert isinstance(place, type(url)) or isinstance(url, Path)
    assert url_of(Path(place)) == f"{here.partition('/')[0]}://{here.partition('/')[2].rstrip('/')}"


@pytest.mark.parametrize("url", ["s3://", "s3://b//k.gguf", "s3://b/../k.gguf", "s3:///k.gguf", "s3://b/a\\b.gguf"])
def test_no_places(url: str):
    with pytest.raises(UsageError, match="is no place in an object store"):
        staged(url)


def test_other_outputs_stay():
    for outfile in (None, "m.gguf", "https://x/y", Path("out"), "/tmp/s3:/x", Path("/a/outgoing/s3/b")):
        assert staged(outfile) is outfile
        assert outfile is None or url_of(Path(outfile)) is None
