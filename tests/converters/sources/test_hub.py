"""Hub references, with the real client against a Hub on the loopback interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError, InputError, UsageError
from ggufx.converters.sources.hub import (
    SIDE_FILES,
    HubReference,
    cached_commit,
    cached_origin,
    resolve_model,
    safe_name,
    weight_files,
)
from ggufx.converters.tokenizer.own_keys import MODEL_FILES, SMALL_FILES
from zoo.hub import TOKEN, Hub, Repo, running


def index(*files: object) -> bytes:
    return json.dumps({"weight_map": {f"t{i}": name for i, name in enumerate(files)}}).encode()


SMALL = {"config.json": b"{}", "tokenizer.json": b"{}", "README.md": b"# card", "model.safetensors": b"weights"}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
LARGE = {
    "config.json": b"{}", "generation_config.json": b"{}", "chat_template.jinja": b"x", "preprocessor_config.json": b"{}",
    "1_Pooling/config.json": b"{}",
    "additional_chat_templates/tool use.jinja": b"{{ y }}", "model.safetensors.index.json": index(*SHARDS, SHARDS[0]),
    **dict.fromkeys(SHARDS, b"shard"),
    # what nobody needs
    "pytorch_model.bin": b"pickle", "pytorch_model.bin.index.json": b"{}", "consolidated.safetensors": b"again",
    "original/model.safetensors": b"again", "onnx/model.onnx": b"again", "modeling_large.py": b"import os",
    "tf_model.h5": b"again", "picture.png": b"png",
}
GGUFS = {
    "tiny-Q4_K_M.gguf": b"GGUF4", "tiny-Q8_0.gguf": b"GGUF8", "mmproj-tiny-F16.gguf": b"GGUFm",
    "F16/tiny-F16-00001-of-00002.gguf": b"GGUF1", "F16/tiny-F16-00002-of-00002.gguf": b"GGUF2",
    "half-00001-of-00002.gguf": b"GGUF1",
}
NATIVE = {"params.json": b"{}", "consolidated-00001-of-00002.safetensors": b"1",
          "consolidated-00002-of-00002.safetensors": b"2", "tokenizer.model.v3": b"x", "README.md": b"# card"}
PARTS = {**SMALL, "audio_tokenizer/config.json": b"{}", "audio_tokenizer/model.safetensors": b"ear",
         "audio_tokenizer/pytorch_model.bin": b"again", "speech_tokenizer/config.json": b"{}",
         "speech_tokenizer/model.safetensors.index.json": index(*SHARDS), **{f"speech_tokenizer/{n}": b"voice" for n in SHARDS},
         "speech_tokenizer/README.md": b"", "vae/config.json": b"{}", "vae/model.safetensors": b"x"}
REPOS = {
    "org/parts": Repo([PARTS]),
    "org/native": Repo([{**NATIVE, "other.bin": b"x"}]),
    "org/small": Repo([{**SMALL, "model.safetensors": b"old"}, SMALL], refs={"v1.0": 0, "refs/pr/3": 0}),
    "org/large": Repo([LARGE]),
    "org/pickled": Repo([{"config.json": b"{}", "pytorch_model.bin": b"pickle"}]),
    "org/adapter": Repo([{"adapter_config.json": b"{}", "adapter_model.safetensors": b"ab", "adapter_model.bin": b"ab",
                          "README.md": b"", "checkpoint-5/adapter_model.safetensors": b"ab", "optimizer.pt": b"x"}]),
    "org/ggufs": Repo([GGUFS]),
    "org/one-gguf": Repo([{"sub/only.gguf": b"GGUF", "mmproj-only.gguf": b"GGUF", "README.md": b""}]),
    "org/gated": Repo([SMALL], mood="gated"),
    "org/evil": Repo([{"config.json": b"{}", "model.safetensors.index.json": index(
        "../../evil", "/etc/passwd", "C:\\x", "", "absent.safetensors")}]),
    "org/lacking": Repo([{"config.json": b"{}", "model.safetensors.index.json": index("absent.safetensors")}]),
    "org/odd": Repo([{"config.json": b"{}", "model.safetensors.index.json": b'{"weight_map": [1]}'}]),
    "org/escaping": Repo([{**SMALL, "../outside.jinja": b"x", "1_/../../config.json": b"x"}]),
    "org/empty": Repo([{"config.json": b"{}"}]),
    "sick/model": Repo([SMALL], mood="sick"),
    "slow/model": Repo([SMALL], mood="slow"),
    "site/model": Repo([SMALL], mood="website"),
    "moving/model": Repo([SMALL], mood="moving"),
}

CLIENT = """
import json, os, sys
from ggufx.converters.errors import GgufxError
from ggufx.converters.sources.hub import cached_commit, cached_origin, resolve_model
answers = []
for call in json.load(sys.stdin):
    try:
        path = resolve_model(**call)
    except GgufxError as error:
        answers.append({"error": type(error).__name__, "text": str(error)})
        continue
    folder = path if path.is_dir() else path.parent
    files = {os.path.relpath(os.path.join(top, f), folder): open(os.path.join(top, f)).read()
             for top, _, names in os.walk(folder) for f in names}
    answers.append({"path": str(path), "files": files, "origin": cached_origin(path), "commit": cached_commit(path)})
