"""Runs llama.cpp's C library in a process of its own: an assertion in C ends this process, not the tests.

Usage: python llama_worker.py LIBRARY [BACKEND_FOLDER]. One JSON request per line on stdin, one JSON answer per line on stdout.
The structures of parameters are taken as arrays of 32-bit words: the words used here have stood at the same place from
llama.cpp 0.5 to 0.6 while others moved; the defaults are compared before anything is set.
"""

import base64
import ctypes
import json
import os
import sys
from pathlib import Path

import numpy as np

WORDS = 128
N_GPU_LAYERS, LOAD_FLAGS = 4, 18
N_CTX, N_BATCH, N_UBATCH, N_THREADS, N_THREADS_BATCH, POOLING, FLASH, TYPE_K, TYPE_V = 0, 1, 2, 7, 8, 11, 13, 26, 27
SWA_FULL = 35
CTX_OTHER = 40  # a pointer: two words
F32 = 0
WARN = 3  # of ggml's log levels
RANK = 4  # LLAMA_POOLING_TYPE_RANK


class Words(ctypes.Structure):
    _fields_ = (("word", ctypes.c_int32 * WORDS),)


class Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


class SeenParams(ctypes.Structure):
    """mtmd's parameters, with slack at the end."""

    _fields_ = (
        ("use_gpu", ctypes.c_bool),
        ("device", ctypes.c_void_p),
        ("print_timings", ctypes.c_bool),
        ("n_threads", ctypes.c_int32),
        ("markers", ctypes.c_void_p * 2),
        ("flash", ctypes.c_int32),
        ("warmup", ctypes.c_bool),
        ("image_tokens", ctypes.c_int32 * 2),
        ("slack", ctypes.c_int64 * 16),
    )


class SeenText(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char_p), ("length", ctypes.c_size_t), ("add_special", ctypes.c_bool), ("parse", ctypes.c_bool))


