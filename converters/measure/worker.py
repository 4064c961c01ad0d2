"""llama.cpp over a text with several files side by side, in a process of its own: an assertion in C ends this one alone.

One JSON request on stdin: {"library", "files", "text", "context", "chunks", "threads"}; the first of the files is the base. On
stdout a JSON line per chunk, {"done", "of"}, then {"rows": [...]}, the figures of each file (`Sums.row`); or {"error": text,
"file": path or null}.
Chunks and positions are those of llama-perplexity: the second half of each chunk is judged. Nothing is kept but five numbers a
position. The structures of parameters are taken as 32-bit words; their defaults are compared before any is set.
"""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WORDS = 128
N_CTX, N_BATCH, N_UBATCH, THREADS, THREADS_BATCH = 0, 1, 2, 7, 8
DEFAULTS = [512, 2048, 512]  # of the first three
ROWS = 32  # positions whose probabilities are in memory at a time, in float64
DEPTH, STEPS = np.float32(16), np.float32(65535)  # of the base's log-probabilities


class _Params(ctypes.Structure):
    _fields_ = (("word", ctypes.c_int32 * WORDS),)


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


@dataclass
class Sums:
    """Of one file: for each position the negative log-likelihood of the token that follows, the same in the base, its
    probability less that in the base, the divergence from the base, and whether both think the same token likeliest."""

    loss: list[np.ndarray] = field(default_factory=list)
    base_loss: list[np.ndarray] = field(default_factory=list)
    shift: list[np.ndarray] = field(default_factory=list)
    divergence: list[np.ndarray] = field(default_factory=list)
    same_top: list[np.ndarray] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        """The figures; `..._error` is the standard error of the mean."""
        loss, base_loss, shift, divergence, same = (
            np.concatenate(parts) for parts in (self.loss, self.base_loss, self.shift, self.divergence, self.same_top))
        ranked = np.sort(divergence.astype(np.float32))
        squares = np.square(shift).astype(np.float64)
        rms = root(mean(squares))
        perplexity, share = float(np.exp(mean(loss))), float(same.mean())
        return {
            "positions": loss.size, "perplexity": perplexity, "perplexity_error": perplexity * error(loss),
            "log_ratio": mean(loss) - mean(base_loss), "log_ratio_error": root(
                covariance(loss, loss) + covariance(base_loss, base_loss) - 2 * covariance(loss, base_loss)),
            "divergence": float(divergence.mean()), "divergence_error": error(divergence),
            "divergence_median": float(np.median(ranked)), "divergence_999": quantile(ranked, np.float32(0.999)),
            "divergence_max": float(ranked[-1]), "rms_dp": rms,
            "rms_dp_error": error(squares) / (2 * rms) if rms else 0.0, "same_top": share,
            "same_top_error": root(share * (1 - share) / max(same.size - 1, 1)),
        }


def mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64))


def covariance(a: np.ndarray, b: np.ndarray) -> float:
    """Of their means."""
    return (mean(a * b) - mean(a) * mean(b)) / max(a.size - 1, 1)


def error(values: np.ndarray) -> float:
    """The standard error of their mean."""
    return root(covariance(values, values))


def root(x: float) -> float:
    return float(np.sqrt(max(x, 0)))


def quantile(ranked: np.ndarray, share: np.float32) -> float:
    """Between its neighbours in proportion, in float32 as they are."""
    place = share * np.float32(ranked.size - 1)
    below = int(place)
    part = place - np.float32(below)
    return float((np.float32(1) - part) * ranked[below] + part * ranked[min(below + 1, ranked.size - 1)])