print(json.dumps(answers))
"""


@pytest.fixture
def hub():
    with running(Hub({name: Repo(list(repo.commits), repo.refs, repo.mood) for name, repo in REPOS.items()})) as server:
        yield server


@pytest.fixture
def ask(hub, tmp_path):
    """Resolve references in a fresh process, as the client reads its environment when it is imported."""

    def run(*calls: dict, **env: str) -> list[dict]:
        clean = {key: text for key, text in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1",
                    "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", **env}
        done = subprocess.run([sys.executable, "-c", CLIENT], input=json.dumps(calls), capture_output=True, text=True,
                              env={**clean, **settings}, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        run.stderr = done.stderr
        return json.loads(done.stdout)

    return run


def texts(files: dict[str, bytes]) -> dict[str, str]:
    return {name: content.decode() for name, content in files.items()}


def test_checkpoints_in_folders_come_where_the_parts_of_a_model_are_asked_for(ask):
    alone, whole = ask({"ref": "org/parts"}, {"ref": "org/parts", "parts": True})
    assert set(alone["files"]) == set(SMALL)
    assert set(whole["files"]) == {name for name in PARTS if not name.endswith((".bin", "r/README.md")) and "vae" not in name}


def test_a_checkpoint_is_its_needed_files(hub, ask):
    target, small, large, pickled, config, native = ask(
        {"ref": "org/small", "what": "target"}, {"ref": "org/small"}, {"ref": "org/large"}, {"ref": "org/pickled"},
        {"ref": "org/small", "what": "config"}, {"ref": "org/native"})
    assert target["files"] == texts({name: data for name, data in SMALL.items() if name in ("config.json", "tokenizer.json")})
    assert small["files"] == texts(SMALL)
    assert (small["origin"], small["commit"]) == ("org/small", hub.repos["org/small"].sha(1))
    assert large["files"] == texts(dict(list(LARGE.items())[:9]))
    assert pickled["files"] == {"config.json": "{}", "pytorch_model.bin": "pickle"}
    assert config["path"] == small["path"]
    assert native["files"] == texts(NATIVE)
    assert len(hub.served) == len(set(hub.served)) == 4 + 9 + 2 + 5


def test_revisions(hub, ask):
    sha = hub.repos["org/small"].sha(0)
    tag, pull, commit, absent = ask(*({"ref": f"org/small@{rev}"} for rev in ("v1.0", "refs/pr/3", sha, "v9")))
    assert tag["files"]["model.safetensors"] == "old"
    assert tag["commit"] == sha
    assert tag == pull == commit
    assert absent["error"] == "InputError"
    assert "org/small@v9: the repository has no revision v9" in absent["text"]


def test_an_adapter(ask):
    adapter, not_one = ask({"ref": "org/adapter", "what": "adapter"}, {"ref": "org/small", "what": "adapter"})
    assert set(adapter["files"]) == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    assert not_one["error"] == "InputError"
    assert "no adapter_config.json" in not_one["text"]


def test_gguf_files(hub, ask):
    plain, split, second, only, several, near, half, checkpoint = ask(
        {"ref": "org/ggufs:tiny-Q4_K_M.gguf", "what": "gguf"},
        {"ref": "org/ggufs@main:F16/tiny-F16-00001-of-00002.gguf", "what": "gguf"},
        {"ref": "org/ggufs:F16/tiny-F16-00002-of-00002.gguf", "what": "gguf"},
        {"ref": "org/one-gguf", "what": "gguf"}, {"ref": "org/ggufs", "what": "gguf"},
        {"ref": "org/ggufs:tiny-q4_k_m.gguf", "what": "gguf"},
        {"ref": "org/ggufs:half-00001-of-00002.gguf", "what": "gguf"}, {"ref": "org/ggufs"})
    assert plain["path"].endswith("/tiny-Q4_K_M.gguf")
    assert plain["files"] == {"tiny-Q4_K_M.gguf": "GGUF4"}
    assert plain["origin"] == split["origin"] == "org/ggufs"
    assert split["path"].endswith("/F16/tiny-F16-00001-of-00002.gguf")
    assert split["files"] == {"tiny-F16-00001-of-00002.gguf": "GGUF1", "tiny-F16-00002-of-00002.gguf": "GGUF2"}
    assert second["path"].endswith("/F16/tiny-F16-00002-of-00002.gguf")
    assert only["path"].endswith("/sub/only.gguf")
    assert "tiny-Q4_K_M.gguf, tiny-Q8_0.gguf" in several["text"]
    assert "the nearest is tiny-Q4_K_M.gguf" in near["text"]
    assert "missing: half-00002-of-00002.gguf" in half["text"]
    assert "a folder of GGUF files. Give one of them, as org/ggufs:" in checkpoint["text"]
    assert {answer["error"] for answer in (several, near, half, checkpoint)} == {"InputError"}


def test_a_gated_repository_wants_a_token(ask):
    refused, = ask({"ref": "org/gated"})
    assert refused["error"] == "NetworkError"
    assert "restricted" in refused["text"]
    assert "HF_TOKEN" in refused["text"]
    wrong, = ask({"ref": "org/gated"}, HF_TOKEN="hf_wrong")
    assert wrong["error"] == "NetworkError"
    assert "hf_wrong" not in wrong["text"]
    granted, = ask({"ref": "org/gated"}, HF_TOKEN=TOKEN)
    assert granted["files"] == texts(SMALL)


def test_what_is_not_there(ask):
    missing, empty = ask({"ref": "org/none"}, {"ref": "org/empty"})
    assert missing["error"] == empty["error"] == "InputError"
    assert "no such folder here, and no such repository on 127.0.0.1" in missing["text"]
    assert "no weights" in empty["text"]


def test_offline_takes_what_is_cached(hub, ask):
    split = "org/ggufs:F16/tiny-F16-00001-of-00002.gguf"
    calls = ({"ref": "org/small"}, {"ref": "org/large"}, {"ref": split, "what": "gguf"})
    online = ask(*calls)
    ask({"ref": "org/pickled", "what": "config"})
    served = len(hub.served)
    offline = ask(*calls, {"ref": "org/small@v1.0"}, {"ref": "org/pickled"}, {"ref": "org/none"},
                  {"ref": "org/ggufs:tiny-Q8_0.gguf", "what": "gguf"}, HF_HUB_OFFLINE="1")
    assert offline[:3] == online
    assert [answer["error"] for answer in offline[3:]] == ["NetworkError"] * 4
    assert all("cache" in answer["text"] and "HF_HUB_OFFLINE" in answer["text"] for answer in offline[3:])
    assert len(hub.served) == served


def test_offline_does_not_make_do_with_half_a_model(ask):
    large, = ask({"ref": "org/large"})
    (Path(large["path"]) / SHARDS[1]).unlink()
    offline, = ask({"ref": "org/large"}, HF_HUB_OFFLINE="1")
    assert offline["error"] == "NetworkError"
    assert SHARDS[1] in offline["text"]


def test_hostile_names_become_no_path_and_no_url(hub, ask):
    evil, odd, lacking, escaping = ask(*({"ref": f"org/{name}"} for name in ("evil", "odd", "lacking", "escaping")))
    assert evil["error"] == "ManyErrors"
    assert evil["text"].startswith("4 problems")
    assert all(name in evil["text"] for name in ("../../evil", "/etc/passwd", "C:\\x"))
    assert "weight_map" in odd["text"]
    assert lacking["error"] == "InputError"
    assert "absent: absent.safetensors" in lacking["text"]
    assert escaping["files"] == texts(SMALL)
    assert {name.split("/", 2)[2] for name in hub.served} == {"model.safetensors.index.json", *SMALL}


def test_a_hub_in_trouble(ask):
    sick, slow, site, moving = ask(*({"ref": f"{org}/model"} for org in ("sick", "slow", "site", "moving")),
                                   HF_HUB_ETAG_TIMEOUT="1")
    assert [answer["error"] for answer in (sick, slow, site, moving)] == ["NetworkError"] * 4
    assert "answered 500" in sick["text"]
    assert "in time" in slow["text"]
    assert "does not answer as a Hub does" in site["text"]
    assert "changed on the Hub" in moving["text"]


def test_no_hub_at_all(ask):
    nobody, = ask({"ref": "org/small"}, HF_ENDPOINT="http://user:secret@127.0.0.1:9")
    assert nobody["error"] == "NetworkError"
    assert "127.0.0.1:9 cannot be reached" in nobody["text"]
    assert "secret" not in nobody["text"]


def test_a_cache_that_cannot_be_written(ask, tmp_path):
    (tmp_path / "home").write_text("a file where a folder should be")
    refused, = ask({"ref": "org/small"})
    assert refused["error"] == "StorageError"


def test_bars_only_when_asked(ask):
    ask({"ref": "org/large"})
    assert ask.stderr == ""
    ask({"ref": "org/small", "progress": True})
    assert "Fetching 4 files" in ask.stderr


# --- without a Hub


def test_local_paths_are_taken_as_they_are(tmp_path, monkeypatch):
    (tmp_path / "org" / "name").mkdir(parents=True)
    file = tmp_path / "x.gguf"
    file.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("org/name") == Path("org/name")
    assert resolve_model(file, what="gguf") == file


@pytest.mark.parametrize("ref", [
    "name", "./org/name", "/org/name", "org/name/more", "org/na--me", "org/..", "org/name@", "org/x@a..b", "-org/name",
    "org/name:../x.gguf", "org/name:x.bin", "https://huggingface.co/org/name", "", "a\0b/c", "x" * 5000, "örg/name",
    "org/name@main:C:/x.gguf", "org/name\n"])
def test_what_is_no_reference(ref):
    assert HubReference.parse(ref) is None
    with pytest.raises(InputError, match="no such file or folder"):
        resolve_model(ref, what="gguf")


@pytest.mark.parametrize(("text", "expected"), [
    ("org/name", ("org/name", None, None)),
    ("o/n-1.5_x@refs/pr/3", ("o/n-1.5_x", "refs/pr/3", None)),
    ("org/name@v1:a/b c.gguf", ("org/name", "v1", "a/b c.gguf")),
])
def test_references(text, expected):
    found = HubReference.parse(text)
    assert (found.repo, found.revision, found.file) == expected
    assert str(found) == text


def test_a_file_is_no_folder():
    with pytest.raises(UsageError, match="a repository is needed"):
        resolve_model("org/name:x.gguf", what="checkpoint")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/../b", "/a", "a//b", "a/", "a\\b", "C:a", "a\nb", "a\0", "a\u202eb", None, 3,
             "con", "NUL", "a/Aux.json", "com1.safetensors", "LPT¹", "nul .x", "a..", "a/b .", "a /b"])
def test_unsafe_names(name):
    assert not safe_name(name)


def test_every_file_that_a_tokenizer_is_read_from_is_fetched():
    files = {"tokenizer.json", "tekken.json", "qwen.tiktoken", "vocab.txt", "merges.txt", *MODEL_FILES, *SMALL_FILES}
    assert not [name for name in files if not any(fnmatch(name, pattern) for pattern in SIDE_FILES)]


def test_safe_names():
    assert all(map(safe_name, ("a", "a/b.c", "..a", "console", "nulls.json", "com10", "aux-1/x",
                                "additional_chat_templates/tool use.jinja", "模型.gguf")))


def test_which_weights(tmp_path):
    def chosen(*names: str, content: bytes = b"") -> list[str]:
        path = tmp_path / "index.json"
        path.write_bytes(content)
        return weight_files(set(names), {}, lambda _: path)

    assert chosen("pytorch_model.bin", "model.safetensors") == ["model.safetensors"]
    assert chosen("model.safetensors", "model.safetensors.index.json") == ["model.safetensors"]
    assert chosen("pytorch_model.bin", "other.safetensors") == ["pytorch_model.bin"]
    assert chosen(*reversed(SHARDS)) == list(SHARDS)
    parts = ("pytorch_model.bin.index.json", "a.bin", "b.bin")
    assert chosen(*parts, content=index("b.bin", "a.bin", "b.bin")) == [parts[0], "b.bin", "a.bin"]
    assert chosen("x/model.safetensors", "adapter_model.safetensors", "model.onnx") == []
    for bad in (b"", b"[]", b"{}", b'{"weight_map": {"a": 5}}', b'{"weight_map": null}', b"[" * 100_000):
        with pytest.raises(GgufxError, match="index"):
            chosen(*parts, content=bad)


def test_the_cache_tells_origin_and_commit(tmp_path):
    commit = "ab" * 20
    inside = tmp_path / "models--org--name" / "snapshots" / commit
    assert cached_origin(inside) == cached_origin(inside / "F16" / "x.gguf") == "org/name"
    assert cached_commit(inside / "x.gguf") == commit
    assert cached_origin(tmp_path / "models--gpt2" / "snapshots" / commit) == "gpt2"
    for outside in (tmp_path, tmp_path / "snapshots" / commit, inside.with_name("main"),
                    tmp_path / "datasets--org--name" / "snapshots" / commit):
        assert cached_origin(outside) is cached_commit(outside) is None
