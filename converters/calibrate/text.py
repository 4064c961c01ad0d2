"""Texts -> the chunks of tokens that a model is calibrated on, by the rules of llama-imatrix.

The texts' tokens are those of llama.cpp: control tokens in them are plain text, and what the vocabulary puts in front of a text
comes once, before the first. They are cut into chunks of `context` tokens without overlap; what is left over is dropped. Where
the vocabulary begins with BOS, each chunk's first token is replaced by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, UnsupportedError, UsageError
from ..io.values import Metadata
from ..tokenizer import tokenizer_files
from ..tokenizer.special import PREFIX
from ..verify.runtime import Runtime


@dataclass(frozen=True)
class TextOptions:
    """`context`: tokens of a chunk; `chunks`: how many at most; `skip`: chunks left out at the begin; `special`: control tokens
    in the texts are read as such."""

    context: int = 512
    chunks: int | None = None
    skip: int = 0
    special: bool = False


def chunks_of(ids: Sequence[int], runtime: Runtime, options: TextOptions) -> np.ndarray:
    """int64 [chunks, context] of the texts' token ids, without BOS. UsageError where they are too few."""
    add_bos = bool(runtime.meaning(PREFIX + "add_bos_token") is True)
    bos = runtime.meaning(PREFIX + "bos_token_id")
    if add_bos and not isinstance(bos, int):
        raise InputError("the vocabulary begins texts with BOS, and says not which token that is")
    if runtime.meaning(PREFIX + "add_eos_token") is True:
        raise UnsupportedError("the vocabulary ends each text with EOS, which llama-imatrix does not take")
    tokens = np.array([bos, *ids] if add_bos else ids, np.int64)
    context = options.context
    if options.skip and (options.skip + 2) * context >= len(tokens):
        raise UsageError(f"the texts have too few tokens to leave out {options.skip} chunks", found=len(tokens),
                         expected=f"more than {(options.skip + 2) * context}")
    tokens = tokens[options.skip * context :]
    if len(tokens) < 2 * context:
        raise UsageError("the texts have too few tokens", found=len(tokens), expected=f"at least {2 * context}, two chunks",
                         hint="Give more text, or a smaller --ctx.")
    count = len(tokens) // context
    out = tokens[: count * context].reshape(count, context)[: options.chunks].copy()
    if add_bos:
        out[:, 0] = bos
    return out


def encode(folder: Path, tokens: Metadata, arch: str, text: str, special: bool) -> list[int]:
    """The token ids of a text, by the folder's tokenizer.json; without one by what its vocabulary became: the key-values
    `tokens` of a GGUF file of architecture `arch`. InputError, UnsupportedError."""
    from tokenizers import Tokenizer
    from tokenizers.normalizers import NFC

    path, made = folder / "tokenizer.json", None
    if not path.is_file():
        made = tokenizer_files(tokens, arch=arch, structure="runtime", file=folder).files.get("tokenizer.json")
        if made is None:
            raise UnsupportedError("has no tokenizer to cut the texts with", file=folder)
    try:
        tokenizer = Tokenizer.from_file(str(path)) if made is None else Tokenizer.from_str(made.decode())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = not special
        if isinstance(tokenizer.normalizer, NFC):  # which llama.cpp never does
            tokenizer.normalizer = None
        return tokenizer.encode(text, add_special_tokens=False).ids
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the library is no Exception
        raise InputError(f"the tokenizers library does not take it: {error}", file=path) from error
