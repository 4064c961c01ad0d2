"""Make `converters/tokenizer/pre_table.json` from the verified pre-tokenizer facts.

    python scripts/make_pre_table.py ../shared/facts/pretok_verified.json

The facts hold one Hugging Face structure per `tokenizer.ggml.pre` name, verified to reproduce llama.cpp's ids, and
the model's own structure where it differs. The table keeps each distinct structure once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TABLE = Path(__file__).resolve().parents[1] / "converters" / "tokenizer" / "pre_table.json"

def main(facts_path: str) -> None:
    facts = json.loads(Path(facts_path).read_text(encoding="utf-8"))
    structures: list[dict] = []

    def place(normalizer: dict | None, pre_tokenizer: dict | None) -> int:
        structure = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}
        if structure not in structures:
            structures.append(structure)
        return structures.index(structure)

    names = {}
    for name, fact in facts.items():
        own = fact.get("model_own")
        names[name] = {
            "runtime": place(fact["normalizer"], fact["pre_tokenizer"]),
            "own": None if own is None else place(own["normalizer"], own["pre_tokenizer"]),
            "ignore_merges": fact["ignore_merges"],
            "byte_fallback": fact["byte_fallback"],
            "adds_bos": fact["adds_bos_without_key"],
        }
    # ASCII only: several of these characters change under NFC.
    text = json.dumps({"names": names, "structures": structures}, ensure_ascii=True, indent=1, sort_keys=True)
    TABLE.write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1])
