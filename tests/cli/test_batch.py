"""`batch`: each line of a list for itself; one that is broken is named, and costs the others nothing."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from ggufx.converters import batch
from typer.testing import CliRunner, Result

import ggufx


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["batch", *(str(a) for a in arguments)])


@pytest.fixture
def listed(zoo, tmp_path: Path) -> Path:
    """A list of three folders, of which the second has no weights that can be read."""
    for name in ("one", "two", "three"):
        shutil.copytree(zoo("llama"), tmp_path / "org" / name)
    (tmp_path / "org" / "two" / "model.safetensors").write_bytes(b"no header")
    path = tmp_path / "models.txt"
    path.write_text("# models\n\n" + "".join(f"{tmp_path / 'org' / name}\n" for name in ("one", "two", "three")))
    (tmp_path / "out").mkdir()
    return path


def states(done: Result) -> list[str]:
    return [model["state"] for model in json.loads(done.stdout)["models"]]


def test_a_list_with_a_broken_model(zoo, listed: Path, tmp_path: Path):
    pattern = tmp_path / "out" / "{org}" / "{name}-{outtype}.gguf"
    done = call(listed, "--outtype", "q8_0,f16", "--outfile", pattern, "--json", "--checksums", tmp_path / "sums")
    assert done.exit_code == ExitStatus.NO, done.output
    document = json.loads(done.stdout)
    assert (document["ok"], document["failed"], states(done)) == (False, 1, ["made", "failed", "made"])
    assert document["models"][1]["errors"][0]["file"] == str(tmp_path / "org" / "two" / "model.safetensors")
    assert f"error: {tmp_path / 'org' / 'two'}: " in done.stderr
    made = sorted(p.name for p in (tmp_path / "out" / "org").iterdir())
    assert made == ["one-f16.gguf", "one-q8_0.gguf", "three-f16.gguf", "three-q8_0.gguf"]
    assert sorted(line.split("/")[-1] for line in (tmp_path / "sums").read_text().splitlines()) == made
    ggufx.hf_to_gguf(tmp_path / "org" / "one", tmp_path / "alone.gguf", outtype="q8_0")
    assert (tmp_path / "alone.gguf").read_bytes() == (tmp_path / "out" / "org" / "one-q8_0.gguf").read_bytes()

    # Repaired, the same call makes what is missing and nothing else; what is damaged is seen by its header, or by --check.
    shutil.copy(zoo("llama") / "model.safetensors", tmp_path / "org" / "two")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "org").iterdir()}
    again = call(listed, "--outtype", "q8_0,f16", "--outfile", pattern, "--json")
    assert (again.exit_code, states(again)) == (0, ["there", "made", "there"])
    assert {p: p.stat().st_mtime_ns for p in before} == before
    checked = call(listed, "--outtype", "q8_0,f16", "--outfile", pattern, "--json", "--check")
    assert (checked.exit_code, states(checked)) == (0, ["there"] * 3)
    path = tmp_path / "out" / "org" / "one-q8_0.gguf"
    with open(path, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    refused = call(listed, "--outtype", "q8_0,f16", "--outfile", pattern, "--json", "--check")
    assert (refused.exit_code, states(refused)) == (ExitStatus.NO, ["failed", "there", "there"])
    with open(path, "r+b") as file:
        file.write(b"FUGG")
    refused = call(listed, "--outtype", "q8_0,f16", "--outfile", pattern, "--json")
    assert (refused.exit_code, states(refused)) == (ExitStatus.NO, ["failed", "there", "there"])
    assert "exists already" in refused.stderr
    forced = call(listed, "--outtype", "q8_0,f16", "--outfile", pattern, "--json", "--force")
    assert (forced.exit_code, states(forced)) == (0, ["made"] * 3)
    assert (tmp_path / "alone.gguf").read_bytes() == path.read_bytes()


def test_what_people_see(listed: Path, tmp_path: Path):
    done = call(listed, "--outfile", f"{tmp_path / 'out'}/")
    assert done.exit_code == ExitStatus.NO
    table = done.stdout.splitlines()
    assert table[0].split() == ["model", "result", "file", "size"]
    assert [line.split()[1] for line in table[1:4]] == ["made", "not", "made"]
    assert table[4].startswith("2 of 3 are there: ")
    assert "3/3" in done.stderr


def test_an_interrupted_batch_goes_on(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What was done stays, and says so; what was begun is resumed by its journal."""
    real = batch.execute
    seen: list[bool] = []

    def interrupted(plan, **options):
        def stop(done: int, *_: object) -> None:
            if plan.outputs[0].path.name.startswith("three") and done:
                raise KeyboardInterrupt

        seen.append(options["resume"])
        return real(plan, **{**options, "progress": stop if len(seen) == 2 else None, "max_memory": 1 << 20})

    monkeypatch.setattr(batch, "execute", interrupted)
    stopped = call(listed, "--outfile", f"{tmp_path / 'out'}/")
    assert stopped.exit_code == ExitStatus.INTERRUPTED
    assert "2 of 3 are done; the same call goes on from there" in stopped.stderr
    assert "--resume" not in stopped.stderr
    done = call(listed, "--outfile", f"{tmp_path / 'out'}/", "--json")
    assert states(done) == ["there", "failed", "made"]
    assert seen == [False, False, True]
    ggufx.hf_to_gguf(tmp_path / "org" / "three", tmp_path / "alone.gguf")
    (made,) = (tmp_path / "out").glob("three*")
    assert made.read_bytes() == (tmp_path / "alone.gguf").read_bytes()


