"""Ask llama.cpp's gguf-split to cut the files of tests/zoo/split.py; keep the digests of the parts in tests/golden/split.json.

    python scripts/golden/split.py /path/to/llama-gguf-split
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from zoo.split import CUTS, FILES, GOLDEN, write  # noqa: E402


def main() -> None:
    found: dict[str, dict[str, dict[str, str]]] = {}
    for file, keys in FILES.items():
        for cut, (options, _) in CUTS.items():
            with tempfile.TemporaryDirectory() as work:
                source = write(Path(work) / "m.gguf", keys)
                subprocess.run([sys.argv[1], *options.split(), source, Path(work) / "p"], check=True, stdout=subprocess.DEVNULL)
                parts = sorted(Path(work).glob("p-*.gguf"))
                digests = {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}
            found.setdefault(file, {})[cut] = digests
            print(file, cut, len(digests))
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
