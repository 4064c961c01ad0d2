"""ERNIE 4.5, its mixture of experts, and the text part of PaddleOCR-VL: Llama's blocks whose checkpoints pair rotary
neighbours, as the runtime does.

Source: transformers `models/ernie4_5`, `ernie4_5_moe`; llama.cpp `src/models/ernie4-5.cpp`, `ernie4-5-moe.cpp`,
`conversion/ernie.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import MULTIMODAL, UNSTATED_HEAD
from .qwen import ATTN, FFN
from .qwenvl import sections

FUSED = (  # as Baidu's own code holds them
    R(("blk.{b}.attn_q.weight", "blk.{b}.attn_k.weight", "blk.{b}.attn_v.weight"), L + "self_attn.qkv_proj.weight",
      Split(("attention.head_count", "attention.head_count_kv", "attention.head_count_kv")),
      shape="query_key_value_rows embedding_length"),
    R(("blk.{b}.ffn_gate.weight", "blk.{b}.ffn_up.weight"), L + "mlp.up_gate_proj.weight", Split((1, 1)),
      shape="2*feed_forward_length embedding_length"),
)
NO_BIAS = Fixed("use_bias", False, refuse=True)
DEFAULTS = {**UNSTATED_HEAD, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
            "tie_word_embeddings": True}
ERNIE_SIZES = {**SIZES, "query_key_value_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"]}
ALIASES = (("ernie.", "model."),)

ERNIE = ArchSpec(
    "ernie4_5", ("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"), "ernie4_5", hparams=(*DECODER, NO_BIAS),
    tensors=(*EMBED, *NORMS, *ATTN, *FFN, *FUSED, *OUT_NORM, *HEAD), defaults={**DEFAULTS, "head_dim": 128},
    sizes=ERNIE_SIZES, aliases=ALIASES, example="baidu/ERNIE-4.5-0.3B-PT",
)


def dense(hp: Hparams, b: int) -> bool:
    return b < hp["leading_dense_block_count"]


def sparse(hp: Hparams, b: int) -> bool:
    return b >= hp["leading_dense_block_count"]


def shared_experts(hp: Hparams, b: int) -> bool:
    return sparse(hp, b) and hp["expert_shared_count"] > 0


def last_block(config: Config) -> int:
    return config["num_hidden_layers"] - 1


SHARED_LENGTH = "expert_shared_feed_forward_length"
BIAS = R("blk.{b}.exp_probs_b.bias", L + "mlp.moe_statics.e_score_correction_bias",
         Reshape((1, "expert_count"), (1, "expert_count")), need=False, hf_dtype="F32")
MTP = tuple(Template(f"model.mtp_{name}.weight") for name in (
    "emb_norm.{b}", "hidden_norm.{b}", "linear_proj.{b}", *(f"block.{{b}}.{part}" for part in (
        "input_layernorm", "post_attention_layernorm", *(f"self_attn.{p}_proj" for p in "qkvo"),
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"))))

ERNIE_MOE = ArchSpec(
    "ernie4_5-moe", ("Ernie4_5_MoeForCausalLM",), "ernie4_5_moe",
    hparams=(
        *DECODER, NO_BIAS,
        H("expert_count", "moe_num_experts"), H("expert_used_count", "moe_k"), EXPERT_LENGTH,
        H("leading_dense_block_count", "moe_layer_start_index", default=1),
        # From there on the runtime wants experts in every block.
        Const("interleave_moe_layer_step", 1), Fixed("moe_layer_interval", 1, refuse=True),
        Fixed("moe_layer_end_index", last_block, also=(-1,), refuse=True),
        H("expert_shared_count", "moe_num_shared_experts", default=2),
        Computed(SHARED_LENGTH, lambda c: c["moe_num_shared_experts"] * c["moe_intermediate_size"] or None),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN, *where(dense, *FFN),
        *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS), BIAS,
        *where(shared_experts,
               R("blk.{b}.ffn_gate_shexp.weight", L + "mlp.shared_experts.gate_proj.weight",
                 shape=f"{SHARED_LENGTH} embedding_length"),
               R("blk.{b}.ffn_up_shexp.weight", L + "mlp.shared_experts.up_proj.weight",
                 shape=f"{SHARED_LENGTH} embedding_length"),
               R("blk.{b}.ffn_down_shexp.weight", L + "mlp.shared_experts.down_proj.weight",
                 shape=f"embedding_length {SHARED_LENGTH}")),
        *OUT_NORM, *HEAD,
    ),
    defaults={**DEFAULTS, "moe_k": 6, "moe_num_experts": 64, "moe_num_shared_experts": 2, "moe_intermediate_size": 1536},
    sizes=SIZES, aliases=ALIASES, ignore=MTP, example="baidu/ERNIE-4.5-21B-A3B-PT",
)

# In text alone the sections of the rotary dimensions make no difference: what is left is Mistral
# without a window, its rotary rows as they are.
PADDLEOCR_TEXT = ArchSpec(
    "paddleocr", ("MistralForCausalLM",), "mistral",
    hparams=(*DECODER, NO_BIAS, sections(16, 24, 24), Fixed("sliding_window", None)),
    tensors=(*EMBED, *NORMS, *ATTN, *FFN, *OUT_NORM, *HEAD), defaults={**DEFAULTS, "head_dim": 128}, sizes=SIZES,
)
PADDLEOCR = Whole(
    "PaddleOCRVLForConditionalGeneration", "paddleocr_vl", PADDLEOCR_TEXT, MULTIMODAL,
    dict.fromkeys(("visual.", "mlp_AR.", "model.visual.", "model.projector.")), example="PaddlePaddle/PaddleOCR-VL",
    settings={"sliding_window": None},
)

BACK = {"paddleocr": choice(PADDLEOCR_TEXT)}
SPECS = (ERNIE, ERNIE_MOE, PADDLEOCR)
