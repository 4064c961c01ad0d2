"""DeepSeek and what is built like it: V1, V2, V3 (R1, Kimi-K2, Moonlight), V3.2 and GLM-5 with a sparse indexer, GLM-4.7-Flash,
Youtu; Kimi-VL and Kimi-K2.5 around V3.

GGUF keeps the attention as the runtime computes it: one latent head of `kv_lora_rank` + rotary rows that all heads read,
and each head's projections out of it. So several keys differ from config.json: one key-value head, key and value lengths
of the latent head, those of the heads under `*_mla`. Multi-token-prediction layers of V3 have no place.
Source: transformers `models/deepseek_v2`, `deepseek_v3`, `deepseek_v32`, `glm4_moe_lite`, `glm_moe_dsa`, `youtu`, DeepSeek's
`modeling_deepseek.py`; llama.cpp `src/models/deepseek*.cpp`, `glm-dsa.cpp`, `conversion/deepseek.py`, `glm.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..rules.words import *
from .common import *

# -- hyperparameters ------------------------------------------------------------------------------------------------


def or_null(key: str, default: int) -> Callable[[Config], int | None]:
    """A class default for a missing key, where an explicit null has a meaning of its own."""
    return lambda config: None if key in config else default


def key_length(kv: Mapping[str, Any]) -> int:
    """Rows of a head's key. Files from before 2025-04 have the heads themselves in `attention.key_length`."""
    return kv["attention.key_length_mla" if "attention.key_length_mla" in kv else "attention.key_length"]


def value_length(kv: Mapping[str, Any]) -> int:
    return kv["attention.value_length_mla" if "attention.value_length_mla" in kv else "attention.value_length"]


def yarn_multiplier(config: Config) -> float | None:
    factor = full_attention_rope(config).get("mscale_all_dim")
    return None if factor is None else 0.1 * factor


def mscale(kv: Mapping[str, Any]) -> float | None:
    """The shortest decimal of which a tenth is the multiplier."""
    multiplier = kv.get("rope.scaling.yarn_log_multiplier")
    if multiplier is None:
        return None
    candidates = (round(10 * float(multiplier), digits) for digits in range(1, 9))
    return next((c for c in candidates if np.float32(0.1 * c) == np.float32(multiplier)), 10 * float(multiplier))


def unscaled(config: Config) -> str | None:
    return "none" if full_attention_rope(config)["rope_type"] == "default" else None


def gating(name: str) -> int:
    if name not in ("softmax", "sigmoid"):
        raise ValueError(f"softmax or sigmoid is expected, not {name!r}")
    return 1 + (name == "sigmoid")


LATENT_ATTN = (
    Computed("attention.head_count_kv", lambda c: 1, "num_key_value_heads", lambda kv: kv["attention.head_count"]),
    H("attention.q_lora_rank", "q_lora_rank", default=None),
    H("attention.kv_lora_rank", "kv_lora_rank"),
    H("rope.dimension_count", "qk_rope_head_dim"),
    Computed("attention.key_length", lambda c: c["kv_lora_rank"] + c["qk_rope_head_dim"]),
    Computed("attention.value_length", lambda c: c["kv_lora_rank"]),
    Computed("attention.key_length_mla", lambda c: c["qk_nope_head_dim"] + c["qk_rope_head_dim"],
             "qk_nope_head_dim", lambda kv: key_length(kv) - kv["rope.dimension_count"]),
    Computed("attention.value_length_mla", lambda c: c["v_head_dim"], "v_head_dim", value_length),
    Rope(),
    Computed("rope.scaling.yarn_log_multiplier", yarn_multiplier, "rope_parameters.mscale_all_dim", mscale, F32),
    Seen("rope_parameters.mscale", lambda found: mscale(found.kv)),
    Note("the runtime takes rope_parameters.mscale to be mscale_all_dim", lambda c: yarn_multiplier(c) is not None
             and c["rope_parameters"].get("mscale") != c["rope_parameters"]["mscale_all_dim"]),
)
MOE = (
    H("leading_dense_block_count", "first_k_dense_replace"),
    EXPERT_LENGTH,
    H("expert_count", ("n_routed_experts", "num_experts", "num_local_experts")),
    H("expert_used_count", "num_experts_per_tok"),
    H("expert_shared_count", "n_shared_experts"),
    H("expert_weights_scale", "routed_scaling_factor", F32, default=1.0),
    Computed("expert_weights_norm", lambda c: c["norm_topk_prob"] or None,
             "norm_topk_prob", lambda kv: bool(kv.get("expert_weights_norm", False)), BOOL),
    Fixed("moe_layer_freq", 1),
)
GATING = Codec(gating, lambda number: {1: "softmax", 2: "sigmoid"}[number])
LATENT_EPS = Note("the runtime takes rms_norm_eps in the norms of latents too, where the model has 1e-6",
                  lambda c: c["rms_norm_eps"] != 1e-6)
