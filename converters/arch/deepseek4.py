"""DeepSeek V4: residual streams side by side, keys and values that blocks compress, one head of both; the first blocks choose
experts by a table of tokens. Layers of multi-token prediction (`mtp.*`) have no place.

Source: transformers `models/deepseek_v4`, `conversion_mapping`; llama.cpp `src/models/deepseek4.cpp`, `conversion/deepseek.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..rules.words import *
from .common import *
from .drafts import BACK as DRAFTS
from .drafts import JUDGED, MASK, OF_TARGET, either, outputs, tapped_outputs, tokens
from .hy_v4 import STREAM_SIZES, renamed, streams

B = "layers.{b}."
KINDS = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}


def ratios(config: Config) -> list[int]:
    """How much each block compresses, from transformers' names for that."""
    rates = {**KINDS, **(config.get("compress_rates") or {})}
    return [rates[kind] for kind in config["layer_types"]]


def hashed_blocks(config: Config) -> int:
    """The number of blocks that choose experts by the token: the first ones."""
    kinds = config.get("mlp_layer_types")
    count = kinds.count("hash_moe") if kinds else min(3, config["num_hidden_layers"])
    if kinds and "hash_moe" in kinds[count:]:
        raise ValueError("mlp_layer_types: hash_moe behind moe has no GGUF form")
    return count


def turned(config: Config) -> int:
    return int(config["head_dim"] * config.get("partial_rotary_factor", 64 / 512))


def clamped(key: str) -> Computed:
    """One number that gates and values of all blocks are clamped to."""
    return Computed(key, lambda c: [c["swiglu_limit"]] * c["num_hidden_layers"], "swiglu_limit",
                    lambda kv: short(kv[key][0]), F32)


def hashed(hp: Hparams, b: int) -> bool:
    return b < hp["hash_layer_count"]


def scored(hp: Hparams, b: int) -> bool:
    return b >= hp["hash_layer_count"]


def compressing(hp: Hparams, b: int) -> bool:
    return hp["attention.compress_ratios"][b] > 0


def indexed(hp: Hparams, b: int) -> bool:
    """Of what is compressed by 4, an indexer chooses."""
    return hp["attention.compress_ratios"][b] == 4


def widths(hp: Hparams) -> list[int]:
    """Of compressed keys and values, by block: those of overlapping windows are two."""
    return [(2 if ratio == 4 else 1) * hp["attention.key_length"] for ratio in hp["attention.compress_ratios"]]


def compressor(gguf: str, hf: str, rows: str, length: str) -> tuple[TensorRule, ...]:
    return (R(f"{gguf}_ape.weight", f"{hf}ape", shape=f"attention.compress_ratios {rows}", type="F32", hf_dtype="F32"),
            R(f"{gguf}_norm.weight", f"{hf}norm.weight", shape=length),
            R(f"{gguf}_gate.weight", f"{hf}wgate.weight", shape=f"{rows} embedding_length"),
            R(f"{gguf}_kv.weight", f"{hf}wkv.weight", shape=f"{rows} embedding_length"))


def experts(names: str, hf: str, length: str) -> tuple[TensorRule, ...]:
    """Gate, down and up, which DeepSeek numbers."""
    out, back = f"{length} embedding_length", f"embedding_length {length}"
    return tuple(R(f"blk.{{b}}.ffn_{name}_{names}.weight", B + f"ffn.{hf}.{w}.weight", shape=size)
                 for name, w, size in (("gate", "w1", out), ("down", "w2", back), ("up", "w3", out)))


