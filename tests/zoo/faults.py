"""What llama.cpp does wrong with models of the zoo, found by running it: data, so that tests can say why they differ."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kinds import vocab
from .models import Model


@dataclass(frozen=True)
class Fault:
    """`converter`: why the converter's file is absent or wrong; `runtime`: why the runtime's numbers are.

    A converter's fault may be avoided by `config` (put into config.json), `drop` (tensors with this ending left out), `model` (the
    SentencePiece file of this kind put in) or `options` (arguments); then the file is right except for the key-values in `keys`.
    Without any of them there is no right file.
    """

    converter: str = ""
    runtime: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    drop: str = ""
    model: str = ""
    options: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def hopeless(self) -> bool:
        return bool(self.converter) and not (self.config or self.drop or self.model or self.options)


_N_CTX = "reads n_ctx, which configurations of transformers 5 do not have"
_SCORING = (
    "takes the gating from scoring_func, which configurations of transformers 5 do not have: experts are mixed by softmax"
)
_SCORES = "gives every piece of a tokenizer.json the score -1000, so that the runtime merges from the left"
_BYTES = "takes the pieces of a Gemma tokenizer.json for byte-level tokens"
_WINDOW = "has no sliding window for this architecture, and the converter drops it"
_BUFFERS = "meets the mask buffer attn.bias, as in openai-community/gpt2, and fails; writes 4 * n_embd whatever n_inner says"
_GROUPS = "ranks groups of experts by their two best scores; DeepSeek-V2 ranks by the best one"
_TRUNCATE = "always rounds yarn's correction range to whole dimensions, as truncate: true asks"

_SCORE, _TYPE, _TOKENS = "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.tokens"

FAULTS: dict[str, Fault] = {
    "gpt2": Fault(_N_CTX, config={"n_ctx": 128}),
    "gpt2-untied": Fault(_N_CTX, config={"n_ctx": 64}),
    "gpt2-buffers": Fault(_BUFFERS, config={"n_ctx": 32}, keys=("gpt2.feed_forward_length",)),
    "gpt2-buffers-v4": Fault(_BUFFERS, drop=".attn.bias", keys=("gpt2.feed_forward_length",)),
    "deepseek3": Fault(_SCORING, config={"scoring_func": "sigmoid"}),
    "deepseek3-mtp": Fault(_SCORING, config={"scoring_func": "sigmoid"}),
    "qwen35": Fault("asserts that there is a multi-token-prediction head", options=("--no-nextn",)),
    "llama-linear": Fault(_SCORES, model="llama-spm", keys=(_SCORE, _TYPE)),
    "llama-linear-v4": Fault(_SCORES, model="llama-spm", keys=(_SCORE, _TYPE)),
    "gemma3-json": Fault(_BYTES, model="gemma", keys=(_SCORE, _TYPE, "tokenizer.ggml.tokens")),
    "gemma3-json-v4": Fault(_BYTES, model="gemma", keys=(_SCORE, _TYPE, "tokenizer.ggml.tokens")),
    "llama-longrope": Fault("writes the kind of scaling but not the factors' tensors"),
    # pieces that tokenizer.model calls user-defined, and tokens that no role names, become ordinary ones
    **{name: Fault(keys=(_TYPE, _TOKENS)) for name in ("gemma", "gemma2", "gemma3", "gemma3-vl", "embeddinggemma")},
    **{name: Fault(keys=(_TYPE,)) for name in ("gemma4", "gemma4-moe", "gemma4-keqv", "gemma4-vl")},
    # from the SentencePiece file of XLM-R: no <mask>, padding numbered one less
    **{name: Fault(keys=(_TYPE, _TOKENS, _SCORE)) for name in ("xlmr", "xlmr-v4")},
    # -exp of a float32 decay is rounded as torch's vector code does: 1 ulp off in one value of a hundred
    "qwen35-vl": Fault(keys=("blk.0.ssm_a",)),
    "deepseek2-group": Fault(runtime=_GROUPS),
    "deepseek2-group-v4": Fault(runtime=_GROUPS),
    "gptoss-hub": Fault(runtime=_TRUNCATE),
    "gptoss-hub-v4": Fault(runtime=_TRUNCATE),
    "qwen2-window": Fault(runtime=_WINDOW),
    "qwen2-window-v4": Fault(runtime=_WINDOW),
}
NONE = Fault()

# What a file of standard keys cannot say, so that a checkpoint rebuilt from it computes otherwise: model -> why.
NOT_IN_GGUF = {
    **dict.fromkeys(("mistral", "mistral-v4", "qwen2-window", "qwen2-window-v4"), "without ggufx's keys the sliding window is lost"),
    **dict.fromkeys(("gptoss", "gptoss-v4", "gptoss-mxfp4", "gptoss-mxfp4-v4"), "without ggufx's keys yarn's truncate is false, as published"),
}


def rounded(row: Model) -> bool:
    """Whether there are decays behind -exp(x): without ggufx's own keys they come back to within a rounding of float32."""
    return row.cls.startswith("Qwen3_5")


# Where llama.cpp cuts text otherwise than the model's tokenizer.json: kind -> what it does, and in which texts.
_RUN, _MASK = "cuts U+2581 out of the text as the space it stands for", "does not let <mask> swallow the space before it"
_NFC = "does not normalise (NFC)"
_SPACE = "puts a space before every text and every part behind a special token, tokenizer.json only where there is none"
RUNTIME_TOKENS: dict[str, tuple[str, Callable[[str], bool]]] = {
    **dict.fromkeys(("qwen2", "qwen35"), (_NFC, lambda text: not unicodedata.is_normalized("NFC", text))),
    **dict.fromkeys(("gemma", "gemma-json"), (_RUN, lambda text: "▁▁" in text)),
    **dict.fromkeys(("xlmr", "xlmr-json"), (_RUN, lambda text: "▁" in text)),
    "llama-spm-json": (_SPACE, lambda text: text.startswith((" ", "▁")) or "> " in text),
    "roberta": (_MASK, lambda text: " <mask>" in text),
}


def repaired(folder: Path, fault: Fault, copy: Path) -> Path:
    """The checkpoint as llama.cpp's converter needs it: `folder` itself, or a changed copy in the new folder `copy`."""
    if not (fault.config or fault.drop or fault.model):
        return folder
    shutil.copytree(folder, copy)
    if fault.model:
        name, data = vocab(fault.model).model or ("", b"")
        (copy / name).write_bytes(data)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(config | fault.config), encoding="utf-8")
    if fault.drop:
        from safetensors.torch import load_file, save_file

        path = copy / "model.safetensors"
        tensors = {name: tensor for name, tensor in load_file(path).items() if not name.endswith(fault.drop)}
        save_file(tensors, path, metadata={"format": "pt"})
    return copy
