"""`plan`, `run` and `commit` as a job script calls them."""

import hashlib
import json
from pathlib import Path

import pytest
import typer
from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from typer.testing import CliRunner, Result

import ggufx

COMMANDS = typer.main.get_command(app).commands


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def options(name: str) -> set[str]:
    return {text for p in COMMANDS[name].params for text in p.opts if text.startswith("--")} - {"--help"}


@pytest.fixture
def plan(zoo, tmp_path: Path) -> Path:
    done = call("plan", "hf-to-gguf", zoo("llama"), "--outtype", "q8_0", "-o", tmp_path / "m.gguf")
    assert done.exit_code == 0, done.output
    (tmp_path / "plan.json").write_text(done.stdout)
    return tmp_path / "plan.json"


def test_three_jobs(zoo, plan: Path, tmp_path: Path):
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    run = {"--threads": "1", "--max-memory": "100MB", "--device": "cpu", "--json": "", "--quiet": "", "--verbose": ""}
    assert options("run") == {"--shard", *run}
    words = [word for pair in run.items() for word in pair if word]
    first = json.loads(call("run", plan, "--shard", "1/2", *words).stdout)
    assert (first["ok"], first["shard"], first["shards"], first["kept"]) == (True, 1, 2, False)
    missing = call("commit", plan)
    assert missing.exit_code == ExitStatus.USAGE
    assert "shard 0/2 has not run to its end" in missing.stderr
    said = call("run", plan, "--shard", "0/2")
    assert said.stdout.startswith("shard 0/2: ")
    assert f"ggufx commit {plan}" in said.stderr
    assert "was done already" in call("run", plan, "--shard", "0/2").stdout
    ends = {"--checksums": str(tmp_path / "sums"), "--force": "", "--threads": "1", "--max-memory": "100MB", "--json": "",
            "--quiet": "", "--verbose": ""}
    assert options("commit") == set(ends)
    done = call("commit", plan, *(word for pair in ends.items() for word in pair if word))
    (file,) = json.loads(done.stdout)["files"]
    digest = hashlib.sha256((tmp_path / "m.gguf").read_bytes()).hexdigest()
    assert file == {"path": str(tmp_path / "m.gguf"), "size": (tmp_path / "m.gguf").stat().st_size, "sha256": digest}
    assert (tmp_path / "sums").read_text() == f"{digest}  {tmp_path / 'm.gguf'}\n"
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "one.gguf", outtype="q8_0")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()
    assert "the result is committed already" in call("run", plan, "--shard", "0/2").stdout  # a job that came again
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.gguf", "one.gguf", "plan.json", "sums"]
    (tmp_path / "m.gguf").write_bytes(b"another's")
    assert json.loads(call("run", plan, "--shard", "0/1", "--json").stdout)["committed"] is False
    done = call("commit", plan, "--force", "--verbose")
    assert f"{digest}  {tmp_path / 'm.gguf'}" in done.stdout


def test_a_report_is_of_the_plan(zoo, tmp_path: Path):
    """The command line is that of one machine, with `plan` in front; `commit` writes what it writes."""
    asked = ["hf-to-gguf", zoo("llama"), "--outtype", "q8_0", "-o", tmp_path / "m.gguf", "--report", tmp_path / "losses.json"]
    assert call(*asked).exit_code == 0
    one = json.loads((tmp_path / "losses.json").read_text())
    for path in (tmp_path / "losses.json", tmp_path / "m.gguf"):
        assert path.name in call("plan", *asked).stderr  # neither is overwritten
        path.unlink()
    (tmp_path / "plan.json").write_text(call("plan", *asked).stdout)
    for index in range(4):
        assert call("run", tmp_path / "plan.json", "--shard", f"{index}/4").exit_code == 0
    (tmp_path / "losses.json").touch()
    done = call("commit", tmp_path / "plan.json")
    assert (done.exit_code, "losses.json: exists already" in done.stderr) == (ExitStatus.USAGE, True)
    assert not (tmp_path / "m.gguf").exists()
    done = call("commit", tmp_path / "plan.json", "--force")
    assert json.loads((tmp_path / "losses.json").read_text()) == one
    assert f"losses of all tensors: {tmp_path / 'losses.json'}" in done.stdout
    (tmp_path / "m.gguf").unlink()
    (tmp_path / "losses.json").unlink()
    plan = ggufx.hf_to_gguf(zoo("llama"), tmp_path / "m.gguf", outtype="q8_0", report=tmp_path / "losses.json", dry_run=True)
    ggufx.write_plan(plan, tmp_path / "plan.json")
    ggufx.run_shard(tmp_path / "plan.json", 0, 1)
    losses = ggufx.commit(tmp_path / "plan.json").losses
    assert json.loads((tmp_path / "losses.json").read_text()) == one
    assert [t.to_json() for t in losses] == one["files"][0]["tensors"]


