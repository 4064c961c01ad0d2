"""llama.cpp's tokenizer in a process of its own: an assertion in C ends this process, not the one that asks.

One JSON request on stdin, {"library", "path", "texts"}; on stdout {"ids": [[...], ...]} or {"error": text}. Control tokens
in the text are read as such; none is added. The library is any that exports llama.cpp's C functions.
"""

from __future__ import annotations

import ctypes
import json
import sys

WORDS = 128  # more than llama_model_params has ever had; it is passed by value
FLAGS = 18  # the word with its booleans: vocab_only, check_tensors, use_extra_bufts, no_host
DEFAULT_FLAGS = 1 << 16  # by default only the third is set
VOCAB_ONLY = 1


class _Params(ctypes.Structure):
    _fields_ = (("word", ctypes.c_int32 * WORDS),)


def encode(library: str, path: str, texts: list[str]) -> list[list[int]]:
    """The ids of each text. RuntimeError where the library is another than this knows, or refuses the file."""
    lib = ctypes.CDLL(library)
    lib.llama_model_default_params.restype = _Params
    for name in ("llama_model_load_from_file", "llama_model_get_vocab"):
        getattr(lib, name).restype = ctypes.c_void_p
    params = lib.llama_model_default_params()
    if params.word[FLAGS] != DEFAULT_FLAGS:
        raise RuntimeError("this version of llama.cpp has other parameters than ggufx knows")
    params.word[FLAGS] |= VOCAB_ONLY
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise RuntimeError("llama.cpp does not load the vocabulary")
    vocab = ctypes.c_void_p(lib.llama_model_get_vocab(ctypes.c_void_p(model)))
    out = []
    for text in texts:
        raw = text.encode()
        room = (ctypes.c_int32 * (2 * len(raw) + 16))()
        count = lib.llama_tokenize(vocab, raw, len(raw), room, len(room), False, True)
        if count < 0:
            raise RuntimeError(f"llama.cpp does not encode {text!r}")
        out.append(list(room[:count]))
    return out


def main() -> None:
    answer: dict[str, list[list[int]] | str]
    try:
        answer = {"ids": encode(**json.load(sys.stdin))}
    except (RuntimeError, OSError, AttributeError) as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