OUTSIDE = (
    R("token_embd.weight", "embed.weight", shape="vocab_size embedding_length"),
    *streams("output_hc", "hc_head_", "hyper_connection.count", "1"),
    R("output_norm.weight", "norm.weight", shape="embedding_length"),
    R("output.weight", "head.weight", shape="vocab_size embedding_length", no_lora=NO_ADAPTERS),
)
BLOCK = (
    R("blk.{b}.attn_norm.weight", B + "attn_norm.weight", shape="embedding_length"),
    R("blk.{b}.attn_sinks.weight", B + "attn.attn_sink", shape="attention.head_count", hf_dtype="F32"),
    R("blk.{b}.attn_q_a.weight", B + "attn.wq_a.weight", shape="attention.q_lora_rank embedding_length"),
    R("blk.{b}.attn_q_a_norm.weight", B + "attn.q_norm.weight", shape="attention.q_lora_rank"),
    R("blk.{b}.attn_q_b.weight", B + "attn.wq_b.weight", shape="head_rows attention.q_lora_rank"),
    R("blk.{b}.attn_kv.weight", B + "attn.wkv.weight", shape="attention.key_length embedding_length"),
    R("blk.{b}.attn_kv_a_norm.weight", B + "attn.kv_norm.weight", shape="attention.key_length"),
    R("blk.{b}.attn_output_a.weight", B + "attn.wo_a.weight", shape="grouped_rows group_columns", no_lora=NO_ADAPTERS),
    R("blk.{b}.attn_output_b.weight", B + "attn.wo_b.weight", shape="embedding_length grouped_rows"),
    R("blk.{b}.ffn_norm.weight", B + "ffn_norm.weight", shape="embedding_length"),
    R("blk.{b}.ffn_gate_inp.weight", B + "ffn.gate.weight", shape="expert_count embedding_length", type="F32"),
    *experts("exps", "experts.{e}", "expert_feed_forward_length"), *experts("shexp", "shared_experts", "shared_length"),
    *streams("blk.{b}.hc_attn", B + "hc_attn_", "stream_mixes", "3"),
    *streams("blk.{b}.hc_ffn", B + "hc_ffn_", "stream_mixes", "3"),
)
CHOICE = (
    R("blk.{b}.ffn_gate_tid2eid.weight", B + "ffn.gate.tid2eid", Narrow(), shape="vocab_size expert_used_count", when=hashed),
    R("blk.{b}.exp_probs_b.bias", B + "ffn.gate.bias", shape="expert_count", hf_dtype="F32", of=scored),
    R("blk.{b}.exp_probs_b_vl.bias", B + "ffn.gate.bias_vl", need=False, shape="expert_count", hf_dtype="F32"),
)
COMPRESSED = (
    *where(compressing,
           *compressor("blk.{b}.attn_compressor", B + "attn.compressor.", "compressed_rows", "attention.key_length")),
    *where(indexed,
           *compressor("blk.{b}.indexer_compressor", B + "attn.indexer.compressor.", "2*attention.indexer.key_length",
                       "attention.indexer.key_length"),
           R("blk.{b}.indexer.proj.weight", B + "attn.indexer.weights_proj.weight",
             shape="attention.indexer.head_count embedding_length"),
           R("blk.{b}.indexer.attn_q_b.weight", B + "attn.indexer.wq_b.weight", shape="index_rows attention.q_lora_rank")),
)
ROWS = (*OUTSIDE, *BLOCK, *CHOICE, *COMPRESSED)
# What transformers 5.23 makes of some names when it saves: it renames more than is theirs, or less.
MISNAMED = (("hc_head_", "hc_head.hc_"), ("attn.kv_norm.", "attn.norm."), ("embed.", "embed_tokens."))
# Names in memory, which is how adapters name weights.
IN_MEMORY = (
    ("attn.indexer.", "attn.compressor.indexer."), ("indexer.compressor.", "indexer."),
    ("indexer.weights_", "indexer.scorer.weights_"), ("compressor.norm.", "compressor.kv_norm."),
    ("indexer.norm.", "indexer.kv_norm."), (".wq_a.", ".q_a_proj."), (".wq_b.", ".q_b_proj."), (".wkv.", ".kv_proj."),
    (".wgate.", ".gate_proj."), (".wo_a.", ".o_a_proj."), (".wo_b.", ".o_b_proj."), (".q_norm.", ".q_a_norm."),
    (".ape", ".position_bias"), ("attn.attn_sink", "attn.sinks"), (".attn.", ".self_attn."),
    (".attn_norm.", ".input_layernorm."), (".ffn_norm.", ".post_attention_layernorm."),
    ("gate.bias", "gate.e_score_correction_bias"), ("shared_experts.w1.", "shared_experts.gate_proj."),
    ("shared_experts.w2.", "shared_experts.down_proj."), ("shared_experts.w3.", "shared_experts.up_proj."),
    (".ffn.", ".mlp."), (".hc_attn_", ".attn_hc."), (".hc_ffn_", ".ffn_hc."), ("hc_head_", "hc_head.hc_"),
    ("embed.", "embed_tokens."), ("head.weight", "lm_head.weight"),
)
FUSED = tuple(replace(row, hf=(Template(str(row.hf[0]).removeprefix("model.")),)) for row in FUSED_EXPERTS[:2])
MTP = tuple(Template(text) for text in (
    *(str(t).replace(B, "mtp.{b}.") for row in (*BLOCK, *CHOICE, *COMPRESSED) for t in row.hf),
    *(f"mtp.{{b}}.{name}.weight" for name in ("e_proj", "h_proj", "enorm", "hnorm", "norm", "emb.tok_emb", "head")),
    *(f"mtp.{{b}}.hc_head_{name}" for name in ("fn", "base", "scale"))))

