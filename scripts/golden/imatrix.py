"""Records what llama.cpp multiplies the weights of tiny models by: tests/golden/imatrix/NAME.npz.

    python scripts/golden/imatrix.py LABEL NAME...

The runtime's own graph is run over the chunks of the zoo's corpus, and its products are looked at as llama-imatrix does
(tools/imatrix/imatrix.cpp): through `cb_eval`, products by `blk.*` of at least 16 rows, sums in float32 row by row, experts by
(token, slot); with a float32 KV cache and without flash attention. The runtime is that of the package xllamacpp. The tokens are
the runtime's as well. With GGUFX_LLAMA_IMATRIX, the path of a llama-imatrix, its file is compared with what is recorded.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from ggufx.converters.verify.tokenizers import runtime_library  # noqa: E402
from zoo.build import build  # noqa: E402
from zoo.llama_worker import (  # noqa: E402  # noqa: E402
    F32,
    FLASH,
    N_BATCH,
    N_CTX,
    N_THREADS,
    N_THREADS_BATCH,
    N_UBATCH,
    TYPE_K,
    TYPE_V,
    Batch,
    Runtime,
    Words,
)

import ggufx  # noqa: E402

OUT = ROOT / "tests" / "golden" / "imatrix"
CONTEXT, CHUNKS, REPEATS = 64, 4, 4
CALLBACK = 22  # of the context's parameters, in words: a pointer
EVAL = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
LEAST_ROWS = 16


class Tensor(ctypes.Structure):
    """ggml_tensor."""

    _fields_ = (
        ("type", ctypes.c_int32), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4), ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int32), ("op_params", ctypes.c_int32 * 16), ("flags", ctypes.c_int32), ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p), ("view_offs", ctypes.c_size_t), ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64),
    )


def array(tensor: Tensor, kind: type = np.float32) -> np.ndarray:
    """Its values, outermost axis first."""
    nbytes = sum((n - 1) * s for n, s in zip(tensor.ne, tensor.nb, strict=True)) + 4
    raw = np.ctypeslib.as_array(ctypes.cast(tensor.data, ctypes.POINTER(ctypes.c_uint8)), (nbytes,))
    return np.lib.stride_tricks.as_strided(raw.view(kind), tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1])


class Collector:
    def __init__(self, lib: ctypes.CDLL) -> None:
        lib.ggml_op_desc.restype = ctypes.c_char_p
        self.lib, self.sums, self.counts = lib, {}, {}
        self.callback = EVAL(self._see)

    def _see(self, address: int, ask: bool, _: int) -> bool:
        tensor = Tensor.from_address(address)
        op = self.lib.ggml_op_desc(ctypes.c_void_p(address))
        if op not in (b"MUL_MAT", b"MUL_MAT_ID"):
            return not ask
        weight, rows = (Tensor.from_address(tensor.src[i]) for i in (0, 1))
        name = weight.name.decode().split("#")[1] if b"#" in weight.name else weight.name.decode()
        routed = op == b"MUL_MAT_ID"
        if not routed and (rows.ne[1] < LEAST_ROWS or rows.type != F32 or not name.startswith("blk.")):
            return not ask
        if not ask:
            self._routed(name, tensor, weight, rows) if routed else self._dense(name, weight, rows)
        return True

    def _dense(self, name: str, weight: Tensor, rows: Tensor) -> None:
        matrices = weight.ne[2] * weight.ne[3]
        x = array(rows)
        sums = self.sums.setdefault(name, np.zeros((matrices, x.shape[-1]), np.float32))
        for i3 in range(x.shape[0]):
            for i2 in range(x.shape[1]):
                into = sums[(i3 % weight.ne[3]) * weight.ne[2] + i2 % weight.ne[2]]
                for row in x[i3, i2]:
                    into += row * row
        count = self.counts.setdefault(name, np.zeros(1, np.int64))
        count += x.shape[0] * x.shape[1] * x.shape[2] // matrices

    def _routed(self, name: str, tensor: Tensor, weight: Tensor, rows: Tensor) -> None:
        ids, x, experts = array(Tensor.from_address(tensor.src[2]), np.int32)[0, 0], array(rows)[0], weight.ne[2]
        sums = self.sums.setdefault(name, np.zeros((experts, x.shape[-1]), np.float32))
        counts = self.counts.setdefault(name, np.zeros(experts, np.int64))
        for slot in range(ids.shape[1]):
            for token in range(ids.shape[0]):
                row = x[token, slot % x.shape[1]]
                sums[ids[token, slot]] += row * row
                counts[ids[token, slot]] += 1


def chunks_of(runtime: Runtime, path: Path, text: str) -> list[list[int]]:
    """As compute_imatrix cuts them."""
    lib = runtime.lib
    lib.llama_vocab_get_add_bos.restype = ctypes.c_bool
    model = runtime.load(str(path))
    vocab = ctypes.c_void_p(lib.llama_model_get_vocab(model))
    raw = text.encode()
    room = (ctypes.c_int32 * (2 * len(raw) + 16))()
    count = lib.llama_tokenize(vocab, raw, len(raw), room, len(room), True, False)
    ids = list(room[:count])
    chunks = [ids[i * CONTEXT : (i + 1) * CONTEXT] for i in range(min(CHUNKS, len(ids) // CONTEXT))]
    if lib.llama_vocab_get_add_bos(vocab):
        chunks = [[lib.llama_vocab_bos(vocab), *chunk[1:]] for chunk in chunks]
    lib.llama_model_free(model)
    return chunks


def collect(runtime: Runtime, path: Path, chunks: list[list[int]]) -> Collector:
    lib = runtime.lib
    model = runtime.load(str(path))
    collector = Collector(lib)
    words = Words.from_buffer_copy(runtime.context_params)
    words.word[N_CTX] = words.word[N_BATCH] = words.word[N_UBATCH] = CONTEXT
    words.word[N_THREADS] = words.word[N_THREADS_BATCH] = 1
    words.word[FLASH], words.word[TYPE_K], words.word[TYPE_V] = 0, F32, F32
    place = ctypes.cast(ctypes.byref(words, 4 * CALLBACK), ctypes.POINTER(ctypes.c_void_p))
    if place[0]:
        raise RuntimeError("the parameters of a context have changed")
    place[0] = ctypes.cast(collector.callback, ctypes.c_void_p).value
    context = ctypes.c_void_p(lib.llama_init_from_model(model, words))
    lib.llama_get_memory.restype = ctypes.c_void_p
    for chunk in chunks:
        lib.llama_memory_clear(ctypes.c_void_p(lib.llama_get_memory(context)), True)
        whole = lib.llama_batch_init(len(chunk), 0, 1)
        batch = Batch.from_buffer_copy(whole)
        batch.n_tokens = len(chunk)
        for i, token in enumerate(chunk):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        if status := lib.llama_decode(context, batch):
            raise RuntimeError(f"llama_decode gave {status}")
        lib.llama_batch_free(whole)
    lib.llama_free(context)
    lib.llama_model_free(model)
    return collector


def record(name: str, label: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.gguf")
        ggufx.hf_to_gguf(build(name, Path(folder, "model")), model, outtype="f32")
        runtime = Runtime(str(runtime_library()), None)
        chunks = chunks_of(runtime, model, text)
        found = collect(runtime, model, chunks)
        if binary := os.environ.get("GGUFX_LLAMA_IMATRIX"):
            compare(binary, model, Path(folder), text, found)
    arrays = {f"{weight}/sums": sums for weight, sums in found.sums.items()}
    arrays |= {f"{weight}/counts": counts.astype(np.int32) for weight, counts in found.counts.items()}
    OUT.mkdir(exist_ok=True)
    np.savez_compressed(OUT / f"{name}.npz", chunks=np.array(chunks, np.int32), label=np.array(label), **arrays)
    print(json.dumps({"model": name, "weights": len(found.sums), "chunks": len(chunks),
                      "bytes": (OUT / f"{name}.npz").stat().st_size}))


def compare(binary: str, model: Path, folder: Path, text: str, found: Collector) -> None:
    """llama-imatrix itself must say the same."""
    from ggufx.converters.io.imatrix_file import read_imatrix_file

    (folder / "text.txt").write_text(text)
    made = folder / "theirs.gguf"
    subprocess.run([binary, "-m", model, "-f", folder / "text.txt", "-o", made, "-c", str(CONTEXT), "-b", str(CONTEXT), "-ub",
                    str(CONTEXT), "--chunks", str(CHUNKS), "-ctk", "f32", "-ctv", "f32", "-fa", "off", "-t", "1", "--no-ppl"],
                   check=True, capture_output=True)
    theirs = read_imatrix_file(made).entries
    if theirs.keys() != found.sums.keys():
        raise SystemExit(f"llama-imatrix names other weights: {theirs.keys() ^ found.sums.keys()}")
    for name, entry in theirs.items():
        np.testing.assert_array_equal(entry.counts, found.counts[name], err_msg=name)
        np.testing.assert_allclose(entry.sums.reshape(-1), found.sums[name].reshape(-1), 1e-6, err_msg=name)


if __name__ == "__main__":
    corpus = (ROOT / "tests" / "zoo" / "corpus.txt").read_text() * REPEATS
    for one in sys.argv[2:]:
        record(one, sys.argv[1], corpus)
