"""Base and quantized GGUF files over one text, as llama-perplexity --kl-divergence compares them, without a file of logits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UnsupportedError, UsageError
from ..io.texts import read_texts
from ..verify.tokenizers import runtime_library
from .sampled import identity


@dataclass(frozen=True)
class Measured:
    """Of one file; divergences (Kullback-Leibler, from the base) in nats. `log_ratio`: the logarithm of its perplexity over the
    base's. `rms_dp`: root mean square of how far the probability of the token that follows is from the base's. `..._error`: the
    standard error. `size`: bytes, of a split model in all; `sampled_sha256`: by which the file is known again."""

    path: Path
    size: int
    sampled_sha256: str
    positions: int
    perplexity: float
    perplexity_error: float
    log_ratio: float
    log_ratio_error: float
    divergence: float
    divergence_error: float
    divergence_median: float
    divergence_999: float
    divergence_max: float
    rms_dp: float
    rms_dp_error: float
    same_top: float
    same_top_error: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


def measure(base: Path, files: Sequence[Path], data: Sequence[Path], context: int = 512, chunks: int | None = None,
            threads: int | None = None, progress: Callable[[int, int, str], None] | None = None) -> list[Measured]:
    """The base, then each file. Chunks, BOS and judged positions are those of llama-perplexity.

    Raises UsageError without text, InputError for what llama.cpp does not take, UnsupportedError without xllamacpp.
    """
    if not data:
        raise UsageError("no text to measure on", hint="Name one with --data.")
    paths = [base, *files]
    known = [(path, *identity(path)) for path in paths]
    request = {"library": str(runtime_library()), "files": [str(p) for p in paths], "text": read_texts(data),
               "context": context, "chunks": chunks, "threads": threads or os.cpu_count() or 1}
    worker = subprocess.Popen([sys.executable, "-m", f"{__package__}.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, encoding="utf-8")
    answer: dict[str, Any] = {}
    try:
        with worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            json.dump(request, worker.stdin)
            worker.stdin.close()
            for line in worker.stdout:
                answer = json.loads(line)
                if "done" in answer and progress is not None:
                    progress(answer["done"], answer["of"], "")
    except BaseException:
        worker.kill()
        raise
    if "error" in answer:
        raise UnsupportedError(answer["error"], file=answer["file"])
    if "rows" not in answer:
        raise InputError(f"llama.cpp ended with {worker.returncode} on one of the files", file=base)
    return [Measured(*file, **row) for file, row in zip(known, answer["rows"], strict=True)]

