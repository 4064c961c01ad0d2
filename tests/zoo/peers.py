"""The judges: llama.cpp's converter scripts, llama.cpp's runtime, transformers, and a reader of GGUF files.

Where they come from: the converter from the llama.cpp folder in GGUFX_LLAMA_CPP; the runtime from the installed `xllamacpp` (its
library exports llama.cpp's C functions) or else from the folder of GGUFX_LIBGGML; transformers from the environment.
`missing_converter()` and `missing_runtime()` give the reason to skip a test, or None.
"""

import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_HERE = Path(__file__).parent
RUNTIME_GENERAL = ("general.architecture", "general.file_type", "general.quantization_version", "general.alignment")


class PeerError(Exception):
    """A peer refused or died; the text is what it said."""


def llama_cpp() -> Path | None:
    """The llama.cpp checkout, or None."""
    root = os.environ.get("GGUFX_LLAMA_CPP")
    return Path(root) if root and (Path(root) / "convert_hf_to_gguf.py").exists() else None


def missing_converter() -> str | None:
    return None if llama_cpp() else "GGUFX_LLAMA_CPP names no llama.cpp folder"


@cache
def _library() -> tuple[str, ...] | None:
    """Arguments for llama_worker.py: the library, and the folder of its backends where they are apart."""
    spec = importlib.util.find_spec("xllamacpp")
    if spec and spec.origin:
        for path in sorted(Path(spec.origin).parent.glob("xllamacpp*.so")):
            return (str(path),)
    base = os.environ.get("GGUFX_LIBGGML")
    for path in sorted(Path(base).parent.glob("libllama.*so")) if base else ():
        return str(path), str(path.parent)
    return None


def missing_runtime() -> str | None:
    return None if _library() else "neither xllamacpp nor GGUFX_LIBGGML"


class _Worker:
    """A helper process that answers one line per line; started when first asked, and again after it died."""

    def __init__(self, script: str, *arguments: str) -> None:
        self.command = [sys.executable, str(_HERE / script), *arguments]
        self.process: subprocess.Popen | None = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)

    def ask(self, request: dict[str, Any]) -> str:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
            )
        self.errors.seek(0)
        self.errors.truncate()
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            status = self.process.wait()
            self.errors.seek(0)
            raise PeerError(f"ended with {status}: " + self.errors.read().decode(errors="replace").strip()[-1500:])
        return answer


@cache
def _converter() -> _Worker:
    return _Worker("peer_convert.py", str(llama_cpp()))


@cache
def _runtime() -> _Worker:
    return _Worker("llama_worker.py", *_library())


def _convert(script: str, pre: str, out: Path, arguments: Sequence[str], built_in: Mapping[str, Any] | None = None) -> Path:
    if reason := missing_converter():
        raise PeerError(reason)
    log = out.with_suffix(".log")
    request = {"script": script, "pre": pre, "arguments": [*arguments, "--outfile", str(out)], "log": str(log), "built_in": dict(built_in or {})}
    status = int(_converter().ask(request))
    if status or not out.exists():
        raise PeerError(f"{script} ended with {status}: {log.read_text(errors='replace').strip()[-1500:]}")
    return out


def llama_cpp_convert(folder: Path, outtype: str, out: Path, pre: str = "default", options: Sequence[str] = (),
                      built_in: Mapping[str, Any] | None = None) -> Path:
    """The GGUF that llama.cpp's convert_hf_to_gguf.py makes of the checkpoint `folder`, written to `out`.

    `pre` is the pre-tokenizer's name (`zoo.kinds.vocab(kind).pre`), `built_in` sizes in place of a class's own. Raises PeerError with the end of its log.
    """
    return _convert("convert_hf_to_gguf.py", pre, out, [str(folder), "--outtype", outtype, *options], built_in)


def of_target(target: Path | None = None) -> tuple[str, ...]:
    """What the converter is told of a draft's target."""
    return () if target is None else ("--target-model-dir", str(target))


def llama_cpp_convert_lora(adapter: Path, base: Path, outtype: str, out: Path) -> Path:
    """The GGUF adapter that llama.cpp's convert_lora_to_gguf.py makes; raises PeerError with the end of its log."""
    return _convert("convert_lora_to_gguf.py", "default", out, [str(adapter), "--base", str(base), "--outtype", outtype])


def _call(**request: Any) -> Any:
    if reason := missing_runtime():
        raise PeerError(reason)
    answer = json.loads(_runtime().ask(request))
    if "error" in answer:
        raise PeerError(answer["error"])
    result = answer["result"]
    if isinstance(result, dict) and "data" in result:
        return np.frombuffer(base64.b64decode(result["data"]), "<f4").reshape(result["shape"])
    return result


def cache_mebibytes(path: Path, length: int) -> float:
    """What llama.cpp says that the caches of a context of that length take, to a hundredth each."""
    lines = _call(call="caches", path=str(path), length=length)
    found = [re.match(r"llama_(?:kv_cache|memory_recurrent): size = +([0-9.]+) MiB", line) for line in lines]
    return sum(float(match[1]) for match in found if match)


def llama_logits(gguf: Path, ids: Sequence[int], lora: Path | None = None, scale: float = 1.0) -> np.ndarray:
    """llama.cpp's logits [len(ids), vocabulary], float32, for one sequence: float32 cache, no flash attention."""
    return _call(call="run", path=str(gguf), ids=list(ids), lora=lora and str(lora), scale=scale, want="logits")


