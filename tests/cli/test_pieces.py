"""`split`, `join`, `edit` and `inspect --get` as a user and a script meet them."""

import json
from pathlib import Path

import pytest
from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from typer.testing import CliRunner, Result

import ggufx


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def model(zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pieces") / "m.gguf"
    ggufx.hf_to_gguf(zoo("llama"), path)
    return path


def test_apart_and_together(model: Path, tmp_path: Path):
    (tmp_path / "parts").mkdir()
    done = call("split", model, tmp_path / "parts", "--max-tensors", "8", "--json")
    document = json.loads(done.stdout)
    first = tmp_path / "parts" / "m-00001-of-00003.gguf"
    assert [file["path"] for file in document["files"]] == [str(first.with_name(f"m-0000{n}-of-00003.gguf")) for n in (1, 2, 3)]
    assert (document["direction"], document["ok"]) == ("split", True)
    done = call("join", first, tmp_path)
    assert done.exit_code == 0, done.output
    assert f"next: ggufx verify {first} {tmp_path / 'm.gguf'}" in done.stderr
    assert (tmp_path / "m.gguf").read_bytes() == model.read_bytes()
    first.with_name("m-00002-of-00003.gguf").unlink()
    done = call("join", first, tmp_path / "again.gguf")
    assert done.exit_code == ExitStatus.BAD_INPUT
    assert done.stderr == f"error: {first}: 1 of the 3 parts are missing: m-00002-of-00003.gguf\n"


def test_a_dry_run_lists_the_parts(model: Path, tmp_path: Path):
    done = call("split", model, tmp_path / "p", "--max-size", "100KB", "--dry-run")
    assert [line.split()[0] for line in done.stdout.splitlines() if "-of-" in line] \
        == [str(tmp_path / f"p-0000{n}-of-00003.gguf") for n in (1, 2, 3)]
    assert not list(tmp_path.iterdir())


def test_what_an_edit_says(model: Path, tmp_path: Path):
    out = tmp_path / "new.gguf"
    done = call("edit", model, out, "--set", "general.name=Other\nname", "--unset", "general.size_label")
    assert done.exit_code == 0, done.output
    assert [line.split() for line in done.stdout.splitlines()[:3]] == [
        ["key", "was", "will", "be"], ["general.name", "Llama", "Other\\nname"], ["general.size_label", "116K", "-"]]
    document = json.loads(call("edit", out, "--set", "general.name=x", "--dry-run", "--json").stdout)
    assert document["changes"] == [{"key": "general.name", "was": "Other\nname", "will_be": "x"}]
    assert call("edit", out, "--set", "general.name=x", "-q").output == ""
    before = out.stat().st_ino
    document = json.loads(call("edit", out, "--set", "general.name=x", "--json").stdout)
    assert (document["changes"], document["files"], out.stat().st_ino) == ([], [], before)
    done = call("edit", out, "--set", "llama.block_count=3")
    assert done.exit_code == ExitStatus.BAD_INPUT
    assert "llama.block_count: the file would contradict itself: " in done.stderr


def test_what_is_wrong_with_an_edit_is_a_line(model: Path, tmp_path: Path):
    def said(*arguments: str) -> list[str]:
        done = call("edit", model, tmp_path / "new.gguf", *arguments)
        assert done.exit_code in (ExitStatus.USAGE, ExitStatus.BAD_INPUT)
        assert not (tmp_path / "new.gguf").exists()
        return done.stderr.splitlines()

    assert said("--set", "llama.context_length=abc") == [
        "error: llama.context_length: no value of type u32: a whole number is needed (found 'abc')"]
    assert said("--set", "llama.rope.freq_base=much")[0].endswith("a number is needed (found 'much')")
    (line,) = said("--set", "llama.block_count=3")
    assert "the file would contradict itself: " in line
    assert line.endswith(" more")
    assert len(line) < 300
    done = call("edit", model, "--set", "general.name=Llama")
    assert (done.exit_code, done.stdout) == (0, "")  # no table of nothing
    assert "nothing changes" in done.stderr


def test_a_part_alone_says_so_whatever_its_name(model: Path, tmp_path: Path):
    call("split", model, tmp_path / "m", "--max-tensors", "8")
    first, second = sorted(tmp_path.glob("m-*"))[:2]
    done = call("join", second, tmp_path / "j.gguf")
    assert done.stderr.splitlines()[-1] == f"  Give {first}."
    assert f"Give one of them, as {first}: " in call("join", tmp_path, tmp_path / "j.gguf").stderr
    renamed = first.rename(tmp_path / "model.gguf")
    assert "one of 3 parts, alone: its name does not say so" in call("inspect", renamed).stderr
    done = call("card", renamed, "-o", tmp_path / "card.md")
    assert done.exit_code == ExitStatus.BAD_INPUT
    assert "one of 3 parts, alone" in done.stderr


def test_one_value_as_it_is(model: Path, tmp_path: Path):
    text = "{{ x }}\x1b[31m\té\n\n"
    ggufx.edit(model, tmp_path / "m.gguf", set={"tokenizer.chat_template": text, "general.tags": ["a", "é"]})

    def get(key: str, *options: str) -> Result:
        return call("inspect", tmp_path / "m.gguf", "--get", key, *options)

    assert get("tokenizer.chat_template").stdout_bytes == text.encode()
    assert get("general.tags").stdout == '["a", "é"]\n'
    assert get("llama.context_length").stdout == "256\n"
    assert get("tokenizer.ggml.add_bos_token").stdout == "true\n"
    assert json.loads(get("general.tags", "--json").stdout)["value"] == ["a", "é"]
    absent = get("general.tag")
    assert (absent.exit_code, absent.stdout) == (ExitStatus.NO, "")
    assert "Did you mean general.tags?" in absent.stderr


def test_get_of_a_folder(zoo):
    assert call("inspect", zoo("llama"), "--get", "model_type").exit_code == ExitStatus.USAGE


def test_a_template_that_was_asked_for_is_no_difference(zoo, tmp_path: Path):
    (tmp_path / "t").write_text("{{ x }}")
    done = call("hf-to-gguf", zoo("llama"), "-o", tmp_path / "m.gguf", "--chat-template", tmp_path / "t", "--verify")
    assert done.exit_code == 0, done.output
    assert "same: tensors equal" in done.stdout
