"""What `--help` and a shell's completion show."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
from ggufx.cli.main import app
from ggufx.cli.options import CONVERT, LOOK, MACHINES, PREPARE, TALK
from typer.testing import CliRunner

COMMANDS = typer.main.get_command(app).commands


def shown(*arguments: str, width: int = 80) -> str:
    done = subprocess.run([sys.executable, "-m", "ggufx", *arguments, "--help"], capture_output=True, text=True, check=True,
                          env={**os.environ, "TERMINAL_WIDTH": str(width), "NO_COLOR": "1"})
    return done.stdout


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub("[│╭╰╮╯─]", " ", text))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_word_of_the_help_is_taken_for_markup(name: str):
    """Square brackets stand as they were written: `[@revision]`, `[default: all CPUs]`."""
    text = words(shown(name, width=250))
    for param in COMMANDS[name].params:
        assert words(param.help).replace("\\[", "[") in text
    assert words(COMMANDS[name].help).replace("\\[", "[") in text


def test_what_stood_in_brackets():
    text = words(shown("hf-to-gguf", width=250))
    for kept in ("org/name[@revision]", "Threads [default: all CPUs].", "[default: the current folder]", "{outtype}"):
        assert kept in text


@pytest.mark.parametrize("name", COMMANDS)
def test_options_stand_in_panels_with_examples_below(name: str):
    text = shown(name)
    panels = re.findall(r"╭─ (.*?) ─", text)
    assert "Options" not in panels  # each option belongs somewhere
    assert panels[-1] == TALK
    for panel in text.split("╭─")[1:]:
        assert panel.count("\n│ -") <= 11
    assert "Examples:" in text.rpartition("╰")[2]
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_calls_that_work(name: str):
    lines = COMMANDS[name].epilog.replace("\\[", "[").strip().splitlines()[1:]
    assert lines
    for line in lines:
        prompt, program, command, *arguments = shlex.split(line)
        assert (prompt, program, command) == ("$", "ggufx", name)
        COMMANDS[name].make_context(name, arguments)  # raises where an option or an argument is wrong


def test_commands_stand_in_groups():
    panels = re.findall(r"╭─ (.*?) ─", shown())
    assert panels == ["Options", CONVERT, LOOK, MACHINES, PREPARE]


@pytest.mark.parametrize(("typed", "completed"), [
    ("hf-to-gguf model --outtype q4_k", {"q4_k_s", "q4_k_m"}), ("hf-to-gguf model --outtype q6_k,bf", {"q6_k,bf16"}),
    ("hf-to-gguf model --output-tensor-type Q6", {"Q6_K"}), ("quantize in out tq", {"tq1_0", "tq2_0"}),
    ("gguf-to-hf in out --dtype f", {"f16", "f32"}), ("lora-to-gguf in --outtype q", {"q8_0"}),
    ("quantize in out q8_0 --device cu", {"cuda", "cuda:0"}), ("warmup q8", {"q8_0"}),
])
def test_a_shell_completes_types(typed: str, completed: set[str]):
    call = ["ggufx", *typed.split()]
    done = CliRunner().invoke(app, [], prog_name="ggufx", env={
        "_GGUFX_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(call), "COMP_CWORD": str(len(call) - 1)})
    assert set(done.stdout.split()) == completed