@pytest.mark.parametrize(("arguments", "status", "said"), [
    (["plan", "inspect", "x"], ExitStatus.USAGE, "inspect is not planned"),
    (["plan", "hf-to-gguf", "{tmp}/none"], ExitStatus.BAD_INPUT, "no such file or folder"),
    (["plan", "hf-to-gguf", "{tmp}", "--outtype", "q9"], ExitStatus.USAGE, "q9"),
    (["plan", "hf-to-gguf", "{model}", "-o", "{tmp}/new.gguf", "--dry-run"], ExitStatus.USAGE, "not how it is carried out"),
    (["plan", "hf-to-gguf", "{model}", "-o", "{tmp}/new.gguf", "--engine", "ray"], ExitStatus.USAGE, "Leave out"),
    (["plan", "hf-to-gguf", "{model}", "-o", "{tmp}/new.gguf", "--push", "a/b"], ExitStatus.USAGE, "not how it is carried out"),
    (["plan", "hf-to-gguf", "{model}", "-o", "{tmp}/there.gguf"], ExitStatus.USAGE, "exists already"),
    (["plan", "hf-to-gguf", "{model}", "-o", "{tmp}/new.gguf", "--report", "a.txt"], ExitStatus.USAGE, "neither .json nor"),
    (["run", "{tmp}/plan.json", "--shard", "2/2"], ExitStatus.USAGE, "2/2 is no shard"),
    (["run", "{tmp}/there.gguf", "--shard", "0/2"], ExitStatus.BAD_INPUT, "is empty"),
    (["commit", "{tmp}/plan.json"], ExitStatus.USAGE, "no shard of this plan has run"),
])
def test_calls_that_are_wrong(zoo, plan: Path, tmp_path: Path, arguments: list[str], status: ExitStatus, said: str):
    (tmp_path / "there.gguf").touch()
    done = call(*(text.format(tmp=tmp_path, model=zoo("llama")) for text in arguments))
    assert done.exit_code == status, done.output
    assert said in done.stderr
    assert done.stderr.count("error:") == 1
    assert done.stdout == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plan.json", "there.gguf"]


def test_from_python(zoo, tmp_path: Path):
    plan = ggufx.quantize(make(zoo, tmp_path), tmp_path / "m.gguf", "q8_0", dry_run=True)
    ggufx.write_plan(plan, tmp_path / "plan.json")
    with pytest.raises(ggufx.GgufxError, match="plan is of a wrong type"):
        ggufx.write_plan("plan.json", tmp_path / "other.json")
    assert [ggufx.run_shard(tmp_path / "plan.json", index, 2).index for index in (0, 1)] == [0, 1]
    (file,) = ggufx.commit(tmp_path / "plan.json").files
    ggufx.quantize(tmp_path / "whole.gguf", tmp_path / "one.gguf", "q8_0")
    assert file.path.read_bytes() == (tmp_path / "one.gguf").read_bytes()


def make(zoo, tmp_path: Path) -> Path:
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "whole.gguf")
    return tmp_path / "whole.gguf"
