"""Checkpoints with very many tensors, or with enormous ones that take no space: headers and indexes by hand, no library.

Shapes are those of real models where sizes are given, and as small as the classes allow otherwise.
"""

import json
import os
import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .kinds import vocab

BYTES = {"BF16": 2, "F32": 4}
Shapes = dict[str, tuple[str, tuple[int, ...]]]  # name -> type, shape


def write(folder: Path, config: dict[str, Any], tensors: Shapes, shards: int, kind: str, *, sparse: bool = False) -> Path:
    """The new folder `folder` with a tokenizer of `kind`; `sparse`: files of the right size that hold nothing."""
    folder.mkdir(parents=True)
    vocab(kind).write(folder, v4=False)
    (folder / "config.json").write_text(json.dumps(config))
    names, per = list(tensors), -(-len(tensors) // shards)
    weight_map: dict[str, str] = {}
    for number in range(0, len(names), per):
        part = {name: tensors[name] for name in names[number : number + per]}
        path = folder / f"model-{number // per + 1:05d}-of-{-(-len(names) // per):05d}.safetensors"
        _write_part(path, part, sparse)
        weight_map |= dict.fromkeys(part, path.name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def _write_part(path: Path, tensors: Shapes, sparse: bool) -> None:
    header, end = {}, 0
    for name, (kind, shape) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end := end + prod(shape) * BYTES[kind]]}
    raw = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        if not sparse:  # bytes below 0x40: small numbers in any float type
            file.write(np.random.default_rng(len(raw)).integers(0, 0x40, end, np.uint8).tobytes())
    if sparse:
        os.truncate(path, 8 + len(raw) + end)


def _mlp(stem: str, kind: str, width: int, inner: int) -> Shapes:
    return {f"{stem}gate_proj.weight": (kind, (inner, width)), f"{stem}up_proj.weight": (kind, (inner, width)),
            f"{stem}down_proj.weight": (kind, (width, inner))}


def _around(kind: str, width: int, rows: int, layers: Shapes) -> Shapes:
    """The layers between embedding and head."""
    return {"model.embed_tokens.weight": (kind, (rows, width)), **layers, "model.norm.weight": (kind, (width,)),
            "lm_head.weight": (kind, (rows, width))}


def llama(layers: int, *, width: int = 8, inner: int = 8, heads: int = 2, kv_heads: int = 2, rows: int | None = None,
          kind: str = "BF16") -> tuple[dict[str, Any], Shapes]:
    """Config and tensors of a Llama: 9 tensors a layer."""
    rows = rows or vocab("llama3").size
    inside: Shapes = {}
    for layer in range(layers):
        stem = f"model.layers.{layer}."
        for name, out in (("q", width), ("k", width // heads * kv_heads), ("v", width // heads * kv_heads), ("o", width)):
            inside[f"{stem}self_attn.{name}_proj.weight"] = (kind, (out, width))
        inside |= _mlp(f"{stem}mlp.", kind, width, inner)
        inside |= {f"{stem}{norm}_layernorm.weight": (kind, (width,)) for norm in ("input", "post_attention")}
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "rms_norm_eps": 1e-5,
        "vocab_size": rows, "max_position_embeddings": 8192, "rope_theta": 500000.0, "tie_word_embeddings": False,
        "torch_dtype": "float32" if kind == "F32" else "bfloat16"}
    return config, _around(kind, width, rows, inside)


def qwen3moe(layers: int, experts: int) -> tuple[dict[str, Any], Shapes]:
    """Config and tensors of a Qwen3 with experts: 9 + 3 * experts tensors a layer, of some 8 x 8 values."""
    rows, width, kind = vocab("qwen2").size, 8, "BF16"
    inside: Shapes = {}
    for layer in range(layers):
        stem = f"model.layers.{layer}."
        inside |= {f"{stem}self_attn.{name}_proj.weight": (kind, (width, width)) for name in "qkvo"}
        inside |= {f"{stem}self_attn.{name}_norm.weight": (kind, (4,)) for name in "qk"}
        inside[f"{stem}mlp.gate.weight"] = (kind, (experts, width))
        for expert in range(experts):
            inside |= _mlp(f"{stem}mlp.experts.{expert}.", kind, width, width)
        inside |= {f"{stem}{norm}_layernorm.weight": (kind, (width,)) for norm in ("input", "post_attention")}
    config = {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": width, "intermediate_size": width,
        "moe_intermediate_size": width, "num_experts": experts, "num_experts_per_tok": 2, "norm_topk_prob": True,
        "num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4, "rms_norm_eps": 1e-5,
        "vocab_size": rows, "max_position_embeddings": 128, "rope_theta": 10000.0, "torch_dtype": "bfloat16",
        "tie_word_embeddings": False, "decoder_sparse_step": 1, "mlp_only_layers": []}
    return config, _around(kind, width, rows, inside)


def deepseek3() -> tuple[dict[str, Any], Shapes]:
    """Config and tensors of DeepSeek-V3 as published, in BF16 and without its multi-token-prediction layer: 1.34 TB."""
    width, q, kv, rope, nope, value, heads, experts, kind = 7168, 1536, 512, 64, 128, 128, 128, 256, "BF16"
    inside: Shapes = {}
    for layer in range(61):
        stem = f"model.layers.{layer}."
        for name, shape in (
                ("q_a_proj", (q, width)), ("q_a_layernorm", (q,)), ("q_b_proj", (heads * (nope + rope), q)),
                ("kv_a_proj_with_mqa", (kv + rope, width)), ("kv_a_layernorm", (kv,)),
                ("kv_b_proj", (heads * (nope + value), kv)), ("o_proj", (width, heads * value))):
            inside[f"{stem}self_attn.{name}.weight"] = (kind, shape)
        inside |= {f"{stem}{norm}_layernorm.weight": (kind, (width,)) for norm in ("input", "post_attention")}
        if layer < 3:
            inside |= _mlp(f"{stem}mlp.", kind, width, 18432)
            continue
        inside |= {f"{stem}mlp.gate.weight": (kind, (experts, width)),
                   f"{stem}mlp.gate.e_score_correction_bias": ("F32", (experts,))}
        for expert in range(experts):
            inside |= _mlp(f"{stem}mlp.experts.{expert}.", kind, width, 2048)
        inside |= _mlp(f"{stem}mlp.shared_experts.", kind, width, 2048)
    config = {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": width,
        "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": heads,
        "num_key_value_heads": heads, "n_routed_experts": experts, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8,
        "topk_group": 4, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "first_k_dense_replace": 3, "moe_layer_freq": 1,
        "q_lora_rank": q, "kv_lora_rank": kv, "qk_rope_head_dim": rope, "qk_nope_head_dim": nope, "v_head_dim": value,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc", "rms_norm_eps": 1e-6, "vocab_size": 129280,
        "max_position_embeddings": 163840, "rope_theta": 10000.0, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                         "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}}
    return config, _around(kind, width, 129280, inside)
