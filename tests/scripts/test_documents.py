"""The documents say what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ggufx.cli.exit import ExitStatus

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["support_table.py", "benchmark_table.py"])
def test_tables_are_what_their_sources_say(script: str):
    done = subprocess.run([sys.executable, ROOT / "scripts" / script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_exit_codes_are_the_ones_documented():
    table = (ROOT / "README.md").read_text().partition("## Exit codes")[2].partition("##")[0]
    numbers = {int(n) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for n in row.split(",")}
    assert numbers == {int(status) for status in ExitStatus}


def test_the_documents_name_files_that_exist():
    for name in ("README.md", "CONTRIBUTING.md"):
        for path in re.findall(r"`((?:\./)?(?:scripts|tests|converters|cli|quant)/[\w./-]+)`", (ROOT / name).read_text()):
            assert (ROOT / path.rstrip("/")).exists(), f"{name} names {path}"
