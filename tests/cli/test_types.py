"""`ggufx types`, and presets of types."""

import json
import os
import shutil
from pathlib import Path

import pytest
from ggufx.cli.exit import ExitStatus
from ggufx.cli.main import app
from ggufx.quant.recipes.recipe import PRESETS
from typer.testing import CliRunner
from zoo.measured import write_figures

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


@pytest.fixture
def measured(zoo, tmp_path: Path) -> dict[str, Path]:
    """Files of a model by type, with figures beside them."""
    kinds = ("f16", "q8_0", "q5_0", "q4_0")
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "m-{outtype}.gguf", outtype=kinds)
    files = {kind: tmp_path / f"m-{kind}.gguf" for kind in kinds}
    write_figures(files["f16"], {files["q8_0"]: 0.001, files["q5_0"]: 0.049, files["q4_0"]: 0.0495})
    return files


def test_measured_numbers_that_lie_beside_the_model(measured: dict[str, Path], tmp_path: Path):
    told = json.loads(run("types", measured["f16"], "--json")[1])
    assert {r["file_type"]: r["measured"]["divergence"] for r in told["file_types"] if "measured" in r} == {
        "q8_0": 0.001, "q5_0": 0.049, "q4_0": 0.0495}
    assert told["recommended"] == "q5_0"  # q4_0 may be beyond the bound
    assert "0.049500" in run("types", measured["f16"])[1]
    for there in ("m-f16.gguf", "m-q8_0.gguf"):  # of the folder it is what was measured against, then the largest that is left
        again = json.loads(run("types", tmp_path, "--json")[1])
        assert again == {**json.loads(run("types", tmp_path / there, "--json")[1]), "model": str(tmp_path)}
        assert again["recommended"] == "q5_0"
        (tmp_path / there).unlink()
    (tmp_path / "measure.json").write_text('{"files": [{}]}')
    assert run("types", measured["q5_0"])[0] == ExitStatus.BAD_INPUT
    (tmp_path / "measure.json").unlink()
    status, text = run("types", tmp_path, "--json")
    assert (status, json.loads(text)["error"]["message"]) == (
        ExitStatus.UNSUPPORTED, "is a folder of GGUF files; a model's checkpoint is needed")


def test_figures_of_a_file_that_was_made_anew_are_not_told(measured: dict[str, Path], tmp_path: Path):
    """It has the same name, size, type and modification time."""
    before = measured["q8_0"].stat()
    raw = bytearray(measured["q8_0"].read_bytes())
    raw[-40] ^= 1
    measured["q8_0"].write_bytes(raw)
    os.utime(measured["q8_0"], ns=(before.st_atime_ns, before.st_mtime_ns))
    measured["q5_0"].unlink()
    moved = tmp_path / "elsewhere"  # a copy is the same
    shutil.copytree(tmp_path, moved)
    for folder in (tmp_path, moved):
        told = json.loads(run("types", folder / "m-f16.gguf", "--json")[1])
        assert [r["file_type"] for r in told["file_types"] if "measured" in r] == ["q4_0"]
        assert [note["names"] for note in told["notes"] if "other files" in note["kind"]] == [["m-q8_0.gguf"]]
        assert "recommended" not in told


def test_recommended_is_what_was_measured(zoo, measured: dict[str, Path], tmp_path: Path):
    status, text = run("quantize", measured["f16"], tmp_path / "out-{outtype}.gguf", "recommended", "--json")
    told = json.loads(text)
    assert (status, told["file_type"]) == (0, "Q5_0"), text
    (why,) = [note["kind"] for note in told["notes"] if note["kind"].startswith("recommended is q5_0")]
    assert f"of 3 measured types the smallest that diverges by at most 0.05 nats (0.0490 ± 0.0010 in {tmp_path}" in why
    assert (tmp_path / "out-q5_0.gguf").exists()
    plan = ggufx.quantize(measured["f16"], tmp_path / "p-{outtype}.gguf", ["recommended", "q5_0", "q8_0"], dry_run=True)
    assert [path.name for path in plan.results] == ["p-q5_0.gguf", "p-q8_0.gguf"]
    shutil.copytree(zoo("llama-256"), tmp_path, dirs_exist_ok=True)  # beside a checkpoint
    plan = ggufx.hf_to_gguf(tmp_path, tmp_path / "h-{outtype}.gguf", outtype="recommended", dry_run=True)
    assert [path.name for path in plan.results] == ["h-q5_0.gguf"]
    write_figures(measured["f16"], {measured["q8_0"]: 0.06, measured["q4_0"]: 0.5})
    status, text = run("quantize", measured["f16"], tmp_path / "x.gguf", "recommended", "--json")
    error = json.loads(text)["error"]
    assert (status, error["expected"], error["found"]) == (
        ExitStatus.UNSUPPORTED, "a divergence of at most 0.05 nats", "0.0600 of q8_0")
    status, text = run("types", measured["f16"], "--json")
    assert (status, "recommended" in json.loads(text)) == (0, False)


def test_recommended_without_figures_is_the_preset(measured: dict[str, Path], tmp_path: Path):
    (tmp_path / "measure.json").unlink()
    plan = ggufx.quantize(measured["f16"], tmp_path / "p-{outtype}.gguf", "recommended", dry_run=True)
    assert [path.name for path in plan.results] == [f"p-{kind}.gguf" for kind in PRESETS["recommended"][0]]
