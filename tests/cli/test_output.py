"""The one printer: streams, escapes, notes and errors of one kind in one line."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from ggufx.cli.exit import ExitStatus
from ggufx.cli.output import Output
from ggufx.converters.errors import Failure, InputError, ManyErrors, UsageError
from ggufx.converters.io.values import string
from ggufx.converters.notes import Note, grouped
from zoo.changed import change_gguf

import ggufx

HOSTILE = "a\x1b]0;owned\x07b\x9b31mc\u202edebut\nforged: line :smile: [red]"
SHOWN = "a\\x1b]0;owned\\x07b\\x9b31mc\\u202edebut\\nforged: line :smile: [red]"
SAY = {
    "line": lambda out: out.line(HOSTILE),
    "table": lambda out: out.table(["x", "y"], [(HOSTILE, 1)], title=None),
    "notes": lambda out: out.notes([HOSTILE, Note("kind", HOSTILE, "b")]),
    "info": lambda out: out.info(HOSTILE),
    "failures": lambda out: out.failures([Failure(Path(HOSTILE), InputError("broken", tensor=HOSTILE))]),
    "error": lambda out: out.error(InputError("broken", file=HOSTILE, tensor=HOSTILE, found=HOSTILE), ExitStatus.BAD_INPUT),
    "many": lambda out: out.error(ManyErrors([InputError("broken", tensor=HOSTILE), InputError("broken", tensor="b")]),
                                  ExitStatus.BAD_INPUT),
}


@pytest.mark.parametrize("what", SAY)
@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_strangers_wrote_steers_a_terminal(what: str, terminal: bool, capsys, monkeypatch: pytest.MonkeyPatch):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "300")
    SAY[what](Output())
    said = "".join(capsys.readouterr())
    assert SHOWN in said
    coloured = said.replace("\x1b[31m", "").replace("\x1b[33m", "").replace("\x1b[0m", "").replace("\x1b[1m", "")
    assert coloured.replace("\n", "").isprintable()


def test_a_document_is_exact_and_printable(capsys):
    Output(json_mode=True).document({"name": HOSTILE, "other": "é 語 \U0001f600 \udc80"})
    text = capsys.readouterr().out
    assert text[:-1].isprintable()
    assert "é 語" in text
    assert json.loads(text) == {"ok": True, "name": HOSTILE, "other": "é 語 \U0001f600 \udc80"}


def test_json_mode_prints_the_document_alone(capsys):
    out = Output(json_mode=True)
    out.line("result")
    out.table(["a"], [(1,)])
    out.info("going on")
    with out.progress("work") as progress:
        progress(1, 2, "name")
    out.notes(["watch out"])
    out.document({"a": 1})
    done = capsys.readouterr()
    assert json.loads(done.out) == {"ok": True, "a": 1}
    assert done.err == "note: watch out\n"


def test_notes_of_one_kind_are_one_line(capsys):
    notes = ["plain", *(Note("tokens left out", f"<{i}>") for i in range(6143)), Note("once", "a"), "plain"]
    assert [(note.kind, len(note.names)) for note in grouped(notes)] == [("plain", 0), ("tokens left out", 6143), ("once", 1)]
    Output().notes(notes)
    assert capsys.readouterr().err.splitlines() == [
        "note: plain", "note: tokens left out (6,143): <0>, <1>, <2> and 6,140 more", "note: once: a",
        "(--verbose and --json name them all)"]
    Output(verbose=True).notes(notes)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "<6142>" in said[1]


def test_problems_of_one_kind_are_one_line():
    alike = [UsageError("exists already", file=f"{i}.gguf", hint="Pass --force to replace it.") for i in range(9)]
    assert str(ManyErrors(alike)) == (
        "exists already (9 files): 0.gguf, 1.gguf, 2.gguf and 6 more\n  Pass --force to replace it.")
    shapes = [InputError("the shape does not fit", file="m", tensor=name, expected=[2], found=[3]) for name in "ab"]
    mixed = ManyErrors([*shapes, *alike])
    assert str(mixed).splitlines() == [
        "11 problems:", "- m: the shape does not fit (2 tensors): a (expected [2], found [3]), b (expected [2], found [3])",
        "- exists already (9 files): 0.gguf, 1.gguf, 2.gguf and 6 more", "  Pass --force to replace it."]
    assert "8.gguf" in mixed.told(all_names=True)
    assert len(mixed.to_json()["problems"]) == 11


def test_outputs_that_fail_for_one_reason_are_one_line(capsys):
    Output().failures([Failure(Path(f"{i}.gguf"), UsageError("needs an importance matrix")) for i in range(3)])
    assert capsys.readouterr().err == "error: 0.gguf, 1.gguf, 2.gguf were not made: needs an importance matrix\n"


def test_a_strangers_file_on_a_real_terminal(zoo, tmp_path: Path):
    """inspect prints keys, values and tensor names of a file that wants to rule the terminal."""
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "a.gguf")
    path = change_gguf(tmp_path / "a.gguf", tmp_path / "b.gguf",
                       keys=lambda held: held.update({"general.name": string("x\x1b]0;owned\x07")}))
    main, side = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "ggufx", "inspect", path], stdout=side, stderr=side)
    os.close(side)
    said = io.BytesIO()
    while part := _read(main):
        said.write(part)
    assert process.wait() == 0
    assert b"\\x1b]0;owned\\x07" in said.getvalue()
    assert b"\x1b]0" not in said.getvalue()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed
        return b""
