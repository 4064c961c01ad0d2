"""GLM-4 (chatglm, glm4) and GLM-4.5 (glm4moe), and Solar Open, which is GLM-4.5 under another name.

GLM-4 keeps gate and up in one weight, in GGUF as well, and turns rotary neighbours, half of a head. The layers of multi-token
prediction are the last blocks, in HF as in GGUF.
Source: transformers `models/glm`, `glm4`, `glm4_moe`, `solar_open`, THUDM's `modeling_chatglm.py`; llama.cpp
`src/models/chatglm.cpp`, `glm4.cpp`, `glm4-moe.cpp`, `conversion/glm.py`, `chatglm.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .deepseek import ROUTER_BIAS, SHARED_EXPERTS, dense, sparse
from .llama import MULTIMODAL
from .qwen import ATTN
from .qwenvl import sections

# -- GLM-4 ----------------------------------------------------------------------------------------------------------


def turned_rows(config: Config) -> int:
    head = config.get("head_dim") or per_head(config)
    return int(head * full_attention_rope(config).get("partial_rotary_factor", 0.5))


def head_length(kv: Mapping[str, Any]) -> int:
    return kv.get("attention.key_length") or kv["embedding_length"] // kv["attention.head_count"]


def turned_part(kv: Mapping[str, Any]) -> float:
    return kv["rope.dimension_count"] / head_length(kv)


PARTIAL_ROPE = (
    Rope(), Computed("rope.dimension_count", turned_rows, "rope_parameters.partial_rotary_factor", turned_part),
)
GATE_UP = (  # of one piece in GGUF, too
    R("blk.{b}.ffn_up.weight", L + "mlp.gate_up_proj.weight", shape="2*feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.weight", L + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
)
QKV_BIAS = (
    R("blk.{b}.attn_q.bias", L + "self_attn.q_proj.bias", need=False, shape="head_rows"),
    R("blk.{b}.attn_k.bias", L + "self_attn.k_proj.bias", need=False, shape="head_kv_rows"),
    R("blk.{b}.attn_v.bias", L + "self_attn.v_proj.bias", need=False, shape="head_kv_rows"),
)
QKV_SEEN = Seen("attention_bias", has("blk.0.attn_q.bias"))
COMMON = (*without(DECODER, "rope_parameters"), *PARTIAL_ROPE, QKV_SEEN)
DEFAULTS = {"max_position_embeddings": 131072, "rms_norm_eps": 1.5625e-07, "num_key_value_heads": 2, "head_dim": 128,
            "partial_rotary_factor": 0.5}

GLM4 = ArchSpec(
    "glm4", ("Glm4ForCausalLM",), "glm4", hparams=COMMON,
    tensors=(
        *EMBED, *NORMS, *ATTN, *QKV_BIAS,
        R("blk.{b}.post_attention_norm.weight", L + "post_self_attn_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.post_ffw_norm.weight", L + "post_mlp_layernorm.weight", shape="embedding_length"),
        *GATE_UP, *OUT_NORM, *HEAD,
    ),
    defaults=DEFAULTS, sizes=SIZES, example="zai-org/GLM-4-9B-0414",
)

# -- ChatGLM: the runtime knows no other head than a part of the width ------------------------------------------------

GLM = ArchSpec(
    "chatglm", ("GlmForCausalLM",), "glm",
    hparams=(*without(COMMON, "attention.key_length", "attention.value_length"), Fixed("head_dim", per_head, refuse=True)),
    tensors=(*EMBED, *NORMS, *ATTN, *QKV_BIAS, *GATE_UP, *OUT_NORM, *HEAD),
    defaults=DEFAULTS, sizes=SIZES, example="zai-org/glm-4-9b-chat-hf",
)

C = "transformer.encoder.layers.{b}."
CHATGLM = ArchSpec(
    "chatglm", ("ChatGLMModel", "ChatGLMForConditionalGeneration"), "chatglm",
    hparams=(
        H("block_count", ("num_layers", "num_hidden_layers")), H("context_length", "seq_length"),
        EMBEDDING_LENGTH, H("feed_forward_length", "ffn_hidden_size"), HEAD_COUNT,
        H("attention.head_count_kv", "multi_query_group_num"),
        Seen("multi_query_attention", lambda facts: facts.kv["attention.head_count_kv"] < facts.kv["attention.head_count"]),
        H("attention.layer_norm_rms_epsilon", "layernorm_epsilon", F32),
        Computed("rope.freq_base", lambda c: 10000.0 * c["rope_ratio"], "rope_ratio", lambda kv: short(
            kv.get("rope.freq_base", 10000.0) / 10000), F32),
        Computed("rope.dimension_count", lambda c: c["kv_channels"] // 2),
        Fixed("kv_channels", per_head, refuse=True),
        Fixed("rmsnorm", True, refuse=True), Fixed("post_layer_norm", True, refuse=True),
        Fixed("apply_residual_connection_post_layernorm", False, refuse=True),
        Fixed("add_bias_linear", False, refuse=True), Seen("add_qkv_bias", has("blk.0.attn_qkv.bias")),
        Seen("padded_vocab_size", size("token_embd.weight")), VOCAB_ROWS, TIED,
    ),
    tensors=(
        R("token_embd.weight", "transformer.embedding.word_embeddings.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", C + "input_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.attn_qkv.weight", C + "self_attention.query_key_value.weight",
          shape="query_key_value_rows embedding_length"),
        R("blk.{b}.attn_qkv.bias", C + "self_attention.query_key_value.bias", need=False, shape="query_key_value_rows"),
        R("blk.{b}.attn_output.weight", C + "self_attention.dense.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.weight", C + "post_attention_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_up.weight", C + "mlp.dense_h_to_4h.weight", shape="2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", C + "mlp.dense_4h_to_h.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "transformer.encoder.final_layernorm.weight", shape="embedding_length"),
        R("output.weight", "transformer.output_layer.weight", need=False, shape="vocab_size embedding_length"),
    ),
    defaults={"num_layers": same_as("num_hidden_layers"), "multi_query_group_num": same_as("num_attention_heads"),
              "layernorm_epsilon": 1e-5, "rope_ratio": 1, "kv_channels": per_head, "vocab_size": same_as("padded_vocab_size")},
    sizes={**SIZES, "query_key_value_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"]},
    ignore=(Template("transformer.rotary_pos_emb.inv_freq"),), example="THUDM/glm-4-9b-chat",
)

# -- GLM-4.5 --------------------------------------------------------------------------------------------------------


GLM4MOE_NORMS = (
    NORMS[0], R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
)
ROUTED = (
    H("leading_dense_block_count", "first_k_dense_replace"), EXPERT_LENGTH,
    H("expert_count", ("n_routed_experts", "num_experts", "num_local_experts")), EXPERTS[1],
    H("expert_group_count", "n_group", default=1), H("expert_group_used_count", "topk_group", default=1),
    H("expert_shared_count", "n_shared_experts"), Const("expert_gating_func", 2),
    H("expert_weights_scale", "routed_scaling_factor", F32, default=1.0),
    H("expert_weights_norm", "norm_topk_prob", BOOL, default=True),
)
GLM4MOE_DEFAULTS = {"max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "num_key_value_heads": 8, "num_experts_per_tok": 8,
                    "n_shared_experts": 1, "n_routed_experts": 128, "partial_rotary_factor": 0.5,
                    "num_nextn_predict_layers": 0}

GLM4MOE = ArchSpec(
    "glm4moe", ("Glm4MoeForCausalLM",), "glm4_moe",
    hparams=(*without(COMMON, "num_hidden_layers"), *NEXTN_BLOCKS, *ROUTED,
             Seen("use_qk_norm", has("blk.0.attn_q_norm.weight"))),
    tensors=(
        *EMBED, *GLM4MOE_NORMS, *ATTN, *QKV_BIAS, *(replace(row, need=False) for row in QK_NORM), *where(dense, *FFN),
        *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERTS, *ROUTER_BIAS), *NEXTN, *OUT_NORM, *HEAD,
    ),
    defaults={**GLM4MOE_DEFAULTS, "first_k_dense_replace": 1, "moe_intermediate_size": 1408},
    sizes={**SIZES, "shared_expert_length": lambda hp: hp["expert_shared_count"] * hp["expert_feed_forward_length"]},
    idle=predicting, example="zai-org/GLM-4.5-Air",
)

SOLAR = replace(
    GLM4MOE, classes=("SolarOpenForCausalLM",), model_type="solar_open",
    hparams=(*without(COMMON, "intermediate_size"), *without(ROUTED, "first_k_dense_replace"),
             H("feed_forward_length", "intermediate_size", need=False),
             H("leading_dense_block_count", "first_k_dense_replace", need=False)),
    defaults={**GLM4MOE_DEFAULTS, "head_dim": 128, "partial_rotary_factor": 1.0, "rope_theta": 1000000.0,
              "moe_intermediate_size": 1280},
    sizes={**GLM4MOE.sizes, "leading_dense_block_count": lambda hp: hp.get("leading_dense_block_count", 0)},
    idle=None, example="upstage/Solar-Open-100B",
)

# -- the text parts of GLM-4.1V, GLM-OCR and GLM-4.5V: in text alone they compute what GLM-4 and GLM-4.5 do -----------------

# The runtime's rotary sections pair halves of the turned part, not neighbours.
HALVES = RopePermute("head_length", "rope.dimension_count", undo=True)
GLM4V_TEXT = replace(
    GLM4, hparams=(
        *without(COMMON, "num_hidden_layers", "head_dim"), *NEXTN_BLOCKS, sections(8, 12, 12),
        Computed("attention.key_length", lambda c: c.get("head_dim"), "head_dim", head_length),
        Computed("attention.value_length", lambda c: c.get("head_dim"))),
    tensors=(
        *(replace(row, ops=(HALVES,)) if str(row.gguf[0]).startswith(("blk.{b}.attn_q.", "blk.{b}.attn_k.")) else row
          for row in GLM4.tensors), *NEXTN),
    defaults={**{k: v for k, v in DEFAULTS.items() if k != "head_dim"}, "rms_norm_eps": 1e-5, "num_nextn_predict_layers": 0},
    idle=predicting,
)
VISION = dict.fromkeys(("visual.", "model.visual."))
GLM4V = Whole("Glm4vForConditionalGeneration", "glm4v", GLM4V_TEXT, MULTIMODAL, VISION, example="zai-org/GLM-4.1V-9B-Thinking",
              settings={"head_dim": per_head})
GLM_OCR = replace(GLM4V, name="GlmOcrForConditionalGeneration", model_type="glm_ocr", example="zai-org/GLM-OCR",
                  settings={**GLM4V.settings, "attention_bias": False})
GLM4V_MOE = Whole("Glm4vMoeForConditionalGeneration", "glm4v_moe", replace(
    GLM4MOE, hparams=(*GLM4MOE.hparams, sections(8, 12, 12))), MULTIMODAL, VISION, example="zai-org/GLM-4.5V")

BACK = {
    "glm4": choice(GLM4, (GLM4V_TEXT, says("glm4.rope.dimension_sections"))),
    "chatglm": choice(GLM, (CHATGLM, has("blk.0.attn_qkv.weight"))),
    "glm4moe": choice(GLM4MOE, (SOLAR, lambda facts: facts.keys.get("glm4moe.leading_dense_block_count", 0) == 0)),
}
SPECS = (GLM4, GLM, CHATGLM, GLM4MOE, SOLAR, GLM4V, GLM_OCR, GLM4V_MOE)
