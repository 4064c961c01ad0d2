"""Records what llama-perplexity prints of tiny models: tests/golden/measure.npz.

    python scripts/golden/measure.py LLAMA_PERPLEXITY LABEL

LLAMA_PERPLEXITY: the path of the binary; LABEL: its version. Beside the lines that it prints (`KIND/printed`) are the logits
that the libllama.so in its folder gives for the same files and chunks, float32 [positions, vocabulary] (`KIND/logits`), and the
tokens that follow: so the figures are held against one another wherever the tests run. The first kind is the base.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from ggufx.converters.measure.worker import Runtime  # noqa: E402
from zoo.build import build  # noqa: E402

import ggufx  # noqa: E402

CORPUS = (ROOT / "tests" / "zoo" / "corpus.txt").read_text()
MODEL, KINDS = "llama", ("f32", "q8_0", "q4_0")
CONTEXT, CHUNKS = 64, 4
TRIES = 1000


def main(binary: str, label: str) -> None:
    found: dict[str, object] = {"label": label, "context": CONTEXT, "chunks": CHUNKS, "model": MODEL}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "text.txt").write_text(CORPUS)
        build(MODEL, home / "model")
        ggufx.hf_to_gguf(home / "model", home / "f32.gguf", outtype="f32")
        for kind in KINDS[1:]:
            ggufx.quantize(home / "f32.gguf", home / f"{kind}.gguf", kind)
        for kind in KINDS:
            found[f"{kind}/printed"] = printed(binary, home, kind)
        files = [str(home / f"{kind}.gguf") for kind in KINDS]
        runtime = Runtime(str(Path(binary).with_name("libllama.so")), files, CONTEXT, 1)
        chunks = runtime.chunks(CORPUS.removesuffix("\n"), CONTEXT, CHUNKS)
        found["following"] = np.concatenate([chunk[CONTEXT // 2 + 1 :] for chunk in chunks])
        for number, kind in enumerate(KINDS):
            found[f"{kind}/logits"] = np.concatenate([runtime.logits(number, chunk) for chunk in chunks])
    out = ROOT / "tests" / "golden" / "measure.npz"
    np.savez_compressed(out, **found)  # type: ignore[arg-type]
    print(json.dumps({"bytes": out.stat().st_size}))


def printed(binary: str, home: Path, kind: str) -> str:
    """The lines of figures. llama-perplexity often ends before its logger has printed: it is asked until nothing is missing."""
    flags = ["-m", f"{kind}.gguf", "--kl-divergence-base", "base.bin", "-f", "text.txt", "-c", str(CONTEXT), "-b", str(CONTEXT),
             "--chunks", str(CHUNKS), "-t", "1", "--no-log-prefix", "--no-log-timestamps"]
    last, more = ("Final estimate", []) if kind == KINDS[0] else ("Same top p:", ["--kl-divergence"])
    for _ in range(TRIES):
        done = subprocess.run([binary, *flags, *more], cwd=home, capture_output=True, text=True, check=True)
        if last in (text := done.stdout + done.stderr):
            return "\n".join(line for line in text.splitlines() if any(c in line for c in ("PPL", "KLD", "Δp", "Same top")))
    raise SystemExit(f"llama-perplexity never printed {last!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
