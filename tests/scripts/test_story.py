"""The README's story of an adapter: each of its commands, up to what other programs do."""

import re
import shlex
import shutil
from pathlib import Path

from ggufx.cli.main import app
from typer.testing import CliRunner
from zoo.adapters import make_adapter

ROOT = Path(__file__).parents[2]
TITLE = "## A LoRA adapter, from the download to Ollama"


def test_every_command_works(zoo, tmp_path, monkeypatch):
    story = (ROOT / "README.md").read_text(encoding="utf-8").partition(TITLE)[2].partition("\n## ")[0]
    commands = [shlex.split(line) for line in re.findall(r"^\$ (.*)$", story, re.M)]
    assert {words[0] for words in commands} == {"hf", "ggufx", "ollama"}
    monkeypatch.chdir(tmp_path)
    shutil.copytree(zoo("llama-256"), "base")
    make_adapter(tmp_path / "base", tmp_path / "adapter", {"target_modules": ["q_proj", "down_proj"]})
    for program, *arguments in commands:
        if program == "ggufx":
            done = CliRunner().invoke(app, arguments)
            assert done.exit_code == 0, (arguments, done.output)
        elif program == "ollama":
            assert Path(arguments[arguments.index("-f") + 1]).read_text(encoding="utf-8").splitlines()[2:4] == [
                "FROM ./base-q4_k_m.gguf", "ADAPTER ./adapter.gguf"]