HPARAMS = (
    BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, HEAD_COUNT, HEAD_KV, Rope(), RMS_EPS, *HEAD_LENGTHS, VOCAB_ROWS, SILU,
    H("rope.dimension_count", "qk_rope_head_dim"), H("attention.q_lora_rank", "q_lora_rank"),
    H("attention.sliding_window", "sliding_window"),
    H("expert_count", "n_routed_experts"), EXPERTS[1], EXPERT_LENGTH, H("expert_shared_count", "n_shared_experts"),
    H("expert_weights_scale", "routed_scaling_factor", F32), H("expert_weights_norm", "norm_topk_prob", BOOL),
    Const("expert_gating_func", 4), Fixed("scoring_func", "sqrtsoftplus", refuse=True),
    Seen("topk_method", lambda facts: "noaux_tc"),
    clamped("swiglu_clamp_exp"), clamped("swiglu_clamp_shexp"),
    H("attention.indexer.head_count", "index_n_heads"), H("attention.indexer.key_length", "index_head_dim"),
    H("attention.indexer.top_k", "index_topk"),
    H("attention.output_group_count", "o_groups"), H("attention.output_lora_rank", "o_lora_rank"),
    H("attention.compress_ratios", "compress_ratios"), H("attention.compress_rope_freq_base", "compress_rope_theta", F32),
    H("hyper_connection.count", "hc_mult"), H("hyper_connection.sinkhorn_iterations", "hc_sinkhorn_iters"),
    H("hyper_connection.epsilon", "hc_eps", F32), H("hash_layer_count", "num_hash_layers"),
    Computed("embedding_length_out", lambda c: c["hidden_size"] * c["hc_mult"]),
    Seen("num_nextn_predict_layers", lambda facts: 0), Fixed("tie_word_embeddings", False, refuse=True),
    Fixed("attention_bias", False, refuse=True), Fixed("mlp_bias", False, refuse=True),
)

DEEPSEEK4 = ArchSpec(
    "deepseek4", ("DeepseekV4ForCausalLM",), "deepseek_v4", hparams=HPARAMS,
    tensors=(*ROWS, *renamed(MISNAMED, *ROWS), *in_memory(*renamed(IN_MEMORY, *ROWS), *FUSED)),
    aliases=(("model.", ""),), ignore=(Template(B + "ffn.gate.bias"), *MTP),
    sizes={
        **SIZES, **STREAM_SIZES, "compressed_rows": widths,
        "stream_mixes": lambda hp: hp["hyper_connection.count"] * (hp["hyper_connection.count"] + 2),
        "grouped_rows": lambda hp: hp["attention.output_group_count"] * hp["attention.output_lora_rank"],
        "group_columns": lambda hp: hp["head_rows"] // hp["attention.output_group_count"],
        "index_rows": lambda hp: hp["attention.indexer.head_count"] * hp["attention.indexer.key_length"],
        "shared_length": lambda hp: hp["expert_shared_count"] * hp["expert_feed_forward_length"],
    },
    defaults={
        "num_key_value_heads": 1, "qk_rope_head_dim": turned, "compress_ratios": ratios, "num_hash_layers": hashed_blocks,
        "n_shared_experts": 1, "norm_topk_prob": True, "hc_mult": 4, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6,
        "swiglu_limit": 10.0, "sliding_window": 128, "o_groups": 8, "o_lora_rank": 1024, "index_n_heads": 64,
        "index_head_dim": 128, "index_topk": 512, "compress_rope_theta": 160000.0, "routed_scaling_factor": 1.5,
        "scoring_func": "sqrtsoftplus", "rms_norm_eps": 1e-6},
    example="deepseek-ai/DeepSeek-V4-Flash-Base",
)

