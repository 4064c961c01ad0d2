"""`ggufx push`, `card` and `--push`, with the real client against a Hub on the loopback interface that can fail."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from ggufx.converters.io.values import string
from typer.testing import CliRunner
from zoo.files import read_file, write_file
from zoo.hub import TOKEN, Fault, Hub, Repo, point_client_at, running

import ggufx

ROOT = Path(__file__).parents[2]
REPO = "me/tiny-GGUF"
PUT, COMMIT = r"^PUT /blob/", rf"^POST /api/models/{REPO}/commit/"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with running(Hub({})) as server:
        server.slept = point_client_at(server, monkeypatch, tmp_path / "cache")
        monkeypatch.setattr("ggufx.converters.publish.card.prompt_format", lambda *_: "{prompt}")  # has tests of its own
        yield server


@pytest.fixture(scope="module")
def files(zoo, tmp_path_factory) -> list[Path]:
    """A model of two types."""
    folder = tmp_path_factory.mktemp("pushed")
    ggufx.hf_to_gguf(zoo("llama"), folder / "tiny-{OUTTYPE}.gguf", outtype=["q8_0", "f16"])
    return sorted(folder.glob("*.gguf"))


def run(*arguments: object) -> SimpleNamespace:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    return SimpleNamespace(code=done.exit_code, told=json.loads(done.stdout), stderr=done.stderr)


def wait_for(met: Callable[[], bool]) -> bool:
    """Whether it is met before long; how long does not matter to one that is."""
    for _ in range(6000):
        if met():
            return True
        time.sleep(0.01)
    return False


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_push_is_one_commit_of_a_repository_that_is_made(hub: Hub, files: list[Path]):
    done = run("push", *files, REPO, "--private", "--base-model", "org/tiny@v1")
    assert done.code == 0, done.told
    repo = hub.repos[REPO]
    assert repo.private
    assert len(repo.commits) == 2
    assert repo.messages == ["tiny-F16.gguf and 1 more, with ggufx"]
    there = repo.commits[-1]
    assert {name: there[name] for name in ("tiny-F16.gguf", "tiny-Q8_0.gguf")} == {f.name: f.read_bytes() for f in files}
    pushed = done.told["push"]
    assert pushed["commit"] == repo.sha(1)
    assert pushed["url"] == f"{hub.url}/{REPO}/commit/{repo.sha(1)}"
    assert [(f["name"], f["size"], f["sha256"]) for f in pushed["files"]] == [
        (name, len(there[name]), sha256(there[name])) for name in ("tiny-F16.gguf", "tiny-Q8_0.gguf", "README.md")]
    card = there["README.md"].decode()
    assert "base_model: org/tiny\nbase_model_relation: quantized\n" in card
    assert f"llama-server -hf {REPO}:Q8_0" in card
    assert hub.received == sum(f.stat().st_size for f in files)


def test_a_second_push_sends_nothing_and_commits_nothing(hub: Hub, files: list[Path]):
    assert run("push", *files, REPO).code == 0
    received = hub.received
    done = run("push", *files, REPO)
    assert done.code == 0, done.told
    assert done.told["push"]["unchanged"] is True
    assert done.told["push"]["commit"] == hub.repos[REPO].sha(1)
    assert hub.received == received
    assert len(hub.repos[REPO].commits) == 2


def test_a_later_push_of_less_leaves_the_card(hub: Hub, files: list[Path]):
    """Its base is stated no second time, its other file is there."""
    assert run("push", *files, REPO, "--base-model", "org/tiny@v1").code == 0
    for file in files:
        done = run("push", file, REPO)
        assert done.code == 0, done.told
        assert done.told["push"]["unchanged"] is True


def test_a_repository_that_is_not_named_is_missed(hub: Hub, files: list[Path]):
    done = run("push", *files)
    assert done.code == ExitStatus.USAGE
    assert done.told["error"]["hint"].startswith("The repository comes last")


def test_a_dry_run_changes_nothing(hub: Hub, files: list[Path]):
    done = run("push", *files, REPO, "--dry-run")
    assert done.code == 0, done.told
    assert done.told["push"]["exists"] is False
    assert [f["name"] for f in done.told["push"]["files"]] == [f.name for f in files]
    assert hub.repos == {}
    assert not [line for line in hub.asked if not line.startswith("GET")]


def test_branches_and_pull_requests(hub: Hub, files: list[Path]):
    assert run("push", files[0], f"{REPO}@next").code == 0
    repo = hub.repos[REPO]
    assert "tiny-F16.gguf" in repo.at("next")[1]
    assert "tiny-F16.gguf" not in repo.at("main")[1]
    done = run("push", files[1], REPO, "--create-pr")
    assert done.code == 0, done.told
    assert done.told["push"]["pull_request"] == f"{hub.url}/{REPO}/discussions/1"
    assert set(repo.pulls[0]) == {".gitattributes", "README.md", "tiny-Q8_0.gguf"}
    assert "tiny-Q8_0.gguf" not in repo.at("main")[1]
    done = run("push", files[1], f"{REPO}@{'a' * 40}")
    assert done.code == ExitStatus.USAGE


# -- what the Hub, and the way to it, can do --------------------------------------------------------------------------
RATE = {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}


def test_what_passes_is_waited_for(hub: Hub, files: list[Path]):
    """Everything that can happen, once each, in one push."""
    first, second = (PUT + sha256(f.read_bytes()) for f in files)
    hub.faults += [
        Fault("POST /api/repos/create", 503), Fault("POST /api/repos/create", 429, RATE), Fault("/preupload/", 429, RATE),
        Fault("/lfs/objects/batch", 503), Fault(first, 429, RATE), Fault(second, 503), Fault(second, after=1000),
        Fault(COMMIT, 429, RATE), Fault(COMMIT, 503, {"Retry-After": "7"}), Fault(COMMIT), Fault(COMMIT, 409),
        Fault(COMMIT, 412)]
    done = run("push", *files, REPO)
    assert done.code == 0, done.told
    assert hub.faults == []
    assert sorted(hub.slept) == [1, 1, 1, 2, 4, 8, 56, 56, 56, 56]
    assert len(hub.repos[REPO].commits) == 2
    assert hub.repos[REPO].commits[-1]["tiny-F16.gguf"] == files[0].read_bytes()


@pytest.mark.parametrize(("where", "status", "words"), [
    (PUT, 503, "answered 503"), (PUT, 0, "the connection to 127.0.0.1"),
    (COMMIT, 409, "answered 409, somebody else changes the repository"), (COMMIT, 429, "answered 429, too many requests"),
    (COMMIT, 401, "answered 401, the token is invalid or has expired"),
])
def test_what_stays_is_one_line_and_a_later_push_goes_on(hub: Hub, files: list[Path], where: str, status: int, words: str):
    first, second = (f.stat().st_size for f in files)
    if where == PUT:  # of the second file: the first has arrived
        where += sha256(files[1].read_bytes())
    hub.faults += [Fault(where, status, after=100) for _ in range(40)]
    done = run("push", *files, REPO)
    assert done.code == ExitStatus.NETWORK
    assert words in done.told["error"]["message"]
    assert done.told["error"]["message"].startswith(f"{REPO}: ")
    assert "\n" not in done.told["error"]["message"]
    assert "Traceback" not in done.stderr
    assert TOKEN not in json.dumps(done.told) + done.stderr
    assert len(hub.repos[REPO].commits) == 1
    hub.faults.clear()
    sent, hub.received = hub.received, 0
    assert run("push", *files, REPO).code == 0
    assert hub.received == (second if where.startswith(PUT) else 0)
    assert sent >= first
    assert hub.repos[REPO].commits[-1]["tiny-Q8_0.gguf"] == files[1].read_bytes()


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub: Hub, files: list[Path]):
    hub.faults.append(Fault(COMMIT, lost=True))
    done = run("push", *files, REPO)
    assert done.code == 0, done.told
    assert len(hub.repos[REPO].commits) == 2
    assert done.told["push"]["commit"] == hub.repos[REPO].sha(1)
    assert hub.received == sum(f.stat().st_size for f in files)


def test_tokens_and_permissions(hub: Hub, files: list[Path], monkeypatch: pytest.MonkeyPatch):
    hub.repos["else/where"] = Repo([{}], mood="forbidden")

    def refused(*arguments: object) -> str:
        done = run("push", files[0], *arguments)
        assert done.code == ExitStatus.NETWORK
        return f"{done.told['error']['message']} {done.told['error']['hint']}"

    assert "else/where: 127.0.0.1" in (said := refused("else/where"))
    assert "answered 403, the token may not do that (Forbidden: pass a token with write access)" in said
    assert "You don't have the rights to create a model under else" in refused("else/new")
    hub.tokens[TOKEN]["auth"]["accessToken"]["role"] = "read"
    assert "the token may only read To push, set HF_TOKEN" in refused(REPO, "--dry-run")
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    assert "answered 401, the token is invalid or has expired" in (said := refused(REPO))
    assert "hf_expired" not in said
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no token to push with" in refused(REPO)
    assert set(hub.repos) == {"else/where"}


def test_private_is_not_pushed_to_what_is_public(hub: Hub, files: list[Path]):
    hub.repos[REPO] = Repo([{}])
    done = run("push", files[0], REPO, "--private")
    assert done.code == ExitStatus.USAGE
    assert "exists, and is public" in done.told["error"]["message"]
    assert hub.received == 0


# -- which files, under which names -----------------------------------------------------------------------------------
def test_sets_go_into_a_folder_and_unfinished_files_nowhere(hub: Hub, files: list[Path], tmp_path: Path):
    (tmp_path / "many").mkdir()
    ggufx.split(files[1], tmp_path / "many" / "tiny-Q8_0", max_tensors=10)
    for name in ("x.gguf.part", "x.gguf.ggufx-journal", ".hidden"):
        (tmp_path / "many" / name).write_bytes(b"?")
    (tmp_path / "many" / "imatrix.dat").write_bytes(b"x")
    first, *_ = parts = sorted((tmp_path / "many").glob("tiny-*.gguf"))
    assert len(parts) > 1
    assert run("push", parts[1], REPO).code == 0
    there = hub.repos[REPO].commits[-1]
    assert {f"tiny-Q8_0/{part.name}" for part in parts} == {name for name in there if name.endswith(".gguf")}
    assert f"| [{first.name.replace('_', chr(92) + '_')}](" in there["README.md"].decode()
    assert f"| {len(parts)} parts |" in there["README.md"].decode()
    done = run("push", tmp_path / "many", "me/all")
    assert done.code == 0, done.told
    assert set(hub.repos["me/all"].commits[-1]) == {".gitattributes", "README.md", "imatrix.dat",
                                                    *(f"tiny-Q8_0/{part.name}" for part in parts)}
    assert "not pushed, since the conversion is not finished" in done.stderr
    done = run("push", tmp_path / "many" / "x.gguf.part", REPO)
    assert done.code == ExitStatus.USAGE
    assert "not finished" in done.told["error"]["message"]
    parts[0].unlink()
    for path in (parts[1], tmp_path / "many"):
        done = run("push", path, REPO)
        assert done.code == ExitStatus.BAD_INPUT
        assert f"missing: {first.name}" in json.dumps(done.told["error"]).replace("tiny-Q8_0/", "")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").symlink_to("nowhere")
    done = run("push", tmp_path / "other", REPO)
    assert done.code == ExitStatus.BAD_INPUT
    assert "is no file that can be read" in done.told["error"]["message"]


def test_a_checkpoint_is_its_folder(hub: Hub, zoo, tmp_path: Path):
    folder = shutil.copytree(zoo("llama"), tmp_path / "model")

    def pushed(*arguments: str) -> dict[str, bytes]:
        done = run("push", folder, "me/tiny", *arguments)
        assert done.code == 0, done.told
        return {name: data for name, data in hub.repos["me/tiny"].commits[-1].items() if name != ".gitattributes"}

    assert pushed() == {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "README.md").unlink()
    there = pushed("--base-model", "org/tiny", "--relation", "finetune", "--force")
    assert there["README.md"].startswith(
        b"---\nbase_model: org/tiny\nbase_model_relation: finetune\nlibrary_name: transformers\n")


def test_paths_of_this_machine_are_not_published(hub: Hub, zoo, files: list[Path], tmp_path: Path):
    folder = shutil.copytree(zoo("llama"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": "/home/me/secret/model"}))
    done = run("push", folder, "me/tiny")
    assert done.code == ExitStatus.BAD_INPUT
    assert "_name_or_path holds a path" in done.told["error"]["message"]
    keys, tensors = read_file(files[0])
    told = write_file(tmp_path / "told-F16.gguf", {**keys, "quantize.imatrix.file": string("/models/x/imatrix.dat")}, tensors)
    done = run("push", told, "me/tiny")
    assert done.code == ExitStatus.BAD_INPUT
    assert "quantize.imatrix.file holds a path" in done.told["error"]["message"]
    assert f"ggufx edit {told} --unset quantize.imatrix.file" in done.told["error"]["hint"]
    (link := tmp_path / "linked").mkdir()
    (link / "stolen.txt").symlink_to("/etc/hostname")
    done = run("push", link, "me/tiny")
    assert done.code == ExitStatus.BAD_INPUT
    assert "link out of the folder" in done.told["error"]["message"]
    assert hub.repos == {}


# -- README.md --------------------------------------------------------------------------------------------------------
def test_a_card_of_ours_is_renewed_and_what_was_written_around_it_stays(hub: Hub, files: list[Path]):
    assert run("push", files[0], REPO, "--base-model", "org/tiny").code == 0
    repo = hub.repos[REPO]
    card = repo.commits[-1]["README.md"].decode()
    mine = card.replace("---\n\n<!--", "extra: mine\n---\n\nMy words.\n\n<!--").replace("org/tiny\nbase", "org/right\nbase")
    repo.commits.append({**repo.commits[-1], "README.md": f"{mine}\nAnd more.\n".encode()})
    assert run("push", files[1], REPO, "--base-model", "org/tiny").code == 0
    renewed = repo.commits[-1]["README.md"].decode()
    assert "base_model: org/right\n" in renewed
    assert "extra: mine\n" in renewed
    assert "My words." in renewed
    assert renewed.endswith("And more.\n")
    assert renewed.count("blob/main/tiny-F16.gguf") == renewed.count("blob/main/tiny-Q8_0.gguf") == 1
    assert renewed.count("## Files") == 1


def test_a_card_of_somebody_else_stays_unless_forced_or_named(hub: Hub, files: list[Path], tmp_path: Path):
    hub.repos[REPO] = repo = Repo([{"README.md": b"# Mine\n"}])
    done = run("push", files[0], REPO)
    assert done.code == 0, done.told
    assert repo.commits[-1]["README.md"] == b"# Mine\n"
    assert "the repository's own README.md stays" in done.stderr
    (tmp_path / "README.md").write_text("# Named\n")
    assert run("push", files[0], tmp_path / "README.md", REPO).code == 0
    assert repo.commits[-1]["README.md"] == b"# Named\n"
    assert run("push", files[0], REPO, "--force").code == 0
    assert b"ggufx: renewed by the next push" in repo.commits[-1]["README.md"]
    (tmp_path / "README.md").write_text("---\nlicense: nonsense\n---\n")
    done = run("push", files[0], tmp_path / "README.md", REPO)
    assert done.code == ExitStatus.BAD_INPUT
    assert "refuses the front matter of README.md" in done.told["error"]["message"]
    assert "license is unknown" in done.told["error"]["message"]


# -- converting commands ----------------------------------------------------------------------------------------------
def test_a_conversion_is_pushed_with_the_base_that_it_came_from(hub: Hub, zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hub.repos["org/tiny"] = Repo([{path.name: path.read_bytes() for path in zoo("llama").iterdir()}
                                  | {"README.md": b"---\nlicense: mit\nlanguage: de\npipeline_tag: text-generation\n"
                                                  b"tags: [safetensors, chat]\nextra_gated_prompt: no\n---\n"}])
    monkeypatch.chdir(tmp_path)
    done = run("hf-to-gguf", "org/tiny", "--outtype", "q8_0,f16", "-o", "tiny-{outtype}.gguf", "--verify", "--push", REPO,
               "--card", "card.md")
    assert done.code == 0, done.told
    there = hub.repos[REPO].commits[-1]
    assert set(there) == {".gitattributes", "README.md", "tiny-q8_0.gguf", "tiny-f16.gguf"}
    commit = hub.repos["org/tiny"].sha(0)
    card = there["README.md"].decode()
    assert card == Path("card.md").read_text()
    assert card.startswith("---\nbase_model: org/tiny\nbase_model_relation: quantized\nlicense: mit\nlanguage:\n- de\n"
                           "pipeline_tag: text-generation\nlibrary_name: gguf\ntags:\n- chat\n- gguf\nquantized_by: me\n---\n")
    assert f"[org/tiny](https://huggingface.co/org/tiny/tree/{commit}) at commit {commit[:12]}" in card
    assert {f["sha256"] for f in done.told["files"]} < {f["sha256"] for f in done.told["push"]["files"]}
    assert done.told["push"]["commit"] == hub.repos[REPO].sha(1)


TYPES = ("f16", "q8_0", "q5_0")


@pytest.fixture
def verified(hub: Hub, zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Convert to three types, verify, push; `at(number, report)` is called behind each comparison."""
    from ggufx.cli import conversion

    compare, reports = conversion._compare, []

    def go(at):
        def compared(*arguments):
            reports.append(compare(*arguments))
            at(len(reports), reports[-1])
            return reports[-1]

        monkeypatch.setattr(conversion, "_compare", compared)
        monkeypatch.chdir(tmp_path)
        return run("hf-to-gguf", zoo("llama"), "--outtype", ",".join(TYPES), "-o", "tiny-{OUTTYPE}.gguf", "--verify", "--push",
                   REPO)

    return go