@pytest.mark.parametrize(("text", "options", "status", "said"), [
    ("# nothing\n", [], ExitStatus.BAD_INPUT, "names no checkpoint"),
    ("a/b\na/b\n", [], ExitStatus.USAGE, "a/b and a/b would go to one file"),
    ("a/b\na/c\n", ["--outfile", "x.gguf"], ExitStatus.USAGE, "a/b and a/c would go to one file"),
    ("a/b\n", ["--outtype", "q9"], ExitStatus.USAGE, "q9"),
])
def test_calls_that_are_wrong(tmp_path: Path, text: str, options: list[str], status: ExitStatus, said: str):
    (tmp_path / "models.txt").write_text(text)
    done = call(tmp_path / "models.txt", *options)
    assert (done.exit_code, done.stdout) == (status, "")
    assert said in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["models.txt"]


def test_patterns(tmp_path: Path):
    assert batch.pattern_for("org/name@v1/x", "{org}_{name}@{revision}-{outtype}.gguf") == "org_name@v1-x-{outtype}.gguf"
    assert batch.pattern_for("org/{name}", "{org}") == Path.cwd().joinpath("org").name  # no Hub id: a folder of that name
    assert batch.pattern_for(str(tmp_path), None) == f"{tmp_path.name}-{{outtype}}.gguf"
    assert batch.pattern_for("a/b", tmp_path) == f"{tmp_path}/b-{{outtype}}.gguf"


def test_a_fault_of_ours_costs_one_model(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch, "plan_checkpoint", lambda *_: 1 / 0)
    outcomes = ggufx.batch(listed, outfile=tmp_path / "out")
    assert [o.state for o in outcomes] == ["failed"] * 3
    assert "ZeroDivisionError" in str(outcomes[0].errors[0])


def test_each_option_arrives(listed: Path, monkeypatch: pytest.MonkeyPatch):
    rows = {"--outtype": ("q8_0,f16", ("q8_0", "f16")), "--outfile": ("{name}.gguf", "{name}.gguf"), "--mmproj": ("", True),
            "--mmproj-type": ("f32", "f32"), "--check": ("", True), "--force": ("", True), "--threads": ("3", 3),
            "--max-memory": ("2MiB", 2 << 20), "--device": ("cpu", "cpu"), "--engine": ("ray", "ray")}
    talk = {"--json", "--quiet", "--verbose", "--checksums"}
    params = typer.main.get_command(app).commands["batch"].params
    assert {text for p in params for text in p.opts if text.startswith("--")} - {"--help"} == {*rows, *talk}
    got = []
    monkeypatch.setattr(batch, "convert_each", lambda models, options, _: got.append(options) or iter(()))
    for flag, (text, value) in rows.items():
        assert call(listed, flag, *([text] if text else [])).exit_code == 0
        assert getattr(got[-1], flag[2:].replace("-", "_")) == value, flag