COMMON = (*SHAPE, *LATENT_ATTN, LATENT_EPS, *MOE, RMS_EPS, VOCAB_SIZE, VOCAB_ROWS, TIED, SILU, Fixed("attention_bias", False))


def limited(key: str) -> Callable[[Config], int | None]:
    """Of DeepSeek-V2's groups, which its greedy choice of experts does not look at."""
    return lambda config: config.get(key) if config["topk_method"] != "greedy" or config.get("n_group") == 1 else None


V2_ROUTING = (
    H("expert_gating_func", "scoring_func", codec=GATING, need=False),
    Computed("expert_group_count", limited("n_group"), "n_group", lambda kv: kv.get("expert_group_count")),
    Computed("expert_group_used_count", limited("topk_group"), "topk_group", lambda kv: kv.get("expert_group_used_count")),
    Seen("topk_method",
          lambda found: "group_limited_greedy" if found.kv.get("expert_group_count", 1) > 1 else "greedy"),
    Note("the runtime ranks groups of experts by their best two, DeepSeek-V2 by their best one",
             lambda c: (limited("n_group")(c) or 1) > 1),
    Fixed("mlp_bias", False),
)
V3_ROUTING = (
    H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"),
    H("expert_group_count", "n_group", default=1),
    H("expert_group_used_count", "topk_group", default=1),
    Seen("topk_method", lambda found: "noaux_tc"),
    Seen("num_nextn_predict_layers", lambda found: 0),
    Fixed("rope_interleave", True, refuse=True),
)
DEFAULTS = {
    "num_key_value_heads": lambda config: config.get("num_attention_heads"), "rms_norm_eps": 1e-6, "kv_lora_rank": 512,
    "q_lora_rank": or_null("q_lora_rank", 1536), "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
}
LATENT_SIZES = {
    **SIZES,
    "key_length": key_length,
    "value_length": value_length,
    "unrotated_length": lambda hp: hp["key_length"] - hp["rope.dimension_count"],
    "query_rows": lambda hp: hp["attention.head_count"] * hp["key_length"],
    "latent_rows": lambda hp: hp["attention.kv_lora_rank"] + hp["rope.dimension_count"],
    "key_value_rows": lambda hp: hp["attention.head_count"] * (hp["unrotated_length"] + hp["value_length"]),
    "value_rows": lambda hp: hp["attention.head_count"] * hp["value_length"],
    "shared_expert_length": lambda hp: hp["expert_shared_count"] * hp["expert_feed_forward_length"],
}

# -- tensors --------------------------------------------------------------------------------------------------------


def query_lora(hp: Hparams, b: int) -> bool:
    return "attention.q_lora_rank" in hp


def no_query_lora(hp: Hparams, b: int) -> bool:
    return "attention.q_lora_rank" not in hp


def dense(hp: Hparams, b: int) -> bool:
    return b < hp["leading_dense_block_count"]


def sparse(hp: Hparams, b: int) -> bool:
    return b >= hp["leading_dense_block_count"]


