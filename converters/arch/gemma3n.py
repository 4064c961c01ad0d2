"""Gemma 3n: several streams that predict and correct each other (AltUp), a low-rank path beside each part (LAuReL), embeddings
for each block.

The runtime has built in what no key says: the ranks (64, 256), keys and values shared behind the twentieth block, sparse
activations in the first ten. Source: transformers `models/gemma3n`; llama.cpp `src/models/gemma3n.cpp`, `conversion/gemma.py`.
"""

from __future__ import annotations

from typing import Any

from ..rules.words import *
from .common import *
from .gemma import ALWAYS_TIED, ATTN, FFN, GELU, LM_HEAD, NO_BIAS, layer_types, pattern, periodic, sliding


def shared_blocks(config: Config) -> int:
    """Blocks that take the keys and values of others."""
    shared, built_in = config["num_kv_shared_layers"], max(0, config["num_hidden_layers"] - 20)
    if shared != built_in:
        raise UnsupportedError("num_kv_shared_layers has no GGUF form: the runtime shares behind the twentieth block",
                               file="config.json", expected=built_in, found=shared)
    return shared


def one_width(kv: Any) -> Any:
    widths = kv["feed_forward_length"]
    return list(widths) if isinstance(widths, list) else widths


GEMMA3N = ArchSpec(
    "gemma3n", ("Gemma3nForCausalLM",), "gemma3n_text",
    hparams=(
        BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, HEAD_COUNT, HEAD_KV, RMS_EPS, *HEAD_LENGTHS,
        Rope(default_theta=1000000.0, default_sliding_theta=10000.0),
        Computed("feed_forward_length", lambda c: c["intermediate_size"], "intermediate_size", one_width),
        H("attention.sliding_window", "sliding_window"),
        Computed("attention.sliding_window_pattern", sliding, "layer_types", lambda kv: layer_types(pattern(5, kv)), BOOL),
        H("final_logit_softcapping", "final_logit_softcapping", F32, default=30.0),
        H("altup.active_idx", "altup_active_idx"), H("altup.num_inputs", "altup_num_inputs"),
        H("embedding_length_per_layer_input", "hidden_size_per_layer_input"),
        Computed("attention.shared_kv_layers", shared_blocks, "num_kv_shared_layers",
                 lambda kv: kv.get("attention.shared_kv_layers", max(0, kv["block_count"] - 20))),
        Seen("laurel_rank", size("blk.0.laurel_l.weight")),
        Seen("vocab_size_per_layer_input", size("per_layer_token_embd.weight")),
        Fixed("activation_sparsity_pattern", lambda c: [0.95 if b < 10 else 0.0 for b in range(c["num_hidden_layers"])]),
        Fixed("altup_correct_scale", True, refuse=True), NO_BIAS, GELU, ALWAYS_TIED, VOCAB_ROWS,
    ),
    tensors=(
        *EMBED, *ATTN, *QK_NORM, *FFN,
        R("per_layer_token_embd.weight", "model.embed_tokens_per_layer.weight",
          Pad("vocab_size", "per_layer_rows"),
          shape="table_rows block_count*embedding_length_per_layer_input", no_lora=NO_GATHER),
        R("per_layer_model_proj.weight", "model.per_layer_model_projection.weight",
          shape="block_count*embedding_length_per_layer_input embedding_length", no_lora=NO_ADAPTERS),
        R("per_layer_proj_norm.weight", "model.per_layer_projection_norm.weight",
          shape="embedding_length_per_layer_input"),
        R("altup_proj.weight", "model.altup_projections.{e}.weight", shape="embedding_length embedding_length",
          no_lora=NO_ADAPTERS, each="other_streams"),
        R("altup_unembd_proj.weight", "model.altup_unembed_projections.{e}.weight", shape="embedding_length embedding_length",
          no_lora=NO_ADAPTERS, each="other_streams"),
        R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", L + "pre_feedforward_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.post_ffw_norm.weight", L + "post_feedforward_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.inp_gate.weight", L + "per_layer_input_gate.weight",
          shape="embedding_length_per_layer_input embedding_length"),
        R("blk.{b}.proj.weight", L + "per_layer_projection.weight", shape="embedding_length embedding_length_per_layer_input"),
        R("blk.{b}.post_norm.weight", L + "post_per_layer_input_norm.weight", shape="embedding_length"),
        R("blk.{b}.altup_correct_coef.weight", L + "altup.correction_coefs.weight", shape="altup.num_inputs altup.num_inputs",
          type="F32"),
        R("blk.{b}.altup_correct_scale.weight", L + "altup.correct_output_scale", shape="embedding_length"),
        R("blk.{b}.altup_predict_coef.weight", L + "altup.prediction_coefs.weight",
          shape="altup.num_inputs*altup.num_inputs altup.num_inputs", type="F32"),
        R("blk.{b}.altup_router.weight", L + "altup.modality_router.weight", shape="altup.num_inputs embedding_length"),
        R("blk.{b}.altup_router_norm.weight", L + "altup.router_norm.weight", shape="embedding_length"),
        R("blk.{b}.laurel_l.weight", L + "laurel.linear_left.weight", shape="64 embedding_length"),
        R("blk.{b}.laurel_r.weight", L + "laurel.linear_right.weight", shape="embedding_length 64"),
        R("blk.{b}.laurel_post_norm.weight", L + "laurel.post_laurel_norm.weight", shape="embedding_length"),
        *OUT_NORM,
    ),
    constants={"per_layer_rows": Constant("vocab_size_per_layer_input", neutral=2**31 - 1)},
    shown={"table_rows": Shown("the file's table is as long as the vocabulary", ("vocab_size_per_layer_input",))},
    sizes={**SIZES, "other_streams": lambda hp: hp["altup.num_inputs"] - 1},
    defaults={
        "num_key_value_heads": 2, "head_dim": 256, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
        "sliding_window": 512,
        "tie_word_embeddings": True, "vocab_size": 262400, "vocab_size_per_layer_input": 262144,
        "hidden_size_per_layer_input": 256,
        "altup_active_idx": 0, "altup_num_inputs": 4, "altup_correct_scale": True, "num_kv_shared_layers": 15,
        "final_logit_softcapping": 30.0, "layer_types": lambda c: layer_types(periodic(5, c["num_hidden_layers"])),
        "rope_local_base_freq": 10000.0, "rope_theta": 1000000.0,
    },
    local_rope_base="rope_local_base_freq", ignore=LM_HEAD, example="google/gemma-3n-E4B-it",
)

GEMMA3N_MULTIMODAL = Whole(
    "Gemma3nForConditionalGeneration", "gemma3n", GEMMA3N, (("model.language_model.", "model."),), dict.fromkeys(
        ("model.vision_tower.", "model.audio_tower.", "model.embed_vision.", "model.embed_audio.")),
    example="google/gemma-3n-E4B-it",
)

SPECS = (GEMMA3N, GEMMA3N_MULTIMODAL)
