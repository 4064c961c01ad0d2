"""Records what llama-imatrix makes of tiny models: tests/golden/imatrix/.

    python scripts/golden/imatrix.py LLAMA_IMATRIX LABEL [NAME ...]

LLAMA_IMATRIX: the path of the binary; LABEL: its version. NAME: rows of `CASES`, all by default. `NAME.gguf.gz` is the file
that it wrote, of an F32 file of the zoo's model over its corpus, with a float32 KV cache and without flash attention: it rounds
there by default. Then, from these: two matrices as one (`merged.gguf.gz`), and what --show-statistics prints (`NAME.txt`).
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from zoo.build import build  # noqa: E402
from zoo.matrices import CASES, CONTEXT, GOLDEN, MERGED, SHOWN, TEXT, text_of  # noqa: E402

import ggufx  # noqa: E402

EXACT = ("-ctk", "f32", "-ctv", "f32", "-fa", "off", "-t", "1", "--no-ppl")
TRIES = 1000


def record(binary: str, name: str) -> None:
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.gguf")
        ggufx.hf_to_gguf(build(case.model, Path(folder, "model")), model, outtype="f32")
        Path(folder, TEXT).write_text(text_of(case))
        run(binary, folder, "-f", TEXT, "-o", "out.gguf", *EXACT, "-c", case.context, "-b", case.context, "-ub",
            case.context, *case.flags)
        keep(Path(folder, "out.gguf"), name)


def merge(binary: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [flag for name in MERGED for flag in ("--in-file", unpacked(name, Path(folder)))]
        run(binary, folder, *files, "-o", "out.gguf", "-c", CONTEXT)
        keep(Path(folder, "out.gguf"), "merged")


def show(binary: str, name: str) -> None:
    """llama-imatrix often ends before its logger has printed: it is asked until nothing is missing."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--show-statistics", "--in-file", unpacked(name, Path(folder)), "--no-log-prefix", "--no-log-timestamps")
        for _ in range(TRIES):
            printed = run(binary, folder, *flags)
            layers = re.search(r"\((\d+) layers\)", printed)
            if layers and re.search(rf"^ +{int(layers[1]) - 1}\t[^\t]+\t[^\t]+%\t[^\t]+$", printed, re.MULTILINE):
                rows = [line for line in printed.splitlines() if "\t" in line]
                (GOLDEN / f"{name}.txt").write_text("\n".join(rows) + "\n")
                return
    raise SystemExit("llama-imatrix never printed all of its statistics")


def run(binary: str, folder: str, *arguments: object) -> str:
    done = subprocess.run([binary, "-m", "model.gguf", *map(str, arguments)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"llama-imatrix ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def unpacked(name: str, folder: Path) -> Path:
    path = folder / f"{name}.gguf"
    path.write_bytes(gzip.decompress((GOLDEN / f"{name}.gguf.gz").read_bytes()))
    return path


def keep(made: Path, name: str) -> None:
    packed = gzip.compress(made.read_bytes(), mtime=0)
    (GOLDEN / f"{name}.gguf.gz").write_bytes(packed)
    print(json.dumps({"name": name, "bytes": made.stat().st_size, "packed": len(packed)}), flush=True)


if __name__ == "__main__":
    tool, label, *names = sys.argv[1:]
    GOLDEN.mkdir(exist_ok=True)
    for one in names or CASES:
        record(tool, one)
    merge(tool)
    for one in SHOWN:
        show(tool, one)
    (GOLDEN / "label.txt").write_text(label + "\n")