ATTN = (
    *where(no_query_lora,
           R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="query_rows embedding_length",
             no_lora=NO_ADAPTERS)),
    *where(query_lora,
           R("blk.{b}.attn_q_a.weight", L + "self_attn.q_a_proj.weight", shape="attention.q_lora_rank embedding_length",
             no_lora=NO_ADAPTERS),
           R("blk.{b}.attn_q_a_norm.weight", L + "self_attn.q_a_layernorm.weight", shape="attention.q_lora_rank"),
           R("blk.{b}.attn_q_b.weight", L + "self_attn.q_b_proj.weight", shape="query_rows attention.q_lora_rank",
             no_lora=NO_ADAPTERS)),
    R("blk.{b}.attn_kv_a_mqa.weight", L + "self_attn.kv_a_proj_with_mqa.weight", shape="latent_rows embedding_length",
      no_lora=NO_ADAPTERS),
    R("blk.{b}.attn_kv_a_norm.weight", L + "self_attn.kv_a_layernorm.weight", shape="attention.kv_lora_rank"),
    R(("blk.{b}.attn_k_b.weight", "blk.{b}.attn_v_b.weight"), L + "self_attn.kv_b_proj.weight",
      MlaKv("attention.head_count", "unrotated_length", "value_length"),
      shape="key_value_rows attention.kv_lora_rank", no_lora=NO_ADAPTERS),
    R("blk.{b}.attn_kv_b.weight", L + "self_attn.kv_b_proj.weight",  # before 2025-04
      shape="key_value_rows attention.kv_lora_rank"),
)
HEAD = (
    R("output.weight", "lm_head.weight", need=False, shape="vocab_size embedding_length", no_lora=NO_ADAPTERS),
)
ATTN_OUTPUT = (
    R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length value_rows"),
)
SHARED_EXPERTS = (
    R("blk.{b}.ffn_gate_shexp.weight", L + "mlp.shared_experts.gate_proj.weight",
      shape="shared_expert_length embedding_length"),
    R("blk.{b}.ffn_up_shexp.weight", L + "mlp.shared_experts.up_proj.weight",
      shape="shared_expert_length embedding_length"),
    R("blk.{b}.ffn_down_shexp.weight", L + "mlp.shared_experts.down_proj.weight",
      shape="embedding_length shared_expert_length"),
)
ROUTER_BIAS = (
    R("blk.{b}.exp_probs_b.bias", L + "mlp.gate.e_score_correction_bias", shape="expert_count", hf_dtype="F32"),
)
TENSORS = (
    *EMBED, *NORMS, *ATTN, *ATTN_OUTPUT, *where(dense, *FFN),
    *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERTS), *OUT_NORM, *HEAD,
)
# What a multi-token-prediction layer has besides a block's tensors.
MTP = tuple(Template(L + name + ".weight") for name in (
    "embed_tokens", "enorm", "hnorm", "eh_proj", "shared_head.norm", "shared_head.head"))

STACKS = {"b": Stack(beyond="multi-token prediction")}

# -- architectures --------------------------------------------------------------------------------------------------

DEEPSEEK2 = ArchSpec(
    "deepseek2", ("DeepseekV2ForCausalLM",), "deepseek_v2", hparams=(*COMMON, *V2_ROUTING), tensors=TENSORS,
    defaults={**DEFAULTS, "max_position_embeddings": 2048, "first_k_dense_replace": 0, "n_shared_experts": 2,
              "routed_scaling_factor": 1.0, "norm_topk_prob": False, "topk_method": "greedy"},
    sizes=LATENT_SIZES, stacks=STACKS, ignore=MTP, example="deepseek-ai/DeepSeek-V2-Lite",
)

DEEPSEEK3 = ArchSpec(
    "deepseek2", ("DeepseekV3ForCausalLM",), "deepseek_v3", hparams=(*COMMON, *V3_ROUTING),
    tensors=(*TENSORS, *where(sparse, *ROUTER_BIAS)),
    defaults={**DEFAULTS, "max_position_embeddings": 4096, "first_k_dense_replace": 3, "n_shared_experts": 1,
              "routed_scaling_factor": 2.5, "norm_topk_prob": True, "num_experts_per_tok": 8, "n_group": 8,
              "topk_group": 4},
    sizes=LATENT_SIZES, stacks=STACKS, ignore=MTP, example="deepseek-ai/DeepSeek-V3",
)

# -- the same with layers of multi-token prediction, which are the last blocks ---------------------------------------


def leading_dense(config: Config) -> int:
    """The number of dense blocks; transformers 5 goes by a list of all blocks, where there is one."""
    kinds = config.get("mlp_layer_types")
    count = kinds.index("sparse") if kinds else config["first_k_dense_replace"]
    if kinds and "dense" in kinds[count:]:
        raise ValueError("dense blocks behind sparse ones have no GGUF form")
    return count


def mlp_layers(facts: GgufFacts) -> list[str]:
    dense = facts.kv.get("leading_dense_block_count", 0)
    return ["dense" if b < dense else "sparse" for b in range(main_blocks(facts.kv))]