def arrives(hub: Hub, name: str) -> None:
    """Waits for a file's bytes, not for a time: where they never come, the test ends by this."""
    digest = sha256(Path(name).read_bytes())
    assert wait_for(lambda: digest in hub.blobs), f"{name} was not sent"


def test_a_file_is_sent_while_the_next_is_verified(hub: Hub, verified):
    def at(number: int, _) -> None:
        if number > 1:
            arrives(hub, f"tiny-{TYPES[number - 2].upper()}.gguf")
            assert len(hub.repos[REPO].commits) == 1

    done = verified(at)
    assert done.code == 0, done.told
    names = [f"tiny-{kind.upper()}.gguf" for kind in TYPES]
    assert len(hub.repos[REPO].commits) == 2
    assert set(hub.repos[REPO].commits[-1]) == {".gitattributes", "README.md", *names}
    assert hub.received == sum(Path(name).stat().st_size for name in names)
    assert sum("/lfs/objects/batch" in line for line in hub.asked) == 3  # of each once


def test_nothing_is_committed_where_a_later_file_differs(hub: Hub, verified, monkeypatch: pytest.MonkeyPatch):
    def at(number: int, report) -> None:
        if number == 2:
            arrives(hub, "tiny-F16.gguf")
            monkeypatch.setattr(type(report), "same", property(lambda self: self is not report))

    done = verified(at)
    assert done.code == ExitStatus.NO
    assert len(hub.repos[REPO].commits) == 1
    assert "push" not in done.told
    assert "nothing was committed" in done.stderr
    assert sha256(Path("tiny-Q5_0.gguf").read_bytes()) not in hub.blobs


