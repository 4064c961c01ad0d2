"""scripts/prove: what it says is so, and what is not so it says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ggufx.converters.arch import SPECS
from zoo import peers
from zoo.proof import Loop, bits, foreign, logits, lora, tokens

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "prove.py"

if not SCRIPT.exists():
    pytest.skip("no scripts/prove.py: an unpacked source distribution", allow_module_level=True)
runtime = pytest.mark.skipif(peers.missing_runtime() is not None, reason=str(peers.missing_runtime()))


def damaged(path: Path) -> None:
    """The file with a bit of the last value turned."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40
    path.write_bytes(data)


@runtime
def test_one_model(tmp_path: Path):
    command = [sys.executable, SCRIPT, "--seed", "3", "--models", "llama-256", "--json", tmp_path / "rows.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "7 of 7 answers are yes" in done.stdout
    document = json.loads((tmp_path / "rows.json").read_text())
    (row,) = document["rows"]
    assert (document["seeds"], row["model"], row["class"]) == ([3], "llama-256", "LlamaForCausalLM")
    assert row["bits"]["size"] == 20
    assert row["foreign"]["figure"] == "equal"
    assert 0 < row["logits"]["size"] < 2e-5
    assert row["tokens"]["size"] == 1
    assert row["lora"]["figure"].endswith("(14)")
    assert "ties its head" in row["lora"]["why"][0]
    assert row["adapter"]["figure"] == "equal"
    assert row["merged"]["figure"] == "15 equal"


@runtime
def test_what_is_wrong_is_told(tmp_path: Path):
    with Loop("llama-head-dim", 5, tmp_path / "loop") as loop:
        damaged(loop.own)
        damaged(loop.f32)
        found = bits(loop)
        assert not found.ok
        assert len(found.why) == 1
        assert not logits(loop).ok
        assert foreign(loop).ok
        tokenizer = loop.folder / "tokenizer.json"
        document = json.loads(tokenizer.read_text())
        document["model"]["merges"] = document["model"]["merges"][1:]
        tokenizer.write_text(json.dumps(document))
        assert any(why.startswith("runtime") for why in tokens(loop).why)


@runtime
def test_an_adapter_that_is_scaled_wrongly_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from ggufx.converters.planners.adapter_config import AdapterSettings

    monkeypatch.setattr(AdapterSettings, "scaling", lambda self, module, parameter, rank: 1.0)
    with Loop("llama-256", 5, tmp_path / "loop") as loop:
        found = lora(loop)
    assert not found.ok
    assert found.size > 1e-2


def test_the_readme_holds_a_proof_of_every_table():
    section = (ROOT / "README.md").read_text().partition("<!-- proof:")[2].partition("<!-- end of the proof -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| \d+ \| (.*) \|$", section, re.M)
    proved = {cls for cls, _ in rows}
    around = [(spec.whole.aliases, spec.whole.parts) for spec in SPECS if spec.whole and proved & set(spec.classes)]
    assert [spec.classes[0] for spec in SPECS if not proved & set(spec.classes)
            and not (spec.whole and (spec.whole.aliases, spec.whole.parts) in around)] == []
    assert not any("fail" in cells for _, cells in rows)