def judge_base(logits: np.ndarray, following: np.ndarray, sums: Sums) -> np.ndarray:
    """Add positions of the base to its own figures: logits float32 [positions, vocabulary], and the tokens that follow. Returns
    what files are held against, in the place of the logits."""
    for start in range(0, len(logits), ROWS):
        part = logits[start : start + ROWS]
        told = following[start : start + ROWS]
        loss = ((part.max(1) + log_sum(part)) - part[np.arange(len(told)), told]).astype(np.float64)
        sums.loss.append(loss)
        sums.base_loss.append(loss)
        part[:] = in_steps(part)
        for zeros in (sums.shift, sums.divergence):
            zeros.append(np.zeros(len(told)))
        sums.same_top.append(np.ones(len(told), bool))
    return logits


def judge(base: np.ndarray, logits: np.ndarray, following: np.ndarray, sums: Sums) -> None:
    """Add positions: what `judge_base` gave, logits float32 [positions, vocabulary] of a file, and the tokens that follow.

    In llama-perplexity's precision, float32 but for what is added up, so that its figures come out to the last digit.
    """
    for start in range(0, len(base), ROWS):
        expected, found = base[start : start + ROWS], logits[start : start + ROWS]
        told = following[start : start + ROWS]
        at = np.arange(len(told)), told
        whole = found.max(1) + log_sum(found)
        loss, base_loss = whole - found[at], -expected[at]
        sums.loss.append(loss)
        sums.base_loss.append(base_loss)
        sums.shift.append(exp(-loss) - exp(-base_loss))
        terms = exp(expected) * ((expected - found) + whole[:, None])
        sums.divergence.append(np.where(expected > -DEPTH, terms, 0).sum(1, dtype=np.float64))
        sums.same_top.append(expected.argmax(1) == found.argmax(1))


def in_steps(logits: np.ndarray) -> np.ndarray:
    """float32 [positions, vocabulary]: log-probabilities as a file of --kl-divergence-base holds them, in STEPS steps from the
    likeliest to DEPTH nats below. Figures without them would be others from the fifth digit on."""
    top = logits.max(1, keepdims=True)
    least = np.maximum(logits.min(1, keepdims=True), top - DEPTH)
    floor = (least - top) - log_sum(logits)[:, None]
    scale = (top - least) / STEPS
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(logits > least, np.rint((1 / scale) * (logits - least)), np.float32(0))
    return scale * steps + floor


def log_sum(logits: np.ndarray) -> np.ndarray:
    """float32 [positions]: the logarithm of the sum of exponentials, less the largest logit."""
    return np.log(exp(logits - logits.max(1, keepdims=True)).sum(1, dtype=np.float64)).astype(np.float32)


def exp(x: np.ndarray) -> np.ndarray:
    """float32, rounded once: numpy's own of float32 depends on the processor."""
    return np.exp(x.astype(np.float64)).astype(np.float32)


class Refused(RuntimeError):
    """What llama.cpp does not do, and with which file."""

    def __init__(self, message: str, file: str) -> None:
        super().__init__(message)
        self.file = file


