"""Whether two models cut text into the same ids: hard texts through both tokenizers, BOS and EOS left out.

A folder is read by the `tokenizers` library (without tokenizer.json by transformers), a GGUF file by llama.cpp, whose C
functions the optional package `xllamacpp` exports.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UnsupportedError
from ..tokenizer.pre import probes

SHOWN = 20  # of the texts that differ, in JSON


@dataclass(frozen=True)
class Probes:
    """`texts` were encoded; `different` are (text, ids on side A, ids on side B)."""

    texts: int
    different: tuple[tuple[str, list[int], list[int]], ...]

    @property
    def same(self) -> bool:
        return not self.different

    def to_json(self) -> dict[str, Any]:
        return {"same": self.same, "texts": self.texts, "different": len(self.different),
                "first": [{"text": t, "a": a, "b": b} for t, a, b in self.different[:SHOWN]]}


def probe(a: Path, b: Path) -> Probes:
    """Encode the probes on both sides. UnsupportedError where a tokenizer, or the library for it, is not there."""
    texts = probes()
    ids = [_folder_ids(p, texts) if p.is_dir() else _runtime_ids(p, texts) for p in (a, b)]
    return Probes(len(texts), tuple((t, x, y) for t, x, y in zip(texts, *ids, strict=True) if x != y))


def _folder_ids(folder: Path, texts: list[str]) -> list[list[int]]:
    path = folder / "tokenizer.json"
    if not path.is_file():
        return _transformers_ids(folder, texts)
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the library is no Exception
        raise InputError(f"the tokenizers library does not take it: {error}", file=path) from error


def _transformers_ids(folder: Path, texts: list[str]) -> list[list[int]]:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise UnsupportedError("has no tokenizer.json, and transformers is not installed to read other tokenizers",
                               file=folder, hint="pip install transformers") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    except Exception as error:
        raise InputError(f"transformers loads no tokenizer from it: {error}", file=folder) from error
    if not any(ids):
        raise InputError("transformers finds no tokenizer in it", file=folder)
    return ids


def _runtime_ids(path: Path, texts: list[str]) -> list[list[int]]:
    """The ids of llama.cpp."""
    library = runtime_library()
    request = json.dumps({"library": str(library), "path": str(path), "texts": texts})
    done = subprocess.run([sys.executable, "-m", f"{__package__}.llama_cpp_worker"], input=request, text=True,
                          encoding="utf-8", errors="replace", capture_output=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
        raise InputError(f"llama.cpp does not take its vocabulary: {last[0]}", file=path) from None
    if "error" in answer:
        raise UnsupportedError(answer["error"], file=path)
    return answer["ids"]


def runtime_library() -> Path:
    """xllamacpp's extension module; it is found, not imported."""
    spec = importlib.util.find_spec("xllamacpp")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(f for f in Path(folder).glob("xllamacpp*") if f.suffix in (".so", ".pyd", ".dylib")):
            return found
    raise UnsupportedError("llama.cpp's tokenizer is needed for a GGUF file, and xllamacpp is not installed",
                           hint="pip install xllamacpp")
