"""Write tests/golden/projectors/FAMILY.json: what llama.cpp's converter makes of every tower of the zoo (--mmproj), as digests.

Usage: GGUFX_LLAMA_CPP=/path/to/llama.cpp python scripts/golden/projectors.py LABEL [TOWER ...]
LABEL names the version of llama.cpp. With towers named, only their entries are made anew, in the files of their families.
"""

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from zoo.golden import OUTTYPES  # noqa: E402
from zoo.peers import llama_cpp_convert, missing_converter, read_peer_gguf  # noqa: E402
from zoo.tower_golden import FAMILY, GOLDEN, described, source_digest  # noqa: E402
from zoo.towers import TOWERS, build_tower  # noqa: E402


def entry(name: str, work: Path) -> dict:
    row = TOWERS[name]
    folder = build_tower(row, work / name)
    made = {kind: read_peer_gguf(llama_cpp_convert(folder, kind, work / f"{name}-{kind}.gguf", options=("--mmproj",),
                                                   built_in=row.built_in)) for kind in OUTTYPES}
    return {"source": source_digest(folder), **described(made, row.drop)}


def _lines(entry: dict) -> str:
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in entry.items()) + "}"


def main() -> None:
    if len(sys.argv) < 2 or missing_converter():
        raise SystemExit(f"{__doc__}\n{missing_converter() or ''}")
    label, only = sys.argv[1], sys.argv[2:] or list(TOWERS)
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for family in dict.fromkeys(FAMILY[name] for name in only):
            path = GOLDEN / f"{family}.json"
            held = json.loads(path.read_text(encoding="utf-8"))["towers"] if path.exists() else {}
            names = [name for name in TOWERS if FAMILY[name] == family and not TOWERS[name].hopeless]
            held |= {name: entry(name, Path(temporary)) for name in names if name in only}
            rows = ",\n".join(f"{json.dumps(n)}: {_lines(held[n])}" for n in names if n in held)
            path.write_text(f'{{"peer": {json.dumps(label)},\n"towers": {{\n{rows}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