class Runtime:
    """Files loaded side by side."""

    def __init__(self, library: str, files: list[str], context: int, threads: int) -> None:
        self.lib = lib = ctypes.CDLL(library)
        for name in ("llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab", "llama_get_memory"):
            getattr(lib, name).restype = ctypes.c_void_p
        lib.llama_model_default_params.restype = lib.llama_context_default_params.restype = _Params
        lib.llama_batch_init.restype = _Batch
        lib.llama_get_logits.restype = ctypes.POINTER(ctypes.c_float)
        lib.llama_vocab_get_add_bos.restype = ctypes.c_bool
        lib.llama_backend_init()
        self.files, self.contexts, self.vocabs = files, [], []
        for file in files:
            model = ctypes.c_void_p(lib.llama_model_load_from_file(file.encode(), lib.llama_model_default_params()))
            if not model:
                raise Refused("llama.cpp does not load it", file)
            words = lib.llama_context_default_params()
            if list(words.word[:3]) != DEFAULTS:
                raise RuntimeError("this version of llama.cpp has other parameters than ggufx knows")
            words.word[N_CTX] = words.word[N_BATCH] = context
            words.word[N_UBATCH] = min(context, DEFAULTS[2])
            words.word[THREADS] = words.word[THREADS_BATCH] = threads
            made = ctypes.c_void_p(lib.llama_init_from_model(model, words))
            if not made:
                raise Refused("llama.cpp makes no context of it", file)
            self.contexts.append(made)
            self.vocabs.append(ctypes.c_void_p(lib.llama_model_get_vocab(model)))
        self.width = {lib.llama_vocab_n_tokens(vocab) for vocab in self.vocabs}
        if len(self.width) > 1:
            raise RuntimeError(f"the files have vocabularies of different sizes: {sorted(self.width)}")

    def chunks(self, text: str, context: int, most: int | None) -> np.ndarray:
        """int32 [chunks, context]: by the vocabulary of the base, which must be that of all."""
        found = [self._tokens(vocab, text) for vocab in self.vocabs]
        if any(ids != found[0] for ids in found):
            raise RuntimeError("the files cut the text into different tokens")
        count = len(found[0]) // context
        if count < 2:
            raise RuntimeError(f"the text has {len(found[0])} tokens, at least {2 * context} are needed")
        out = np.array(found[0][: count * context], np.int32).reshape(count, context)[:most]
        if self.lib.llama_vocab_get_add_bos(self.vocabs[0]):
            out[:, 0] = self.lib.llama_vocab_bos(self.vocabs[0])
        return out

    def _tokens(self, vocab: ctypes.c_void_p, text: str) -> list[int]:
        raw = text.encode()
        room = (ctypes.c_int32 * (2 * len(raw) + 16))()
        count = self.lib.llama_tokenize(vocab, raw, len(raw), room, len(room), True, False)
        if count < 0:
            raise RuntimeError("llama.cpp does not cut the text into tokens")
        return list(room[:count])

    def logits(self, number: int, chunk: np.ndarray) -> np.ndarray:
        """float32 [positions, vocabulary]: what follows each token of the second half, but for the last."""
        lib, context, count = self.lib, self.contexts[number], len(chunk)
        lib.llama_memory_clear(ctypes.c_void_p(lib.llama_get_memory(context)), True)
        whole = lib.llama_batch_init(count, 0, 1)
        batch = _Batch.from_buffer_copy(whole)
        batch.n_tokens = count
        for i, token in enumerate(chunk):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = int(token), i, 1, 0
            batch.logits[i] = count // 2 <= i < count - 1
        status = lib.llama_decode(context, batch)
        lib.llama_batch_free(whole)
        if status:
            raise Refused(f"llama.cpp fails on a chunk, with {status}", self.files[number])
        rows = count - 1 - count // 2
        found = np.ctypeslib.as_array(lib.llama_get_logits(context), (rows, *self.width)).copy()
        if not (found < np.inf).all():
            raise Refused("llama.cpp computes no numbers from it: are its weights finite?", self.files[number])
        return found


def run(library: str, files: list[str], text: str, context: int, chunks: int | None, threads: int, say: Any) -> list[Any]:
    """The figures of each file, of the base first."""
    runtime = Runtime(library, files, context, threads)
    sums = [Sums() for _ in files]
    cut = runtime.chunks(text, context, chunks)
    for number, chunk in enumerate(cut):
        following = chunk[context // 2 + 1 :]
        base = judge_base(runtime.logits(0, chunk), following, sums[0])
        for file in range(1, len(files)):
            judge(base, runtime.logits(file, chunk), following, sums[file])
        say({"done": (number + 1) * context, "of": cut.size})
    return [one.row() for one in sums]


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr

    def say(data: Any) -> None:
        out.write(json.dumps(data) + "\n")
        out.flush()

    try:
        say({"rows": run(**json.load(sys.stdin), say=say)})
    except (RuntimeError, OSError, AttributeError) as error:
        say({"error": str(error), "file": getattr(error, "file", None)})


if __name__ == "__main__":
    main()
