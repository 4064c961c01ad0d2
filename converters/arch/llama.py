"""Llama and its relatives: Llama 1-3, Mistral, Mixtral, Ministral 3 / Mistral Small 3, SmolLM3.

Read one row as a sentence: "the GGUF tensor blk.{b}.attn_q is HF's layers.{b}.self_attn.q_proj, its rows permuted
head by head". The same row converts forward, back, and a LoRA adapter's factors.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

ROPE_DIM = Computed("rope.dimension_count", lambda config: config.get("head_dim") or per_head(config), "head_dim",
                    lambda kv: kv.get("attention.key_length", kv.get("rope.dimension_count")))
UNSTATED_HEAD = {"num_key_value_heads": same_as("num_attention_heads")}  # classes that leave head_dim open
BIASES = (Seen("attention_bias", has("blk.0.attn_q.bias")), Seen("mlp_bias", has("blk.0.ffn_up.bias")))
INV_FREQ = (Template(L + "self_attn.rotary_emb.inv_freq"), Template("model.rotary_emb.inv_freq"))
MULTIMODAL = (("model.language_model.", "model."), ("language_model.model.", "model."), ("language_model.", ""))

LLAMA = ArchSpec(
    "llama", ("LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"), "llama", headless=("LlamaModel",),
    hparams=(*DECODER, VOCAB_SIZE, ROPE_DIM, *BIASES),
    tensors=(*EMBED, *NORMS, *ATTN_ROPE, *FFN, *OUT_NORM, *HEAD),
    derived=(LLAMA3_FREQS, *LONGROPE_FACTORS), defaults=DECODER_DEFAULTS, sizes=SIZES, ignore=INV_FREQ,
    fits=lambda c: "draft_vocab_size" not in c,  # as EAGLE-3 drafts have it, the first of which call themselves Llama
    example="unsloth/Llama-3.2-1B-Instruct",
)

MISTRAL = ArchSpec(
    "llama", ("MistralForCausalLM",), "mistral",
    hparams=(*DECODER, VOCAB_SIZE, ROPE_DIM, Fixed("sliding_window", None)),
    tensors=LLAMA.tensors, derived=LLAMA.derived, defaults=DECODER_DEFAULTS, sizes=SIZES, ignore=INV_FREQ,
    example="mistralai/Mistral-7B-Instruct-v0.3",
)

MOE = L + "block_sparse_moe."
MIXTRAL = ArchSpec(
    "llama", ("MixtralForCausalLM",), "mixtral",
    hparams=(*DECODER, *LOCAL_EXPERTS, VOCAB_SIZE, ROPE_DIM, Fixed("sliding_window", None)),
    tensors=(
        *EMBED, *NORMS, *ATTN_ROPE,
        R("blk.{b}.ffn_gate_inp.weight", MOE + "gate.weight", shape="expert_count embedding_length", type="F32"),
        R("blk.{b}.ffn_gate_exps.weight", MOE + "experts.{e}.w1.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up_exps.weight", MOE + "experts.{e}.w3.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_exps.weight", MOE + "experts.{e}.w2.weight", shape="embedding_length feed_forward_length"),
        *ROUTER, *FUSED_EXPERTS,  # as transformers 5 holds the model, which is how adapters name its weights
        *OUT_NORM, *HEAD,
    ),
    defaults={**UNSTATED_HEAD, "rope_theta": 1000000.0}, ignore=INV_FREQ,
    sizes={**SIZES, "expert_feed_forward_length": lambda hp: hp["feed_forward_length"]},
    example="mistralai/Mixtral-8x7B-Instruct-v0.1",
)


MINISTRAL3 = ArchSpec(
    "mistral3", ("Ministral3ForCausalLM",), "ministral3",
    hparams=(
        *DECODER, VOCAB_SIZE, ROPE_DIM,
        H("rope.scaling.yarn_log_multiplier", "rope_parameters.mscale_all_dim", F32, need=False),
        # GGUF holds mscale_all_dim only; the published models have the same number for both.
        Fixed("rope_parameters.mscale", lambda c: c["rope_parameters"].get("mscale_all_dim", 1.0)),
        H("attention.temperature_scale", "rope_parameters.llama_4_scaling_beta", F32),
    ),
    tensors=LLAMA.tensors, sizes=SIZES, ignore=INV_FREQ,
    defaults={**DECODER_DEFAULTS, "rope_parameters": scaled(
        rope_theta=1000000.0, factor=16.0, original_max_position_embeddings=16384, mscale_all_dim=1.0, mscale=1.0,
        llama_4_scaling_beta=0.1)},
    example="mistralai/Ministral-3-3B-Instruct-2512",
)

MISTRAL3 = Whole(
    "Mistral3ForConditionalGeneration", "mistral3",
    text=ArchSpec(
        "mistral3", ("MistralForCausalLM",), "mistral", hparams=(*DECODER, VOCAB_SIZE, ROPE_DIM),
        tensors=LLAMA.tensors, defaults=DECODER_DEFAULTS, sizes=SIZES, ignore=INV_FREQ,
    ),
    aliases=MULTIMODAL, parts=dict.fromkeys(
        ("model.vision_tower.", "model.multi_modal_projector.", "vision_tower.", "multi_modal_projector.")),
    example="mistralai/Mistral-Small-3.1-24B-Instruct-2503",
)

SMOLLM3 = ArchSpec(
    "smollm3", ("SmolLM3ForCausalLM",), "smollm3",
    hparams=(*DECODER, VOCAB_SIZE, ROPE_DIM, *BIASES),
    tensors=LLAMA.tensors, derived=LLAMA.derived, sizes=SIZES,
    defaults={**UNSTATED_HEAD, "tie_word_embeddings": True, "rope_theta": 2000000.0},
    ignore=INV_FREQ,
    example="HuggingFaceTB/SmolLM3-3B",
)

BACK = {
    "llama": choice(LLAMA, (MIXTRAL, has("blk.0.ffn_gate_exps.weight")), (MISTRAL, named("mistral"))),
    "mistral3": choice(MINISTRAL3, (MISTRAL3.text, lambda facts: "mistral3.attention.temperature_scale" not in facts.keys)),
}
SPECS = (LLAMA, MISTRAL, MIXTRAL, MINISTRAL3, MISTRAL3, SMOLLM3)