PREDICTING = (
    *without((*COMMON, *V3_ROUTING), "num_hidden_layers", "first_k_dense_replace", "num_nextn_predict_layers", "topk_method"),
    *NEXTN_BLOCKS, Seen("mlp_layer_types", mlp_layers),
    Computed("leading_dense_block_count", leading_dense, "first_k_dense_replace",
             lambda kv: kv.get("leading_dense_block_count", 0)),
)
PREDICTING_TENSORS = (*TENSORS, *where(sparse, *ROUTER_BIAS), *NEXTN)
GLM_DEFAULTS = {
    **DEFAULTS, "max_position_embeddings": 202752, "rms_norm_eps": 1e-5, "n_shared_experts": 1, "norm_topk_prob": True,
    "qk_nope_head_dim": 192, "v_head_dim": 256, "num_nextn_predict_layers": 0, "scoring_func": "sigmoid",
}

GLM4_LITE = ArchSpec(
    "deepseek2", ("Glm4MoeLiteForCausalLM",), "glm4_moe_lite", hparams=PREDICTING, tensors=PREDICTING_TENSORS,
    defaults={**GLM_DEFAULTS, "q_lora_rank": or_null("q_lora_rank", 768), "n_routed_experts": 64, "num_experts_per_tok": 4,
              "routed_scaling_factor": 1.8, "first_k_dense_replace": 1},
    sizes=LATENT_SIZES, idle=predicting, example="zai-org/GLM-4.7-Flash",
)

INDEXER = (
    H("attention.indexer.head_count", "index_n_heads"),
    H("attention.indexer.key_length", "index_head_dim"),
    H("attention.indexer.top_k", "index_topk"),
)
INDEXER_TYPES = H("attention.indexer.types", "indexer_types", BOOL, need=False, codec=Codec(
    lambda kinds: [kind == "full" for kind in kinds], lambda full: ["full" if f else "shared" for f in full]))


def own_index(hp: Hparams, b: int) -> bool:
    """Whether a block has an indexer of its own, and does not take what the last one before it chose."""
    return hp["attention.indexer.types"][b] if "attention.indexer.types" in hp else True


INDEXER_TENSORS = where(
    own_index,
    R("blk.{b}.indexer.attn_q_b.weight", L + "self_attn.indexer.wq_b.weight", shape="index_rows attention.q_lora_rank",
      no_lora=NO_ADAPTERS),
    R("blk.{b}.indexer.attn_k.weight", L + "self_attn.indexer.wk.weight",
      shape="attention.indexer.key_length embedding_length", no_lora=NO_ADAPTERS),
    R("blk.{b}.indexer.k_norm.weight", L + "self_attn.indexer.k_norm.weight", shape="attention.indexer.key_length"),
    R("blk.{b}.indexer.k_norm.bias", L + "self_attn.indexer.k_norm.bias", shape="attention.indexer.key_length"),
    R("blk.{b}.indexer.proj.weight", L + "self_attn.indexer.weights_proj.weight",
      shape="attention.indexer.head_count embedding_length", type="F32", no_lora=NO_ADAPTERS),
)
INDEXER_SIZES = {
    **LATENT_SIZES, "index_rows": lambda hp: hp["attention.indexer.head_count"] * hp["attention.indexer.key_length"],
}

GLM_DSA = ArchSpec(
    "glm-dsa", ("GlmMoeDsaForCausalLM",), "glm_moe_dsa",
    hparams=(*without(PREDICTING, "rope_interleave"), *INDEXER, INDEXER_TYPES),
    tensors=(*PREDICTING_TENSORS, *INDEXER_TENSORS),
    defaults={**GLM_DEFAULTS, "q_lora_rank": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8,
              "routed_scaling_factor": 2.5, "first_k_dense_replace": 3,
              "index_n_heads": 32, "index_head_dim": 128, "index_topk": 2048},
    sizes=INDEXER_SIZES, idle=predicting, example="zai-org/GLM-5",
)