POINTERS = (
    "llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab", "llama_adapter_lora_init",
)  # fmt: skip
ROWS = ("llama_get_logits_ith", "llama_get_embeddings_ith", "llama_get_embeddings_seq")
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Runtime:
    def __init__(self, library: str, backends: str | None) -> None:
        if backends:
            ggml = ctypes.CDLL(str(next(Path(backends).glob("libggml.*so"))), mode=ctypes.RTLD_GLOBAL)
            ggml.ggml_backend_load_all_from_path(backends.encode())
        self.lib = lib = ctypes.CDLL(library)
        for name in POINTERS:
            getattr(lib, name).restype = ctypes.c_void_p
        for name in ROWS:
            getattr(lib, name).restype = ctypes.POINTER(ctypes.c_float)
        for name in ("llama_model_has_encoder", "llama_model_has_decoder"):
            getattr(lib, name).restype = ctypes.c_bool
        for name in ("llama_model_default_params", "llama_context_default_params"):
            getattr(lib, name).restype = Words
        lib.llama_batch_init.restype = Batch
        self.log: list[str] = []
        self.least = WARN
        self.callback = LOG(lambda level, text, _: self.log.append(text.decode(errors="replace"))
                            if level >= self.least else None)
        lib.llama_log_set(self.callback, None)
        lib.llama_backend_init()
        self.model_params = lib.llama_model_default_params()
        self.context_params = lib.llama_context_default_params()
        model, context = self.model_params.word, self.context_params.word
        if model[LOAD_FLAGS] != 1 << 16 or list(context[:3]) != [512, 2048, 512] or list(context[26:28]) != [1, 1] or context[SWA_FULL] != 1:
            raise RuntimeError("llama.cpp's parameter structures have changed: llama_worker.py must be adapted")
        model[N_GPU_LAYERS], model[LOAD_FLAGS] = 0, 0  # no repacked weights: plain kernels only

    def load(self, path: str) -> ctypes.c_void_p:
        self.log.clear()
        model = self.lib.llama_model_load_from_file(path.encode(), self.model_params)
        if not model:
            raise RuntimeError("llama.cpp does not load the file: " + self._said())
        return ctypes.c_void_p(model)

    def _said(self) -> str:
        return "".join(self.log).strip()[-1500:]

    def run(self, path: str, ids: list[int], lora: str | None, scale: float, want: str) -> np.ndarray:
        """Logits or per-token embeddings [len(ids), width], the pooled embedding [1, width], or a classifier's scores [1, labels]; float32. A decoder behind an
        encoder gets the same ids."""
        lib, count = self.lib, len(ids)
        model = self.load(path)
        vocab = ctypes.c_void_p(lib.llama_model_get_vocab(model))
        width = (lib.llama_vocab_n_tokens(vocab) if want == "logits" else lib.llama_model_n_cls_out(model) if want == "scores"
                 else lib.llama_model_n_embd_out(model))
        words = Words.from_buffer_copy(self.context_params)
        words.word[N_CTX] = words.word[N_BATCH] = words.word[N_UBATCH] = max(count, 32)
        words.word[N_THREADS] = words.word[N_THREADS_BATCH] = 1
        words.word[FLASH], words.word[TYPE_K], words.word[TYPE_V] = 0, F32, F32
        if want == "embeddings":
            words.word[POOLING] = 0
        if want == "scores":
            words.word[POOLING] = RANK
        context = lib.llama_init_from_model(model, words)
        if not context:
            raise RuntimeError("llama.cpp makes no context: " + self._said())
        context = ctypes.c_void_p(context)
        lib.llama_set_embeddings(context, want != "logits")
        if lora:
            adapter = lib.llama_adapter_lora_init(model, lora.encode())
            if not adapter:
                raise RuntimeError("llama.cpp does not load the adapter: " + self._said())
            adapters, scales = (ctypes.c_void_p * 1)(adapter), (ctypes.c_float * 1)(scale)
            if lib.llama_set_adapters_lora(context, adapters, ctypes.c_size_t(1), scales):
                raise RuntimeError("llama.cpp does not apply the adapter: " + self._said())
        batch = lib.llama_batch_init(count, 0, 1)
        batch.n_tokens = count
        for index, token in enumerate(ids):
            batch.token[index], batch.pos[index], batch.n_seq_id[index], batch.logits[index] = token, index, 1, 1
            batch.seq_id[index][0] = 0
        if lib.llama_model_has_encoder(model) and (status := lib.llama_encode(context, batch)):
            raise RuntimeError(f"llama_encode gave {status}: " + self._said())
        if lib.llama_model_has_decoder(model) and (status := lib.llama_decode(context, batch)):
            raise RuntimeError(f"llama_decode gave {status}: " + self._said())
        if want in ("pooled", "scores"):
            out = np.ctypeslib.as_array(lib.llama_get_embeddings_seq(context, 0), (1, width)).copy()
        else:
            row = lib.llama_get_logits_ith if want == "logits" else lib.llama_get_embeddings_ith
            out = np.stack([np.ctypeslib.as_array(row(context, index), (width,)) for index in range(count)])
        lib.llama_batch_free(batch)
        lib.llama_free(context)
        lib.llama_model_free(model)
        return out

    def features(self, path: str, mmproj: str, size: list[int], data: str) -> np.ndarray:
        """What a projector makes of an image (`size`: width and height; `data`: RGB bytes) or of sound (`size`: samples; float32),
        [tokens, width of what the text model takes]; float32."""
        lib, raw = self.lib, base64.b64decode(data)
        model = self.load(path)
        lib.mtmd_context_params_default.restype = SeenParams
        for name in ("mtmd_init_from_file", "mtmd_bitmap_init", "mtmd_bitmap_init_from_audio", "mtmd_input_chunks_init",
                     "mtmd_input_chunks_get"):
            getattr(lib, name).restype = ctypes.c_void_p
        lib.mtmd_default_marker.restype = ctypes.c_char_p
        lib.mtmd_input_chunks_size.restype = lib.mtmd_input_chunk_get_n_tokens.restype = ctypes.c_size_t
        lib.mtmd_get_output_embd.restype = ctypes.POINTER(ctypes.c_float)
        lib.mtmd_log_set(self.callback, None)
        params = lib.mtmd_context_params_default()
        if (params.n_threads, params.warmup) != (4, True):
            raise RuntimeError("mtmd's parameters have changed: llama_worker.py must be adapted")
        params.use_gpu, params.print_timings, params.n_threads, params.flash, params.warmup = False, False, 1, 0, False
        context = ctypes.c_void_p(lib.mtmd_init_from_file(mmproj.encode(), model, params))
        if not context:
            raise RuntimeError("mtmd does not load the file: " + self._said())
        if len(size) == 2:
            bitmap = lib.mtmd_bitmap_init(ctypes.c_uint32(size[0]), ctypes.c_uint32(size[1]), raw)
        else:
            bitmap = lib.mtmd_bitmap_init_from_audio(ctypes.c_size_t(size[0]), raw)
        chunks = ctypes.c_void_p(lib.mtmd_input_chunks_init())
        marker = lib.mtmd_default_marker()
        text = SeenText(marker, len(marker), False, True)
        if status := lib.mtmd_tokenize(context, chunks, ctypes.byref(text), (ctypes.c_void_p * 1)(bitmap), ctypes.c_size_t(1)):
            raise RuntimeError(f"mtmd_tokenize gave {status}: " + self._said())
        width, found = lib.llama_model_n_embd_inp(model), []
        for index in range(lib.mtmd_input_chunks_size(chunks)):
            chunk = ctypes.c_void_p(lib.mtmd_input_chunks_get(chunks, ctypes.c_size_t(index)))
            if lib.mtmd_input_chunk_get_type(chunk):
                if status := lib.mtmd_encode_chunk(context, chunk):
                    raise RuntimeError(f"mtmd_encode_chunk gave {status}: " + self._said())
                count = lib.mtmd_input_chunk_get_n_tokens(chunk)
                found.append(np.ctypeslib.as_array(lib.mtmd_get_output_embd(context), (count, width)).copy())
        lib.mtmd_free(context)
        lib.llama_model_free(model)
        return np.concatenate(found)

    def draft(self, path: str, target: str, ids: list[int], width: int, count: int) -> np.ndarray:
        """Logits [len(ids), vocabulary], float32, of a draft model beside its target, for hidden states of the target that are
        made up. `width`: of such a state as the draft reads it; `count`: how many stand side by side, 0 where each goes with
        a token."""
        lib = self.lib
        contexts, models = [], []
        for file in (target, path):
            models.append(self.load(file))
            words = Words.from_buffer_copy(self.context_params)
            words.word[N_CTX] = words.word[N_BATCH] = words.word[N_UBATCH] = 64
            words.word[N_THREADS] = words.word[N_THREADS_BATCH] = 1
            words.word[FLASH], words.word[TYPE_K], words.word[TYPE_V] = 0, F32, F32
            if contexts:
                ctypes.cast(ctypes.byref(words, 4 * CTX_OTHER), ctypes.POINTER(ctypes.c_void_p))[0] = contexts[0].value
            context = lib.llama_init_from_model(models[-1], words)
            if not context:
                raise RuntimeError("llama.cpp makes no context: " + self._said())
            contexts.append(ctypes.c_void_p(context))
        states = np.sin(np.arange(len(ids) * width * max(count, 1), dtype=np.float32))
        places = (ctypes.c_int32 * len(ids))(*range(len(ids)))
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        steps = [(None, states, 0), (tokens, None, len(ids))] if count else [(tokens, states, 0)]
        for token, made, start in steps:
            whole = lib.llama_batch_init(len(ids), 0, 1)
            batch = Batch.from_buffer_copy(whole)
            batch.n_tokens = len(ids)
            batch.token = ctypes.cast(token, ctypes.POINTER(ctypes.c_int32)) if token is not None else None
            batch.embd = made.ctypes.data if made is not None else None
            for index in places:
                batch.pos[index], batch.n_seq_id[index], batch.logits[index] = start + index, 1, 1
                batch.seq_id[index][0] = 0
            status = lib.llama_decode(contexts[1], batch)
            lib.llama_batch_free(whole)
            if status:
                raise RuntimeError(f"llama_decode gave {status}: " + self._said())
        vocab = ctypes.c_void_p(lib.llama_model_get_vocab(models[1]))
        size = lib.llama_vocab_n_tokens(vocab)
        out = np.stack([np.ctypeslib.as_array(lib.llama_get_logits_ith(contexts[1], index), (size,)) for index in places])
        for context in reversed(contexts):
            lib.llama_free(context)
        for model in models:
            lib.llama_model_free(model)
        return out

    def caches(self, path: str, length: int) -> list[str]:
        """What the runtime says of the caches of a context of that length, with its own settings."""
        model = self.load(path)
        words = Words.from_buffer_copy(self.context_params)
        words.word[N_CTX], words.word[N_BATCH], words.word[N_UBATCH] = length, 512, 512
        words.word[SWA_FULL] = 0  # as in llama.cpp's own programs
        self.log.clear()
        self.least = 0
        context = self.lib.llama_init_from_model(model, words)
        self.least = WARN
        said = "".join(self.log).splitlines()
        if not context:
            raise RuntimeError("llama.cpp makes no context: " + self._said())
        self.lib.llama_free(ctypes.c_void_p(context))
        self.lib.llama_model_free(model)
        return said

    def tokenize(self, path: str, texts: list[str], special: bool, add_special: bool) -> list[list[int]]:
        model = self.load(path)
        vocab = ctypes.c_void_p(self.lib.llama_model_get_vocab(model))
        out = []
        for text in texts:
            raw = text.encode("utf-8", "surrogatepass")
            room = (ctypes.c_int32 * (len(raw) + 16))()
            count = self.lib.llama_tokenize(vocab, raw, len(raw), room, len(room), add_special, special)
            if count < 0:
                raise RuntimeError(f"llama_tokenize gave {count} for {text!r}")
            out.append(list(room[:count]))
        self.lib.llama_model_free(model)
        return out

    def detokenize(self, path: str, rows: list[list[int]], unparse: bool) -> list[str]:
        model = self.load(path)
        vocab = ctypes.c_void_p(self.lib.llama_model_get_vocab(model))
        out = []
        for ids in rows:
            tokens, room = (ctypes.c_int32 * len(ids))(*ids), ctypes.create_string_buffer(64 * len(ids) + 64)
            count = self.lib.llama_detokenize(vocab, tokens, len(ids), room, len(room), False, unparse)
            out.append(room.raw[: max(count, 0)].decode("utf-8", "replace"))
        self.lib.llama_model_free(model)
        return out


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the library prints, too
    sys.stdout = sys.stderr
    runtime = Runtime(*sys.argv[1:3], *([None] if len(sys.argv) < 3 else []))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = getattr(runtime, request.pop("call"))(**request)
            if isinstance(result, np.ndarray):
                data = base64.b64encode(np.ascontiguousarray(result, "<f4").tobytes()).decode()
                result = {"shape": result.shape, "data": data}
            answer = {"result": result}
        except Exception as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