def llama_embeddings(gguf: Path, ids: Sequence[int], *, pooled: bool = False, lora: Path | None = None) -> np.ndarray:
    """llama.cpp's last hidden states [len(ids), width], or [1, width] as the file's pooling type says; not normalised."""
    want = "pooled" if pooled else "embeddings"
    return _call(call="run", path=str(gguf), ids=list(ids), lora=lora and str(lora), scale=1.0, want=want)


def llama_scores(gguf: Path, ids: Sequence[int], lora: Path | None = None) -> np.ndarray:
    """llama.cpp's scores [labels], of a classifier: what its rank pooling makes of the sequence."""
    return _call(call="run", path=str(gguf), ids=list(ids), lora=lora and str(lora), scale=1.0, want="scores")[0]


def llama_features(gguf: Path, mmproj: Path, media: np.ndarray) -> np.ndarray:
    """What llama.cpp's mtmd makes of an image (uint8 [height, width, 3]) or of sound (float32 [samples]): [tokens, width]."""
    size = [media.shape[1], media.shape[0]] if media.ndim == 3 else [len(media)]
    return _call(call="features", path=str(gguf), mmproj=str(mmproj), size=size, data=base64.b64encode(media.tobytes()).decode())


def llama_draft(gguf: Path, target: Path, ids: Sequence[int]) -> np.ndarray:
    """llama.cpp's logits [len(ids), vocabulary] of a draft model beside its target's file, for made-up hidden states."""
    keys = read_peer_gguf(gguf).values
    arch = keys["general.architecture"][1]
    width = keys[f"{arch}.embedding_length"][1]
    layers = len(keys[f"{arch}.target_layers"][1]) if arch == "dflash" else 0  # EAGLE-3 reads one that its encoder made
    out = _call(call="draft", path=str(gguf), target=str(target), ids=list(ids), width=width, count=layers)
    return np.where(np.isneginf(out), np.float32(0), out)  # of tokens that the draft does not have


def tokenize(gguf: Path, texts: Sequence[str], *, special: bool = True, add_special: bool = False) -> list[list[int]]:
    """llama.cpp's ids; `special` reads the names of control tokens as tokens, `add_special` puts BOS and EOS."""
    return _call(call="tokenize", path=str(gguf), texts=list(texts), special=special, add_special=add_special)


def detokenize(gguf: Path, rows: Iterable[Sequence[int]], *, special: bool = True) -> list[str]:
    return _call(call="detokenize", path=str(gguf), rows=[list(row) for row in rows], unparse=special)


@cache
def _loaded(folder: str, adapter: str | None):
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    name = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    loaded = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if adapter:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, adapter)
        fill(loaded, Path(adapter) / "adapter_model.safetensors")
    # A mapped file begins a tensor anywhere, and some processors sum in another order from there: equal weights at equal places.
    return loaded.float()._apply(lambda tensor: tensor.clone()).eval()


def fill(model: Any, saved: Path, adapter: str = "default") -> None:
    """Put factors in that peft loses when it loads what it saved (Laguna's shared experts, which transformers renames)."""
    from safetensors.torch import load_file

    held = dict(model.named_parameters())
    for name, factor in load_file(saved).items():
        for side in ("lora_A", "lora_B"):
            if (parameter := held.get(name.replace(f".{side}.weight", f".{side}.{adapter}.weight"))) is not None:
                parameter.data = factor.to(parameter.dtype)


def forget() -> None:
    """Let go of the models that transformers loaded: their folders may be gone."""
    _loaded.cache_clear()


def _forward(folder: Path, ids: Sequence[int], adapter: Path | None, **asked: bool):
    import torch

    model, tokens = _loaded(str(folder), adapter and str(adapter)), torch.tensor([list(ids)])
    decoder = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        return model(input_ids=tokens, **decoder, **asked)


def transformers_logits(folder: Path, ids: Sequence[int], adapter: Path | None = None) -> np.ndarray:
    """transformers' logits [len(ids), vocabulary] in float32, with a PEFT adapter where given."""
    return _forward(folder, ids, adapter).logits[0].numpy()


def transformers_embeddings(folder: Path, ids: Sequence[int], adapter: Path | None = None) -> np.ndarray:
    """transformers' last hidden states [len(ids), width] in float32; those below the head, of a class that has one."""
    out = _forward(folder, ids, adapter, output_hidden_states=True)
    return (out.last_hidden_state if "last_hidden_state" in out else out.hidden_states[-1])[0].numpy()


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest deviation, as a part of the largest expected value; infinite where shapes differ or values are not finite."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@dataclass(frozen=True)
class Gguf:
    """A GGUF file as the `gguf` package reads it: key-values as (type, value), tensors as (type, shape outermost first, bytes)."""

    values: dict[str, tuple[str, Any]]
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]]


def read_peer_gguf(path: Path) -> Gguf:
    """Read with the `gguf` package, which shares no code with ours."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    values = {}
    for key, entry in reader.fields.items():
        if not key.startswith("GGUF."):
            kinds = "/".join(kind.name for kind in entry.types[:2])
            values[key] = (kinds, entry.contents())
    tensors = {
        entry.name: (entry.tensor_type.name, tuple(int(n) for n in reversed(entry.shape)), entry.data.tobytes())
        for entry in reader.tensors
    }
    return Gguf(values, tensors)


def runtime_values(values: dict[str, Any]) -> dict[str, Any]:
    """The key-values that a runtime reads: not names and licences (`general.*`), not our own (`ggufx.*`)."""
    return {
        key: value
        for key, value in values.items()
        if not key.startswith("ggufx.") and (not key.startswith("general.") or key in RUNTIME_GENERAL)
    }
