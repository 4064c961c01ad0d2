"""`ggufx types`, and presets of types."""

import dataclasses
import json
from pathlib import Path

from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from typer.testing import CliRunner

import ggufx


def run(*arguments: object):
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"HF_HUB_OFFLINE": "1", "COLUMNS": "200"})
    return done.exit_code, done.stdout


def test_what_each_is_good_for():
    status, text = run("types")
    assert status == ExitStatus.DONE
    assert "Q4_K_M" in text
    assert "the usual choice" in text
    assert "recommended" in text
    document = json.loads(run("types", "--json")[1])
    assert document["presets"]["recommended"] == ["q4_k_m", "q5_k_m", "q6_k", "q8_0"]
    assert {row["name"] for row in document["tensor_types"]} >= {"F32", "Q4_K"}


def test_the_sizes_of_a_model(zoo):
    status, text = run("types", zoo("llama-256"))
    assert status == ExitStatus.DONE
    lines = text.splitlines()
    assert lines[0].split() == ["file", "type", "size", "bits/weight", "good", "for"]
    assert lines[1].startswith("f32 ")  # the largest first
    assert any(line.startswith("iq2_xs ") and "--imatrix" in line for line in lines)
    rows = json.loads(run("types", zoo("llama-256"), "--json")[1])["file_types"]
    assert rows[0]["bytes"] > rows[-1]["bytes"]
    assert run("types", zoo("llama-256") / "nothing")[0] == ExitStatus.BAD_INPUT


def test_a_preset_is_several_types(zoo, tmp_path: Path):
    status, text = run("hf-to-gguf", zoo("llama-256"), "--outtype", "recommended", "-o", tmp_path / "m-{outtype}.gguf",
                       "--dry-run", "--json")
    assert status == ExitStatus.DONE
    assert [Path(f["path"]).name for f in json.loads(text)["files"]] == [
        "m-q4_k_m.gguf", "m-q5_k_m.gguf", "m-q6_k.gguf", "m-q8_0.gguf"]


def test_a_slip_is_told_before_anything_is_fetched():
    status, text = run("hf-to-gguf", "some/model", "--outtype", "q4_k_n", "--json")
    assert status == ExitStatus.USAGE  # not that the Hub cannot be reached
    assert "q4_k_m" in text.lower()


def test_measured_numbers_that_lie_beside_the_model(zoo, tmp_path: Path):
    source = tmp_path / "m-f16.gguf"
    ggufx.hf_to_gguf(zoo("llama-256"), source, outtype="f16")
    ggufx.quantize(source, tmp_path / "m-{outtype}.gguf", ["q8_0", "q4_0"])
    row = {f.name: 0.5 for f in dataclasses.fields(ggufx.Measured)}
    files = [{**row, "path": f"elsewhere/m-{kind}.gguf", "size": (tmp_path / f"m-{kind}.gguf").stat().st_size + more,
              "divergence": 0.25} for kind, more in (("q8_0", 0), ("q4_0", 1))]  # the latter was another file
    (tmp_path / "measure.json").write_text(json.dumps({"files": files}))
    rows = json.loads(run("types", source, "--json")[1])["file_types"]
    assert {r["file_type"]: r["measured"]["divergence"] for r in rows if "measured" in r} == {"q8_0": 0.25}
    assert "0.250000" in run("types", source)[1]
    (tmp_path / "measure.json").write_text('{"files": [{}]}')
    assert run("types", source)[0] == ExitStatus.BAD_INPUT