DEEPSEEK32 = ArchSpec(
    "deepseek32", ("DeepseekV32ForCausalLM",), "deepseek_v32", hparams=(*without(PREDICTING, "rope_interleave"), *INDEXER),
    tensors=(*PREDICTING_TENSORS, *INDEXER_TENSORS),
    defaults={**DEEPSEEK3.defaults, "max_position_embeddings": 163840, "q_lora_rank": 1536, "n_routed_experts": 256,
              "num_nextn_predict_layers": 0, "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048},
    sizes=INDEXER_SIZES, idle=predicting, example="deepseek-ai/DeepSeek-V3.2",
)

# -- without experts, or without latent attention ------------------------------------------------------------------------

YOUTU = ArchSpec(
    "deepseek2", ("YoutuForCausalLM",), "youtu",
    hparams=(
        *SHAPE, *LATENT_ATTN, LATENT_EPS, RMS_EPS, VOCAB_SIZE, VOCAB_ROWS, TIED, SILU, Fixed("attention_bias", False),
        Fixed("rope_interleave", True, refuse=True),
        # What the runtime wants to know of experts, though there are none.
        Computed("leading_dense_block_count", lambda c: c["num_hidden_layers"]),
        Computed("expert_feed_forward_length", lambda c: c["intermediate_size"]), Const("expert_shared_count", 0),
    ),
    tensors=(*EMBED, *NORMS, *ATTN, *ATTN_OUTPUT, *FFN, *OUT_NORM, *HEAD),
    defaults={**DEFAULTS, "max_position_embeddings": 131072, "tie_word_embeddings": True}, sizes=LATENT_SIZES,
    example="tencent/Youtu-LLM-2B",
)

DEEPSEEK = ArchSpec(
    "deepseek", ("DeepseekForCausalLM",), "deepseek",
    hparams=(
        *SHAPE, HEAD_KV, Rope(), RMS_EPS, TIED, SILU, VOCAB_SIZE, VOCAB_ROWS,
        Computed("rope.dimension_count", per_head), Computed("rope.scaling.type", unscaled, type=ValueType.STRING),
        *without(MOE, "routed_scaling_factor", "norm_topk_prob"), Const("expert_weights_scale", 1.0, F32),
        Fixed("norm_topk_prob", False, refuse=True), H("expert_gating_func", "scoring_func", codec=GATING, default="softmax"),
        Fixed("attention_bias", False, refuse=True),
    ),
    tensors=(*EMBED, *NORMS, *ATTN_ROPE, *where(dense, *FFN), *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *SHARED_EXPERTS),
             *OUT_NORM, R("output.weight", "lm_head.weight", need=False, shape="vocab_size embedding_length")),
    defaults={"num_key_value_heads": same_as("num_attention_heads"), "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
              "first_k_dense_replace": 0},
    sizes=LATENT_SIZES, example="deepseek-ai/deepseek-moe-16b-chat",
)

# -- around other parts --------------------------------------------------------------------------------------------------

KIMI_VL = Whole(
    "KimiVLForConditionalGeneration", "kimi_vl", text=DEEPSEEK3, aliases=(("language_model.", ""),),
    parts=dict.fromkeys(("vision_tower.", "multi_modal_projector.")), example="moonshotai/Kimi-VL-A3B-Instruct",
)
KIMI_K25 = Whole(
    "KimiK25ForConditionalGeneration", "kimi_k25", text=DEEPSEEK3, aliases=(("language_model.", ""),),
    parts=dict.fromkeys(("vision_tower.", "mm_projector.")), example="moonshotai/Kimi-K2.5",
)
GLM5V = Whole(
    "Glm5vForConditionalGeneration", "glm5v", text=GLM_DSA, aliases=(("language_model.", ""),),
    parts=dict.fromkeys(("vision_tower.", "mm_projector.")), example="baseten/GLM-5.2-Vision-NVFP4",
)
YOUTU_VL = Whole(
    "YoutuVLForConditionalGeneration", "youtu_vl", text=YOUTU, aliases=(), parts=dict.fromkeys(("siglip2.", "merger.")),
    example="tencent/Youtu-VL-4B-Instruct",
)


def biased_router(facts: GgufFacts) -> bool:
    """V3 chooses experts by sigmoid scores and a bias."""
    return facts.keys.get("deepseek2.expert_gating_func") == 2 or any(
        name.endswith(".exp_probs_b.bias") for name in facts.tensors)


def without_experts(facts: GgufFacts) -> bool:
    return not facts.keys.get("deepseek2.expert_count")


BACK = {"deepseek2": choice(DEEPSEEK2, (YOUTU, without_experts), (GLM4_LITE, says("tokenizer.ggml.pre", "glm4")),
                            (DEEPSEEK3, biased_router))}
SPECS = (DEEPSEEK2, DEEPSEEK3, GLM4_LITE, GLM_DSA, DEEPSEEK32, YOUTU, DEEPSEEK, KIMI_VL, KIMI_K25, GLM5V, YOUTU_VL)
