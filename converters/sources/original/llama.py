"""Meta's Llama: which version a folder holds, and its config.json.

params.json says neither version nor context. What it leaves open is decided by what the published folders have, and said.
Sources: transformers' `convert_llama_weights_to_hf.py`, llama-models `llama3/args.py`, the published files.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...errors import UsageError
from ..stated import Stated
from .params import Params


class Version(NamedTuple):
    """`context` in tokens; `ranks`: its tokenizer is a rank file (tiktoken), else SentencePiece; `factor` of rotary scaling."""

    context: int
    ranks: bool
    factor: float | None = None


VERSIONS = {
    "1": Version(2048, False), "2": Version(4096, False), "code": Version(16384, False), "3": Version(8192, True),
    "3.1": Version(131072, True, 8.0), "3.2": Version(131072, True, 32.0), "3.3": Version(131072, True, 8.0),
}
ORIGINAL_CONTEXT = 8192  # tokens: what scaled rotary positions were trained on
SMALL = (2048, 3072)  # widths of 3.2's text models


def version_of(params: Params, ranks: bool, kind: str, stated: Stated, notes: list[str]) -> str:
    """The version stated, or the one that fits. `kind`: the weights' element type. UsageError where the stated one does not."""
    scaled = bool(params.get("use_scaled_rope"))
    if (name := stated.llama_version) is not None:
        if name not in VERSIONS:
            raise UsageError("no version of Llama", found=f"--llama-version {name}", expected=", ".join(VERSIONS))
        version = VERSIONS[name]
        if version.ranks != ranks:
            kinds = ("SentencePiece", "tiktoken ranks")
            raise UsageError(f"is no Llama {name}: the tokenizer is another", file=params.file, expected=kinds[version.ranks],
                             found=kinds[ranks])
        if (version.factor is not None) != scaled:
            raise UsageError(f"is no Llama {name}: use_scaled_rope is {str(scaled).lower()}", file=params.file)
        return name
    if not ranks:
        theta, name, why = params.get("rope_theta", 10000), "1" if kind == "F16" else "2", f"its {kind} weights"
        if theta > 10000:
            name, why = "code", f"rope_theta {theta:g}"
    elif not scaled:
        name, why = "3", "its tokenizer, and no use_scaled_rope"
    else:
        name, why = ("3.2" if params.need("dim") in SMALL else "3.1"), f"use_scaled_rope and dim {params.need('dim')}"
    version = VERSIONS[name]
    context = "" if stated.context_length else f", {version.context} tokens"
    factor = f", rotary factor {version.factor:g}" if version.factor else ""
    shown = "Code Llama" if name == "code" else f"Llama {name}"
    notes.append(f"taken for {shown} by {why}{context}{factor}; --llama-version states another")
    return name


def config_of(params: Params, name: str, ranks: int, stated: Stated) -> dict[str, Any]:
    """config.json, without what the tensors tell. `ranks`: pieces of a rank file, 0 for SentencePiece."""
    version = VERSIONS[name]
    heads = params.need("n_heads")
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "attention_bias": False, "mlp_bias": False, "hidden_act": "silu",
        "bos_token_id": ranks or 1, "eos_token_id": ranks + 1 if ranks else 2,
        "hidden_size": params.need("dim"), "num_hidden_layers": params.need("n_layers"),
        "num_attention_heads": heads, "num_key_value_heads": params.get("n_kv_heads", heads),
        "head_dim": params.need("dim") // heads, "rms_norm_eps": params.need("norm_eps"),
        "max_position_embeddings": stated.context_length or version.context,
        "rope_theta": float(params.get("rope_theta", 500000.0 if version.ranks else 10000.0)),
    }
    if version.factor is not None:
        config["rope_scaling"] = {"rope_type": "llama3", "factor": version.factor, "low_freq_factor": 1.0,
                                  "high_freq_factor": 4.0, "original_max_position_embeddings": ORIGINAL_CONTEXT}
    return config


def feed_forward(params: Params) -> int:
    """The width that Meta's code computes; what the tensors have decides."""
    width = int(params.get("ffn_dim_multiplier", 1) * int(8 * params.need("dim") / 3))
    multiple = params.get("multiple_of", 256)
    return -(-width // multiple) * multiple


def special_names(version: str) -> tuple[str, ...]:
    """What Hugging Face calls the special tokens from the fifth on, where that is not as in 3.1: in 3.0 some were reserved."""
    if version != "3":
        return ()
    used = {2: "<|start_header_id|>", 3: "<|end_header_id|>", 5: "<|eot_id|>"}
    texts, reserved = [], 2
    for place in range(252):
        texts.append(used.get(place) or f"<|reserved_special_token_{reserved}|>")
        reserved += place not in used
    return tuple(texts)
