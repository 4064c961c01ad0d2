"""Run llama.cpp's own converter on tokenizer folders: `python llama_cpp_vocab.py < cases.json > key_values.json`.

A case is {"folder", "hf_class", "config", "pre"}; `pre` stands in for the hash list, which knows no small vocabulary, null lets
the list decide.
The folder with `conversion/` and `gguf-py/` is in GGUFX_LLAMA_CPP. Runs in a process of its own, because that gguf
package is another one than the installed.
"""

import base64
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = os.environ["GGUFX_LLAMA_CPP"]
sys.path[:0] = [ROOT, str(Path(ROOT) / "gguf-py")]


def key_values(case: dict) -> dict:
    import gguf
    from conversion import get_model_class

    cls = get_model_class(case["hf_class"], mmproj=False)
    inner = vars(cls).get("Ministral3Model")
    cls = inner or cls
    model = cls.__new__(cls)
    model.dir_model = Path(case["folder"])
    model.hparams = dict(case["config"])
    model.is_mistral_format = False
    model.origin_hf_arch = case["hf_class"]
    model.gguf_writer = gguf.GGUFWriter(None, arch="llama")
    if hasattr(model, "_xlmroberta_tokenizer_init"):
        model._position_offset = None
    model._tokenizer_is_xlmroberta = False  # NomicBert's
    if case["pre"] is not None:
        model.get_vocab_base_pre = lambda tokenizer: case["pre"]
    ranks = sorted(Path(case["folder"]).glob("*.tiktoken")) + sorted(Path(case["folder"]).glob("tiktoken.model"))
    if ranks:
        stand_in(ranks[0], case)
    model.set_vocab()
    found = {}
    for key, value in model.gguf_writer.kv_data[0].items():
        if key.startswith("tokenizer."):
            data = value.value
            if isinstance(data, (bytes, bytearray)):
                data = list(data)
            elif isinstance(data, list):
                data = [item.decode() if isinstance(item, bytes) else item for item in data]
            found[key] = [value.type.name, data]
    return found


def stand_in(file: Path, case: dict) -> None:
    """In the place of the Python file of a repository with a rank file: the attributes that the converter takes from it."""
    import transformers

    lines = [line.split() for line in file.read_bytes().splitlines()]
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in lines}
    special = case["special"]
    made = SimpleNamespace(
        mergeable_ranks=ranks, special_tokens=special, vocab_size=case["config"]["vocab_size"], eos_id=case.get("eos"),
        model=SimpleNamespace(_mergeable_ranks=ranks))
    made.get_vocab = lambda: {**{str(piece): rank for piece, rank in ranks.items()}, **special}
    transformers.AutoTokenizer = SimpleNamespace(from_pretrained=lambda *_, **__: made)


def main() -> None:
    out = []
    for case in json.load(sys.stdin):
        try:
            out.append(key_values(case))
        except Exception as err:
            out.append({"error": f"{type(err).__name__}: {err}"})
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