def test_what_did_not_arrive_ahead_is_sent_by_the_push(hub: Hub, verified):
    def at(number: int, _) -> None:
        if number == 2:
            assert wait_for(lambda: not hub.faults)

    hub.faults.append(Fault(PUT, 403))
    done = verified(at)
    assert done.code == 0, done.told
    assert {f"tiny-{kind.upper()}.gguf" for kind in TYPES} < set(hub.repos[REPO].commits[-1])


def test_a_conflict_behind_what_was_sent_ahead_is_looked_at_anew(hub: Hub, verified):
    hub.faults.append(Fault(COMMIT, 412))
    done = verified(lambda number, _: number < 2 or arrives(hub, "tiny-F16.gguf"))
    assert done.code == 0, done.told
    assert hub.received == sum(Path(f"tiny-{kind.upper()}.gguf").stat().st_size for kind in TYPES)


def test_what_cannot_be_pushed_is_said_before_anything_is_converted(hub: Hub, zoo, tmp_path: Path):
    hub.tokens.clear()
    done = run("hf-to-gguf", zoo("llama"), "-o", tmp_path / "a.gguf", "--push", REPO)
    assert done.code == ExitStatus.NETWORK
    assert list(tmp_path.iterdir()) == []
    done = run("hf-to-gguf", zoo("llama"), "-o", tmp_path / "a.gguf", "--private")
    assert done.code == ExitStatus.USAGE