# -- its draft: blocks of V4 that compress nothing, with what DSpark has besides, all under `mtp.*` -------------------------

STAGE = "mtp.{b}."
HEADS = {"fc": ("main_proj", "embedding_length fused"), "enc.output_norm": ("main_norm", "embedding_length"),
         "markov_w1": ("markov_head.markov_w1", "vocab_size markov_rank"),
         "markov_w2": ("markov_head.markov_w2", "vocab_size markov_rank"),
         "conf_proj": ("confidence_head.proj", "1 judged")}
# What the draft has once may be in any of its stages.
ONCE = (*(f"{name}." for name, _ in HEADS.values()), "norm.", "hc_head_")
MOST_STAGES = 16
OF_DRAFT = ("attention.compress_ratios", "hash_layer_count", "embedding_length_out", "num_nextn_predict_layers", "vocab_size",
            "tie_word_embeddings", "swiglu_clamp_exp", "swiglu_clamp_shexp", "num_hidden_layers")


def stages(config: Config, names: Collection[str]) -> int:
    """How many there are, which no setting says."""
    template = Template(STAGE + "attn_norm.weight")
    return sum(template.match(name) is not None for name in names)


DEEPSEEK4_DSPARK = replace(
    DEEPSEEK4, name="dflash", classes=("DeepseekV4DSparkModel",), draft=True,
    hparams=(
        Seen("num_stages", lambda facts: None, names=stages),
        Computed("block_count", lambda c: c["num_stages"]),
        *without(HPARAMS, *OF_DRAFT),
        *(Computed(key, lambda c: [c["swiglu_limit"]] * c["num_stages"], "swiglu_limit",
                   lambda kv: short(kv["swiglu_clamp_exp"][0]), F32) for key in ("swiglu_clamp_exp", "swiglu_clamp_shexp")),
        Computed("attention.compress_ratios", lambda c: [0] * c["num_stages"]), Const("hash_layer_count", 0),
        Seen("vocab_size", tokens), H("block_size", "dspark_block_size"),
        Computed("target_layers", tapped_outputs("dspark_target_layer_ids"), "dspark_target_layer_ids", outputs),
        Computed(MASK, either("dspark_noise_token_id")), Seen("dspark_noise_token_id", lambda facts: facts.keys.get(MASK)),
    ),
    shown=OF_TARGET, sizes={**DEEPSEEK4.sizes, **JUDGED, "fused": lambda hp: len(hp["target_layers"]) * hp["embedding_length"]},
    tensors=(
        *(replace(row, hf=(Template("mtp.0." + str(row.hf[0])),)) for row in OUTSIDE[1:-1]),
        *(replace(row, hf=(Template(str(row.hf[0]).replace(B, STAGE)),)) for row in BLOCK),
        R("blk.{b}.exp_probs_b.bias", STAGE + "ffn.gate.bias", shape="expert_count", hf_dtype="F32"),
        *(R(f"{gguf}.{{p}}", f"mtp.0.{hf}.{{p}}", need=gguf != "conf_proj", shape=shape)
          for gguf, (hf, shape) in HEADS.items()),
    ),
    aliases=tuple((f"mtp.{stage}.{name}", f"mtp.0.{name}") for stage in range(1, MOST_STAGES) for name in ONCE),
    ignore=(Template(STAGE + "ffn.gate.bias_vl"),), example="deepseek-ai/DeepSeek-V4-Flash-DSpark",
)


def sees(config: Config) -> bool:
    """Whether the model has eyes, which no class of its own says."""
    return bool(config.get("vision_n_layers"))


TEXT = replace(DEEPSEEK4, fits=lambda config: not sees(config))
VISION = Whole("DeepseekV4ForCausalLM", "deepseek_v4_vision", TEXT, (), dict.fromkeys(("vision.", "aligner.", "image_")),
               example="deepseek-ai/DeepSeek-V4-Flash-Vision-Exp", fits=sees)
BACK = {"dflash": replace(DRAFTS["dflash"], others=((DEEPSEEK4_DSPARK, has("output_hc_fn.weight")), *DRAFTS["dflash"].others))}
SPECS = (TEXT, VISION, DEEPSEEK4_DSPARK)