def test_a_conversion_stays_where_its_push_fails(hub: Hub, zoo, tmp_path: Path):
    hub.faults += [Fault(PUT, 503) for _ in range(20)]
    done = run("hf-to-gguf", zoo("llama"), "-o", tmp_path / "tiny-F32.gguf", "--push", REPO)
    assert done.code == ExitStatus.NETWORK
    assert f"`ggufx push {tmp_path / 'tiny-F32.gguf'} {REPO}`" in done.told["error"]["hint"]
    assert (tmp_path / "tiny-F32.gguf").exists()


def test_a_dry_run_of_a_conversion_says_what_would_be_pushed(hub: Hub, zoo, tmp_path: Path):
    done = run("quantize", zoo_gguf(zoo, tmp_path), tmp_path / "t-{outtype}.gguf", "q8_0", "--push", REPO, "--dry-run")
    assert done.code == 0, done.told
    assert done.told["push"] == {"repo": REPO, "files": ["t-q8_0.gguf"]}
    assert hub.repos == {}


def zoo_gguf(zoo, folder: Path) -> Path:
    ggufx.hf_to_gguf(zoo("llama"), folder / "t.gguf")
    return folder / "t.gguf"


# -- a release whole --------------------------------------------------------------------------------------------------
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_release_script_makes_verifies_and_pushes(zoo, tmp_path: Path):
    card = b"---\nlicense: mit\n---\n"
    with running(Hub({"org/tiny": Repo([{**{path.name: path.read_bytes() for path in zoo("llama").iterdir()},
                                         "README.md": card}])})) as hub:
        clean = {key: text for key, text in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN,
                    "NO_PROXY": "127.0.0.1", "GGUFX": f"{sys.executable} -m ggufx", "RELEASE_DIR": "made"}
        done = subprocess.run(["bash", str(ROOT / "scripts" / "release"), "org/tiny", "q8_0,f16", REPO], capture_output=True,
                              text=True, cwd=tmp_path, env={**clean, **settings})
        assert done.returncode == 0, done.stderr
        repo = hub.repos[REPO]
    assert len(repo.commits) == 2
    there = repo.commits[-1]
    assert set(there) == {".gitattributes", "README.md", "SHA256SUMS", "tiny-Q8_0.gguf", "tiny-F16.gguf"}
    assert sorted(there["SHA256SUMS"].decode().splitlines()) == sorted(
        f"{sha256(there[name])}  {name}" for name in ("tiny-Q8_0.gguf", "tiny-F16.gguf"))
    assert there["README.md"].startswith(b"---\nbase_model: org/tiny\nbase_model_relation: quantized\nlicense: mit\n")
    assert f"/commit/{repo.sha(1)}" in done.stdout
    done = subprocess.run(["bash", str(ROOT / "scripts" / "release")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "ORG/MODEL[@REV] TYPE[,TYPE]" in done.stderr


# -- to people, and from Python ---------------------------------------------------------------------------------------
def test_what_is_printed(hub: Hub, files: list[Path], tmp_path: Path):
    def printed(*arguments: object) -> str:
        done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exit_code == 0, done.output
        return done.output

    told = printed("push", *files, REPO, "--base-model", "org/tiny", "--dry-run")
    assert f"would be pushed to {REPO}, which would be made; nothing was sent" in told
    assert printed("push", *files, REPO, "--base-model", "org/tiny", "-q") == ""
    assert f"{REPO}: has it all already (3 files, " in printed("push", *files, REPO, "--base-model", "org/tiny")
    assert f"{hub.url}/{REPO}/commit/{hub.repos[REPO].sha(1)}" in printed("push", *files, REPO, "--base-model", "org/tiny")
    printed("card", *files, "--base-model", "org/tiny", "--repo", REPO, "-o", tmp_path / "card.md")
    assert (tmp_path / "card.md").read_bytes() == hub.repos[REPO].commits[-1]["README.md"]


def test_from_python(hub: Hub, files: list[Path]):
    pushed = ggufx.push(files, REPO, base_model="org/tiny", private=True)
    assert (pushed.commit, hub.repos[REPO].private) == (hub.repos[REPO].sha(1), True)
    assert ggufx.card(files, repo=REPO, base_model=["org/tiny"]).encode() == hub.repos[REPO].commits[-1]["README.md"]
    with pytest.raises(ggufx.GgufxError, match="is no repository of the Hub"):
        ggufx.push(files, "nowhere")
